"""Line drawings of a solid from a viewpoint, with hidden lines removed.

A z-buffer of a few hundred pixels decides what is hidden; the lines themselves stay exact and are inked at the
resolution of the sheet. As on graphics hardware, surfaces are pushed back by their slope before lines are tested
against them, so that a surface never hides the lines that are on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.specimens.shapes.solids import BROKEN, SHADE, SOLID, Model

_BUFFER_PX = 320  # longer side of the z-buffer
_PUSH_PX = 1.2  # how far, in z-buffer pixels along the slope, surfaces are pushed back
_SHORT = 2  # samples: gaps up to this length are closed, lines up to this length dropped
_COINCIDENT = 6  # samples: a broken line that follows another one for this long would fill its gaps
_OWN_SAMPLES = 12  # samples before a sample that are the same stretch of line
_SHADE_RANGE = (0.10, 0.42)  # |cosine| between surface normal and line of sight where shading lines appear


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The position from which an article is seen.

    Attributes:
        azimuth: Degrees from the front towards the right side.
        elevation: Degrees above the horizon.
        distance: Distance of the eye in sizes of the article; infinite for a parallel projection.
        roll: Degrees counter-clockwise by which the picture is turned.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = float("inf")
    roll: float = 0.0

    @property
    def axes(self) -> np.ndarray:
        """(3, 3): right, up and forward (away from the eye), as rows."""
        az, el, roll = np.deg2rad([self.azimuth, self.elevation, self.roll])
        right = np.array([np.cos(az), np.sin(az), 0.0])
        forward = -np.array([np.sin(az) * np.cos(el), -np.cos(az) * np.cos(el), np.sin(el)])
        up = np.cross(right, forward)
        turned_right = np.cos(roll) * right - np.sin(roll) * up
        return np.stack([turned_right, np.sin(roll) * right + np.cos(roll) * up, forward])


@dataclass(frozen=True)
class Lines:
    """A line drawing.

    Attributes:
        runs: Visible pieces, each (num, 2), x to the right and y down, in units of the model.
        styles: Style of each run.
        low: (2,) upper left corner of the drawing.
        high: (2,) lower right corner of the drawing.
    """

    runs: list[np.ndarray]
    styles: list[int]
    low: np.ndarray
    high: np.ndarray

    @property
    def extent(self) -> np.ndarray:
        """(2,) width and height."""
        return self.high - self.low


def project(model: Model, camera: Camera, *, dash: tuple[float, ...] = (0.02, 0.01)) -> Lines:
    """Draw `model` as seen by `camera`.

    Args:
        dash: Lengths along broken lines, as shares of the drawing's longer side: a stroke, a gap, and so on in turn.
            Two lengths give dashes, four give dash-dot lines.
    """
    points, facing = to_camera(model.points, model.normals, camera, model.size)
    lines, line_facing = to_camera(model.line_points, model.line_normals, camera, model.size)
    contour, contour_of, contour_styles = _contours(points, facing, model.triangles, np.tile(model.styles, 2))
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    everything = float((high - low).max())
    low, high = low - 0.01 * everything, high + 0.01 * everything  # outlines need empty paper next to them
    pixel = max(float((high - low).max()), 1e-9) / _BUFFER_PX
    buffer = _depth_buffer((points - [*low, 0]) / pixel, model.quads, np.ceil((high - low) / pixel).astype(int) + 3)

    polyline = np.concatenate([lines, contour])
    curve_of = np.concatenate([model.line_of, contour_of + len(model.line_styles)])
    styles = np.concatenate([model.line_styles, contour_styles]).astype(int)
    facing_of = np.concatenate([line_facing, np.zeros(len(contour))])
    is_contour = np.arange(len(polyline)) >= len(lines)
    runs, run_styles = _visible_runs(
        (polyline - [*low, 0]) / pixel, curve_of, styles, facing_of, is_contour, buffer, dash
    )
    flip = np.array([1.0, -1.0])
    paper = [(run * pixel + low) * flip for run in runs]
    if not paper:
        return Lines([], [], np.zeros(2), np.zeros(2))
    everything = np.concatenate(paper)
    return Lines(paper, run_styles, everything.min(axis=0), everything.max(axis=0))


def to_camera(points: np.ndarray, normals: np.ndarray, camera: Camera, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Points as (x, y, depth) on the picture plane, and the cosine between each normal and the line of sight."""
    seen = points @ camera.axes.T
    turned = normals @ camera.axes.T
    if not np.isfinite(camera.distance):
        return seen, turned[:, 2]
    away = camera.distance * size
    sight = seen + np.array([0, 0, away])
    facing = (turned * sight).sum(axis=1) / np.maximum(np.linalg.norm(sight, axis=1), 1e-9)
    return seen * (away / sight[:, 2:]), facing  # depth too: straight lines and planes stay straight


