"""Finds leaders: lines that run from a label to a place in another figure, and so show that it is a call-out."""

from __future__ import annotations

import cv2
import numpy as np

from patentdata.views.ink import Ink

_WINDOW = 2.0  # how far around a label leaders are looked for, in letter heights, as are the following
_MAX_GAP = 1.2  # from the label to the end of its leader
_MIN_LENGTH = 0.8  # of the part of a leader within the window
_RADIUS = 0.5  # of the circle around the end of the leader that it has to leave in one direction
_MIN_AWAY = 0.3  # how far it gets away from the label on that way, as a share of the radius
_MAX_THICKNESS = 6  # of a leader, half-resolution pixels
_MAX_PIECES = 30  # around a label; with more of them it is inside a drawing


def has_leader(ink: Ink, box: tuple[int, int, int, int], members: np.ndarray, height: int) -> bool:
    """Whether a thin line ends close to a label and runs away from it.

    A line that passes a label, as the outline of its own figure may, has no end there and is no leader.

    Args:
        ink: Components of the sheet.
        box: x0, y0, x1, y1 of the label in half-resolution pixels.
        members: Indices of the components that are its letters.
        height: Height of its letters in half-resolution pixels.
    """
    x0, y0, x1, y1 = box
    reach = round(_WINDOW * height)
    left, top = max(0, x0 - reach), max(0, y0 - reach)
    ids = ink.ids[top : y1 + reach, left : x1 + reach]
    other = (ids > 0) & ~np.isin(ids, members + 1)
    other[max(0, y0 - 1 - top) : y1 + 1 - top, max(0, x0 - 1 - left) : x1 + 1 - left] = False
    num, pieces, stats, _ = cv2.connectedComponentsWithStats(other.astype(np.uint8), connectivity=8)
    large = [piece for piece in range(1, num) if stats[piece, 2:4].max() >= _MIN_LENGTH * height]
    if len(large) > _MAX_PIECES:
        return False
    for piece in large:
        y, x = np.nonzero(pieces == piece)
        x, y = x + left, y + top
        gaps = np.hypot(np.maximum(np.maximum(x0 - x, x - x1 + 1), 0), np.maximum(np.maximum(y0 - y, y - y1 + 1), 0))
        if gaps.min() <= _MAX_GAP * height and np.ptp(gaps) >= _MIN_LENGTH * height and _ends(x, y, gaps, height):
            return True
    return False


def _ends(x: np.ndarray, y: np.ndarray, gaps: np.ndarray, height: int) -> bool:
    """Whether a piece of ink ends, as a thin line, where it is closest to the label.

    Args:
        x: (num_pixels,) position of each pixel of the piece.
        y: (num_pixels,) position of each pixel of the piece.
        gaps: (num_pixels,) distance of each from the label.
        height: Height of the letters.
    """
    radius = max(6.0, _RADIUS * height)
    closest = int(gaps.argmin())
    from_end = np.hypot(x - x[closest], y - y[closest])
    crossing = np.abs(from_end - radius) <= 1
    if not crossing.any() or (from_end <= radius).sum() > _MAX_THICKNESS * radius:
        return False
    spread = max(np.ptp(x[crossing]), np.ptp(y[crossing]))
    return bool(spread <= _MAX_THICKNESS + 2 and gaps[crossing].mean() - gaps[closest] >= _MIN_AWAY * radius)
