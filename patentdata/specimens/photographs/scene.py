"""What is in front of the camera: the colours of an article, the light, and the table and wall behind it.

All of it is drawn from a random generator. Colours are linear (not sRGB) and between 0 and 1; lengths are in sizes of
the article (the diagonal of its bounding box).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Rng = np.random.Generator
GROUNDS = ("studio", "plain", "wood", "cloth", "stone", "tiles")
_TEXTURE_PX = 512
_TEXTURE_SPAN = 2.0  # sizes of the article that the texture of a ground covers before it repeats


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        colour: (3,) share of red, green and blue light that it returns.
        gloss: Strength of its highlights.
        shininess: Exponent of the highlights; the larger, the smaller they are.
    """

    colour: np.ndarray
    gloss: float
    shininess: float


@dataclass(frozen=True)
class Light:
    """The light of a scene.

    Attributes:
        directions: (num, 3) unit vectors towards points of the lamp; several make soft shadows.
        colour: (3,) light of the lamp.
        ambient: (3,) light from all sides.
    """

    directions: np.ndarray
    colour: np.ndarray
    ambient: np.ndarray


@dataclass(frozen=True)
class Surroundings:
    """The table that an article is on, and the wall behind it.

    Attributes:
        ground: One of `GROUNDS`; "studio" is a ground that bends into the wall without an edge.
        texture: (height, width, 3) colours of the ground, which repeat, mirrored.
        edge: How far behind the article the table ends; infinite for a studio.
        wall: (height, width, 3) colours of the wall, stretched over the picture.
    """

    ground: str
    texture: np.ndarray
    edge: float
    wall: np.ndarray


def draw_materials(num_parts: int, rng: Rng) -> list[Material]:
    """A material for each part of an article: mostly one, and now and then a second one for some of the parts."""
    first, second = _draw_material(rng), _draw_material(rng)
    has_accent = rng.random() < 0.45
    return [second if has_accent and rng.random() < 0.4 else first for _ in range(num_parts)]


def _draw_material(rng: Rng) -> Material:
    """A plastic, ceramic, wooden or metallic colour."""
    kind = rng.choice(["coloured", "pastel", "neutral", "dark", "wooden"], p=[0.4, 0.15, 0.2, 0.1, 0.15])
    hue = rng.random()
    hue, saturation, value = {
        "coloured": (hue, rng.uniform(0.55, 0.95), rng.uniform(0.3, 0.8)),
        "pastel": (hue, rng.uniform(0.15, 0.4), rng.uniform(0.65, 0.9)),
        "neutral": (hue, rng.uniform(0.0, 0.08), rng.uniform(0.25, 0.85)),
        "dark": (hue, rng.uniform(0.0, 0.5), rng.uniform(0.03, 0.12)),
        "wooden": (rng.uniform(0.05, 0.1), rng.uniform(0.5, 0.75), rng.uniform(0.25, 0.6)),
    }[str(kind)]
    colour = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    return Material(colour, gloss=float(rng.uniform(0.0, 0.45)), shininess=float(rng.uniform(8, 60)))


def draw_light(azimuth: float, rng: Rng) -> Light:
    """A lamp above and to one side of a camera at `azimuth` degrees, and the light of the room."""
    around = np.deg2rad(azimuth + rng.choice([-1, 1]) * rng.uniform(20, 75))
    height = np.deg2rad(rng.uniform(38, 68))
    middle = np.array([np.sin(around) * np.cos(height), -np.cos(around) * np.cos(height), np.sin(height)])
    directions = middle + rng.normal(0, rng.uniform(0.02, 0.09), (4, 3))
    warmth = rng.uniform(-0.12, 0.16)
    strength = rng.uniform(0.75, 1.1)
    return Light(
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        colour=strength * np.array([1 + warmth, 1.0, 1 - warmth]),
        ambient=rng.uniform(0.22, 0.42) * np.array([1 - warmth / 2, 1.0, 1 + warmth / 2]),
    )


def draw_surroundings(rng: Rng) -> Surroundings:
    """A ground and a wall."""
    ground = str(rng.choice(GROUNDS, p=[0.3, 0.15, 0.2, 0.15, 0.1, 0.1]))
    base = _draw_ground_colour(ground, rng)
    texture = np.clip(_TEXTURES[ground](base, rng), 0.01, 1).astype(np.float32)
    if ground == "studio":
        wall = np.full((4, 4, 3), base, np.float32)
        return Surroundings(ground, texture, float("inf"), wall)
    return Surroundings(ground, texture, float(rng.uniform(0.8, 3.0)), _draw_wall(rng))


