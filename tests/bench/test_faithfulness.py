"""The lists of captions that measure the detectors of unfaithful captions."""

from __future__ import annotations

from bench.faithfulness import (
    DRAWN,
    FITTED,
    HELD_OUT,
    errors_of,
    measure,
    measure_drawn,
    read_captions,
    read_drawn_captions,
)
from patentdata.captions.faithfulness.detectors import DETECTORS
from patentdata.captions.faithfulness.drawing import DRAWING_DETECTORS


def test_the_list_has_good_and_bad_captions_for_every_detector():
    captions = read_captions(FITTED)
    num_good = sum(not item.faults for item in captions)
    assert len(captions) >= 200 and 0.3 < num_good / len(captions) < 0.7
    for detector in DETECTORS:
        assert sum(detector.name in item.faults for item in captions) >= 10, detector.name
    assert {name for item in captions for name in item.faults} == {detector.name for detector in DETECTORS}


def test_the_detectors_find_what_they_were_fitted_to_and_seldom_something_else():
    measured = measure(read_captions(FITTED))["all"]
    assert measured["precision"] > 0.97 and measured["recall"] > 0.97


def test_on_captions_held_out_what_is_found_is_nearly_always_wrong():
    captions = read_captions(HELD_OUT)
    measured = measure(captions)["all"]
    assert len(captions) >= 100
    assert measured["precision"] >= 0.9 and measured["recall"] >= 0.65
    assert len(errors_of(captions)) < 25


def test_captions_of_drawn_articles_are_judged_by_what_was_drawn():
    captions = read_drawn_captions(DRAWN)
    assert len(captions) >= 60 and 0.3 < sum(not item.faults for item in captions) / len(captions) < 0.7
    for detector in DRAWING_DETECTORS:
        assert sum(detector.name in item.faults for item in captions) >= 10, detector.name
    measured = measure_drawn(captions)["all"]
    assert measured["precision"] >= 0.95 and measured["recall"] >= 0.9
