"""Which lines of a drawing are found to be broken, and which look-alikes are not."""

import cv2
import numpy as np
import pytest

from patentdata.specimens.drawing.pen import stroke
from patentdata.views.broken_lines.finding import find_broken_lines, without_broken_lines

CIRCLE = 300 + 200 * np.exp(2j * np.pi * np.linspace(0, 1, 200))
WAVE = np.linspace(40, 560, 200) + 1j * (300 + 120 * np.sin(np.linspace(0, 7, 200)))
LINE = np.array([30 + 40j, 570 + 200j])


def drawn(path, width=3, dash=None, ink=None):
    """A bitmap with a line along complex points; `dash` is (stroke, gap) in pixels."""
    ink = np.zeros((600, 600), bool) if ink is None else ink
    return stroke(ink, np.stack([path.real, path.imag], axis=1), width, dash_px=dash)


def square(side, dash=None, width=3, ink=None):
    corners = 300 + side / 2 * np.array([-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j])
    for start, end in zip(corners, np.roll(corners, -1), strict=True):
        ink = drawn(np.array([start, end]), width, dash, ink)
    return ink


def found(ink):
    return find_broken_lines(np.where(ink, 0, 255).astype(np.uint8))


def found_mask(ink):
    mask = found(ink).mask
    return np.zeros_like(ink) if mask is None else mask


@pytest.mark.parametrize("path", [CIRCLE, WAVE, LINE], ids=["circle", "wave", "line"])
@pytest.mark.parametrize(("width", "dash"), [(1, (9, 8)), (2, (12, 9)), (3, (20, 12)), (5, (30, 16)), (6, (60, 20))])
def test_dashes_are_found_whatever_their_curve_width_and_length(path, width, dash):
    ink = drawn(path, width, dash)
    lines = found(ink)
    assert lines.share >= 0.98
    assert (lines.mask & ink).sum() >= 0.97 * ink.sum()


def test_a_solid_drawing_has_no_broken_lines():
    lines = found(square(400) | drawn(CIRCLE) | drawn(WAVE, 5))
    assert lines.share == 0.0 and lines.mask is None


def test_what_is_claimed_stays_as_it_is():
    claimed, surroundings = square(300), drawn(CIRCLE + 40, 3, (18, 10))
    page = np.where(claimed | surroundings, 0, 255).astype(np.uint8)
    rest = without_broken_lines(page, find_broken_lines(page).mask) == 0
    assert (rest & claimed).sum() >= 0.99 * claimed.sum()
    assert (rest & ~claimed).sum() <= 0.08 * (surroundings & ~claimed).sum()
    assert not (rest & ~(claimed | surroundings)).any()


def test_the_share_counts_gaps_as_parts_of_their_line():
    half = drawn(np.array([50 + 100j, 550 + 100j]), 3, (15, 15)) | drawn(np.array([50 + 300j, 550 + 300j]), 3)
    assert found(half).share == pytest.approx(0.5, abs=0.03)


def test_a_broken_line_goes_around_the_corners_of_a_square():
    ink = square(330, (24, 12))
    assert (found_mask(ink) & ink).sum() >= 0.97 * ink.sum()


def test_a_broken_line_runs_across_a_solid_one():
    across = drawn(np.array([300 + 0j, 300 + 599j]), 4)
    ink = drawn(np.array([20 + 300j, 580 + 310j]), 3, (20, 12), across)
    mask = found_mask(ink)
    assert (mask & ink & ~across).sum() >= 0.93 * (ink & ~across).sum()
    assert (mask & across).sum() <= 30


@pytest.mark.parametrize("pattern", [(60, 10, 8, 10), (50, 12, 10, 12, 10, 12)], ids=["dash-dot", "dash-dot-dot"])
def test_dashes_that_alternate_with_dots_are_a_broken_line(pattern):
    ink, x = np.zeros((600, 600), bool), 20
    while x < 560:
        for length, gap in zip(pattern[::2], pattern[1::2], strict=True):
            ink = drawn(np.array([x + 300j, min(x + length, 590) + 300j]), 3, ink=ink)
            x += length + gap
    assert (found_mask(ink) & ink).sum() >= 0.95 * ink.sum()


