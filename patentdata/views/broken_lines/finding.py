"""Finds the broken lines of a view, their share of all lines, and the pixels that they cover.

Which chains of strokes are broken lines is decided in three steps, from the certain to the possible. A chain that is
long and regular is certain. It shows how broken lines are drawn in this view: shorter chains with the same gaps and
lengths are taken too. At last, strokes that continue a broken line around a corner or into other ink are added. A view
without a certain chain has no broken lines, so hatching, stipple and contour strokes with gaps stay what they are.

Gaps of less than half a millimetre at 300 dpi do not count: scanning tears fine lines apart in such pieces, and screens
of dots are as fine.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from patentdata.views.broken_lines.chains import (
    Chains,
    Joined,
    Links,
    best_of,
    find_neighbours,
    is_paper_between,
    join_strokes,
    link_tips,
    measure_chains,
)
from patentdata.views.broken_lines.outlines import Outlines, trace_outlines
from patentdata.views.broken_lines.strokes import ARM, DASH, DOT, REACH, Strokes, find_arms, find_dashes, find_dots

_MANY_PIECES = 20_000  # of ink: a screen of dots, which are left out
_MOST_PIECES = 40_000  # of ink, or of paper: the time to trace outlines grows with the square of their number
_DOT_AREA = 12  # px; the dots of a screen are not larger
_FEWEST_DASHES = 3
_LEAST_GAP = 4.5  # px
_CERTAIN_STROKES = 5  # in a chain of equal dashes
_LONG_CHAIN = 8  # strokes; shorter ones have to be more regular
_CERTAIN_PAIRS = 4  # of strokes one period apart, in a chain of unequal ones
_MANY_STROKES = 12  # in short chains of equal gaps and lengths
_LONGEST_DASH = 5.5  # times the gap, if all are equal
_LONGEST_OF_UNEQUAL = 16.0  # times the gap
_TAPERED = 0.89  # strokes whose fullness is less are leaves or ellipses
_CROSSED = 0.7  # of the outline of a piece of ink: if its broken arms are that long, all of it is broken
_FINE = 0.75  # times the width of the dashes; finer loose strokes are shading
_LONGEST_SHADING = 260.0  # px; longer loose strokes are contours
_SPECK = 8  # px; shorter pieces of ink are stipple


@dataclass(frozen=True, kw_only=True)
class BrokenLines:
    """The broken lines of a view.

    Attributes:
        share: Share of the length of all lines that is drawn broken, gaps included, 0 to 1; shading does not count.
            None if the view is a screen of dots with too many pieces to look at.
        mask: (height_px, width_px) bool, True for ink of broken lines; None if there is none.
    """

    share: float | None
    mask: np.ndarray | None


NONE_FOUND = BrokenLines(share=0.0, mask=None)


def find_broken_lines(page: np.ndarray) -> BrokenLines:
    """The broken lines of a view.

    Args:
        page: (height_px, width_px) uint8, 0 is ink and 255 is paper, at full resolution.
    """
    is_ink = page < 128
    ink: np.ndarray = is_ink.view(np.uint8)
    # Fine lines are often torn by scanning, and full of pinholes; gaps between dashes are wider than that.
    ink = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    if cv2.countNonZero(cv2.absdiff(ink[:, 1:], ink[:, :-1])) > 2 * _MANY_PIECES:  # each begins and ends in a row
        ink = _without_dots(ink) if _num_pieces(ink) > _MANY_PIECES else ink
        if max(_num_pieces(ink), _num_pieces(1 - ink)) > _MOST_PIECES:
            return BrokenLines(share=None, mask=None)
    outlines = trace_outlines(ink)
    strokes = find_dashes(outlines)
    if len(strokes.kinds) < _FEWEST_DASHES:
        return NONE_FOUND
    width = float(np.median(strokes.widths))
    strokes += find_dots(outlines, strokes)
    near = find_neighbours(strokes, np.arange(len(strokes.tip_points)), REACH)
    joined = join_strokes(strokes, link_tips(ink, strokes, near, width))
    if not _may_have_broken_lines(strokes, joined):
        return NONE_FOUND
    strokes += find_arms(outlines, strokes, width)
    near = find_neighbours(strokes, _free_tips(strokes, joined.links), REACH)
    joined = join_strokes(strokes, joined.links + link_tips(ink, strokes, near, width))
    chains = measure_chains(strokes, joined)
    is_certain = _is_certain(chains)
    if not is_certain.any():
        return NONE_FOUND
    is_broken = _with_continuations(ink, strokes, near, chains, is_certain)
    is_whole = _whole_outlines(outlines, strokes, is_broken)
    covered = _covered(outlines, strokes, is_broken, is_whole, page.shape)
    abutting = _abutting(ink, covered, strokes, is_broken, _styles_of(chains, is_certain))
    is_broken[abutting], is_whole[strokes.outlines[abutting]] = True, True
    cv2.drawContours(covered, [outlines.contours[index] for index in strokes.outlines[abutting]], -1, 1, cv2.FILLED)
    share = _share(outlines, strokes, chains.links, is_broken, is_whole)
    return BrokenLines(share=share, mask=covered.view(bool) & is_ink)


def without_broken_lines(page: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The view with the ink of its broken lines replaced by paper, and nothing else changed."""
    return cv2.bitwise_or(page, np.negative(mask.view(np.uint8)))  # the negative of 1 is 255


