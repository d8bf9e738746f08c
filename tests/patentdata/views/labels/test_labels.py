import cv2
import numpy as np
import pytest

from patentdata.views.ink import find_ink
from patentdata.views.labels.labels import find_labels, normalised, parse_label
from patentdata.views.sheets import turn


def lettered(*texts, height=900, width=900):
    """A page with texts, each given as (text, x, baseline)."""
    page = np.full((height, width), 255, np.uint8)
    for text, x, y in texts:
        cv2.putText(page, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 0, 5)
    return page


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("FIG. 1", "1"),
        ("Fig.12", "12"),
        ("FIG - 6", "6"),
        ("Figure 8", "8"),
        ("FIGURE 2A", "2A"),
        ("FIG. 1(a)", "1(a)"),
        ("F1G. 3", "3"),
        ("Jigure 6", "6"),
        ("FG. 4", "4"),
        ("FIG. 5'", "5'"),
        ("1.10", "1.10"),
    ],
)
def test_a_label_with_the_usual_reading_errors_is_understood(text, number):
    assert parse_label(text).number == number


@pytest.mark.parametrize("text", ["SALE 50", "BIG 3", "8-8", "12", "Track 7", "FIGHT CLUB 2", "", "10:45"])
def test_other_text_is_not_a_label(text):
    assert parse_label(text) is None


def test_labels_are_compared_by_capitals_digits_and_points():
    assert [normalised(label) for label in ("FIG. 2a", "1(a)", "1.1", "FIGURE", None)] == [
        "2A",
        "1A",
        "1.1",
        None,
        None,
    ]


@pytest.mark.parametrize("rotation_cw", [0, 90, 180, 270])
def test_labels_are_found_in_every_orientation_of_the_sheet(rotation_cw):
    page = turn(lettered(("FIG. 1", 100, 200), ("FIG. 2", 500, 700)), -rotation_cw % 360)
    labels, found_cw = find_labels(page, find_ink(page))
    assert found_cw == rotation_cw
    assert sorted(label.number for label in labels) == ["1", "2"]


def test_a_number_far_from_its_word_belongs_to_it():
    page = lettered(("FIG.", 100, 300), ("12", 340, 300))
    assert [label.number for label in find_labels(page, find_ink(page))[0]] == ["12"]


def test_two_labels_side_by_side_are_two_labels():
    page = lettered(("FIG. 5", 20, 300), ("FIG. 6", 380, 300))
    assert sorted(label.number for label in find_labels(page, find_ink(page))[0]) == ["5", "6"]


def test_a_sheet_without_lettering_has_no_label_and_no_known_orientation():
    page = lettered()
    page[100:600, 200:210] = 0
    assert find_labels(page, find_ink(page)) == ([], None)
