"""Photographs of an article: its own solid, lit by a lamp, on a table before a wall, through a camera with its flaws.

A photograph is not made from the drawing. The solid is seen by a camera of finite distance, every surface has a colour
and is shaded by its angle to the light, and shadows fall on the article and on the table, so that edges which a
draughtsman would ink are only where light and colour happen to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.specimens.drawing.projection import Camera, project, to_camera
from patentdata.specimens.photographs.scene import (
    Light,
    Material,
    Surroundings,
    draw_light,
    draw_materials,
    draw_surroundings,
    ground_colours,
)
from patentdata.specimens.photographs.surfaces import Seen, rasterise
from patentdata.specimens.shapes.solids import FINE, Model, Part, assemble

Rng = np.random.Generator
LONG_SIDE_PX = 512
_OVERSAMPLING = 1.25  # of the picture before it is scaled down, for smooth edges
_SHADOW_MAP_PX = 160
_SHADOW_BIAS = 0.025  # sizes of the article by which a surface must be behind another one to be in its shadow
_GROOVE = 0.4  # share of the light that a fine line of the surface takes away


@dataclass(frozen=True)
class _View:
    """A camera with its picture plane in pixels.

    Attributes:
        camera: From where the article is seen; its distance is finite.
        scale: Pixels a unit of the model in the plane through the middle of the article.
        centre: (2,) column and row of the middle of the article.
        shape: Height and width of the picture in pixels.
    """

    camera: Camera
    scale: float
    centre: np.ndarray
    shape: tuple[int, int]

    def of_points(self, points: np.ndarray, size: float) -> np.ndarray:
        """(num, 3) column, row and depth of points; depth is in pixels too."""
        seen, _ = to_camera(points, np.zeros_like(points), self.camera, size)
        return np.column_stack([self.centre + self.scale * seen[:, :2] * [1, -1], self.scale * seen[:, 2]])

    def rays(self, size: float) -> tuple[np.ndarray, np.ndarray]:
        """The eye, (3,), and for every pixel the direction of sight, (height_px, width_px, 3), in the model's axes."""
        row, column = np.indices(self.shape, dtype=np.float32)
        away = self.camera.distance * size
        plane = np.stack(
            [
                (column - self.centre[0]) / self.scale,
                (self.centre[1] - row) / self.scale,
                np.full(self.shape, away, np.float32),
            ],
            axis=2,
        )
        return np.array([0, 0, -away]) @ self.camera.axes, plane @ self.camera.axes


def take_photograph(parts: Sequence[Part], camera: Camera, rng: Rng) -> np.ndarray:
    """A photograph, (height_px, width_px, 3) uint8 sRGB; the longer side has `LONG_SIDE_PX`.

    Args:
        parts: The article.
        camera: From where it is seen; its distance must be finite.
        rng: Draws materials, light, surroundings and the flaws of the camera.
    """
    model = assemble(parts)
    materials = draw_materials(len(parts), rng)
    light = draw_light(camera.azimuth, rng)
    surroundings = draw_surroundings(rng)
    view = _frame(model, camera, rng)
    seen = rasterise(view.of_points(model.points, model.size), model.triangles, view.shape)
    picture = _behind(model, view, light, surroundings)
    picture[seen.mask] = _article(model, parts, materials, seen, view, light)
    return _developed(picture, rng)


def _frame(model: Model, camera: Camera, rng: Rng) -> _View:
    """The camera's picture: wide or tall as the article is, which fills a part of it near the middle."""
    seen, _ = to_camera(model.points, np.zeros_like(model.points), camera, model.size)
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    width, height = np.maximum(high - low, 1e-6)
    long_side, short_side = round(LONG_SIDE_PX * _OVERSAMPLING), round(LONG_SIDE_PX * _OVERSAMPLING * 3 / 4)
    shape = (short_side, long_side) if width >= height else (long_side, short_side)
    scale = rng.uniform(0.55, 0.85) * min(shape[1] / width, shape[0] / height)
    middle = np.array(shape[::-1]) * (0.5 + rng.uniform(-0.05, 0.05, 2))
    return _View(camera, scale, middle - scale * (low + high) / 2 * [1, -1], shape)


def _article(
    model: Model, parts: Sequence[Part], materials: Sequence[Material], seen: Seen, view: _View, light: Light
) -> np.ndarray:
    """(num_hits, 3) light that the article returns, in each pixel in which it is seen."""
    place = seen.of_points(model.points, model.triangles)
    sight = _unit(view.rays(model.size)[0] - place)
    # Surfaces are seen from both sides, so the normal is the one towards the eye.
    normal = _normals(model, seen)
    normal = np.where((normal * sight).sum(axis=1, keepdims=True) < 0, -normal, normal)
    material_of = np.tile(_parts_of_faces(parts), 2)[seen.hits]
    colour = np.stack([material.colour for material in materials])[material_of]
    colour = colour * (1 - _GROOVE * _grooves(model, view)[seen.mask])[:, None]
    gloss = np.array([material.gloss for material in materials])[material_of]
    shininess = np.array([material.shininess for material in materials])[material_of]
    # The lamp, with its shadows and highlights, then the light of the room, of which hollows get less.
    towards = _unit(light.directions.mean(axis=0))
    lit = np.clip(normal @ towards, 0, None) * _lit_share(model, place, light)
    halfway = _unit(sight + towards)
    highlight = gloss * np.clip((normal * halfway).sum(axis=1), 0, 1) ** shininess * (lit > 0.02)
    room = (0.75 + 0.25 * normal[:, 2]) * _openness(seen)[seen.mask]
    returned = colour * (lit[:, None] * light.colour + room[:, None] * light.ambient)
    return returned + highlight[:, None] * light.colour


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors, (…, 3), scaled to the length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _normals(model: Model, seen: Seen) -> np.ndarray:
    """(num_hits, 3) unit normals: those of the smooth surfaces, or of the faces where these have none."""
    corners = model.points[model.triangles]
    of_face = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))[seen.hits]
    smooth = seen.of_points(model.normals, model.triangles)
    length = np.linalg.norm(smooth, axis=1, keepdims=True)
    # Normals of a patch whose neighbours point the other way cancel out or are far from the face: the face decides.
    agrees = np.abs((smooth * of_face).sum(axis=1, keepdims=True)) > 0.5 * length
    return np.where(agrees & (length > 0.5), _unit(smooth), of_face)


