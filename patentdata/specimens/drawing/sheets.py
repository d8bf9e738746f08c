"""Drawing sheets: figures and labels arranged on a page, cropped as published, with the boxes of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from patentdata.specimens.drawing.pen import free_spots, paste

MARGIN_PX = 20  # paper left around the ink of a sheet
FRONT_PAGE_MARGIN_PX = 10
MAX_WIDTH_PX, MAX_HEIGHT_PX = 2450, 3078  # the largest sheets published

Box = tuple[int, int, int, int]  # x0, y0, x1, y1; the ends are exclusive


@dataclass(frozen=True)
class PlacedFigure:
    """A figure on a sheet.

    Attributes:
        number: The number as the label prints it; None if there is no label.
        box: Box of the ink of the drawing.
        label_box: Box of the ink of the label; None if there is no label.
    """

    number: str | None
    box: Box
    label_box: Box | None


@dataclass(frozen=True)
class Sheet:
    """One sheet as published.

    Attributes:
        ink: Boolean, (height_px, width_px).
        figures: The figures on it, with their boxes.
        rotation_cw: Degrees clockwise by which it must be turned to be upright.
        hard_why: Names of the hazards that it shows.
    """

    ink: np.ndarray
    figures: list[PlacedFigure] = field(default_factory=list)
    rotation_cw: int = 0
    hard_why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure before it is put on a sheet: its number, its drawing and its label (None if it has none)."""

    number: str
    drawing: np.ndarray
    label: np.ndarray | None