def _draw_ground_colour(ground: str, rng: Rng) -> np.ndarray:
    if ground == "wood":
        return np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.1), rng.uniform(0.35, 0.7), rng.uniform(0.2, 0.6)))
    bright = rng.uniform(0.55, 0.95) if ground == "studio" else rng.uniform(0.12, 0.85)
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.choice([0.03, 0.12, 0.4], p=[0.5, 0.3, 0.2]), bright))


def _draw_wall(rng: Rng) -> np.ndarray:
    """(48, 64, 3) float32: a plain or graded wall, often with things on it that are out of focus."""
    top, low = (_draw_ground_colour("plain", rng) for _ in range(2))
    share = np.linspace(0, rng.uniform(0.1, 0.7), 48)[:, None, None]
    wall = np.broadcast_to((1 - share) * top + share * low, (48, 64, 3)).astype(np.float32).copy()
    for _ in range(int(rng.choice([0, 2, 5]))):
        x, y, width, height = rng.integers([0, 0, 4, 6], [60, 40, 20, 30])
        colour = _draw_ground_colour("plain", rng).tolist()
        cv2.rectangle(wall, (int(x), int(y)), (int(x + width), int(y + height)), colour, cv2.FILLED)
    return cv2.GaussianBlur(wall, (0, 0), float(rng.uniform(1.0, 2.5)))


def _cloud(cells: int, rng: Rng, *, stretch: int = 1) -> np.ndarray:
    """(512, 512, 1) float32 smooth noise about 0, of about `cells` spots along a side; stretched along the rows."""
    small = rng.normal(0, 1, (cells, max(cells // stretch, 2))).astype(np.float32)
    return cv2.resize(small, (_TEXTURE_PX, _TEXTURE_PX), interpolation=cv2.INTER_CUBIC)[:, :, None]


def _plain(base: np.ndarray, rng: Rng) -> np.ndarray:
    return base * (1 + 0.02 * _cloud(6, rng) + 0.01 * _cloud(200, rng))


def _wood(base: np.ndarray, rng: Rng) -> np.ndarray:
    rows = np.linspace(0, 1, _TEXTURE_PX)[:, None, None]
    rings = np.sin(2 * np.pi * (rng.uniform(5, 14) * rows + 0.8 * _cloud(8, rng, stretch=4)))
    grain = _cloud(240, rng, stretch=30)
    boards = np.where((rows * rng.integers(2, 6)) % 1 < 0.012, 0.35, 1.0)
    return base * boards * (1 + 0.13 * rings + 0.08 * grain)


def _cloth(base: np.ndarray, rng: Rng) -> np.ndarray:
    x = np.arange(_TEXTURE_PX) * 2 * np.pi / rng.choice([4, 6, 8])
    weave = np.sin(x)[:, None, None] * np.sin(x)[None, :, None]
    return base * (1 + 0.14 * weave + 0.07 * _cloud(10, rng) + 0.06 * _cloud(256, rng))


def _stone(base: np.ndarray, rng: Rng) -> np.ndarray:
    veins = np.exp(-((_cloud(7, rng) + 0.5 * _cloud(25, rng)) ** 2) * 25)
    return base * (1 + 0.10 * _cloud(12, rng) + 0.07 * _cloud(120, rng) - rng.uniform(0.1, 0.4) * veins)


def _tiles(base: np.ndarray, rng: Rng) -> np.ndarray:
    x = (np.arange(_TEXTURE_PX) / _TEXTURE_PX * rng.integers(2, 5)) % 1
    is_joint = (x[:, None] < 0.03) | (x[None, :] < 0.03)
    return np.where(is_joint[:, :, None], 0.45 * base, base) * (1 + 0.04 * _cloud(30, rng))


_TEXTURES: dict[str, Callable[[np.ndarray, Rng], np.ndarray]] = {
    "studio": _plain,
    "plain": _plain,
    "wood": _wood,
    "cloth": _cloth,
    "stone": _stone,
    "tiles": _tiles,
}


def ground_colours(surroundings: Surroundings, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(height_px, width_px, 3) float32 colours of the ground at places on it, in sizes of the article."""
    # Back and forth over the texture, so that it repeats without a seam.
    column, row = ((1 - np.abs(np.mod(v / _TEXTURE_SPAN, 2) - 1)) * (_TEXTURE_PX - 1) for v in (x, y))
    return cv2.remap(
        surroundings.texture,
        column.astype(np.float32),
        row.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
