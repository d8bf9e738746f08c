"""Solids from which specimens are drawn: grids of points, and the curves that a draughtsman would ink on them.

Axes: x to the right, y to the rear (the front faces -y), z up. Lengths are in arbitrary units; the drawing is scaled to
its sheet. Every solid is a loft, a row of rings of points; boxes, prisms, tubes and surfaces of revolution are lofts
with particular rings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

SOLID, BROKEN, FINE, SHADE = 0, 1, 2, 3


@dataclass(frozen=True)
class Curve:
    """A line on a solid.

    Attributes:
        points: (num_points, 3).
        style: SOLID, BROKEN (environment), FINE (surface pattern) or SHADE (drawn only where the surface turns away).
        normals: (num_points, 3) surface normals; only SHADE needs them.
    """

    points: np.ndarray
    style: int = SOLID
    normals: np.ndarray | None = None


@dataclass(frozen=True)
class Patch:
    """A smooth piece of surface.

    Attributes:
        grid: (num_rows, num_columns, 3) points.
        closed: Whether the last column is joined to the first.
    """

    grid: np.ndarray
    closed: bool = False


@dataclass(frozen=True)
class Part:
    """One piece of an article.

    Attributes:
        patches: Its surfaces.
        curves: Its lines.
        broken: Whether it is environment, which is drawn in broken lines.
        name: What a person counts it as, such as "leg"; "" for a piece that nobody counts.
    """

    patches: tuple[Patch, ...] = ()
    curves: tuple[Curve, ...] = ()
    broken: bool = False
    name: str = ""

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        """The part moved by a distance along each axis."""
        return self._mapped(np.eye(3), np.array([x, y, z]))

    def turned(self, axis: str, degrees: float) -> Part:
        """The part turned about an axis through the origin, counter-clockwise seen against that axis."""
        return self._mapped(rotation(axis, degrees), np.zeros(3))

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Part:
        """The part stretched along the axes; a negative factor mirrors it."""
        return self._mapped(np.diag([x, y, z]), np.zeros(3))

    def as_environment(self) -> Part:
        """The part as environment, which is not claimed."""
        return replace(self, broken=True)

    def named(self, name: str) -> Part:
        """The part with a name by which it is counted."""
        return replace(self, name=name)

    def with_curves(self, curves: Iterable[Curve]) -> Part:
        """The part with additional curves on it."""
        return replace(self, curves=self.curves + tuple(curves))

    def _mapped(self, matrix: np.ndarray, shift: np.ndarray) -> Part:
        inverse = np.linalg.inv(matrix)  # normals turn with the inverse transpose
        curves = tuple(
            Curve(c.points @ matrix.T + shift, c.style, None if c.normals is None else c.normals @ inverse)
            for c in self.curves
        )
        patches = tuple(Patch(patch.grid @ matrix.T + shift, patch.closed) for patch in self.patches)
        return replace(self, patches=patches, curves=curves)


def rotation(axis: str, degrees: float) -> np.ndarray:
    """Rotation matrix (3, 3) about "x", "y" or "z"."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    if axis == "y":
        return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


# --- Outlines: closed rows of points in a plane, counter-clockwise -------------------------------------------------


def ellipse(width: float, height: float, num: int = 40) -> np.ndarray:
    """(num, 2) points of an ellipse about the origin."""
    angle = np.linspace(0, 2 * np.pi, num, endpoint=False)
    return np.stack([np.cos(angle) * width / 2, np.sin(angle) * height / 2], axis=1)


def superellipse(width: float, height: float, power: float, num: int = 40) -> np.ndarray:
    """(num, 2) points between an ellipse (`power` 2) and a rectangle (large `power`)."""
    unit = ellipse(2, 2, num)
    bent = np.sign(unit) * np.abs(unit) ** (2 / power)
    return bent * np.array([width / 2, height / 2])


def rounded_rectangle(width: float, height: float, radius: float, num_corner: int = 6) -> np.ndarray:
    """(4 * num_corner, 2) points of a rectangle with round corners."""
    radius = min(radius, width / 2, height / 2)
    quarter = np.linspace(0, np.pi / 2, num_corner)
    arc = np.stack([np.cos(quarter), np.sin(quarter)], axis=1) * radius
    corners = []
    for k, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        turn = rotation("z", 90 * k)[:2, :2]
        corners.append(arc @ turn.T + np.array([sx * (width / 2 - radius), sy * (height / 2 - radius)]))
    return np.concatenate(corners)


def rectangle(width: float, height: float) -> np.ndarray:
    """(4, 2) corners of a rectangle about the origin."""
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([width / 2, height / 2])


