"""The ink of a sheet as connected components, at half resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_MUCH_DUST = 300  # cells
_ROW, _ROW_SHARE = 25, 0.75  # dust is a faint line if this share of it, within 25 cells, is in one row or column
_MAX_PIECE, _MAX_GAP = 100, 4  # largest side of a piece of a letter, and widest gap between two pieces, cells
SCALE = 2  # side in sheet pixels of one cell; a cell is ink if any of its pixels is


@dataclass(frozen=True, kw_only=True)
class Ink:
    """Connected components (8 neighbours) of a sheet, numbered from 0.

    Attributes:
        ids: (height, width) int32 at half resolution: number of the component + 1, 0 is paper.
        boxes: (num_components, 4) int32 x0, y0, x1, y1 in half-resolution pixels, ends exclusive.
        cells: (height, width) uint8 at half resolution, 1 is ink.
    """

    ids: np.ndarray
    boxes: np.ndarray
    cells: np.ndarray


def find_ink(page: np.ndarray) -> Ink:
    """Connected components of a page of (height_px, width_px) uint8, 0 is ink."""
    return _components(pool(page, SCALE))


def with_joined_pieces(ink: Ink) -> Ink:
    """The same ink with small pieces that nearly touch joined, so that stencilled and worn letters become whole."""
    sides = (ink.boxes[:, 2:] - ink.boxes[:, :2]).max(axis=1, initial=0)
    is_small = np.concatenate([[False], sides <= _MAX_PIECE])
    small = is_small[ink.ids].astype(np.uint8)
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((_MAX_GAP + 1, _MAX_GAP + 1), np.uint8))
    return _components(cv2.bitwise_or(closed, ink.cells))


def _components(cells: np.ndarray) -> Ink:
    num, ids = cv2.connectedComponents(cells, connectivity=8, ltype=cv2.CV_32S)
    return Ink(ids=ids, boxes=_boxes(cells, ids, num - 1), cells=cells)


def _boxes(cells: np.ndarray, ids: np.ndarray, num: int) -> np.ndarray:
    """Box of each component, from its runs along the rows; OpenCV's statistics are slower, they visit paper too."""
    width = cells.shape[1] + 1  # a column of paper separates the last run of a row from the first of the next
    flat = cv2.copyMakeBorder(cells, 0, 0, 0, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1  # starts and ends of the runs, alternating
    if flat[0]:
        changes = np.concatenate([[0], changes])
    y, x = np.divmod(changes[::2], width)
    names = ids[y, x] - 1
    boxes = np.empty((num, 4), np.int32)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int32).max, 0
    np.minimum.at(boxes[:, 0], names, x.astype(np.int32))
    np.minimum.at(boxes[:, 1], names, y.astype(np.int32))
    np.maximum.at(boxes[:, 2], names, (x + changes[1::2] - changes[::2]).astype(np.int32))
    np.maximum.at(boxes[:, 3], names, (y + 1).astype(np.int32))
    return boxes


def without_dust(half: np.ndarray) -> np.ndarray:
    """Half-resolution ink (0 or 1) without the dust that covers some scans, most of it around lettering.

    Dust is one or two cells of ink with no other ink near, except if they are in a row, as the dots of a faint line
    are. A sheet with little dust is returned unchanged.
    """
    dust = cv2.bitwise_and(half, cv2.threshold(_count(half, 5, 5), 2, 1, cv2.THRESH_BINARY_INV)[1])
    if cv2.countNonZero(dust) < _MUCH_DUST:
        return half
    row = np.maximum(_count(dust, _ROW, 3), _count(dust, 3, _ROW))
    dust[row > _ROW_SHARE * _count(dust, _ROW, _ROW)] = 0
    return half - dust if cv2.countNonZero(dust) >= _MUCH_DUST else half


def _count(cells: np.ndarray, width: int, height: int) -> np.ndarray:
    """Number of cells that are 1 in the window around each cell."""
    depth = cv2.CV_8U if width * height <= 255 else cv2.CV_16U
    return cv2.boxFilter(cells, depth, (width, height), normalize=False, borderType=cv2.BORDER_CONSTANT)


def pool(page: np.ndarray, factor: int) -> np.ndarray:
    """1 for each `factor` × `factor` cell that contains ink, else 0; the last row and column may be partial cells."""
    height, width = page.shape
    bottom, right = -height % factor, -width % factor
    if bottom or right:
        page = cv2.copyMakeBorder(page, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=255)
    size = (page.shape[1] // factor, page.shape[0] // factor)
    # the mean of a cell with one pixel of ink in factor² rounds below 255 for factors up to 15
    return cv2.threshold(cv2.resize(page, size, interpolation=cv2.INTER_AREA), 254, 1, cv2.THRESH_BINARY_INV)[1]