def _parts_of_faces(parts: Sequence[Part]) -> np.ndarray:
    """(num_quads,) index of the part that each face of the assembled model belongs to."""
    counts = [
        sum((len(p.grid) - 1) * (p.grid.shape[1] - (0 if p.closed else 1)) for p in part.patches) for part in parts
    ]
    return np.repeat(np.arange(len(parts)), counts)


def _grooves(model: Model, view: _View) -> np.ndarray:
    """(height_px, width_px) float32 0..1: the fine lines of the surface, such as bands and flutes, a little soft."""
    lines = project(model, view.camera)
    canvas = np.zeros(view.shape, np.uint8)
    fine = [
        np.rint((run * view.scale + view.centre) * 16).astype(np.int32)
        for run, style in zip(lines.runs, lines.styles, strict=True)
        if style == FINE
    ]
    cv2.polylines(canvas, fine, False, 255, 2, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(canvas, (0, 0), 1.0).astype(np.float32) / 255


def _openness(seen: Seen) -> np.ndarray:
    """(height_px, width_px) 0.55..1: how much of the room a surface sees; less if what is around it is nearer."""
    depth = np.where(seen.mask, seen.depth, seen.depth[seen.mask].max(initial=0.0)).astype(np.float32)
    radius = 0.03 * max(depth.shape)
    hidden = (depth - cv2.GaussianBlur(depth, (0, 0), radius)) / radius
    return np.clip(1 - 0.5 * np.clip(hidden, 0, 1), 0.55, 1)


def _lit_share(model: Model, place: np.ndarray, light: Light) -> np.ndarray:
    """(…) 0..1: how much of the lamp is seen from each place, (…, 3)."""
    share = np.zeros(place.shape[:-1], np.float32)
    for direction in light.directions:
        right = _unit(np.cross(direction, [0.0, 0.0, 1.0]))
        axes = np.stack([right, np.cross(right, direction), -direction])  # the last one leads away from the lamp
        flat = model.points @ axes.T
        low = flat[:, :2].min(axis=0)
        scale = _SHADOW_MAP_PX / max(float(np.ptp(flat[:, :2], axis=0).max()), 1e-9)
        in_map = np.column_stack([(flat[:, :2] - low) * scale + 1, flat[:, 2]])
        side = _SHADOW_MAP_PX + 3
        shadow_map = rasterise(in_map, model.triangles, (side, side)).depth
        at = place @ axes.T
        column, row = (np.clip(np.rint((at[..., k] - low[k]) * scale + 1), 0, side - 1).astype(int) for k in (0, 1))
        # The border of the map is empty, so places beyond it are lit.
        share += at[..., 2] <= shadow_map[row, column] + _SHADOW_BIAS * model.size
    return share / len(light.directions)


def _behind(model: Model, view: _View, light: Light, surroundings: Surroundings) -> np.ndarray:
    """(height_px, width_px, 3) float32 light from the table, with the article's shadow on it, and from the wall."""
    eye, direction = view.rays(model.size)
    floor = model.points[:, 2].min()
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = (floor - eye[2]) / direction[:, :, 2]
    place = eye + np.where(np.isfinite(reach), reach, 0)[:, :, None] * direction
    # How far behind the article a place on the table is, along the direction in which the camera looks.
    forward = view.camera.axes[2, :2] / max(float(np.linalg.norm(view.camera.axes[2, :2])), 1e-9)
    behind = place[:, :, :2] @ forward / model.size
    is_ground = np.isfinite(reach) & (reach > 0) & (behind < min(surroundings.edge, 60.0))
    texture = ground_colours(surroundings, place[:, :, 0] / model.size, place[:, :, 1] / model.size)
    lit = cv2.GaussianBlur(_lit_share(model, place, light), (0, 0), 2.0)[:, :, None] * light.directions.mean(axis=0)[2]
    ground = texture * (lit * light.colour + light.ambient)
    wall = cv2.resize(surroundings.wall, view.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = np.broadcast_to(is_ground[:, :, None], ground.shape)
    soft = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 2.5)  # the far edge of the table is out of focus
    fade = 1 - 0.25 * np.clip(behind / 6, 0, 1)[:, :, None] * share
    wall = wall * (0.75 * light.colour * light.directions.mean(axis=0)[2] + light.ambient)
    return (soft * ground * fade + (1 - soft) * wall).astype(np.float32)


def _developed(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """The picture as a camera stores it: exposed, soft, with darker corners and noise, as 8-bit sRGB."""
    size = tuple(round(side / _OVERSAMPLING) for side in picture.shape[1::-1])
    picture = cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 0.9)))
    row, column = (np.linspace(-1, 1, side, dtype=np.float32) for side in picture.shape[:2])
    corners = 1 - rng.uniform(0, 0.25) * (row[:, None] ** 2 + column[None, :] ** 2) / 2
    exposed = picture * corners[:, :, None] * rng.uniform(0.8, 1.1) * rng.uniform(0.95, 1.05, 3)
    encoded = 255 * np.clip(exposed, 0, 1) ** (1 / 2.2)
    noisy = encoded + rng.normal(0, rng.uniform(1.0, 4.0), encoded.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
