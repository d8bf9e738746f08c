"""Strokes with free ends: what dashes can be made of.

There are three kinds. A dash is a piece of ink of its own, straight or bent. A dot is about as long as it is wide. An
arm is the free end of a stroke that is part of larger ink: the last dash of a line that runs into another line, or half
of a dash that crosses one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from patentdata.views.broken_lines.outlines import Outlines

DASH, DOT, ARM = 0, 1, 2
REACH = 70.0  # px; wider gaps are not looked across
_MAX_DASH = 500.0  # px; longer strokes are lines
_MAX_WIDTH = 14.0  # px
_MAX_DOT = 14.0  # px
_ELONGATED = 1.7  # times its width is the least length of a dash
_MAX_ARM = 200.0  # px
_TAPERED_FROM = 4.5  # px; whether narrower strokes taper cannot be seen
_NEIGHBOURS = 6  # of a dot, in search of two that are on opposite sides


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """Strokes and their tips, the free ends.

    Attributes:
        kinds: (num_strokes,) DASH, DOT or ARM.
        outlines: (num_strokes,) index of the outline that each is, or is part of.
        lengths: (num_strokes,) px, along the stroke.
        widths: (num_strokes,) px; NaN for arms.
        fullness: (num_strokes,) ink as a share of that of a stroke with round ends, as long and as wide in the middle:
            1 or more for strokes of the pen, less for leaves and ellipses.
        arm_tips: (num_strokes,) steps from the start of the outline to the tip of an arm; 0 for other kinds.
        tip_points: (num_tips,) complex, x + iy in pixels.
        tip_directions: (num_tips,) complex of absolute value 1, out of the stroke.
        tip_strokes: (num_tips,) index of the stroke of each tip.
    """

    kinds: np.ndarray
    outlines: np.ndarray
    lengths: np.ndarray
    widths: np.ndarray
    fullness: np.ndarray
    arm_tips: np.ndarray
    tip_points: np.ndarray
    tip_directions: np.ndarray
    tip_strokes: np.ndarray

    def __add__(self, other: Strokes) -> Strokes:
        """The strokes of both; those of `other` come last."""
        return Strokes(
            **{
                name: np.concatenate([getattr(self, name), getattr(other, name)])
                for name in self.__dataclass_fields__
                if name != "tip_strokes"
            },
            tip_strokes=np.concatenate([self.tip_strokes, other.tip_strokes + len(self.kinds)]),
        )


def find_dashes(outlines: Outlines) -> Strokes:
    """The pieces of ink that are strokes of one width, from tip to tip."""
    ids = np.flatnonzero(
        ~outlines.is_hole
        & ~outlines.has_hole
        & (outlines.widths <= _MAX_WIDTH)
        & (outlines.lengths <= _MAX_DASH)
        & (outlines.lengths >= np.maximum(_ELONGATED * outlines.widths, 5))
        & (outlines.sizes >= 8)
    )
    first, second, cap = _two_tips(outlines, ids)
    # A cross or a fork has the outline of a long stroke, but not its width.
    sides = [np.rint(share * outlines.sizes[ids]).astype(np.int64) for share in (0.12, 0.25, 0.38)]
    spans = np.stack([outlines.at(ids, first + k) - outlines.at(ids, first - k) for k in sides])
    is_plain = (np.abs(spans) <= 2.4 * outlines.widths[ids] + 2.5).all(axis=0)
    ids, first, second, cap, spans = ids[is_plain], first[is_plain], second[is_plain], cap[is_plain], spans[:, is_plain]
    points, directions = _tips(outlines, np.tile(ids, 2), np.concatenate([first, second]), np.tile(cap, 2))
    lengths, widths = outlines.lengths[ids], outlines.widths[ids]
    axis = points[: len(ids)] - points[len(ids) :]
    span = np.abs(axis)
    is_straight = span >= 0.95 * (lengths - 1) - 1
    axis = axis / np.maximum(span, 1e-6)
    directions = np.where(np.tile(is_straight, 2), np.concatenate([axis, -axis]), directions)
    across = np.abs((spans[1] * axis.conj()).imag) + 1
    areas = outlines.areas[ids] + outlines.sizes[ids] / 2 + 1
    fullness = areas / ((span + 1 - across) * across + np.pi / 4 * across**2)
    return Strokes(
        kinds=np.full(len(ids), DASH),
        outlines=ids,
        lengths=lengths,
        widths=widths,
        fullness=np.where(is_straight & (widths >= _TAPERED_FROM), fullness, 1.0),
        arm_tips=np.zeros(len(ids), np.int64),
        tip_points=points,
        tip_directions=directions,
        tip_strokes=np.tile(np.arange(len(ids)), 2),
    )


def _two_tips(outlines: Outlines, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps to both tips of each outline, and the steps from a tip to where the full width is reached."""
    sizes = outlines.sizes[ids]
    cap = np.minimum(np.maximum(sizes // 6, 2), np.rint(1.5 * outlines.widths[ids] + 2).astype(np.int64))
    steps, starts = _all_steps(sizes)
    base, size = np.repeat(outlines.starts[ids], sizes), np.repeat(sizes, sizes)
    # At a tip the outline turns back: points a few steps before and after it are only a stroke width apart.
    apart = np.zeros(len(steps), np.float32)
    for reach in (np.repeat(cap, sizes), np.repeat(np.maximum(cap // 2, 1), sizes)):
        apart += np.abs(outlines.points[base + (steps + reach) % size] - outlines.points[base + (steps - reach) % size])
    first = steps[_first_lowest(apart, starts, sizes)]
    distance = np.abs(steps - np.repeat(first, sizes))
    is_near = np.minimum(distance, size - distance) < size // 4
    second = steps[_first_lowest(np.where(is_near, np.float32(1e9), apart), starts, sizes)]
    return first, second, cap


def _all_steps(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0, 1, … for each outline in turn, and where each begins."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) - np.repeat(starts, sizes), starts


def _first_lowest(values: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Index of the first lowest value of each stretch."""
    if not len(starts):
        return np.zeros(0, np.int64)
    lowest = np.repeat(np.minimum.reduceat(values, starts), sizes)
    hits = np.flatnonzero(values == lowest)
    return hits[np.searchsorted(hits, starts)]


def _tips(outlines: Outlines, ids: np.ndarray, steps: np.ndarray, cap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Point and direction of the tips at `steps`; `cap` is the steps from a tip to the full width."""
    deep = np.minimum(np.maximum(cap // 2 + np.maximum(cap // 2 + 2, 5), 6), np.maximum(outlines.sizes[ids] // 4, 1))
    near, far = (
        (outlines.at(ids, steps + k) + outlines.at(ids, steps - k)) / 2 for k in (np.maximum(cap // 2, 1), deep)
    )
    direction = near - far
    direction = direction / np.maximum(np.abs(direction), 1e-6)
    beyond = ((outlines.at(ids, steps) - near) * direction.conj()).real
    return near + direction * np.maximum(beyond, 0), direction


def find_dots(outlines: Outlines, dashes: Strokes) -> Strokes:
    """The dots that are between two neighbours on opposite sides, as those of a dotted or dash-dot line are."""
    is_dot = ~outlines.is_hole & ~outlines.has_hole & (outlines.widths <= _MAX_WIDTH)
    is_dot &= (outlines.lengths <= _MAX_DOT) & (outlines.lengths >= 2)
    is_dot[dashes.outlines] = False
    is_dot &= outlines.lengths < _ELONGATED * outlines.widths + 1
    ids = np.flatnonzero(is_dot)
    if not len(ids):
        return _no_strokes()
    steps, starts = _all_steps(outlines.sizes[ids])
    points = outlines.points[np.repeat(outlines.starts[ids], outlines.sizes[ids]) + steps]
    middles = np.add.reduceat(points, starts) / outlines.sizes[ids]
    direction = _directions_of_dots(middles, outlines.lengths[ids], dashes.tip_points)
    kept = np.abs(direction) > 0
    ids, middles, direction = ids[kept], middles[kept], direction[kept]
    half = outlines.lengths[ids] / 2 * direction
    return Strokes(
        kinds=np.full(len(ids), DOT),
        outlines=ids,
        lengths=outlines.lengths[ids],
        widths=outlines.widths[ids],
        fullness=np.ones(len(ids)),
        arm_tips=np.zeros(len(ids), np.int64),
        tip_points=np.concatenate([middles + half, middles - half]),
        tip_directions=np.concatenate([direction, -direction]),
        tip_strokes=np.tile(np.arange(len(ids)), 2),
    )


def _directions_of_dots(middles: np.ndarray, lengths: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """(num_dots,) complex: along the straightest and nearest pair of opposite neighbours; 0 if there is none."""
    others = np.concatenate([middles, tips])
    directions = np.zeros(len(middles), np.complex64)
    num = min(_NEIGHBOURS, len(others) - 1)
    if num < 2:
        return directions
    distance, index = cKDTree(_xy(others)).query(_xy(middles), k=num + 1, distance_upper_bound=0.6 * REACH)
    distance, index = distance[:, 1:], np.minimum(index[:, 1:], len(others) - 1)
    towards = others[index] - middles[:, None]
    towards = towards / np.maximum(np.abs(towards), 1e-6)
    # A tip is where its dash ends, but the middle of a dot is half a dot behind its end.
    is_dot = index < len(middles)
    gap = distance - np.where(is_dot, lengths[np.minimum(index, len(middles) - 1)] / 2, 0)
    best = np.full(len(middles), np.inf)
    for a in range(num):
        for b in range(a + 1, num):
            cosine = (towards[:, a] * towards[:, b].conj()).real
            far, near = np.maximum(gap[:, a], gap[:, b]), np.minimum(gap[:, a], gap[:, b])
            cost = far * (2 + cosine)
            better = (cosine < -0.85) & (far <= 1.5 * near + 3) & (cost < best)
            best[better] = cost[better]
            directions[better] = (towards[:, a] - towards[:, b])[better]
    return directions / np.maximum(np.abs(directions), 1e-6)


def find_arms(outlines: Outlines, strokes: Strokes, width: float) -> Strokes:
    """The free ends of larger ink that are no longer than dashes.

    Args:
        outlines: The outlines of the drawing.
        strokes: Its dashes and dots, which have no arms.
        width: Usual width of a dash in pixels.
    """
    cap = round(1.3 * width) + 2
    is_large = outlines.sizes >= 4 * cap
    is_large[strokes.outlines] = False
    ids = np.flatnonzero(is_large)
    if not len(ids):
        return _no_strokes()
    ids, tips = _arm_tips(outlines, ids, cap, width)
    is_dash = strokes.kinds == DASH
    longest = min(1.5 * float(np.quantile(strokes.lengths[is_dash], 0.9)), _MAX_ARM)
    lengths = _arm_lengths(outlines, ids, tips, cap, longest)
    kept = lengths <= longest
    ids, tips, lengths = ids[kept], tips[kept], lengths[kept]
    points, directions = _tips(outlines, ids, tips, np.full(len(ids), cap))
    return Strokes(
        kinds=np.full(len(ids), ARM),
        outlines=ids,
        lengths=lengths.astype(float),
        widths=np.full(len(ids), np.nan),
        fullness=np.ones(len(ids)),
        arm_tips=tips,
        tip_points=points,
        tip_directions=directions,
        tip_strokes=np.arange(len(ids)),
    )


def _arm_tips(outlines: Outlines, ids: np.ndarray, cap: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Outline and steps of every place at which ink of about `width` ends."""
    sizes = outlines.sizes[ids]
    steps, _ = _all_steps(sizes)
    base, size = np.repeat(outlines.starts[ids], sizes), np.repeat(sizes, sizes)
    before = outlines.points[base + (steps - cap) % size]
    after = outlines.points[base + (steps + cap) % size]
    apart = after - before
    near = np.flatnonzero(apart.real**2 + apart.imag**2 <= (1.4 * width + 1.5) ** 2)
    here = outlines.points[base[near] + steps[near]]
    turn = ((before[near] - here).conj() * (after[near] - here)).imag
    near = near[turn >= 0]  # elsewhere a notch of paper ends
    if not len(near):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    owner = np.repeat(ids, sizes)[near]
    begins = np.flatnonzero(np.append(True, (np.diff(near) > 2) | (owner[1:] != owner[:-1])))
    ends = np.append(begins[1:], len(near)) - 1
    return _middles(owner[begins], steps[near[begins]], steps[near[ends]], outlines.sizes[owner[begins]])


def _middles(
    owners: np.ndarray, begins: np.ndarray, ends: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Outline and step of the middle of each run of steps; a run across the start of a closed outline is one run."""
    is_first = np.append(True, owners[1:] != owners[:-1])
    is_last = np.append(is_first[1:], True)
    first, last = np.flatnonzero(is_first), np.flatnonzero(is_last)
    is_split = (first != last) & (begins[first] <= 2) & (ends[last] >= sizes[last] - 3)
    begins, kept = begins.copy(), np.ones(len(owners), bool)
    begins[first[is_split]] = begins[last[is_split]] - sizes[last[is_split]]
    kept[last[is_split]] = False
    return owners[kept], ((begins + ends + 1) // 2 % sizes)[kept]


def _arm_lengths(outlines: Outlines, ids: np.ndarray, tips: np.ndarray, cap: int, longest: float) -> np.ndarray:
    """Steps from each tip along both sides until they part; more than `longest` if they do not."""
    steps = np.arange(2, int(longest) + 2, 2)
    reach = np.minimum(steps[None, :], outlines.sizes[ids][:, None] // 2)
    span = np.abs(outlines.at(ids[:, None], tips[:, None] + reach) - outlines.at(ids[:, None], tips[:, None] - reach))
    own = span[:, min(cap // 2, len(steps) - 1), None]
    parts = span > np.maximum(1.5 * own, own + 2.5)
    return np.where(parts.any(axis=1), steps[parts.argmax(axis=1)], steps[-1] + 2)


def _no_strokes() -> Strokes:
    whole, real, points = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.complex64)
    return Strokes(
        kinds=whole,
        outlines=whole,
        lengths=real,
        widths=real,
        fullness=real,
        arm_tips=whole,
        tip_points=points,
        tip_directions=points,
        tip_strokes=whole,
    )


def _xy(points: np.ndarray) -> np.ndarray:
    """(num, 2) x and y of complex points."""
    return np.stack([points.real, points.imag], axis=1)
