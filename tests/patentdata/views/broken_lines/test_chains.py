"""Strokes, their tips, and the chains that they form."""

import cv2
import numpy as np
import pytest

from patentdata.views.broken_lines.chains import (
    Chains,
    find_neighbours,
    group_quantile,
    join_strokes,
    link_tips,
    measure_chains,
)
from patentdata.views.broken_lines.outlines import trace_outlines
from patentdata.views.broken_lines.strokes import ARM, REACH, Strokes, find_arms, find_dashes, find_dots


def row(lengths, gap=10, height=40, width=3):
    """A row of strokes of some lengths, as a bitmap."""
    ink = np.zeros((height, sum(lengths) + gap * (len(lengths) + 1)), np.uint8)
    x = gap
    for length in lengths:
        ink[height // 2 : height // 2 + width, x : x + length] = 1
        x += length + gap
    return ink


def strokes_of(ink) -> Strokes:
    outlines = trace_outlines(ink)
    dashes = find_dashes(outlines)
    return dashes + find_dots(outlines, dashes)


def chains_of(ink) -> Chains:
    strokes = strokes_of(ink)
    near = find_neighbours(strokes, np.arange(len(strokes.tip_points)), REACH)
    return measure_chains(strokes, join_strokes(strokes, link_tips(ink, strokes, near, 3)))


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_the_tips_of_a_dash_are_its_ends_and_point_outwards(degrees):
    along = np.exp(1j * np.deg2rad(degrees))
    ink, ends = np.zeros((120, 120), np.uint8), 60 + 60j + np.array([-30, 30]) * along
    cv2.line(ink, *[(round(end.real), round(end.imag)) for end in ends], 1, 4)
    strokes = find_dashes(trace_outlines(ink))
    assert strokes.lengths.tolist() == pytest.approx([64], abs=4)
    for point, direction in zip(strokes.tip_points, strokes.tip_directions, strict=True):
        end = ends[np.abs(ends - point).argmin()]
        assert abs(end - point) <= 4
        assert (direction * (end - 60 - 60j).conjugate()).real / 30 > 0.97


def test_a_cross_is_no_dash():
    ink = np.zeros((80, 80), np.uint8)
    ink[38:41, 10:70] = ink[10:70, 38:41] = 1
    assert not len(find_dashes(trace_outlines(ink)).kinds)


def test_the_free_end_of_a_stroke_on_a_line_is_an_arm_as_long_as_it_sticks_out():
    ink = np.zeros((200, 200), np.uint8)
    ink[100:104, 10:190] = ink[70:100, 60:64] = 1
    ink[20:23, 20:60] = ink[20:23, 80:120] = 1
    outlines = trace_outlines(ink)
    arms = find_arms(outlines, find_dashes(outlines), 4)
    upright = np.flatnonzero(np.abs(arms.tip_points - (61.5 + 70j)) < 4)
    assert len(upright) == 1 and (arms.kinds == ARM).all()
    assert arms.lengths[upright[0]] == pytest.approx(30, abs=5)
    assert arms.tip_directions[upright[0]].imag < -0.95


def test_a_row_of_equal_dashes_is_one_chain_with_its_gap_and_length():
    chains = chains_of(row([20] * 8, gap=12))
    (chain,) = np.flatnonzero(chains.num_strokes > 1)
    assert chains.num_dashes[chain] == 8
    assert chains.gap[chain] == pytest.approx(12, abs=2) and chains.gap_spread[chain] < 1
    assert chains.length[chain] == pytest.approx(20, abs=1) and chains.period_spreads[0, chain] < 0.05


def test_dash_dot_repeats_after_two_strokes():
    chains = chains_of(row([40, 8] * 5))
    (chain,) = np.flatnonzero(chains.num_strokes > 1)
    assert chains.period_spreads[0, chain] > 0.7 and chains.period_spreads[1, chain] < 0.05


def test_a_line_across_the_gap_parts_two_dashes():
    ink = row([20, 20], gap=12)
    assert (chains_of(ink).num_strokes > 1).any()
    ink[:, 37:39] = 1
    assert not (chains_of(ink).num_strokes > 1).any()


def test_a_contour_fades_out_from_its_long_stroke():
    chains = chains_of(row([200, 60, 25]))
    assert chains.fades_from.max() == pytest.approx(200, abs=2)
    assert not chains_of(row([25] * 6)).fades_from.any()


def test_quantiles_of_groups_are_values_of_the_group():
    values, groups = np.array([5.0, 1.0, 3.0, 9.0, 7.0]), np.array([0, 0, 0, 2, 2])
    assert group_quantile(values, groups, 3).tolist() == pytest.approx([3.0, np.nan, 7.0], nan_ok=True)
    assert group_quantile(values, groups, 3, 1.0).tolist() == pytest.approx([5.0, np.nan, 9.0], nan_ok=True)