def _contours(
    points: np.ndarray, facing: np.ndarray, triangles: np.ndarray, styles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lines along which smooth surfaces turn away from the eye: points (n, 3), their curve (n,), curve styles."""
    # A wall that is seen exactly edge-on (cosine 0) turns away whichever way its neighbour faces: hence two thresholds.
    cosine = facing[triangles]
    flat = (np.abs(cosine) < 1e-7).any(axis=1)
    side = np.concatenate([cosine > 1e-7, cosine[flat] > -1e-7])
    triangles, styles = np.concatenate([triangles, triangles[flat]]), np.concatenate([styles, styles[flat]])
    mixed = side.any(axis=1) & ~side.all(axis=1)
    tri, side = triangles[mixed], side[mixed]
    if not len(tri):
        return np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    rows = np.arange(len(tri))
    odd = np.where(side.sum(axis=1) == 1, side.argmax(axis=1), (~side).argmax(axis=1))  # the corner on its own
    ends, keys = [], []
    for other in (1, 2):
        a, b = np.sort(np.stack([tri[rows, odd], tri[rows, (odd + other) % 3]]), axis=0)
        share = facing[a] / np.where(facing[a] == facing[b], 1, facing[a] - facing[b])
        ends.append(points[a] + np.clip(share, 0, 1)[:, None] * (points[b] - points[a]))
        keys.append(a.astype(np.int64) * len(points) + b)
    chains = _chains(np.stack(keys, axis=1))
    index = np.concatenate([np.array([segment * 2 + end for segment, end in chain]) for chain in chains])
    both = np.stack(ends, axis=1).reshape(-1, 3)
    curve_of = np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])
    return both[index], curve_of, styles[mixed][[chain[0][0] for chain in chains]]


def _chains(keys: np.ndarray) -> list[list[tuple[int, int]]]:
    """Join segments that share an end; each chain lists its (segment, end) pairs in order.

    Args:
        keys: (num_segments, 2), one key for each end; ends with equal keys are joined.
    """
    meeting: dict[int, list[int]] = {}
    pairs = keys.tolist()
    for segment, (a, b) in enumerate(pairs):
        meeting.setdefault(a, []).append(segment)
        meeting.setdefault(b, []).append(segment)
    unused = set(range(len(pairs)))
    starts = [segment for segment, pair in enumerate(pairs) if min(len(meeting[key]) for key in pair) == 1]
    chains = []
    for first in [*starts, *range(len(pairs))]:
        if first not in unused:
            continue
        unused.discard(first)
        tail = 1 if len(meeting[pairs[first][0]]) == 1 or len(meeting[pairs[first][1]]) > 1 else 0
        chain, segment = [(first, 1 - tail), (first, tail)], first
        while True:
            key = pairs[segment][tail]
            following = next((s for s in meeting[key] if s in unused), None)
            if following is None:
                break
            unused.discard(following)
            tail = 1 if pairs[following][0] == key else 0
            chain.append((following, tail))
            segment = following
        chains.append(chain)
    return chains


def _depth_buffer(points: np.ndarray, quads: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(height, width) depth of the nearest surface, pushed back by its slope; infinite where there is none."""
    width, height = int(size[0]), int(size[1])
    buffer = np.full(width * height, np.inf, dtype=np.float32)
    flat = points[quads].astype(np.float32)  # (num, 4, 3)
    first, second = flat[:, 2] - flat[:, 0], flat[:, 3] - flat[:, 1]  # the diagonals span the plane
    normal = np.cross(first, second)
    shown = np.abs(normal[:, 2]) > 1e-3
    flat, normal = flat[shown], normal[shown]
    gx, gy = -normal[:, 0] / normal[:, 2], -normal[:, 1] / normal[:, 2]
    middle = flat.mean(axis=1)
    push = _PUSH_PX * (np.abs(gx) + np.abs(gy)) + 0.6
    low = np.floor(flat[:, :, :2].min(axis=1)).astype(int)
    span = np.ceil(flat[:, :, :2].max(axis=1)).astype(int) - low + 1
    base = middle[:, 2] - gx * middle[:, 0] - gy * middle[:, 1] + push
    planes = np.concatenate([_edges(flat, np.sign(normal[:, 2])), np.stack([gx, gy, base], axis=1)[:, None]], axis=1)
    level = np.ceil(np.log2(np.maximum(span, 2))).astype(int)  # faces of similar size are filled together
    bucket = level[:, 0] * 16 + level[:, 1]
    for key in np.unique(bucket):
        chosen = np.flatnonzero(bucket == key)
        wide, high = 2 ** int(key // 16), 2 ** int(key % 16)
        chunk = max(1, 100_000 // (wide * high))
        for start in range(0, len(chosen), chunk):
            k = chosen[start : start + chunk]
            _fill(buffer, width, low[k], wide, high, planes[k])
    return buffer.reshape(height, width)


def _edges(flat: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """(num, 4, 3): for each side, the factors of x, y and 1 whose sum is not negative inside the face."""
    start, end = flat[:, :, :2], np.roll(flat[:, :, :2], -1, axis=1)
    fx = -(end[..., 1] - start[..., 1]) * sign[:, None]
    fy = (end[..., 0] - start[..., 0]) * sign[:, None]
    return np.stack([fx, fy, -(fx * start[..., 0] + fy * start[..., 1])], axis=2)


def _fill(buffer: np.ndarray, width: int, low: np.ndarray, wide: int, high: int, planes: np.ndarray) -> None:
    """Lower the flat `buffer` to the depths of faces that fit in `wide` by `high` pixels at `low`.

    `planes`: (num, 5, 3), the factors of x, y and 1 for the four sides and for the depth.
    """
    x = (low[:, :1] + np.arange(wide)).astype(np.float32)[:, None, :]
    y = (low[:, 1:] + np.arange(high)).astype(np.float32)[:, :, None]
    fx, fy, f1 = (planes[:, :, k, None, None] for k in range(3))
    inside = fx[:, 0] * x + (fy[:, 0] * y + f1[:, 0]) >= -1e-3
    for k in (1, 2, 3):
        inside &= fx[:, k] * x + (fy[:, k] * y + f1[:, k]) >= -1e-3
    depth = (fx[:, 4] * x + (fy[:, 4] * y + f1[:, 4]))[inside]
    pixel = (low[:, 1:, None] + np.arange(high)[:, None]) * width + low[:, :1, None] + np.arange(wide)
    np.minimum.at(buffer, np.clip(pixel[inside], 0, len(buffer) - 1), depth)


def _visible_runs(
    polyline: np.ndarray,
    curve_of: np.ndarray,
    styles: np.ndarray,
    facing: np.ndarray,
    is_contour: np.ndarray,
    buffer: np.ndarray,
    dash: tuple[float, ...],
) -> tuple[list[np.ndarray], list[int]]:
    """Sample every curve once a z-buffer pixel and keep the pieces that nothing hides; lengths are in these pixels."""
    joined = curve_of[1:] == curve_of[:-1]
    first = np.flatnonzero(joined)
    if not len(first):
        return [], []
    span = polyline[first + 1] - polyline[first]
    length = np.hypot(span[:, 0], span[:, 1])
    count = np.maximum(np.ceil(length).astype(int), 1)
    segment = np.repeat(np.arange(len(first)), count + 1)
    step = np.arange(len(segment)) - np.repeat(np.cumsum(count + 1) - (count + 1), count + 1)
    share = step / count[segment]
    sample = polyline[first[segment]] + span[segment] * share[:, None]
    curve = curve_of[first][segment]
    cell = np.clip(np.rint(sample[:, :2]).astype(int), 0, np.array(buffer.shape[::-1]) - 1)
    # A contour is on facets too steep for their slope to say much: there the deepest surface around it decides.
    # A broken line is hidden by anything nearer around it: a rear edge that coincides with an outline would fill its
    # gaps.
    square = np.ones((3, 3), np.uint8)
    row, column, style = cell[:, 1], cell[:, 0], styles[curve]
    limit = np.where(style == BROKEN, cv2.erode(buffer, square)[row, column], buffer[row, column])
    limit = np.where(is_contour[first][segment], cv2.dilate(buffer, square)[row, column], limit)
    visible = sample[:, 2] <= limit
    visible = _without_short_pieces(visible, curve)

    cosine = np.abs(facing[first[segment]] * (1 - share) + facing[first[segment] + 1] * share)
    visible &= (style != SHADE) | ((cosine > _SHADE_RANGE[0]) & (cosine < _SHADE_RANGE[1]))
    walked = np.cumsum(np.where(step == 0, 0.0, (length / count)[segment]))
    is_broken = style == BROKEN
    seen = np.flatnonzero(visible & is_broken)
    visible[seen] = ~_coincides(curve[seen], row[seen], column[seen], buffer.shape)
    ends_at = np.cumsum(dash) * _BUFFER_PX
    is_stroke = np.searchsorted(ends_at, np.mod(walked, ends_at[-1]), side="right") % 2 == 0
    visible &= ~is_broken | is_stroke
    starts, ends = _runs(visible, curve)
    kept = [(s, e) for s, e in zip(starts.tolist(), ends.tolist(), strict=True) if visible[s] and e - s > 1]
    return [sample[s:e, :2] for s, e in kept], [int(style[s]) for s, _ in kept]


def _coincides(curve: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """True for samples of broken lines that follow an earlier stretch of broken line, whose gaps they would fill.

    Args:
        curve: (num_samples,) curve of each sample, in order.
        row: (num_samples,) row of its cell in the z-buffer.
        column: (num_samples,) column of its cell.
        shape: Height and width of the z-buffer.
    """
    if not len(curve):
        return np.zeros(0, dtype=bool)
    index = np.arange(len(curve), dtype=np.float32)
    first = np.full(shape, np.inf, np.float32)
    np.minimum.at(first, (row, column), index)
    first_around = cv2.erode(first, np.ones((5, 5), np.uint8))
    follows = first_around[row, column] < index - _OWN_SAMPLES
    starts, ends = _runs(follows, curve)
    return np.repeat(follows[starts] & (ends - starts >= _COINCIDENT), ends - starts)


def _runs(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the stretches over which both arrays stay the same."""
    change = np.flatnonzero((values[1:] != values[:-1]) | (groups[1:] != groups[:-1])) + 1
    return np.concatenate([[0], change]), np.concatenate([change, [len(values)]])


def _without_short_pieces(visible: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Close gaps of a few samples, then drop visible pieces of a few samples.

    Both are due to the resolution of the z-buffer.
    """
    cleaned = visible.copy()
    for value in (False, True):
        starts, ends = _runs(cleaned, curve)
        before = np.concatenate([[-1], curve[starts[1:] - 1]]) == curve[starts]
        after = np.concatenate([curve[ends[:-1]], [-1]]) == curve[ends - 1]
        between = before & after if not value else before | after  # a short curve that is whole stays
        short = (cleaned[starts] == value) & (ends - starts <= _SHORT) & between
        flip = np.repeat(short, ends - starts)
        cleaned = np.where(flip, ~cleaned, cleaned)
    return cleaned


VIEWS = {
    "front": Camera(),
    "rear": Camera(azimuth=180),
    "right": Camera(azimuth=90),
    "left": Camera(azimuth=-90),
    "top": Camera(elevation=90),
    "bottom": Camera(elevation=-90),
}

__all__ = ["SOLID", "VIEWS", "Camera", "Lines", "project", "to_camera"]