def star(num_points: int, outer: float, inner: float, *, flat: float = 0.0) -> np.ndarray:
    """Points of a star or, with `flat` > 0, of a toothed wheel whose teeth have flat tips (share of the pitch)."""
    pitch = 2 * np.pi / num_points
    if flat:
        offsets = np.array([-0.5 + flat * 0.15, -flat * 0.55, flat * 0.55, 0.5 - flat * 0.15])
        radii = np.array([inner, outer, outer, inner])
    else:
        offsets, radii = np.array([0, 0.5]), np.array([outer, inner])
    angle = (np.arange(num_points)[:, None] + offsets) * pitch
    radius = np.broadcast_to(radii, angle.shape)
    return np.stack([np.cos(angle) * radius, np.sin(angle) * radius], axis=-1).reshape(-1, 2)


def spline(points: Sequence[Sequence[float]], num: int = 24) -> np.ndarray:
    """(num, dim) points of a smooth curve (Catmull-Rom) through `points`."""
    given = np.asarray(points, dtype=float)
    padded = np.concatenate([[2 * given[0] - given[1]], given, [2 * given[-1] - given[-2]]])
    position = np.linspace(0, len(given) - 1, num)
    index = np.minimum(position.astype(int), len(given) - 2)
    t = (position - index)[:, None]
    p0, p1, p2, p3 = (padded[index + k] for k in range(4))
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)


def lifted(outline: np.ndarray, z: float | np.ndarray) -> np.ndarray:
    """An outline in the plane, (num, 2), as (num, 3) points at height `z`."""
    return np.concatenate([outline, np.broadcast_to(np.asarray(z, dtype=float), len(outline))[:, None]], axis=1)


def loop(points: np.ndarray) -> np.ndarray:
    """The points with the first one repeated at the end."""
    return np.concatenate([points, points[:1]])


# --- Lofts ---------------------------------------------------------------------------------------------------------


def loft(
    rings: np.ndarray,
    *,
    rims: Sequence[int] = (),
    ridges: Sequence[int] = (),
    caps: tuple[bool, bool] = (True, True),
    closed: bool = True,
    shade: int = 0,
) -> Part:
    """A surface through a row of rings.

    Args:
        rings: (num_rings, num_points, 3).
        rims: Rings along which the surface has an edge; the first and last ring always do, unless they are poles.
        ridges: Points of a ring along which the surface has an edge from end to end.
        caps: Whether the first and the last ring are filled in (fan about the mean, so rings must be star-shaped).
        closed: Whether a ring's last point is joined to its first.
        shade: Number of shading lines from end to end; they appear only where the surface turns away.
    """
    rings = np.asarray(rings, dtype=float)
    num_rings, num_points = rings.shape[:2]
    cuts = sorted({0, num_rings - 1} | {r % num_rings for r in rims})
    columns = _columns(num_points, sorted({p % num_points for p in ridges}), closed)
    patches, curves = [], []
    for top, bottom in pairwise(cuts):
        for column in columns:
            patches.append(Patch(rings[top : bottom + 1][:, column], closed and not ridges))
    smallest = 0.03 * np.ptp(rings, axis=1).max()  # a smaller ring is a pole, not a rim
    for ring in cuts:
        if np.ptp(rings[ring], axis=0).max() > smallest:
            curves.append(Curve(loop(rings[ring]) if closed else rings[ring]))
    edges = set(ridges) if closed else set(ridges) | {0, num_points - 1}
    curves += [Curve(rings[:, point]) for point in sorted(edges)]
    for ring, filled in zip((0, -1), caps, strict=True):
        if filled and np.ptp(rings[ring], axis=0).max() > 1e-9:
            middle = np.broadcast_to(rings[ring].mean(axis=0), rings[ring].shape)
            patches.append(Patch(np.stack([middle, rings[ring]]), closed))
    if shade:
        curves += _shading(rings, shade, closed)
    return Part(tuple(patches), tuple(curves))


def _columns(num_points: int, ridges: list[int], closed: bool) -> list[np.ndarray]:
    """Indices of the points of a ring in each stretch between two ridges."""
    if not ridges:
        return [np.arange(num_points)]
    ends = [*ridges, ridges[0] + num_points] if closed else sorted({0, num_points - 1} | set(ridges))
    return [np.arange(a, b + 1) % num_points for a, b in pairwise(ends)]


def _shading(rings: np.ndarray, num_lines: int, closed: bool) -> list[Curve]:
    """Lines along the surface that start and end at different heights from line to line."""
    normals = grid_normals(rings, closed)
    num_points = rings.shape[1]
    size = np.ptp(rings, axis=1).max(axis=1)
    wall = np.flatnonzero(size > 0.25 * size.max())  # no shading on lids and poles
    lines = []
    for k in range(num_lines):
        column = k * num_points // num_lines
        start, end = 0.06 + 0.5 * ((k * 7) % 5) / 5, 1 - 0.5 * ((k * 3) % 4) / 4
        rows = wall[int(start * len(wall)) : int(np.ceil(end * len(wall)))]
        if len(rows) >= 2:
            lines.append(Curve(rings[rows, column], SHADE, normals[rows, column]))
    return lines


