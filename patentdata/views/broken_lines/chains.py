"""Strokes joined to chains: each tip is linked to the tip that continues it best, if that tip agrees.

What makes a chain a broken line is regularity. A draughtsman's dashes have equal gaps, and lengths that repeat: every
one, every second one (dash-dot) or every third one (dash-dot-dot). Shading and contour strokes, which fade out in
shorter and shorter pieces, do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from patentdata.views.broken_lines.strokes import ARM, DASH, DOT, Strokes

PERIODS = (1, 2, 3)  # strokes after which the lengths of a broken line repeat
_NEIGHBOURS = 6  # of a tip, among which its continuation is searched
_PRUNINGS = 2
_WIDEST_GAP = 3.0  # times the longer of its two strokes
_SIDEWAYS = 0.62  # of the gap: a continuation is at most this far beside the direction of a tip
_LENGTH_ERROR = 6.0  # px by which equal strokes may differ: those of dots differ by a large share of their length
EQUAL = 0.3  # natural logarithm of the ratio of two lengths that are about equal
_CLEAR_STEPS = 12  # samples between two tips, all of which must be paper
_END_INSET = 2.5  # px from a tip that are not sampled: tips are known to a pixel or two


@dataclass(frozen=True, kw_only=True)
class Links:
    """Pairs of tips, and the gap between them in pixels."""

    tips: np.ndarray
    gaps: np.ndarray

    def where(self, kept: np.ndarray) -> Links:
        """The links for which `kept` is True."""
        return Links(tips=self.tips[kept], gaps=self.gaps[kept])

    def __add__(self, other: Links) -> Links:
        return Links(tips=np.concatenate([self.tips, other.tips]), gaps=np.concatenate([self.gaps, other.gaps]))


@dataclass(frozen=True, kw_only=True)
class Chains:
    """Chains of strokes, with measures of each.

    Attributes:
        of_stroke: (num_strokes,) index of the chain of each stroke.
        links: The links within the chains.
        num_strokes: (num_chains,) number of strokes.
        num_dashes: (num_chains,) number of those that are dashes.
        num_dots: (num_chains,) number of those that are dots.
        gap: (num_chains,) median gap in pixels.
        gap_spread: (num_chains,) median distance of the gaps from the median gap.
        length: (num_chains,) median length of dashes and dots in pixels.
        length_spread: (num_chains,) median distance of the lengths from the median length, as a natural logarithm.
        longest: (num_chains,) length of the longest dash.
        width: (num_chains,) median width of the dashes in pixels.
        fullness: (num_chains,) median fullness of the dashes.
        period_spreads: (3, num_chains) for each of `PERIODS`, by how much lengths so many strokes apart differ: the
            natural logarithm of their ratio that three in five pairs do not exceed, infinite without such a pair.
        num_pairs: (3, num_chains) number of pairs that it is taken from.
        fades_from: (num_chains,) if the strokes differ in length and a far longer one precedes or follows, as in a
            contour that fades out, the length of that; else 0.
    """

    of_stroke: np.ndarray
    links: Links
    num_strokes: np.ndarray
    num_dashes: np.ndarray
    num_dots: np.ndarray
    gap: np.ndarray
    gap_spread: np.ndarray
    length: np.ndarray
    length_spread: np.ndarray
    longest: np.ndarray
    width: np.ndarray
    fullness: np.ndarray
    period_spreads: np.ndarray
    num_pairs: np.ndarray
    fades_from: np.ndarray


def find_neighbours(strokes: Strokes, tips: np.ndarray, reach: float) -> Links:
    """Pairs (tip, near tip of another stroke), each tip with a few neighbours.

    Args:
        strokes: The strokes.
        tips: Indices of the tips to pair.
        reach: Largest distance in pixels.
    """
    num = min(_NEIGHBOURS, len(tips))
    if num < 2:
        return Links(tips=np.zeros((0, 2), np.int64), gaps=np.zeros(0))
    points = strokes.tip_points[tips]
    xy = np.stack([points.real, points.imag], axis=1)
    distance, index = cKDTree(xy, balanced_tree=False).query(xy, k=num, distance_upper_bound=reach)
    is_found = np.isfinite(distance)
    is_found[:, 0] = False  # the tip itself
    pairs = np.stack([np.repeat(tips, is_found.sum(axis=1)), tips[index[is_found]]], axis=1)
    is_other = strokes.tip_strokes[pairs[:, 0]] != strokes.tip_strokes[pairs[:, 1]]
    return Links(tips=pairs[is_other], gaps=distance[is_found][is_other])


def link_tips(ink: np.ndarray, strokes: Strokes, near: Links, width: float) -> Links:
    """The pairs of which each tip is the best continuation of the other.

    Args:
        ink: (height_px, width_px) uint8, 1 is ink; a gap is paper.
        strokes: The strokes.
        near: Pairs of tips to choose from, each in both orders.
        width: Usual width of a stroke in pixels.
    """
    lengths = strokes.lengths[strokes.tip_strokes[near.tips]].max(axis=1)
    widths = strokes.widths[strokes.tip_strokes[near.tips]]
    is_other_pen = np.abs(widths[:, 0] - widths[:, 1]) > np.maximum(widths.min(axis=1), 2)
    near = near.where((near.gaps <= _WIDEST_GAP * lengths + 3) & ~is_other_pen)
    directions = strokes.tip_directions[near.tips]
    step = strokes.tip_points[near.tips[:, 1]] - strokes.tip_points[near.tips[:, 0]]
    seen, seen_back = step * directions[:, 0].conj(), -step * directions[:, 1].conj()
    beside = np.maximum(np.abs(seen.imag), np.abs(seen_back.imag))
    slack = 0.35 * width + 0.7
    is_smooth = (np.minimum(seen.real, seen_back.real) > 0.3 * near.gaps - 1) & (
        beside <= _SIDEWAYS * near.gaps + slack
    )
    is_smooth &= (directions[:, 0] * directions[:, 1].conj()).real < 0
    aside = np.maximum(np.abs(seen.imag) - slack, 0) + np.maximum(np.abs(seen_back.imag) - slack, 0)
    near, aside = near.where(is_smooth), aside[is_smooth]
    is_free = is_paper_between(ink, strokes, near)
    near, aside = near.where(is_free), aside[is_free]
    best = best_of(near.tips, near.gaps + 1.2 * aside, len(strokes.tip_points))
    first, second = near.tips.T
    return near.where((first < second) & (best[first] == second) & (best[second] == first))


def is_paper_between(ink: np.ndarray, strokes: Strokes, pairs: Links) -> np.ndarray:
    """(num_pairs,) True if no ink is met on the straight way from one tip to the other."""
    first = strokes.tip_points[pairs.tips[:, 0]][:, None]
    step = strokes.tip_points[pairs.tips[:, 1]][:, None] - first
    inset = np.minimum(_END_INSET / np.maximum(pairs.gaps, 1e-6), 0.45)[:, None]
    way = first + step * (inset + (1 - 2 * inset) * np.linspace(0, 1, _CLEAR_STEPS))
    row = np.clip(np.rint(way.imag).astype(np.int64), 0, ink.shape[0] - 1)
    column = np.clip(np.rint(way.real).astype(np.int64), 0, ink.shape[1] - 1)
    return ~ink[row, column].any(axis=1)


def best_of(pairs: np.ndarray, cost: np.ndarray, num_tips: int) -> np.ndarray:
    """(num_tips,) the second tip of the cheapest pair that begins with each tip; -1 if there is none."""
    best = np.full(num_tips, -1)
    order = np.lexsort((pairs[:, 1], cost, pairs[:, 0]))[::-1]
    best[pairs[order, 0]] = pairs[order, 1]  # the last one written is the cheapest
    return best


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Strokes joined by links.

    Attributes:
        links: The links that fit their chains.
        of_stroke: (num_strokes,) index of the chain of each stroke.
        num_chains: Number of chains, those of a single stroke included.
        follows: (num_strokes,) length in pixels of a far longer stroke that a stroke was linked to; 0 if there is none.
    """

    links: Links
    of_stroke: np.ndarray
    num_chains: int
    follows: np.ndarray

    def gaps(self, strokes: Strokes) -> np.ndarray:
        """(num_chains,) median gap in pixels; NaN for single strokes."""
        return group_quantile(self.links.gaps, self.of_link(strokes), self.num_chains)

    def of_link(self, strokes: Strokes) -> np.ndarray:
        """(num_links,) index of the chain of each link."""
        return self.of_stroke[strokes.tip_strokes[self.links.tips[:, 0]]]


