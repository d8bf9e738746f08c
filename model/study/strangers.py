"""What a view has in common with the nearest view of another patent: what it claims, or only what it does not claim.

Both layers of a drawing are compared by their ink alone, without a model: cropped to the ink, brought to a small grid
and blurred, so that the width of lines and the phase of dashes do not count. Two drawings of one thing from one side
correlate above `ALIKE`, drawings of different things below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from model.dataset.images import decode_grey
from model.dataset.line_layers import line_layers
from model.dataset.views import Views
from model.evaluation.measures.metrics import Scores

ALIKE = 0.6
_SIDE_PX, _BLUR_PX = 32, 1.5
_ROWS_A_CHUNK = 256
_LEAST_INK = 32  # of 255: fainter pixels are the blur of a JPEG


@dataclass(frozen=True, eq=False)
class LayeredViews:
    """Views, read with both their images.

    Attributes:
        views: The views.
    """

    views: Views

    @cached_property
    def grids(self) -> tuple[np.ndarray, np.ndarray]:
        """The claimed and the unclaimed lines of each view: (num_views, num_pixels) float32 of unit length each.

        Rows of views that do not have both are NaN.
        """
        grids = np.full((2, len(self.views), _SIDE_PX**2), np.nan, np.float32)
        for row in range(len(self.views)):
            box = self.views.claimed_box(row)
            if box is None:
                continue
            claimed = self.views.claimed_images[row]
            layers = line_layers(self.views.whole_images[row], claimed, box)
            grids[0, row] = grid_of(255 - decode_grey(claimed))
            grids[1, row] = grid_of(layers.unclaimed)
        return grids[0], grids[1]

    def share_only_unclaimed(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether pairs of views are alike in their unclaimed lines and not in their claimed ones.

        Args:
            rows: (num_pairs,) one view of each pair.
            others: (num_pairs,) the other view.

        Returns:
            (num_pairs,) float64, 1 or 0; NaN if the first view does not have both kinds of lines. A second view that
            does not have both shares no unclaimed lines.
        """
        claimed, unclaimed = self.grids
        is_alike = [(grids[rows] * grids[others]).sum(axis=1) >= ALIKE for grids in (claimed, unclaimed)]
        return np.where(np.isnan(unclaimed[rows, 0]), np.nan, (is_alike[1] & ~is_alike[0]).astype(np.float64))


def grid_of(ink: np.ndarray) -> np.ndarray:
    """(num_pixels,) float32 of unit length and mean 0, what a drawing shows without its size, position and line width.

    Args:
        ink: (height_px, width_px) uint8, 255 is ink and 0 is paper. All NaN if there is no ink.
    """
    left, top, width, height = cv2.boundingRect((ink >= _LEAST_INK).view(np.uint8))
    if not width:
        return np.full(_SIDE_PX**2, np.nan, np.float32)
    side = max(width, height)
    square = np.zeros((side, side), np.float32)
    x, y = (side - width) // 2, (side - height) // 2
    square[y : y + height, x : x + width] = ink[top : top + height, left : left + width]
    interpolation = cv2.INTER_AREA if side >= _SIDE_PX else cv2.INTER_LINEAR
    small = cv2.GaussianBlur(cv2.resize(square, (_SIDE_PX, _SIDE_PX), interpolation=interpolation), (0, 0), _BLUR_PX)
    flat = (small - small.mean()).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)


def nearest_strangers(scores: Scores, families: np.ndarray) -> np.ndarray:
    """(num_views,) the view of another family that each view is nearest to; the first of those that are equally near.

    Args:
        scores: Similarities of the views with each other.
        families: (num_views,) number of the family of each view's patent.
    """
    nearest = []
    for first in range(0, len(families), _ROWS_A_CHUNK):
        rows = slice(first, min(first + _ROWS_A_CHUNK, len(families)))
        is_own = families[rows, None] == families[None]
        of_rows = scores(rows.start, rows.stop).float().cpu().numpy()
        nearest.append(np.where(is_own, -np.inf, of_rows).argmax(axis=1))
    return np.concatenate(nearest)