def grid_normals(grid: np.ndarray, closed: bool) -> np.ndarray:
    """Unit normals, (num_rows, num_columns, 3), of a grid of points; those of a pole are from the next ring."""
    if len(grid) > 2 and np.allclose(grid[0], grid[-1]) and np.ptp(grid[0], axis=0).max() > 1e-9:
        inner = grid[:-1]  # the rows close on themselves too, as in a torus
        along = np.roll(inner, -1, axis=0) - np.roll(inner, 1, axis=0)
        along = np.concatenate([along, along[:1]])
    else:
        along = np.gradient(grid, axis=0)
    around = np.roll(grid, -1, axis=1) - np.roll(grid, 1, axis=1) if closed else np.gradient(grid, axis=1)
    normals = np.cross(along, around)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    for row, neighbour in ((0, 1), (-1, -2)):
        if length[row].max() < 1e-9:
            normals[row] = normals[neighbour].mean(axis=0)
            length[row] = np.linalg.norm(normals[row], axis=-1, keepdims=True)
    return normals / np.maximum(length, 1e-12)


def prism(outline: np.ndarray, bottom: float, top: float, *, ridges: Sequence[int] = (), shade: int = 0) -> Part:
    """An outline of the x-y plane raised from `bottom` to `top`."""
    heights = [bottom, top] if not shade else np.linspace(bottom, top, 12)
    return loft(np.stack([lifted(outline, z) for z in heights]), ridges=ridges, shade=shade)


def ring_prism(
    outer: np.ndarray,
    inner: np.ndarray,
    bottom: float,
    top: float,
    *,
    ridges: Sequence[int] = (),
    inner_ridges: Sequence[int] = (),
) -> Part:
    """A prism with a hole; both outlines have the same number of points."""
    walls = [
        loft(np.stack([lifted(outline, bottom), lifted(outline, top)]), ridges=edges, caps=(False, False))
        for outline, edges in ((outer, ridges), (inner, inner_ridges))
    ]
    lids = tuple(Patch(np.stack([lifted(inner, z), lifted(outer, z)]), closed=True) for z in (bottom, top))
    return merged(*walls, Part(lids))


