"""The lists of captions that measure the detectors of unfaithful captions."""

from __future__ import annotations

from bench.faithfulness import FITTED, HELD_OUT, errors_of, measure, read_captions
from patentdata.captions.faithfulness.detectors import DETECTORS


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
