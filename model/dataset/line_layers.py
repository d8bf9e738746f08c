"""A view in two layers for a page: its claimed lines, and over them the unclaimed ones in light grey.

The image of the claimed lines has a square of its own, which they fill. Here they are found again on the whole image,
whose pixels are then divided: what is near a claimed line belongs to it, and the rest is unclaimed. So both layers are
as sharp as the whole image, and together they are the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from model.dataset.images import decode_grey

_WHITE = 255
_UNCLAIMED_GREY = 170  # legible on white, and clearly not black
_STRENGTH = 2.0  # of unclaimed lines on a page
_REACH_PX = 3  # side of the square of pixels around a claimed one that belong to it: resampling blurs by a pixel


@dataclass(frozen=True)
class LineLayers:
    """The lines of a view.

    Attributes:
        claimed: (side_px, side_px) uint8, the claimed lines on white.
        unclaimed: (side_px, side_px) uint8, the ink of the other lines: 255 is a line, 0 is paper.
    """

    claimed: np.ndarray
    unclaimed: np.ndarray

    @property
    def claimed_png(self) -> bytes:
        """The claimed lines, black on white."""
        return _png(self.claimed)

    @property
    def unclaimed_png(self) -> bytes:
        """The other lines in light grey, on transparent paper.

        Thin lines have little ink in an image of this size; they are drawn stronger, so that they can still be seen.
        """
        grey = np.full_like(self.unclaimed, _UNCLAIMED_GREY)
        opacity = cv2.convertScaleAbs(self.unclaimed, alpha=_STRENGTH)
        return _png(np.dstack([grey, grey, grey, opacity]))


def line_layers(whole: bytes, claimed: bytes, box: Sequence[float]) -> LineLayers:
    """The layers of a view.

    Args:
        whole: The image of all lines.
        claimed: The image of the claimed lines.
        box: Where the square of `claimed` is on that of `whole`: x0, y0, x1, y1 as shares of its side.

    Raises:
        DatasetError: An image cannot be decoded.
    """
    ink = _WHITE - decode_grey(whole)
    near_claimed = cv2.dilate(
        _placed(_WHITE - decode_grey(claimed), box, len(ink)), np.ones((_REACH_PX, _REACH_PX), np.uint8)
    )
    of_claimed = np.minimum(ink, near_claimed)
    return LineLayers(_WHITE - of_claimed, ink - of_claimed)


def _placed(ink: np.ndarray, box: Sequence[float], side_px: int) -> np.ndarray:
    """A square of ink scaled and moved to its box on another square: (side_px, side_px) uint8."""
    x0, y0, x1, _ = (edge * side_px for edge in box)
    # Averaged by area first, since the affine map that follows picks single pixels.
    size = max(1, round(x1 - x0))
    scaled = cv2.resize(ink, (size, size), interpolation=cv2.INTER_AREA if size <= len(ink) else cv2.INTER_LINEAR)
    scale = (x1 - x0) / size
    centre = (scale - 1) / 2  # positions are those of the centres of pixels
    move = np.array([[scale, 0, x0 + centre], [0, scale, y0 + centre]])
    return cv2.warpAffine(scaled, move, (side_px, side_px))


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()