def box(width: float, depth: float, height: float, *, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
    """A box around (x, y) whose lower side is at height `z`."""
    return prism(rectangle(width, depth), 0.0, height, ridges=(0, 1, 2, 3)).moved(x, y, z)


def soft_box(
    width: float, depth: float, height: float, radius: float, *, chamfer: float = 0.0, num_corner: int = 6
) -> Part:
    """A box with round upright edges; its rims at the top and bottom are set back by `chamfer`."""
    outline = rounded_rectangle(width, depth, radius, num_corner)
    if not chamfer:
        return prism(outline, 0.0, height)
    small = outline * np.array([1 - 2 * chamfer / width, 1 - 2 * chamfer / depth])
    rings = [lifted(small, 0), lifted(outline, chamfer), lifted(outline, height - chamfer), lifted(small, height)]
    return loft(np.stack(rings), rims=(1, 2))


def lathe(
    profile: Sequence[Sequence[float]] | np.ndarray,
    *,
    rims: Sequence[int] = (),
    num_sides: int = 40,
    faceted: bool = False,
    caps: tuple[bool, bool] = (True, True),
    shade: int = 0,
) -> Part:
    """A surface of revolution about z.

    Args:
        profile: Rows of (radius, height).
        rims: Rows of the profile at which the surface has an edge.
        faceted: Whether the surface has an edge at each of its sides.
    """
    radius, height = np.asarray(profile, dtype=float).T
    unit = ellipse(2, 2, num_sides)
    rings = np.stack([lifted(unit * r, z) for r, z in zip(radius, height, strict=True)])
    return loft(rings, rims=rims, ridges=range(num_sides) if faceted else (), caps=caps, shade=shade)


def tube(path: np.ndarray, radius: float | np.ndarray, *, num_sides: int = 14, shade: int = 0) -> Part:
    """A round bar along a path, (num_points, 3)."""
    path = np.asarray(path, dtype=float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    side = np.cross(tangent[0], [0.31, 0.59, 0.74])
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(path))
    circle = ellipse(2, 2, num_sides)
    rings = []
    for point, direction, size in zip(path, tangent, radii, strict=True):
        side = side - direction * (side @ direction)  # carried along the path without twist
        side /= np.linalg.norm(side)
        rings.append(point + size * (circle[:, :1] * side + circle[:, 1:] * np.cross(direction, side)))
    return loft(np.stack(rings), shade=shade)


def torus(radius: float, thickness: float, *, num_sides: int = 44) -> Part:
    """A ring about z."""
    unit = ellipse(2, 2, num_sides)
    section = ellipse(thickness, thickness, 16)
    grid = np.stack([lifted(unit * (radius + r), z) for r, z in np.concatenate([section, section[:1]])])
    return Part((Patch(grid, closed=True),))


def on_plane(
    lines: Iterable[np.ndarray], origin: Sequence[float], right: Sequence[float], up: Sequence[float], style: int = FINE
) -> tuple[Curve, ...]:
    """Curves from lines in a plane, each (num, 2), on the plane that `right` and `up` span at `origin`."""
    base, axes = np.asarray(origin, dtype=float), np.array([right, up], dtype=float)
    return tuple(Curve(base + np.asarray(line, dtype=float) @ axes, style) for line in lines)


def merged(*parts: Part) -> Part:
    """Several parts as one; it is environment if the first one is."""
    patches = tuple(patch for part in parts for patch in part.patches)
    return Part(patches, tuple(curve for part in parts for curve in part.curves), parts[0].broken)


# --- What the projection needs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """An article ready to be projected.

    Attributes:
        points: (num_points, 3) points of all surfaces.
        normals: (num_points, 3) normals of the surfaces, zero if a surface has none.
        quads: (num_quads, 4) indices into `points`, around each face.
        styles: (num_quads,) SOLID or BROKEN for each face.
        line_points: (num_line_points, 3) points of all curves, one curve after the other.
        line_normals: (num_line_points, 3) normals at the points of the curves, zero if a curve has none.
        line_of: (num_line_points,) index of the curve of each point.
        line_styles: (num_curves,) style of each curve.
        size: Length of the diagonal of the bounding box.
    """

    points: np.ndarray
    normals: np.ndarray
    quads: np.ndarray
    styles: np.ndarray
    line_points: np.ndarray
    line_normals: np.ndarray
    line_of: np.ndarray
    line_styles: np.ndarray
    size: float = field(default=1.0)

    @property
    def triangles(self) -> np.ndarray:
        """(2 * num_quads, 3): the first halves of all faces, then the second halves."""
        return np.concatenate([self.quads[:, [0, 1, 2]], self.quads[:, [0, 2, 3]]])


def assemble(parts: Sequence[Part]) -> Model:
    """The parts as one model, centred on the origin.

    Raises:
        ValueError: None of the parts has a surface.
    """
    if not any(part.patches for part in parts):
        raise ValueError("an article needs at least one part with a surface")
    points, normals, quads, styles, offset = [], [], [], [], 0
    for part in parts:
        for patch in part.patches:
            rows, columns = patch.grid.shape[:2]
            faces = _grid_quads(rows, columns, patch.closed) + offset
            points.append(patch.grid.reshape(-1, 3))
            normals.append(grid_normals(patch.grid, patch.closed).reshape(-1, 3))
            quads.append(faces)
            styles.append(np.full(len(faces), BROKEN if part.broken else SOLID))
            offset += rows * columns
    curves = [(curve, part.broken) for part in parts for curve in part.curves if len(curve.points) > 1]
    all_points = np.concatenate(points)
    low, high = all_points.min(axis=0), all_points.max(axis=0)
    middle = (low + high) / 2
    no_line = np.zeros((0, 3))
    return Model(
        points=all_points - middle,
        normals=np.concatenate(normals),
        quads=np.concatenate(quads),
        styles=np.concatenate(styles),
        line_points=np.concatenate([no_line] + [curve.points for curve, _ in curves]) - middle,
        line_normals=np.concatenate(
            [no_line] + [np.zeros_like(c.points) if c.normals is None else c.normals for c, _ in curves]
        ),
        line_of=np.repeat(np.arange(len(curves)), [len(curve.points) for curve, _ in curves]),
        line_styles=np.array([_line_style(curve, broken) for curve, broken in curves], dtype=int),
        size=float(np.linalg.norm(high - low)),
    )


def _line_style(curve: Curve, broken: bool) -> int:
    """Style in which a curve is drawn: all lines of environment are broken, except for shading."""
    return BROKEN if broken and curve.style != SHADE else curve.style


def _grid_quads(rows: int, columns: int, closed: bool) -> np.ndarray:
    """(num_quads, 4) indices of the corners of every face of a grid."""
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(index, -1, axis=1) if closed else index[:, 1:]
    left = index if closed else index[:, :-1]
    a, b, c, d = left[:-1].ravel(), right[:-1].ravel(), left[1:].ravel(), right[1:].ravel()
    return np.stack([a, b, d, c], axis=1)
