"""Line drawings as bitmaps, and what draughtsmen add to them.

A bitmap is boolean, (height_px, width_px), True where there is ink, at the 300 dpi of the sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.specimens.drawing.projection import Lines
from patentdata.specimens.lettering import LabelStyle, cropped, draw_text
from patentdata.specimens.shapes.solids import BROKEN, FINE, SHADE, SOLID

_SHIFT = 4  # fractional bits of OpenCV's coordinates


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Widths in pixels of the four styles of line."""

    solid_px: int = 4
    broken_px: int = 3
    fine_px: int = 3
    shade_px: int = 2

    def width(self, style: int) -> int:
        """Width of a line style of `solids`."""
        return {SOLID: self.solid_px, BROKEN: self.broken_px, FINE: self.fine_px, SHADE: self.shade_px}[style]


@dataclass(frozen=True)
class Inked:
    """A drawing as bitmaps.

    Attributes:
        ink: (height_px, width_px) bool, all of its ink.
        broken: (height_px, width_px) bool, the ink that belongs to broken lines only.
    """

    ink: np.ndarray
    broken: np.ndarray


def ink_drawing(lines: Lines, scale: float, pen: Pen) -> Inked:
    """The drawing at `scale` pixels a unit, cropped to its ink, and which of that is broken lines."""
    margin = 12
    width, height = (np.ceil(lines.extent * scale).astype(int) + 2 * margin).tolist()
    solid, broken = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    for style in (SOLID, BROKEN, FINE, SHADE):
        chosen = [
            np.rint(((run - lines.low) * scale + margin) * 2**_SHIFT).astype(np.int32)
            for run, kind in zip(lines.runs, lines.styles, strict=True)
            if kind == style
        ]
        if chosen:
            canvas = broken if style == BROKEN else solid
            cv2.polylines(canvas, chosen, False, 1, pen.width(style), cv2.LINE_8, _SHIFT)
    ink, (left, top) = cropped((solid | broken) > 0)
    part = slice(top, top + ink.shape[0]), slice(left, left + ink.shape[1])
    return Inked(ink, (broken > solid)[part])


def ink_lines(lines: Lines, scale: float, pen: Pen) -> np.ndarray:
    """All ink of the drawing at `scale` pixels a unit, cropped."""
    return ink_drawing(lines, scale, pen).ink


def padded(ink: np.ndarray, px: int) -> np.ndarray:
    """The bitmap with a margin on all sides."""
    return np.pad(ink, px)


def stroke(ink: np.ndarray, points: np.ndarray, width_px: int, *, dash_px: tuple[int, int] | None = None) -> np.ndarray:
    """The bitmap with a polyline, (num, 2) of (x, y) pixels, drawn on it; `dash_px` is (stroke, gap)."""
    canvas = ink.astype(np.uint8)
    pieces = [np.asarray(points, dtype=float)]
    if dash_px:
        pieces = _dashes(pieces[0], *dash_px)
    fixed = [np.rint(piece * 2**_SHIFT).astype(np.int32) for piece in pieces]
    cv2.polylines(canvas, fixed, False, 1, width_px, cv2.LINE_8, _SHIFT)
    return canvas > 0


def arrow_head(ink: np.ndarray, tip: np.ndarray, direction: np.ndarray, size_px: int) -> np.ndarray:
    """The bitmap with a filled arrow head that points along `direction`."""
    direction = direction / np.linalg.norm(direction)
    across = np.array([-direction[1], direction[0]])
    corners = [tip, tip - size_px * direction + across * size_px / 3, tip - size_px * direction - across * size_px / 3]
    canvas = ink.astype(np.uint8)
    cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], 1)
    return canvas > 0


def paste(page: np.ndarray, ink: np.ndarray, x: int, y: int) -> None:
    """Add a bitmap to a page, its upper left corner at (x, y); what is beyond the edges of the page is cut off."""
    ink = ink[max(0, -y) : max(0, page.shape[0] - y), max(0, -x) : max(0, page.shape[1] - x)]
    x, y = max(0, x), max(0, y)
    page[y : y + ink.shape[0], x : x + ink.shape[1]] |= ink