def _num_pieces(ink: np.ndarray) -> int:
    """Number of pieces of ink, from above and closely: of the pixels with no ink above or to the left of them."""
    above_or_left = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8)
    beside = cv2.dilate(ink, above_or_left, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return cv2.countNonZero(cv2.subtract(ink, beside))


def _without_dots(ink: np.ndarray) -> np.ndarray:
    """The ink without the dots of a screen."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    is_kept = stats[:, cv2.CC_STAT_AREA] > _DOT_AREA
    is_kept[0] = False  # paper
    without: np.ndarray = is_kept.view(np.uint8)[pieces]
    return without


def _may_have_broken_lines(strokes: Strokes, joined: Joined) -> bool:
    """Whether any chain of dashes and dots can be a broken line when arms have been added to it."""
    num_strokes = np.bincount(joined.of_stroke, minlength=joined.num_chains)
    return bool(((num_strokes >= _FEWEST_DASHES) & (joined.gaps(strokes) >= _LEAST_GAP)).any())


def _is_certain(chains: Chains) -> np.ndarray:
    """(num_chains,) True for chains that are broken lines by themselves: long and regular, or short, exact and many."""
    gap_spread = chains.gap_spread / chains.gap
    is_even = (chains.period_spreads[0] <= 0.3) | (chains.length_spread <= 0.2)
    is_even &= chains.length <= _LONGEST_DASH * chains.gap
    is_alternating = (
        ((chains.period_spreads[1:] <= 0.25) & (chains.num_pairs[1:] >= _CERTAIN_PAIRS)).any(axis=0)
        & (chains.longest <= _LONGEST_OF_UNEQUAL * chains.gap)
        & (chains.num_strokes > _CERTAIN_STROKES)
    )
    is_spaced = (gap_spread <= 0.2) | (chains.gap_spread <= 0.8)
    is_spaced |= (gap_spread <= 0.3) & (chains.period_spreads[0] <= 0.2)
    is_long = chains.num_strokes >= _LONG_CHAIN
    is_exact = (gap_spread <= 0.15) & ((chains.length_spread <= 0.15) | is_alternating)
    is_plain = (chains.gap >= _LEAST_GAP) & (chains.length >= 0.4 * chains.gap) & ~(chains.fullness < _TAPERED)
    is_certain = (chains.num_dashes >= _FEWEST_DASHES) & (chains.num_strokes >= _CERTAIN_STROKES)
    is_certain &= (is_even | is_alternating) & (is_long & is_spaced | is_exact) & is_plain
    is_short = is_plain & is_even & is_exact & (chains.num_dashes >= _FEWEST_DASHES)
    return is_certain | _are_many_alike(chains, is_short)


def _are_many_alike(chains: Chains, is_short: np.ndarray) -> np.ndarray:
    """(num_chains,) True for short chains of about the same gap and length, if all together they have many strokes."""
    if not is_short.any():
        return is_short
    is_alike = is_short.copy()
    for measure, factor in ((chains.gap, 1.25), (chains.length, 1.5)):
        usual = np.median(measure[is_short])
        is_alike &= (measure >= usual / factor) & (measure <= usual * factor)
    return is_alike & (chains.num_strokes[is_alike].sum() >= _MANY_STROKES)


@dataclass(frozen=True, kw_only=True)
class _Styles:
    """How the certain broken lines of a view are drawn: gap, lengths and width of each, in pixels."""

    gap: np.ndarray
    length: np.ndarray
    longest: np.ndarray
    width: np.ndarray


def _styles_of(chains: Chains, is_certain: np.ndarray) -> _Styles:
    is_even = (chains.period_spreads[0] <= 0.3) | (chains.length_spread <= 0.2)
    is_even &= chains.length <= _LONGEST_DASH * chains.gap
    longest = np.where(is_even, 1.3 * chains.length, chains.longest)
    return _Styles(
        gap=chains.gap[is_certain],
        length=chains.length[is_certain],
        longest=longest[is_certain],
        width=chains.width[is_certain],
    )


def _fades_out(chains: Chains, styles: _Styles) -> np.ndarray:
    """(num_chains,) True for ends of contours: they fade out from strokes longer than any dash of the view."""
    return chains.fades_from > 1.35 * styles.longest.max()


def _longest_dashes(chains: Chains, is_certain: np.ndarray, styles: _Styles) -> np.ndarray:
    """(num_chains,) length up to which strokes belong to the chain, for chains in a style of the view; 0 for others."""
    gap, longest = chains.gap[:, None], chains.longest[:, None]
    with np.errstate(invalid="ignore"):
        other_width = np.abs(np.log(chains.width[:, None] / styles.width)) > np.log(1.8)
        is_alike = (np.abs(np.log(np.maximum(gap, 0.1) / styles.gap)) <= np.log(1.6)) & ~other_width
    is_alike &= (longest <= 1.35 * styles.longest) & (longest >= 0.25 * styles.length)
    is_spaced = (chains.gap_spread <= 0.4 * chains.gap) | (chains.gap_spread <= 2)
    is_plain = (chains.num_strokes >= 2) & ~_fades_out(chains, styles) & ~(chains.fullness < _TAPERED)
    is_plain &= 2 * chains.num_dots <= chains.num_strokes * bool(chains.num_dots[is_certain].any())
    is_alike &= (is_spaced & is_plain)[:, None]
    reach = np.where(is_alike, styles.longest, 0).max(axis=1)
    reach[is_certain] = np.maximum(reach[is_certain], styles.longest)
    return reach


def _with_continuations(
    ink: np.ndarray, strokes: Strokes, near: Links, chains: Chains, is_certain: np.ndarray
) -> np.ndarray:
    """(num_strokes,) True for the strokes of broken lines: of chains, and of what continues them around corners."""
    styles = _styles_of(chains, is_certain)
    reach_of = _longest_dashes(chains, is_certain, styles)
    in_chain = (reach_of > 0)[chains.of_stroke]
    longest = float(styles.longest.max())
    widest = 1.8 * float(np.nanmax(np.append(chains.width[reach_of > 0], 0))) + 0.5
    # A dash that bends around a corner, or where a line begins and ends, can be almost two dashes long.
    is_fitting = (strokes.lengths <= longest * np.where(strokes.kinds == ARM, 1.05, 1.6)) & ~(strokes.widths > widest)
    is_fitting &= (strokes.fullness >= _TAPERED) & ~_fades_out(chains, styles)[chains.of_stroke]
    is_fitting &= (strokes.kinds != DOT) | bool(chains.num_dots[is_certain].any())
    is_fitting |= in_chain
    is_free = is_fitting[strokes.tip_strokes]
    is_free[chains.links.tips.ravel()] = False
    near = near.where(is_free[near.tips].all(axis=1) & (near.gaps <= 1.6 * float(styles.gap.max()) + 3))
    corners = _corner_links(ink, strokes, near)
    edges = strokes.tip_strokes[np.concatenate([chains.links.tips, corners])]
    reach = np.where(in_chain, reach_of[chains.of_stroke], np.inf)
    lengths = strokes.lengths
    is_joint = (lengths[edges] <= 1.6 * reach[edges[:, ::-1]]).all(axis=1) & is_fitting[edges].all(axis=1)
    edges = edges[is_joint | in_chain[edges].all(axis=1)]
    num = len(strokes.kinds)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(num, num))
    num_groups, group = connected_components(graph, directed=False)
    is_usual = (lengths <= 1.6 * longest) & (lengths >= 0.2 * longest) & (strokes.kinds == DASH)
    # Three dashes of the usual length, one of them perhaps bent, need no longer chain: small shapes have no more.
    is_broken_group = np.bincount(group[is_usual], minlength=num_groups) >= 3
    is_broken_group &= np.bincount(group[~is_usual & (strokes.kinds == DASH)], minlength=num_groups) == 0
    is_broken_group[group[in_chain]] = True
    return is_broken_group[group] & is_fitting


def _abutting(
    ink: np.ndarray, covered: np.ndarray, strokes: Strokes, is_broken: np.ndarray, styles: _Styles
) -> np.ndarray:
    """Indices of dashes of the usual length and width that point, across no more than a gap, at a broken line."""
    is_usual = (strokes.lengths >= 0.5 * styles.length.min()) & (strokes.lengths <= 1.15 * styles.length.max())
    is_usual &= (strokes.widths >= styles.width.min() / 1.3) & (strokes.widths <= 1.3 * styles.width.max())
    is_usual &= (strokes.kinds == DASH) & (strokes.fullness >= _TAPERED) & ~is_broken
    tips = np.flatnonzero(is_usual[strokes.tip_strokes])
    reach = np.arange(3.0, 1.6 * float(np.median(styles.gap)) + 3)
    way = strokes.tip_points[tips][:, None] + strokes.tip_directions[tips][:, None] * reach
    row = np.clip(np.rint(way.imag).astype(np.int64), 0, ink.shape[0] - 1)
    column = np.clip(np.rint(way.real).astype(np.int64), 0, ink.shape[1] - 1)
    met = ink[row, column] > 0
    first = met.argmax(axis=1)[:, None]
    is_hit = met.any(axis=1) & (np.take_along_axis(covered[row, column], first, axis=1)[:, 0] > 0)
    return np.unique(strokes.tip_strokes[tips[is_hit]])


def _free_tips(strokes: Strokes, links: Links) -> np.ndarray:
    """Indices of the tips without a link."""
    is_free = np.ones(len(strokes.tip_points), bool)
    is_free[links.tips.ravel()] = False
    return np.flatnonzero(is_free)


def _corner_links(ink: np.ndarray, strokes: Strokes, near: Links) -> np.ndarray:
    """(num_links, 2) each tip and the nearest other one that is ahead of it or has it ahead, across paper."""
    first, second = near.tips.T
    step = strokes.tip_points[second] - strokes.tip_points[first]
    ahead = (step * strokes.tip_directions[first].conj()).real
    back = -(step * strokes.tip_directions[second].conj()).real
    is_corner = (np.maximum(ahead, back) >= 0.5 * near.gaps - 1) & (np.minimum(ahead, back) >= -0.25 * near.gaps - 1)
    near = near.where(is_corner)
    near = near.where(is_paper_between(ink, strokes, near))
    best = best_of(near.tips, near.gaps, len(strokes.tip_points))
    linked = np.flatnonzero(best >= 0)
    return np.stack([linked, best[linked]], axis=1)


def _whole_outlines(outlines: Outlines, strokes: Strokes, is_broken: np.ndarray) -> np.ndarray:
    """(num_outlines,) True for pieces of ink that are broken as a whole: dashes, dots, dashes that cross or meet."""
    is_arm = is_broken & (strokes.kinds == ARM)
    in_arms = np.bincount(strokes.outlines[is_arm], strokes.lengths[is_arm], len(outlines.sizes))
    is_whole = in_arms >= _CROSSED * outlines.perimeters / 2
    is_whole &= ~outlines.is_hole & ~outlines.has_hole
    is_whole[strokes.outlines[is_broken & ~is_arm]] = True
    return is_whole


def _covered(
    outlines: Outlines, strokes: Strokes, is_broken: np.ndarray, is_whole: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """(height_px, width_px) uint8, 1 for what is inside the outlines of broken strokes."""
    mask = np.zeros(shape, np.uint8)
    cv2.drawContours(mask, [outlines.contours[index] for index in np.flatnonzero(is_whole)], -1, 1, cv2.FILLED)
    for arm in np.flatnonzero(is_broken & (strokes.kinds == ARM) & ~is_whole[strokes.outlines]):
        outline, reach = strokes.outlines[arm], max(int(strokes.lengths[arm]) - 2, 1)
        points = outlines.at(outline, strokes.arm_tips[arm] + np.arange(-reach, reach + 1))
        cv2.fillPoly(mask, [np.stack([points.real, points.imag], axis=1).astype(np.int32)], 1)
    return mask


def _share(outlines: Outlines, strokes: Strokes, links: Links, is_broken: np.ndarray, is_whole: np.ndarray) -> float:
    """Length of the broken lines, gaps included, as a share of the length of all lines."""
    in_line = is_broken[strokes.tip_strokes[links.tips]].all(axis=1)
    broken = strokes.lengths[is_broken].sum() + links.gaps[in_line].sum()
    width = float(np.median(strokes.widths[is_broken & (strokes.kinds == DASH)]))
    is_line = ~is_whole & (outlines.lengths >= _SPECK)
    is_line &= outlines.has_hole | (outlines.widths > _FINE * width)
    # Loose strokes are shading, unless they are shapes of their own.
    is_shading = (strokes.kinds != ARM) & (strokes.fullness >= _TAPERED) & (strokes.lengths <= _LONGEST_SHADING)
    is_line[strokes.outlines[is_shading]] = False
    is_line &= ~outlines.is_hole
    # A line is half as long as its outline; a fill has less ink than that.
    lengths = np.minimum(outlines.ink_perimeters() / 2, outlines.ink_areas() / width)
    in_arms = strokes.lengths[is_broken & (strokes.kinds == ARM) & ~is_whole[strokes.outlines]].sum()
    others = max(float(lengths[is_line].sum() - in_arms), 0.0)
    return float(broken / (broken + others))