def hatching():
    ink = square(400)
    for x in range(120, 480, 9):
        ink = drawn(np.array([x + 140j, x + 30 + 190j]), 2, ink=ink)
    return ink


def stipple():
    rng, ink = np.random.default_rng(0), square(400)
    for x, y in rng.integers(110, 490, (1500, 2)):
        ink[y : y + 3, x : x + 3] = True
    return ink


def contour_strokes():
    """Long strokes that end in shorter and shorter pieces, as reflections are drawn."""
    ink = square(500)
    for y in range(90, 520, 40):
        x = 70
        for length in (170, 60, 25, 9):
            ink = drawn(np.array([x + y * 1j, x + length + y * 1j]), 2, ink=ink)
            x += length + 11
    return ink


def rows_of_ellipses():
    canvas = square(560).astype(np.uint8)
    for x in range(60, 550, 34):
        for y in range(60, 550, 40):
            cv2.ellipse(canvas, (x, y), (12, 5), 0, 0, 360, 1, cv2.FILLED)
    return canvas > 0


def chain_of_rings():
    canvas = np.zeros((600, 600), np.uint8)
    for x in range(40, 560, 34):
        cv2.ellipse(canvas, (x, 300), (13, 6), 0, 0, 360, 1, 2)
    return canvas > 0


def zigzag_seam():
    x = np.arange(40, 560, 12)
    return drawn(x + 1j * (300 + 14 * (np.arange(len(x)) % 2)), 3)


def perforation():
    canvas = np.zeros((600, 600), np.uint8)
    for x in range(40, 560, 20):
        cv2.circle(canvas, (x, 300), 6, 1, 2)
    return canvas > 0


def torn_by_scanning():
    ink = square(400, width=1) | drawn(CIRCLE, 1)
    ink[::9] = ink[:, ::9] = False
    return ink


@pytest.mark.parametrize(
    "look_alike",
    [hatching, stipple, contour_strokes, rows_of_ellipses, chain_of_rings, zigzag_seam, perforation, torn_by_scanning],
)
def test_what_only_looks_like_broken_lines_is_left_alone(look_alike):
    assert found(look_alike()).share == 0.0


@pytest.mark.parametrize("look_alike", [hatching, contour_strokes, rows_of_ellipses])
def test_look_alikes_stay_next_to_broken_lines(look_alike):
    other = look_alike()
    surroundings = drawn(CIRCLE * 1.4 - 120 * (1 + 1j), 3, (18, 11)) & ~cv2.dilate(
        other.astype(np.uint8), np.ones((9, 9))
    ).astype(bool)
    mask = found_mask(other | surroundings)
    assert (mask & other).sum() <= 0.01 * other.sum()


def test_a_frayed_dash_with_pinholes_is_a_dash():
    rng, ink = np.random.default_rng(1), drawn(CIRCLE, 5, (26, 14))
    ink &= rng.random(ink.shape) > 0.03
    assert (found_mask(ink) & ink).sum() >= 0.95 * ink.sum()


def test_a_screen_of_too_many_dots_is_not_looked_at():
    page = np.full((1800, 1800), 255, np.uint8)
    for y in range(4):
        for x in range(4):
            page[y::8, x::8] = 0
    lines = find_broken_lines(page)
    assert lines.share is None and lines.mask is None


def test_dots_of_a_screen_do_not_hide_the_dashes_on_it():
    page = np.full((1400, 1400), 255, np.uint8)
    page[::7, ::7] = page[1::7, ::7] = 0
    ink = cv2.copyMakeBorder(drawn(CIRCLE, 4, (22, 12)).astype(np.uint8), 400, 400, 400, 400, cv2.BORDER_CONSTANT) > 0
    page[cv2.dilate(ink.astype(np.uint8), np.ones((7, 7))) > 0] = 255
    page[ink] = 0
    assert (find_broken_lines(page).mask & ink).sum() >= 0.95 * ink.sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 3)])
@pytest.mark.parametrize("grey", [0, 255])
def test_views_of_any_size_can_be_looked_at(shape, grey):
    assert find_broken_lines(np.full(shape, grey, np.uint8)).share == 0.0