def join_strokes(strokes: Strokes, links: Links) -> Joined:
    """The chains that `links` make, without links that do not fit the rest of their chain."""
    num, chain = _components(strokes, links)
    follows = np.zeros(len(strokes.kinds))
    for _ in range(_PRUNINGS):
        of_link = chain[strokes.tip_strokes[links.tips[:, 0]]]
        gap = group_quantile(links.gaps, of_link, num)[of_link]
        is_usual = (links.gaps <= 1.8 * gap + 2.5) & (links.gaps >= gap / 2 - 2)
        is_next_to_long = _is_next_to_long(strokes, links, chain)
        fits = is_usual & ~is_next_to_long
        if fits.all():
            break
        pairs = strokes.tip_strokes[links.tips[is_next_to_long]]
        np.maximum.at(follows, pairs.ravel(), strokes.lengths[pairs[:, ::-1]].ravel())
        links = links.where(fits)
        num, chain = _components(strokes, links)
    return Joined(links=links, of_stroke=chain, num_chains=num, follows=follows)


def _is_next_to_long(strokes: Strokes, links: Links, chain: np.ndarray) -> np.ndarray:
    """(num_links,) True for links of a stroke that is far longer than all others of its chain."""
    order = np.lexsort((strokes.lengths, chain))
    lengths, chains = strokes.lengths[order], chain[order]
    is_last = np.append(chains[1:] != chains[:-1], True)
    longer = np.append(1.0, lengths[1:] / np.maximum(lengths[:-1], 1))
    is_alone = np.zeros(len(order), bool)
    is_alone[order] = is_last & np.append(False, ~is_last[:-1]) & (longer > 2.3) & (lengths > 30)
    return is_alone[strokes.tip_strokes[links.tips]].any(axis=1)