def _dashes(points: np.ndarray, on_px: int, off_px: int) -> list[np.ndarray]:
    """The strokes of a broken polyline, each a short polyline of its own."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    pieces = []
    for start in np.arange(0, length[-1], on_px + off_px):
        distance = np.linspace(start, min(start + on_px, length[-1]), 4)
        pieces.append(np.stack([np.interp(distance, length, points[:, k]) for k in (0, 1)], axis=1))
    return pieces


# --- What draughtsmen add to a drawing -----------------------------------------------------------------------------


def with_call_out(ink: np.ndarray, text: str, style: LabelStyle, rng: np.random.Generator) -> np.ndarray:
    """A dashed circle around a detail, and `text` ("FIG. 3") with an arrow to it, within the drawing's box."""
    height, width = ink.shape
    size = int(0.16 * min(width, height)) + 20
    note = draw_text(text, style, rng)
    ink = padded(ink, size)
    centre = np.array([size + width * 0.62, size + height * 0.55])
    angle = np.linspace(0, 2 * np.pi, 40)
    ink = stroke(ink, centre + size * np.stack([np.cos(angle), np.sin(angle)], axis=1), 3, dash_px=(18, 10))
    spot = _emptiest(ink, note.shape, (size, size, size + width, size + height))
    if spot is None:
        ink = np.pad(ink, ((0, max(0, note.shape[0] - ink.shape[0])), (0, note.shape[1] + 60)))
        spot = (ink.shape[1] - note.shape[1] - 20, min(int(centre[1]), ink.shape[0] - note.shape[0]))
    start = np.array([spot[0] + note.shape[1] / 2, spot[1] + note.shape[0] / 2])
    toward = centre - start
    toward /= max(float(np.linalg.norm(toward)), 1.0)
    tip, begin = centre - toward * size, start + toward * (note.shape[1] / 2 + 15)
    if (tip - begin) @ toward > 30:
        ink = arrow_head(stroke(ink, np.stack([begin, tip]), 3), tip, toward, 26)
    paste(ink, note, *spot)
    return cropped(ink)[0]


