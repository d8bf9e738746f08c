"""Which figures the front-page drawing copies.

The front page shows one or two figures of the grant again, upright and scaled. A figure is compared by its silhouette
of ink: how dark each cell of a coarse grid over its box is, which a change of scale leaves as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.grouping import group_ink, trim

_GRID = 24  # cells along each side of a silhouette
_MIN_LIKENESS = (
    0.75  # correlation of silhouettes of a copy; figures of one patent that merely resemble each other stay below
)
_MIN_ASPECT_RATIO = 0.9  # scaling keeps the shape of the box; rounding to pixels does not quite


@dataclass(frozen=True, kw_only=True)
class Silhouette:
    """How a figure's ink is spread over its box.

    Attributes:
        grid: (_GRID × _GRID,) float32, mean 0, length 1.
        aspect: Width over height of the box.
    """

    grid: np.ndarray
    aspect: float


def silhouette(view: np.ndarray) -> Silhouette:
    """Of a view of (height_px, width_px) uint8, 0 is ink, cut at its ink."""
    height, width = view.shape
    dark = cv2.resize(255 - view, (_GRID * 2, _GRID * 2), interpolation=cv2.INTER_AREA).astype(np.float32)
    dark = np.sqrt(cv2.GaussianBlur(dark, (0, 0), 1.0)[::2, ::2]).ravel()  # thin lines lose ink when scaled: level it
    dark -= dark.mean()
    length = float(np.linalg.norm(dark))
    return Silhouette(grid=dark / length if length > 0 else dark, aspect=width / height)


def likeness(a: Silhouette, b: Silhouette) -> float:
    """Correlation of two silhouettes, -1 to 1; 0 where the boxes differ in shape."""
    if min(a.aspect, b.aspect) / max(a.aspect, b.aspect) < _MIN_ASPECT_RATIO:
        return 0.0
    return float(a.grid @ b.grid)


def copied_figures(front: np.ndarray, figures: Sequence[Silhouette]) -> list[int]:
    """Places in `figures` of those that the front-page drawing shows again, in order; empty where none is like it.

    Args:
        front: (height_px, width_px) uint8, 0 is ink: the front-page drawing.
        figures: The grant's figures, upright.
    """
    whole = trim(front)
    if whole is None or not figures:
        return []
    best = _nearest(whole, figures)
    parts = [group_ink(front, boxes) for boxes in _halves(whole, front)]
    for groups in parts:
        if len(groups) == 2:
            views = [front[g.box[1] : g.box[3], g.box[0] : g.box[2]] for g in groups]
            found = [near for view in views if (near := _nearest(view, figures))]
            if len(found) == 2 and min(f[0] for f in found) > (best[0] if best else _MIN_LIKENESS):
                return sorted({f[1] for f in found})
    return [best[1]] if best else []


def _nearest(view: np.ndarray, figures: Sequence[Silhouette]) -> tuple[float, int] | None:
    """Likeness and place of the figure most like `view`, turned any way; null where none is."""
    best: tuple[float, int] | None = None
    for turns in (0, 1, 3):  # a sheet whose direction nothing told may have been left lying on its side
        seen = silhouette(np.ascontiguousarray(np.rot90(view, turns)))
        scores = [likeness(seen, figure) - (0.05 if turns else 0.0) for figure in figures]
        place = int(np.argmax(scores))
        if scores[place] >= _MIN_LIKENESS and (best is None or scores[place] > best[0]):
            best = (scores[place], place)
    return best


def _halves(whole: np.ndarray, front: np.ndarray) -> list[list[tuple[int, int, int, int]]]:
    """Labels to pretend, that part the drawing into two: under its left and right halves; beside top and bottom."""
    height, width = front.shape
    return [
        [(width // 4, height, width // 4 + 1, height + 1), (3 * width // 4, height, 3 * width // 4 + 1, height + 1)],
        [(width, height // 4, width + 1, height // 4 + 1), (width, 3 * height // 4, width + 1, 3 * height // 4 + 1)],
    ]
