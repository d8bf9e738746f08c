"""What can be measured of a drawing without a model: its ink, its lines, and how alike two drawings are.

All of it is measured within the box around the ink, so that margins and the padding to a square do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from model.dataset.images import decode_grey
from model.dataset.views import Views

_INK_BELOW = 200  # a grey value below this is ink: that of a thin line is averaged with the paper around it
_GRID = 32  # cells of the grid that drawings are compared on, along each side
_SURROUNDINGS = 2.0  # standard deviation, in cells, of what is subtracted from a cell
_MAX_PROPORTION_GAP = 0.2  # drawings whose proportions differ by more are not alike


@dataclass(frozen=True)
class DrawingMeasures:
    """Measures of several drawings.

    Attributes:
        ink_shares: (num_drawings,) share of the box around the ink that is ink; 0 without ink.
        num_crossings: (num_drawings,) number of lines that a straight line across the box crosses, on average over all
            its rows and columns of pixels; 0 without ink.
    """

    ink_shares: np.ndarray
    num_crossings: np.ndarray

    def of(self, rows: np.ndarray) -> DrawingMeasures:
        """The measures of some of the drawings."""
        return DrawingMeasures(self.ink_shares[rows], self.num_crossings[rows])


def measure_drawings(views: Views, *, num_threads: int) -> DrawingMeasures:
    """Measure all drawings of a split, several at a time.

    Raises:
        DatasetError: An image cannot be decoded.
    """
    with ThreadPoolExecutor(num_threads) as executor:
        values = np.array(list(executor.map(lambda row: _measure(views, row), range(len(views)))), dtype=np.float64)
    return DrawingMeasures(values[:, 0], values[:, 1])


def _measure(views: Views, row: int) -> tuple[float, float]:
    """Ink share and number of crossings of one drawing."""
    ink = _cut_to_ink(decode_grey(views.images.view(row), view_id=views.view_id(row))) < _INK_BELOW
    if not ink.any():
        return 0.0, 0.0
    starts = [np.count_nonzero(lines[1:] & ~lines[:-1]) + np.count_nonzero(lines[0]) for lines in (ink, ink.T)]
    return float(ink.mean()), sum(starts) / sum(ink.shape)


def likeness(pairs: Iterable[tuple[bytes, bytes]]) -> np.ndarray:
    """(num_pairs,) float64, correlation of the details of two drawings each, at most 1.

    Both are brought to one size. It is -1 if their proportions differ, or one of them is empty.
    """
    return np.array([_likeness(_details(one), _details(other)) for one, other in pairs], dtype=np.float64)


def _likeness(one: tuple[np.ndarray, float], other: tuple[np.ndarray, float]) -> float:
    lengths = float(np.linalg.norm(one[0]) * np.linalg.norm(other[0]))
    if not lengths or abs(one[1] - other[1]) > _MAX_PROPORTION_GAP:
        return -1.0
    return float((one[0] * other[0]).sum()) / lengths


def _details(jpeg: bytes) -> tuple[np.ndarray, float]:
    """(_GRID, _GRID) float32, the ink of each cell minus that of its surroundings; and the proportions, -1 to 1.

    Without subtracting the surroundings most drawings would be alike: dark in the middle and light in the corners.
    """
    box = _cut_to_ink(decode_grey(jpeg))
    height, width = box.shape
    cells = cv2.resize(255 - box, (_GRID, _GRID), interpolation=cv2.INTER_AREA).astype(np.float32)
    return cells - cv2.GaussianBlur(cells, (0, 0), _SURROUNDINGS), (width - height) / max(width, height)


def _cut_to_ink(grey: np.ndarray) -> np.ndarray:
    """The box around the ink: (height_px, width_px) uint8; the whole image if there is no ink."""
    ink = grey < _INK_BELOW
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else grey