def with_section_marks(ink: np.ndarray, text: str, style: LabelStyle, rng: np.random.Generator) -> np.ndarray:
    """A vertical section line through the drawing, with an arrow and `text` ("8") at each end."""
    note = draw_text(text, style, rng)
    room = note.shape[0] + 80
    ink = padded(ink, room)
    x, top, bottom = ink.shape[1] // 2, 40 + note.shape[0] // 2, ink.shape[0] - 40 - note.shape[0] // 2
    ink = stroke(ink, np.array([[x, top], [x, bottom]]), 3, dash_px=(40, 14))
    for y in (top, bottom):
        tip = np.array([x + 60.0, y])
        ink = arrow_head(stroke(ink, np.array([[x, y], tip]), 4), tip, np.array([1.0, 0.0]), 26)
        paste(ink, note, x + 72, y - note.shape[0] // 2)
    return cropped(ink)[0]


def with_brace(ink: np.ndarray) -> np.ndarray:
    """A brace along the left side that holds loose parts together."""
    height = ink.shape[0]
    ink = np.pad(ink, ((10, 10), (120, 0)))
    t = np.linspace(-1, 1, 121)  # down the brace; its tip is at 0, its ends bend towards the drawing
    x = 50 + 34 * (np.abs(t) ** 30) - 34 * np.exp(-np.abs(t) * 30)
    return cropped(stroke(ink, np.stack([x, 10 + (t + 1) / 2 * height], axis=1), 4))[0]


def with_surroundings(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Faint broken surroundings: a rounded frame far outside the drawing and a few lines across."""
    height, width = ink.shape
    room = int(0.18 * max(width, height)) + 30
    ink = padded(ink, room)
    w, h = width + 2 * room - 12, height + 2 * room - 12
    angle = np.linspace(0, 2 * np.pi, 120)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    bent = np.sign(unit) * np.abs(unit) ** rng.uniform(0.2, 0.7)
    ink = stroke(ink, bent * [w / 2, h / 2] + [6 + w / 2, 6 + h / 2], 2, dash_px=(9, 13))
    for share in (0.3, 0.7):
        y = 6 + h * share
        ink = stroke(ink, np.array([[w * 0.02 + 10, y], [room - 30, y]]), 2, dash_px=(9, 13))
        ink = stroke(ink, np.array([[w + 6 - room + 30, y], [w * 0.98, y]]), 2, dash_px=(9, 13))
    return cropped(ink)[0]


_LONG = 2.0  # length over width of a drawing that is worth a break
_BREAK_SHARE = 0.05  # of the length that is left out
_TEETH_PX = 14


def with_break(ink: np.ndarray) -> np.ndarray:
    """A long drawing with a piece of its middle left out, between two jagged break lines; others as they are."""
    if ink.shape[0] < ink.shape[1]:
        return with_break(ink.T).T
    height, width = ink.shape
    if height < _LONG * width:
        return ink
    half = max(2 * _TEETH_PX, int(height * _BREAK_SHARE / 2))
    middle = height // 2
    broken = padded(np.ascontiguousarray(ink), _TEETH_PX)
    broken[middle - half + _TEETH_PX : middle + half + _TEETH_PX] = False
    x = np.arange(0, width + 2 * _TEETH_PX, _TEETH_PX)
    teeth = np.where(np.arange(len(x)) % 2, _TEETH_PX // 2, -_TEETH_PX // 2)
    for y in (middle - half, middle + half):
        broken = stroke(broken, np.stack([x, y + _TEETH_PX + teeth], axis=1), 3)
    return cropped(broken)[0]


def halftone(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The drawing with its inside toned by dots that grow towards one side, like a printed photograph."""
    inside = _inside(ink)
    height, width = ink.shape
    y, x = np.mgrid[0:height, 0:width]
    cell = int(rng.integers(7, 11))
    turned = (x + y) / cell * np.pi, (x - y) / cell * np.pi
    screen = (np.cos(turned[0]) + np.cos(turned[1])) / 4 + 0.5  # 0..1
    slope = rng.uniform(-1, 1, 2)
    tone = 0.52 + 0.22 * (slope[0] * (x / width - 0.5) + slope[1] * (y / height - 0.5)) * 2
    tone += 0.10 * np.sin(6.3 * y / height + 2 * x / width)
    return ink | (inside & (screen < tone))


def _inside(ink: np.ndarray) -> np.ndarray:
    """True for ink and for everything that ink encloses."""
    closed = cv2.dilate(padded(ink, 6).astype(np.uint8), np.ones((7, 7), np.uint8))
    flood = closed.copy()
    cv2.floodFill(flood, None, (0, 0), 2)
    return (flood != 2)[6:-6, 6:-6]


def _emptiest(ink: np.ndarray, shape: tuple[int, ...], area: tuple[int, int, int, int]) -> tuple[int, int] | None:
    """Upper left corner of a free spot for a bitmap of `shape` in `area` (x0, y0, x1, y1); None if there is none."""
    spots = free_spots(ink, shape, margin_px=18)
    x0, y0, x1, y1 = area
    window = spots[y0 : max(y1 - shape[0], y0 + 1), x0 : max(x1 - shape[1], x0 + 1)]
    free = np.argwhere(window)
    if not len(free):
        return None
    y, x = free[len(free) // 2]
    return int(x) + x0, int(y) + y0


def free_spots(ink: np.ndarray, shape: tuple[int, ...], *, margin_px: int) -> np.ndarray:
    """Boolean map: True at (y, x) if a bitmap of `shape` put there keeps `margin_px` from all ink."""
    sums = cv2.integral(padded(ink, margin_px).astype(np.uint8))
    high, wide = shape[0] + 2 * margin_px, shape[1] + 2 * margin_px
    if sums.shape[0] <= high or sums.shape[1] <= wide:
        return np.zeros((0, 0), dtype=bool)
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    return np.asarray(inside == 0)


def with_axis(ink: np.ndarray) -> np.ndarray:
    """A dashed axis through loose parts above each other, drawn only in the gaps between them."""
    free = ~cv2.dilate(ink.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    x = ink.shape[1] // 2
    axis = stroke(np.zeros_like(ink), np.array([[x, 0], [x, ink.shape[0]]]), 3, dash_px=(36, 14))
    gaps = ~np.asarray(ink.any(axis=1))
    return ink | (axis & free & gaps[:, None])
