"""Finds the figures that the front-page drawing copies.

The front page repeats one or two figures of the grant, upright and scaled. Figures are therefore compared by
silhouette: how dark each cell of a coarse grid over the figure's box is, which does not change with the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.views.grouping import trim
from patentdata.views.sheets import PAPER

_GRID = 32  # cells along each side of a silhouette
_MIN_LIKENESS = 0.5  # correlation of the silhouettes of figure and copy: 1.00 for line drawings, 0.61 for halftones
_SURE_LIKENESS = 0.95  # if the whole drawing is this like one figure, two are not looked for
_MIN_ASPECT_RATIO = 0.96  # scaling keeps the shape of the box; rounding to pixels does not quite
_MAX_CUTS = 4  # blank strips, in each direction, at which a drawing of two figures is cut on trial


@dataclass(frozen=True, kw_only=True)
class Silhouette:
    """How a figure's ink is distributed over its box.

    Attributes:
        grid: (_GRID × _GRID,) float32 of mean 0 and length 1.
        aspect: Width of the box divided by its height.
    """

    grid: np.ndarray
    aspect: float


def silhouette(view: np.ndarray) -> Silhouette:
    """The silhouette of a view of (height_px, width_px) uint8, 0 is ink, cropped to its ink."""
    height, width = view.shape
    dark = cv2.resize(PAPER - view, (_GRID * 2, _GRID * 2), interpolation=cv2.INTER_AREA).astype(np.float32)
    dark = np.sqrt(
        cv2.GaussianBlur(dark, (0, 0), 1.0)[::2, ::2]
    ).ravel()  # compensates for the ink that thin lines lose when scaled
    dark -= dark.mean()
    length = float(np.linalg.norm(dark))
    return Silhouette(grid=dark / length if length > 0 else dark, aspect=width / height)


def likeness(a: Silhouette, b: Silhouette) -> float:
    """Correlation of two silhouettes, -1 to 1; 0 if the boxes differ in shape."""
    if min(a.aspect, b.aspect) / max(a.aspect, b.aspect) < _MIN_ASPECT_RATIO:
        return 0.0
    return float(a.grid @ b.grid)


def copied_figures(front: np.ndarray, figures: Sequence[Silhouette]) -> list[int]:
    """Indices, in order, of the figures that the front-page drawing shows; empty if none resembles it.

    Args:
        front: (height_px, width_px) uint8, 0 is ink: the front-page drawing.
        figures: The grant's figures, upright.
    """
    whole = trim(front)
    if whole is None or not figures:
        return []
    best = _most_similar(whole, figures)
    least, indices = (best[0], [best[1]]) if best else (0.0, [])
    for one, other in _halves(whole) if least < _SURE_LIKENESS else ():
        matches = [_most_similar(half, figures) for half in (one, other)]
        pair = [match for match in matches if match is not None]
        if len(pair) == 2 and min(match[0] for match in pair) > least:
            least, indices = min(match[0] for match in pair), sorted({match[1] for match in pair})
    return indices


def _most_similar(view: np.ndarray, figures: Sequence[Silhouette]) -> tuple[float, int] | None:
    """Likeness and index of the figure most like `view`; None if none is like it.

    A sheet whose orientation is not known may have been left on its side, so the view is compared turned, too.
    """
    best: tuple[float, int] | None = None
    for turns in (0, 1, 3):
        turned = silhouette(np.ascontiguousarray(np.rot90(view, turns)))
        scores = [likeness(turned, figure) - (0.05 if turns else 0.0) for figure in figures]
        index = int(np.argmax(scores))
        if scores[index] >= _MIN_LIKENESS and (best is None or scores[index] > best[0]):
            best = (scores[index], index)
    return best


def _halves(whole: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ways to cut the drawing in two at a strip of blank columns or blank rows; the widest strips of each are tried."""
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
