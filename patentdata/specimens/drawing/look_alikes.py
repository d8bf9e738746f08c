"""What looks like broken lines and is not, and what makes broken lines hard to see.

Both are taken from real drawings: shading, stitches that are claimed, rows of small shapes; and the flaws of scanning.
A bitmap is boolean, (height_px, width_px), True where there is ink, at the 300 dpi of the sheets.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from patentdata.specimens.drawing.pen import Inked, stroke

Rng = np.random.Generator
Shape = tuple[int, int]
_KEPT_CLEAR_PX = 10  # around broken lines, so that a look-alike does not continue them


def hatching(shape: Shape, rng: Rng) -> np.ndarray:
    """Parallel strokes of about equal length, in a few groups."""
    ink = np.zeros(shape, bool)
    for _ in range(3):
        x, y = rng.uniform(0.1, 0.7, 2) * shape[::-1]
        angle, length, step = rng.uniform(0, np.pi), rng.uniform(30, 90), rng.uniform(7, 14)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        for index in range(18):
            start = [x, y] + index * step * across + rng.uniform(-8, 8) * along
            ink = stroke(ink, np.stack([start, start + length * rng.uniform(0.8, 1.2) * along]), 2)
    return ink


def stipple(shape: Shape, rng: Rng) -> np.ndarray:
    """Dots scattered over a part of the drawing."""
    ink = np.zeros(shape, np.uint8)
    middle, spread = rng.uniform(0.3, 0.7, 2) * shape[::-1], 0.15 * min(shape)
    for x, y in rng.normal(middle, spread, (600, 2)).astype(int):
        cv2.circle(ink, (int(x), int(y)), 1, 1, cv2.FILLED)
    return ink > 0


def contour_strokes(shape: Shape, rng: Rng) -> np.ndarray:
    """Long strokes that end in shorter and shorter pieces, as curved and reflecting surfaces are drawn."""
    ink = np.zeros(shape, bool)
    for y in np.arange(0.2, 0.8, 0.07) * shape[0]:
        x = rng.uniform(0.05, 0.3) * shape[1]
        for length in (rng.uniform(120, 250), rng.uniform(40, 90), rng.uniform(15, 30), rng.uniform(5, 10)):
            ink = stroke(ink, np.array([[x, y], [x + length, y]]), 2)
            x += length + rng.uniform(8, 13)
    return ink


def ellipses(shape: Shape, rng: Rng) -> np.ndarray:
    """Rows of filled ellipses."""
    ink = np.zeros(shape, np.uint8)
    width = int(rng.integers(12, 18))
    for y in range(shape[0] // 4, 3 * shape[0] // 4, 44):
        for x in range(shape[1] // 4, 3 * shape[1] // 4, 3 * width):
            cv2.ellipse(ink, (x, y), (width, width * 2 // 5), 0, 0, 360, 1, cv2.FILLED)
    return ink > 0


def chain(shape: Shape, rng: Rng) -> np.ndarray:
    """A chain of rings."""
    ink = np.zeros(shape, np.uint8)
    y = int(rng.uniform(0.3, 0.7) * shape[0])
    for x in range(40, shape[1] - 40, 34):
        cv2.ellipse(ink, (x, y), (13, 6), 0, 0, 360, 1, 2)
    return ink > 0


def seam(shape: Shape, rng: Rng) -> np.ndarray:
    """A zigzag."""
    x = np.arange(30, shape[1] - 30, 14.0)
    y = rng.uniform(0.3, 0.7) * shape[0] + 14 * (np.arange(len(x)) % 2)
    return stroke(np.zeros(shape, bool), np.stack([x, y], axis=1), 3)


def perforation(shape: Shape, rng: Rng) -> np.ndarray:
    """A row of small holes."""
    ink = np.zeros(shape, np.uint8)
    y = int(rng.uniform(0.3, 0.7) * shape[0])
    for x in range(40, shape[1] - 40, 22):
        cv2.circle(ink, (x, y), 6, 1, 2)
    return ink > 0


LOOK_ALIKES: dict[str, Callable[[Shape, Rng], np.ndarray]] = {
    "hatching": hatching,
    "stipple": stipple,
    "contour_strokes": contour_strokes,
    "ellipses": ellipses,
    "chain": chain,
    "seam": seam,
    "perforation": perforation,
}


def with_look_alike(drawing: Inked, name: str, rng: Rng) -> Inked:
    """The drawing with one of `LOOK_ALIKES` on it, clear of its broken lines."""
    kept_clear = cv2.dilate(drawing.broken.astype(np.uint8), np.ones((2 * _KEPT_CLEAR_PX + 1,) * 2, np.uint8)) > 0
    added = LOOK_ALIKES[name]((drawing.ink.shape[0], drawing.ink.shape[1]), rng) & ~kept_clear
    return Inked(drawing.ink | added, drawing.broken)


def torn(drawing: Inked, rng: Rng) -> Inked:
    """The drawing as scanned by a sensor with dead rows: every line is interrupted by a pixel or two in places."""
    kept = np.ones(drawing.ink.shape, bool)
    for axis in (0, 1):
        rows = np.flatnonzero(rng.random(drawing.ink.shape[axis]) < 0.04)
        kept[(rows,) if axis == 0 else (slice(None), rows)] = False
    return Inked(drawing.ink & kept, drawing.broken & kept)


def frayed(drawing: Inked, rng: Rng) -> Inked:
    """The drawing with pinholes and frayed edges."""
    near = cv2.dilate(drawing.ink.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    kept, added = rng.random(drawing.ink.shape) > 0.04, near & (rng.random(drawing.ink.shape) < 0.04)
    near_broken = cv2.dilate(drawing.broken.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    ink = (drawing.ink & kept) | added
    return Inked(ink, ink & (drawing.broken | (added & near_broken)))


def greyed(drawing: Inked) -> Inked:
    """The drawing with its broken lines in grey, as a screen of dots prints it."""
    y, x = np.indices(drawing.ink.shape)
    gone = drawing.broken & ((x + y) % 2 == 1)
    return Inked(drawing.ink & ~gone, drawing.broken & ~gone)
