"""How alike two drawings are, by their signatures, in the best of the eight ways to turn and mirror one of them.

Their details are compared: each cell of the grid minus its surroundings. Whole grids would not do, since most drawings
are dark in the middle and light in the corners, and so all alike. Every sum is one of small integers and therefore
exact: a similarity does not depend on the machine, and neither does what is left out of a dataset because of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patentdata.views.signatures import GRID, unpack

TURNS = (
    "as it is",
    "turned by 90°",
    "turned by 180°",
    "turned by 270°",
    "mirrored",
    "mirrored, turned by 90°",
    "mirrored, turned by 180°",
    "mirrored, turned by 270°",
)
"""What makes the first drawing look like the second; turns are counter-clockwise, after mirroring left to right."""

_HALF_BELL = (1, 3, 8, 15, 21, 24)  # weights of a bell curve with a standard deviation of two cells
_DETAIL_UNIT = 1701  # brings details into 8 bits: the largest is 15 × (sum of weights)² = 127 × 1701


@dataclass(frozen=True)
class Details:
    """What is compared of drawings.

    Attributes:
        proportions: (num_views, 2) float64, width and height as shares of the longer one.
        grids: (num_views, GRID, GRID) int8, each cell minus its surroundings.
    """

    proportions: np.ndarray
    grids: np.ndarray


def details_of(signatures: np.ndarray) -> Details:
    """The details of (num_views, NUM_BYTES) uint8."""
    proportions, grids = unpack(signatures)
    weights = np.array([*_HALF_BELL, *_HALF_BELL[-2::-1]])
    reach = len(_HALF_BELL) - 1
    blur = sum(np.eye(GRID, k=offset) * weights[offset + reach] for offset in range(-reach, reach + 1))
    blur = np.asarray(blur, np.float32)
    values = grids.astype(np.float32)  # all that follows is whole numbers below 2**24, which float32 holds exactly
    difference = values * np.float32(weights.sum() ** 2) - blur @ values @ blur
    return Details(proportions, np.rint(difference / _DETAIL_UNIT).astype(np.int8))


def turned(grids: np.ndarray, turn: int) -> np.ndarray:
    """Grids or a picture, (…, height, width), mirrored and turned as `TURNS[turn]` says."""
    return np.rot90(grids[..., ::-1] if turn >= 4 else grids, turn % 4, axes=(-2, -1))


def compare(
    details: Details, first: np.ndarray, second: np.ndarray, *, max_proportion_gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """The similarity of pairs of drawings.

    Args:
        details: The drawings.
        first: (num_pairs,) int64, index of the first of each pair.
        second: (num_pairs,) int64, index of the second one.
        max_proportion_gap: Two drawings are not compared in turns in which their width or their height, as a share of
            the longer side, differs by more.

    Returns:
        (num_pairs,) float64, correlation of the details in the best turn, at most 1, and -1 if no turn brings the
        proportions together; (num_pairs,) int64, that turn as an index of `TURNS`, the first one of equals.
    """
    own, other = details.grids[first].astype(np.float32), details.grids[second].astype(np.float32)
    lengths = np.sqrt(_dot(own, own).astype(np.float64) * _dot(other, other).astype(np.float64))
    similarities = np.full((len(first), len(TURNS)), -1.0)
    for swaps in (0, 1):  # turns by 0° and 180° keep width and height, the others swap them
        sides = details.proportions[first][:, ::-1] if swaps else details.proportions[first]
        fits = np.flatnonzero(np.abs(sides - details.proportions[second]).max(axis=1) <= max_proportion_gap)
        for turn in range(swaps, len(TURNS), 2):
            products = _dot(turned(own[fits], turn), other[fits])
            similarities[fits, turn] = products / np.maximum(lengths[fits], 1.0)
    turns = similarities.argmax(axis=1)
    return similarities[np.arange(len(turns)), turns], turns


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sums of the products of cells; exact, since sums of GRID² products of 8-bit integers are below 2**24."""
    return np.einsum("ijk,ijk->i", one, other)
