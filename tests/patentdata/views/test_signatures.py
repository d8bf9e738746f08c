"""Signatures: what copies of a drawing have in common."""

import cv2
import numpy as np
import pytest

from patentdata.views.signatures import GRID, NUM_BYTES, signature, unpack


def page(height=400, width=600):
    return np.full((height, width), 255, np.uint8)


def drawing():
    """A house: an outline, a door and a window, 300 px wide and 200 px high."""
    sheet = page()
    cv2.rectangle(sheet, (150, 150), (450, 350), 0, 3)
    cv2.rectangle(sheet, (200, 250), (250, 350), 0, 3)
    cv2.circle(sheet, (360, 230), 40, 0, 3)
    return sheet


def grid_of(sheet):
    proportions, grids = unpack(np.frombuffer(signature(sheet), np.uint8)[None])
    return proportions[0], grids[0].astype(int)


def difference(one, other):
    return float(np.abs(grid_of(one)[1] - grid_of(other)[1]).mean())


def test_a_signature_has_a_fixed_length_and_is_none_without_ink():
    assert len(signature(drawing())) == NUM_BYTES == 4 + GRID * GRID // 2
    assert signature(page()) is None


def test_proportions_are_those_of_the_ink_and_the_grid_is_stretched_over_it():
    proportions, grid = grid_of(drawing())
    assert proportions == pytest.approx([1, 203 / 303], abs=0.01)
    is_dark = grid > 5
    assert is_dark[1, 1:-1].all() and is_dark[-2, 1:-1].all() and is_dark[1:-1, 1].all() and is_dark[1:-1, -2].all()


def test_a_single_pixel_and_a_line_have_signatures():
    dot, line = page(), page()
    dot[200, 300] = 0
    line[200, 10:590] = 0
    assert grid_of(dot)[0] == pytest.approx([1, 1])
    assert grid_of(line)[0] == pytest.approx([1, 1 / 580], abs=0.001)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda sheet: cv2.copyMakeBorder(sheet, 90, 10, 200, 0, 0, value=255), id="other margins"),
        pytest.param(lambda sheet: sheet[140:360, 140:460], id="cropped margins"),
        pytest.param(lambda sheet: cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), id="smaller"),
        pytest.param(lambda sheet: cv2.resize(sheet, None, fx=1.7, fy=1.7), id="larger"),
        pytest.param(lambda sheet: np.where(cv2.GaussianBlur(sheet, (0, 0), 1) < 140, 0, 255), id="another threshold"),
        pytest.param(lambda sheet: cv2.erode(sheet, np.ones((3, 3))), id="wider lines"),
    ],
)
def test_a_copy_has_nearly_the_same_signature(change):
    copy = np.ascontiguousarray(change(drawing()), np.uint8)
    assert difference(copy, drawing()) < 0.6 < 2 < difference(copy, drawing()[:, ::-1])
    assert grid_of(copy)[0] == pytest.approx(grid_of(drawing())[0], abs=0.01)


def test_specks_far_from_the_drawing_do_not_count():
    specked = drawing()
    for centre in ((20, 30), (580, 370), (300, 60)):
        cv2.circle(specked, centre, 2, 0, -1)
    assert difference(specked, drawing()) < 0.6


def test_a_drawing_of_small_parts_keeps_them():
    dots = page()
    for x in range(100, 501, 100):
        cv2.circle(dots, (x, 100 + x // 2), 6, 0, -1)
    assert grid_of(dots)[0] == pytest.approx([1, 213 / 413], abs=0.02)
