"""A small description of a drawing by which near-duplicates are found, in 516 bytes.

Copies of one drawing differ in what a scanner or a program changes: size, margins, the width of lines, a few specks. A
signature is the same for all of them, within a small tolerance: how much ink there is in each cell of a grid, which is
stretched over the drawing alone, and the proportions that the stretching has taken away. The grid is stretched because
a pencil seen from the side would otherwise fill three columns of 32, and could not be told from other narrow things;
the proportions are kept apart because they are what tells the variants of one design from each other.
"""

from __future__ import annotations

import cv2
import numpy as np

from patentdata.views.square_images import PAPER, ink_box

GRID = 32
NUM_BYTES = 4 + GRID * GRID // 2
_SIDE_PX = 256  # longer side of the drawing when its ink is measured
_SHORTEST_PX = 48  # shorter side at that size, so that narrow drawings keep their details
_CELL_PX = 4  # the grid is sampled more finely first
_MARGIN_CELLS = 1
_BLUR_CELLS = 0.5  # so that a line that moves by a fraction of a cell changes its cells by a fraction
_TAIL = 0.004  # share of the ink, at each side, that the extent of a drawing does not depend on
_INK_FROM = 20  # least darkness of a pixel that counts for connected parts
_GAP_PX = 11  # parts closer than this are one: the dashes of a broken line
_SPECK_SHARE = 0.05  # of the longer side: parts no larger than this may be specks
_MAX_SPECKS_INK = 0.2  # of all ink: if small parts hold more, the drawing is made of them
_LEVELS = 15
_PROPORTION = 65_535


def signature(page: np.ndarray) -> bytes | None:
    """The signature of a drawing, or None if it has no ink.

    Args:
        page: (height_px, width_px) uint8, 0 is ink and 255 is paper.

    Returns:
        `NUM_BYTES` bytes: width and height of the drawing as shares of the longer one (little-endian uint16, 65535 is
        1), then the ink of 32 × 32 cells row by row, the square root of its density in 15 steps, two cells a byte.
    """
    left, top, width, height = ink_box(page)
    if not width:
        return None
    ink = _without_specks(_reduced(page[top : top + height, left : left + width]))
    first_x, last_x = _extent(ink.sum(axis=0, dtype=np.float64))
    first_y, last_y = _extent(ink.sum(axis=1, dtype=np.float64))
    grid = _stretched(ink, first_x, last_x, first_y, last_y)
    levels = np.rint(np.sqrt(grid / grid.max()) * _LEVELS).astype(np.uint8).ravel()
    # The reduction may have scaled both directions differently; the proportions are those of the drawing itself.
    size = np.array([(last_x - first_x) * width / ink.shape[1], (last_y - first_y) * height / ink.shape[0]])
    proportions = np.rint(size / size.max() * _PROPORTION).astype("<u2")
    return proportions.tobytes() + (levels[::2] << 4 | levels[1::2]).tobytes()


def unpack(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Proportions and grids of signatures.

    Args:
        signatures: (num_views, NUM_BYTES) uint8.

    Returns:
        (num_views, 2) float64, width and height as shares of the longer one; (num_views, GRID, GRID) uint8, 0 to 15.
    """
    proportions = np.ascontiguousarray(signatures[:, :4]).view("<u2") / _PROPORTION
    cells = signatures[:, 4:]
    return proportions, np.stack([cells >> 4, cells & 15], axis=-1).reshape(-1, GRID, GRID)


def _reduced(drawing: np.ndarray) -> np.ndarray:
    """The ink of a drawing at a working size, each pixel the mean of the area that it covers: uint8, 255 is ink."""
    height, width = drawing.shape
    scale = _SIDE_PX / max(height, width)
    size = [min(side, max(round(side * scale), _SHORTEST_PX)) for side in (width, height)]
    return PAPER - cv2.resize(drawing, size, interpolation=cv2.INTER_AREA)


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """The ink without small parts that are far from all others, unless the drawing is made of such parts."""
    kernel = np.ones((_GAP_PX, _GAP_PX), np.uint8)
    joined = cv2.dilate((ink > _INK_FROM).view(np.uint8), kernel)
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(joined)
    sizes = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) - (_GAP_PX - 1)
    is_speck = sizes <= _SPECK_SHARE * max(ink.shape)
    is_speck[0] = False  # the paper
    is_of_speck = is_speck[parts]
    if ink[is_of_speck].sum(dtype=np.int64) > _MAX_SPECKS_INK * ink.sum(dtype=np.int64):
        return ink
    return np.where(is_of_speck, 0, ink).astype(np.uint8)


def _extent(profile: np.ndarray) -> tuple[float, float]:
    """Where the ink along an axis begins and ends, a small share of it left out at both sides, in pixels."""
    position = np.arange(len(profile) + 1)
    share = np.concatenate([[0.0], np.cumsum(profile)]) / profile.sum()
    return float(np.interp(_TAIL, share, position)), float(np.interp(1 - _TAIL, share, position))


def _stretched(ink: np.ndarray, first_x: float, last_x: float, first_y: float, last_y: float) -> np.ndarray:
    """Density of the ink between these limits, stretched over the grid inside its margin: (GRID, GRID) float32."""
    num_px = GRID * _CELL_PX
    room = num_px - 2 * _MARGIN_CELLS * _CELL_PX
    scale_x, scale_y = room / max(last_x - first_x, 1.0), room / max(last_y - first_y, 1.0)
    # Limits lie between pixels, and OpenCV counts from the centres of pixels: half a pixel at both sides.
    shift_x = num_px / 2 - scale_x * (first_x + last_x - 1) / 2 - 0.5
    shift_y = num_px / 2 - scale_y * (first_y + last_y - 1) / 2 - 0.5
    moved = cv2.warpAffine(
        ink.astype(np.float32), np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]]), (num_px, num_px)
    )
    blurred = cv2.GaussianBlur(moved, (0, 0), _BLUR_CELLS * _CELL_PX)
    return cv2.resize(blurred, (GRID, GRID), interpolation=cv2.INTER_AREA)