def split_rows(num: int, rng: np.random.Generator, *, wide: bool) -> list[int]:
    """Number of figures in each row of a sheet; `wide` drawings are stacked instead of put side by side."""
    options = {
        1: [[1]],
        2: [[1, 1], [2]],
        3: [[1, 1, 1], [2, 1], [1, 2]],
        4: [[2, 2], [1, 2, 1]],
        5: [[2, 2, 1], [1, 2, 2]],
        6: [[2, 2, 2], [3, 3]],
    }.get(num)
    if options is None:
        return [2] * (num // 2) + [1] * (num % 2)
    return options[0] if wide else options[int(rng.integers(len(options)))]


def fit_scale(
    extents: Sequence[np.ndarray], rows: Sequence[int], room_px: tuple[float, float], label_px: float, gap_px: float
) -> float:
    """Pixels a unit at which drawings of these extents, in rows and with labels, fill the room (width, height)."""
    wide, high, index = 0.0, 0.0, 0
    scales = []
    for row in rows:
        cells = extents[index : index + row]
        wide = sum(float(extent[0]) for extent in cells)
        high += max(float(extent[1]) for extent in cells)
        scales.append((room_px[0] - gap_px * (row - 1)) / max(wide, 1e-6))
        index += row
    scales.append((room_px[1] - (label_px + gap_px) * len(rows)) / max(high, 1e-6))
    return max(min(scales), 1e-3)


def set_rows(figures: Sequence[Figure], rows: Sequence[int], label_position: str, rng: np.random.Generator) -> Sheet:
    """An upright sheet with figures in rows, the labels "below", "above", "beside" or "inside" the drawings."""
    cells = [_cell(figure, label_position, rng) for figure in figures]
    gap = int(rng.integers(90, 200))
    page, placed, y, index = [], [], 0, 0
    for row in rows:
        line = cells[index : index + row]
        height = max(ink.shape[0] for ink, _ in line)
        x = 0
        for ink, figure in line:
            # the labels of a row are aligned if they are below the drawings; the drawings are if labels are above
            drop = {"below": height - ink.shape[0], "above": 0}.get(label_position, (height - ink.shape[0]) // 2)
            page.append((ink, x, y + drop))
            placed.append(_shifted(figure, x, y + drop))
            x += ink.shape[1] + gap
        y += height + gap
        index += row
    row_of = np.repeat(np.arange(len(rows)), rows)
    page, placed = _centred(page, placed, row_of)
    return _composed(page, placed)


def set_diagonally(first: Figure, second: Figure, label_position: str, rng: np.random.Generator) -> Sheet:
    """A sheet with two figures arranged diagonally, so close that their boxes overlap but their ink does not touch."""
    (ink_a, figure_a), (ink_b, figure_b) = (_cell(figure, label_position, rng) for figure in (first, second))
    width = ink_a.shape[1] + ink_b.shape[1] + 80
    height = ink_a.shape[0] + ink_b.shape[0] + 80
    page = np.zeros((height, width), dtype=bool)
    paste(page, ink_a, 0, 0)
    best = (ink_a.shape[1] + 60, ink_a.shape[0] + 60)
    small_page, small_b = _shrunk(page, 8), _shrunk(ink_b, 8)
    distance_px = 7  # in the shrunk page
    near = _grown(small_page, distance_px)
    for share in np.linspace(0, 0.75, 26):
        x = int((1 - share) * (ink_a.shape[1] + 60))
        y = int((1 - share * 0.8) * (ink_a.shape[0] + 60))
        window = near[y // 8 : y // 8 + small_b.shape[0], x // 8 : x // 8 + small_b.shape[1]]
        if (window & small_b[: window.shape[0], : window.shape[1]]).any():
            break
        best = (x, y)
    placed = [figure_a, _shifted(figure_b, *best)]
    return _composed([(ink_a, 0, 0), (ink_b, *best)], placed)


def _shrunk(ink: np.ndarray, factor: int) -> np.ndarray:
    height, width = (-(-size // factor) * factor for size in ink.shape)
    whole = np.zeros((height, width), dtype=bool)
    whole[: ink.shape[0], : ink.shape[1]] = ink
    return np.asarray(whole.reshape(height // factor, factor, width // factor, factor).any(axis=(1, 3)))


def _grown(ink: np.ndarray, px: int) -> np.ndarray:
    grown = np.pad(ink, px)
    for axis in (0, 1):
        grown = np.any([np.roll(grown, shift, axis) for shift in range(-px, px + 1)], axis=0)
    return grown[px:-px, px:-px]


def _cell(figure: Figure, label_position: str, rng: np.random.Generator) -> tuple[np.ndarray, PlacedFigure]:
    """A bitmap with the drawing and the label of one figure, and their boxes."""
    drawing, label = figure.drawing, figure.label
    high, wide = drawing.shape
    if label is None:
        return drawing, PlacedFigure(None, (0, 0, wide, high), None)
    label_high, label_wide = label.shape
    gap = int(rng.integers(55, 170))
    if label_position == "inside":
        spots = np.argwhere(free_spots(drawing, label.shape, margin_px=30))
        if len(spots):
            y, x = (int(v) for v in spots[int(rng.integers(len(spots)))])
            return _joined(figure, (0, 0), (x, y))
        label_position = "below"
    if label_position == "beside":
        return _joined(figure, (0, 0), (wide + gap, int(high * rng.uniform(0.3, 0.7)) - label_high // 2))
    shift = int(rng.normal(0, 0.04) * wide)
    x = (wide - label_wide) // 2 + shift
    return _joined(figure, (0, 0), (x, high + gap) if label_position == "below" else (x, -gap - label_high))


def _joined(figure: Figure, drawing_at: tuple[int, int], label_at: tuple[int, int]) -> tuple[np.ndarray, PlacedFigure]:
    assert figure.label is not None
    sheet = _composed(
        [(figure.drawing, *drawing_at), (figure.label, *label_at)],
        [PlacedFigure(figure.number, _box(figure.drawing, *drawing_at), _box(figure.label, *label_at))],
    )
    return sheet.ink, sheet.figures[0]


def _box(ink: np.ndarray, x: int, y: int) -> Box:
    return x, y, x + ink.shape[1], y + ink.shape[0]


def _shifted(placed: PlacedFigure, x: int, y: int) -> PlacedFigure:
    def shift(box: Box) -> Box:
        return box[0] + x, box[1] + y, box[2] + x, box[3] + y

    return PlacedFigure(placed.number, shift(placed.box), shift(placed.label_box) if placed.label_box else None)


def _centred(
    page: list[tuple[np.ndarray, int, int]], placed: list[PlacedFigure], row_of: np.ndarray
) -> tuple[list[tuple[np.ndarray, int, int]], list[PlacedFigure]]:
    ends = [
        max(x + ink.shape[1] for (ink, x, _), r in zip(page, row_of, strict=True) if r == row) for row in set(row_of)
    ]
    widest = max(ends)
    shift = [(widest - ends[row]) // 2 for row in row_of]
    moved = [(ink, x + s, y) for (ink, x, y), s in zip(page, shift, strict=True)]
    return moved, [_shifted(figure, s, 0) for figure, s in zip(placed, shift, strict=True)]


def _composed(page: list[tuple[np.ndarray, int, int]], placed: list[PlacedFigure]) -> Sheet:
    """A sheet without margin, composed of bitmaps at (x, y)."""
    left, top = min(x for _, x, _ in page), min(y for _, _, y in page)
    width = max(x + ink.shape[1] for ink, x, _ in page) - left
    height = max(y + ink.shape[0] for ink, _, y in page) - top
    canvas = np.zeros((height, width), dtype=bool)
    for ink, x, y in page:
        paste(canvas, ink, x - left, y - top)
    return Sheet(canvas, [_shifted(figure, -left, -top) for figure in placed])


def published(sheet: Sheet, *, rotation_cw: int = 0, specks: int = 0, rng: np.random.Generator | None = None) -> Sheet:
    """The sheet as it is published: turned, specked, and with its margin.

    Args:
        sheet: The sheet, upright and without margin.
        rotation_cw: Degrees clockwise that turn the published sheet upright; here it is turned the other way.
        specks: Number of specks, none nearer than 12 pixels to the ink of a figure.
        rng: Source of the positions of the specks.
    """
    ink = sheet.ink
    if specks:
        ink = _specked(ink, specks, rng or np.random.default_rng(0))
    height, width = ink.shape
    turns: dict[int, Callable[[Box], Box]] = {
        0: lambda b: b,
        90: lambda b: (b[1], width - b[2], b[3], width - b[0]),
        180: lambda b: (width - b[2], height - b[3], width - b[0], height - b[1]),
        270: lambda b: (height - b[3], b[0], height - b[1], b[2]),
    }
    turn = turns[rotation_cw]
    figures = [
        PlacedFigure(figure.number, turn(figure.box), turn(figure.label_box) if figure.label_box else None)
        for figure in sheet.figures
    ]
    ink = np.ascontiguousarray(np.rot90(ink, rotation_cw // 90))
    return replace(
        sheet,
        ink=np.pad(ink, MARGIN_PX),
        figures=[_shifted(figure, MARGIN_PX, MARGIN_PX) for figure in figures],
        rotation_cw=rotation_cw,
    )


def _specked(ink: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    ink = ink.copy()
    free = free_spots(ink, (4, 4), margin_px=12)
    spots = np.argwhere(free)
    for y, x in spots[rng.choice(len(spots), min(num, len(spots)), replace=False)] if len(spots) else ():
        high, wide = rng.integers(1, 4, 2)
        ink[y : y + high, x : x + wide] = True
    return ink
