"""What outlines say about the size and shape of ink."""

import numpy as np
import pytest

from patentdata.views.broken_lines.outlines import trace_outlines


@pytest.mark.parametrize(("width", "height"), [(40, 3), (3, 40), (12, 12), (50, 1)])
def test_a_rectangle_has_its_own_sides(width, height):
    ink = np.zeros((60, 60), np.uint8)
    ink[5 : 5 + height, 5 : 5 + width] = 1
    outlines = trace_outlines(ink)
    assert outlines.lengths.tolist() == pytest.approx([max(width, height)])
    assert outlines.widths.tolist() == pytest.approx([min(width, height)])
    assert outlines.ink_areas().tolist() == pytest.approx([width * height])


def test_a_bent_stroke_is_as_long_as_its_path():
    ink = np.zeros((200, 200), np.uint8)
    ink[20:23, 20:121] = ink[20:120, 118:121] = 1
    (length,), (width,) = trace_outlines(ink).lengths, trace_outlines(ink).widths
    assert length == pytest.approx(200, rel=0.03) and width == pytest.approx(3, abs=0.3)


def test_holes_belong_to_the_ink_around_them_and_pinholes_are_no_holes():
    ink = np.zeros((100, 200), np.uint8)
    ink[10:90, 10:90], ink[20:80, 20:80] = 1, 0
    ink[40:60, 110:190], ink[50, 150] = 1, 0
    outlines = trace_outlines(ink)
    outer = np.flatnonzero(~outlines.is_hole)
    areas = dict(zip(outlines.has_hole[outer].tolist(), outlines.ink_areas()[outer].tolist(), strict=True))
    assert areas == pytest.approx({True: 80 * 80 - 60 * 60, False: 80 * 20 - 1})
    assert not outlines.ink_areas()[outlines.is_hole].any()


def test_frayed_edges_add_little_to_the_length_of_a_line():
    plain = np.zeros((40, 400), np.uint8)
    plain[18:22, 20:380] = 1
    frayed = plain.copy()
    frayed[17, 20:380:4] = frayed[22, 22:380:4] = 1
    lengths = [trace_outlines(ink).ink_perimeters()[0] / 2 for ink in (plain, frayed)]
    assert lengths[0] == pytest.approx(360, rel=0.03)
    assert lengths[1] < 1.15 * lengths[0]


def test_a_page_without_ink_has_no_outlines():
    outlines = trace_outlines(np.zeros((20, 20), np.uint8))
    assert len(outlines.lengths) == len(outlines.ink_areas()) == 0
