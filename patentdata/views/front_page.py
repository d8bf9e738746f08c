"""Which figures the front-page drawing copies.

The front page shows one or two figures of the grant again, upright and scaled. A figure is compared by its silhouette
of ink: how dark each cell of a coarse grid over its box is, which a change of scale leaves as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.views.grouping import trim
from patentdata.views.sheets import PAPER

_GRID = 32  # cells along each side of a silhouette
_MIN_LIKENESS = 0.5  # correlation of silhouettes of a copy: line drawings reach 1.00, halftones 0.61
_SURE_LIKENESS = 0.95  # of the whole drawing with one figure: no need to look for two
_MIN_ASPECT_RATIO = 0.96  # scaling keeps the shape of the box; rounding to pixels does not quite
_MAX_CUTS = 4  # strips of paper at which a drawing of two figures may be parted


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
    dark = cv2.resize(PAPER - view, (_GRID * 2, _GRID * 2), interpolation=cv2.INTER_AREA).astype(np.float32)
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
    least, places = (best[0], [best[1]]) if best else (0.0, [])
    for one, other in _halves(whole) if least < _SURE_LIKENESS else ():
        found = [_nearest(half, figures) for half in (one, other)]
        pair = [near for near in found if near is not None]
        if len(pair) == 2 and min(near[0] for near in pair) > least:
            least, places = min(near[0] for near in pair), sorted({near[1] for near in pair})
    return places


def _nearest(view: np.ndarray, figures: Sequence[Silhouette]) -> tuple[float, int] | None:
    """Likeness and place of the figure most like `view`; null where none is.

    A sheet whose direction nothing told may have been left lying on its side, so the view is turned, too.
    """
    best: tuple[float, int] | None = None
    for turns in (0, 1, 3):
        seen = silhouette(np.ascontiguousarray(np.rot90(view, turns)))
        scores = [likeness(seen, figure) - (0.05 if turns else 0.0) for figure in figures]
        place = int(np.argmax(scores))
        if scores[place] >= _MIN_LIKENESS and (best is None or scores[place] > best[0]):
            best = (scores[place], place)
    return best


def _halves(whole: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ways to part the drawing in two at a strip of blank columns, or of blank rows: the widest strips of each."""
    ways = []
    for page in (whole, whole.T):
        blank = np.flatnonzero((page == PAPER).all(axis=0))
        strips = np.split(blank, np.flatnonzero(np.diff(blank) > 1) + 1) if len(blank) else []
        for strip in sorted(strips, key=len, reverse=True)[:_MAX_CUTS]:
            parts = [trim(np.ascontiguousarray(part)) for part in (page[:, : strip[0]], page[:, strip[-1] + 1 :])]
            one, other = (part if part is None or page is whole else part.T for part in parts)
            if one is not None and other is not None:
                ways.append((one, other))
    return ways