def _components(strokes: Strokes, links: Links) -> tuple[int, np.ndarray]:
    """Number of chains, and the chain of each stroke."""
    edges, num = strokes.tip_strokes[links.tips], len(strokes.kinds)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(num, num))
    return connected_components(graph, directed=False)


def measure_chains(strokes: Strokes, joined: Joined) -> Chains:
    """The chains with what tells broken lines from others."""
    links, chain, num = joined.links, joined.of_stroke, joined.num_chains
    of_link, gap = joined.of_link(strokes), joined.gaps(strokes)
    whole, dash = strokes.kinds != ARM, strokes.kinds == DASH
    of_whole, lengths = chain[whole], strokes.lengths[whole]
    length = group_quantile(lengths, of_whole, num)
    longest = np.zeros(num)
    np.maximum.at(longest, of_whole, lengths)
    fades_from = np.zeros(num)
    np.maximum.at(fades_from, chain, joined.follows)
    spreads, num_pairs = _period_spreads(strokes, links, chain, num)
    return Chains(
        of_stroke=chain,
        links=links,
        num_strokes=np.bincount(chain, minlength=num),
        num_dashes=np.bincount(chain[dash], minlength=num),
        num_dots=np.bincount(chain[strokes.kinds == DOT], minlength=num),
        gap=gap,
        gap_spread=group_quantile(np.abs(links.gaps - gap[of_link]), of_link, num),
        length=length,
        length_spread=group_quantile(np.abs(np.log(lengths / length[of_whole])), of_whole, num),
        longest=longest,
        width=group_quantile(strokes.widths[dash], chain[dash], num),
        fullness=group_quantile(strokes.fullness[dash], chain[dash], num),
        period_spreads=spreads,
        num_pairs=num_pairs,
        fades_from=np.where(spreads[0] > EQUAL, fades_from, 0),
    )


def _period_spreads(strokes: Strokes, links: Links, chain: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """As `Chains.period_spreads` and `Chains.num_pairs`."""
    edges = strokes.tip_strokes[links.tips]
    following = np.full((len(strokes.kinds), 2), -1)  # the one or two strokes that each is linked to
    for here, there in (edges.T, edges.T[::-1]):
        order = np.argsort(here, kind="stable")
        here, there = here[order], there[order]
        is_again = np.append(False, here[1:] == here[:-1])[: len(here)]
        following[here, np.minimum((following[here, 0] >= 0) + is_again, 1)] = there

    def beyond(stroke: np.ndarray, previous: np.ndarray) -> np.ndarray:
        return np.where(following[stroke, 0] == previous, following[stroke, 1], following[stroke, 0])

    middle = np.flatnonzero((following >= 0).all(axis=1))
    outer = np.stack([beyond(edges[:, 0], edges[:, 1]), beyond(edges[:, 1], edges[:, 0])], axis=1)
    pairs_of = (edges, following[middle], outer[(outer >= 0).all(axis=1)])
    spreads, num_pairs = np.full((len(PERIODS), num), np.inf), np.zeros((len(PERIODS), num), np.int64)
    lengths = np.log(strokes.lengths + _LENGTH_ERROR)
    for index, pairs in enumerate(pairs_of):
        pairs = pairs[(strokes.kinds[pairs] != ARM).all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
        apart, of_pair = np.abs(lengths[pairs[:, 0]] - lengths[pairs[:, 1]]), chain[pairs[:, 0]]
        num_pairs[index] = np.bincount(of_pair, minlength=num)
        spreads[index] = np.nan_to_num(group_quantile(apart, of_pair, num, 0.6), nan=np.inf)
    return spreads, num_pairs


def group_quantile(values: np.ndarray, groups: np.ndarray, num_groups: int, quantile: float = 0.5) -> np.ndarray:
    """(num_groups,) a quantile of the values of each group, the lower neighbour if it is between two; NaN if empty."""
    counts = np.bincount(groups, minlength=num_groups)
    quantiles = np.full(num_groups, np.nan)
    if len(values):
        rank = np.cumsum(counts) - counts + ((counts - 1) * quantile).astype(np.int64)
        has_values = counts > 0
        quantiles[has_values] = values[np.lexsort((values, groups))][rank[has_values]]
    return quantiles
