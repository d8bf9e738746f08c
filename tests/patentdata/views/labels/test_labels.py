from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from patentdata.views.ink import find_ink
from patentdata.views.labels import labels as labels_module
from patentdata.views.labels.labels import find_labels, is_merged, normalised, parse_label
from patentdata.views.labels.recogniser import Reading
from patentdata.views.sheets import turn


def written(*texts, height=900, width=900):
    """A page with texts in a font, each given as (text, x, y of the base line, size)."""
    image = Image.new("L", (width, height), 255)
    for text, x, y, size in texts:
        font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/STIXGeneralItalic.ttf"), size)
        ImageDraw.Draw(image).text((x, y), text, font=font, fill=0, anchor="ls")
    return np.where(np.asarray(image) < 128, 0, 255).astype(np.uint8)


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
        ("FIG. 1.7", "1.7"),
        ("FIG. 1-2", "1-2"),
        ("FIG. 2–1", "2-1"),
        ("FIG. 1-B", "1B"),
    ],
)
def test_a_label_with_the_usual_reading_errors_is_understood(text, number):
    assert parse_label(text).number == number


@pytest.mark.parametrize("text", ["SALE 50", "BIG 3", "8-8", "12", "Track 7", "FIGHT CLUB 2", "", "10:45"])
def test_other_text_is_not_a_label(text):
    assert parse_label(text) is None


def test_labels_are_compared_by_capitals_digits_and_points():
    assert [normalised(label) for label in ("FIG. 2a", "1(a)", "1.1", "FIG. 1-2", "1-A", "FIGURE", None)] == [
        "2A",
        "1A",
        "1.1",
        "1-2",
        "1A",
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


def labels_of(page):
    return find_labels(page, find_ink(page))[0]


@pytest.mark.parametrize("rotation_cw", [0, 90])
def test_a_number_much_smaller_than_its_word_belongs_to_it(rotation_cw):
    page = written(("Fig.", 100, 250, 150), ("5", 420, 250, 60), ("Fig.", 100, 700, 150), ("6", 420, 700, 60))
    labels = labels_of(turn(page, -rotation_cw % 360))
    assert sorted(label.number for label in labels) == ["5", "6"]
    assert all(label.rotation_cw == rotation_cw for label in labels)


def test_the_full_stop_of_a_large_word_is_not_its_number():
    labels = labels_of(written(("Fig.", 100, 250, 200)))
    assert [label.number for label in labels] == [None]


def test_two_words_whose_numbers_cannot_be_read_are_two_labels():
    page = lettered(("FIG.", 100, 200), ("FIG.", 100, 700))
    for y in (180, 680):
        cv2.circle(page, (320, y), 20, 0, -1)
    assert [label.number for label in labels_of(page)] == [None, None]


def test_a_word_whose_number_cannot_be_read_is_a_label_next_to_one_that_can():
    page = lettered(("FIG. 3", 100, 200), ("FIG.", 100, 700))
    assert sorted(str(label.number) for label in labels_of(page)) == ["3", "None"]


@pytest.mark.parametrize("numbers", [("1.7", "1.8"), ("1-1", "1-2"), ("54", "55"), ("11", "111")])
def test_numbers_of_several_parts_and_with_equal_digits_are_read_whole(numbers):
    page = lettered(*((f"FIG. {number}", 100, 200 + 400 * index) for index, number in enumerate(numbers)))
    assert sorted(label.number for label in labels_of(page)) == sorted(numbers)


def merging(monkeypatch, until_width):
    """Make the recogniser merge equal digits in pictures up to a width, as it does when they are close together."""
    read_line = labels_module.read_line

    def read(picture, *, is_quick=False):
        reading = read_line(picture, is_quick=is_quick)
        if picture.shape[1] > until_width:
            return reading
        kept = [i for i, letter in enumerate(reading.text) if i == 0 or letter != reading.text[i - 1]]
        return Reading(
            text="".join(reading.text[i] for i in kept),
            confidences=tuple(reading.confidences[i] for i in kept),
            positions=tuple(reading.positions[i] for i in kept),
        )

    monkeypatch.setattr(labels_module, "read_line", read)


def test_more_digits_on_the_sheet_than_were_read_make_a_label_be_read_again_stretched(monkeypatch):
    page = lettered(("FIG. 55", 100, 200))
    width = labels_of(page)[0].box[2] * 2 - 100
    merging(monkeypatch, until_width=width * 1.3)
    assert [label.number for label in labels_of(page)] == ["55"]


@pytest.mark.parametrize(
    ("read", "number", "expected"), [("5", "55", True), ("12", "122", True), ("5", "56", False), ("55", "5", False)]
)
def test_merged_digits_are_recognised_as_such(read, number, expected):
    assert is_merged(read, number) == expected
