"""Short keys of drawings: near-duplicates share one of three, so that only drawings with a common key are compared.

A code of 63 bits describes the coarse shape of a drawing. Its bits are the same for a drawing and its mirror images,
and nearly all of them are the same for its near-duplicates. The code is cut into three bands of 21 bits, each of which
is a key, together with the proportions of the drawing (multi-index hashing). A bit whose value was close to its
threshold may differ in a copy, so the keys with such bits flipped are looked up as well.

A code depends on its drawing alone, not on a sample that it was fitted to: two drawings have a common key or not,
whatever else is in the dataset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patentdata.views.signatures import GRID, unpack

NUM_BANDS = 3
_BITS_A_BAND = 21
_NUM_FLIPPED = 4  # bits of a band that are looked up with both values: the least certain ones
_CELL = 0.04  # proportions are cut into cells of this width
_FREQUENCIES = 12
_NUM_EVEN = 35
_ODD_FROM = 0.05  # least share of all coefficients, as vectors, from which on an odd one counts as present


def _chosen() -> tuple[np.ndarray, np.ndarray]:
    """Vertical and horizontal frequency of each bit, the lowest first, dealt to the bands in turn.

    Most are even in both directions: their coefficients keep their sign in mirror images, and the sign is the bit. Odd
    coefficients change their sign, so only their size counts; of symmetrical drawings they are 0.
    """
    vertical, horizontal = (axis.ravel() for axis in np.indices((_FREQUENCIES, _FREQUENCIES)))
    is_even = (vertical % 2 == 0) & (horizontal % 2 == 0)
    order = np.lexsort((vertical, vertical + horizontal))[1:]  # without the mean
    even, odd = order[is_even[order]][:_NUM_EVEN], order[~is_even[order]][: NUM_BANDS * _BITS_A_BAND - _NUM_EVEN]
    chosen = np.concatenate([even, odd]).reshape(_BITS_A_BAND, NUM_BANDS).T.ravel()
    return vertical[chosen], horizontal[chosen]


_VERTICAL, _HORIZONTAL = _chosen()
_IS_EVEN = (_VERTICAL % 2 == 0) & (_HORIZONTAL % 2 == 0)
_WAVES = np.cos(np.pi * (np.arange(GRID) + 0.5) * np.arange(_FREQUENCIES)[:, None] / GRID)  # cosine transform


@dataclass(frozen=True)
class Keys:
    """The keys of drawings.

    Attributes:
        rows: (num_keys,) int64, index of the drawing; one that is nearly square has a second entry, turned by 90°.
        codes: (num_keys,) uint64, the first band in the lowest bits.
        shorter: (num_keys,) float64, shorter side of the drawing as a share of the longer one.
        uncertain: (num_keys, NUM_BANDS, 4) uint8, positions of the least certain bits of each band.
    """

    rows: np.ndarray
    codes: np.ndarray
    shorter: np.ndarray
    uncertain: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def joined(cls, parts: list[Keys]) -> Keys:
        """The keys of several parts, in order."""
        return cls(
            rows=np.concatenate([part.rows for part in parts]),
            codes=np.concatenate([part.codes for part in parts]),
            shorter=np.concatenate([part.shorter for part in parts]),
            uncertain=np.concatenate([part.uncertain for part in parts]),
        )

    def part(self, entries: slice) -> Keys:
        """Some of the entries."""
        return Keys(self.rows[entries], self.codes[entries], self.shorter[entries], self.uncertain[entries])


def keys_of(signatures: np.ndarray, first_row: int, max_proportion_gap: float) -> Keys:
    """The keys of signatures.

    Args:
        signatures: (num_views, NUM_BYTES) uint8.
        first_row: Index of the first one among all drawings.
        max_proportion_gap: Drawings whose sides differ by no more, as a share of the longer one, count as square.
    """
    proportions, grids = unpack(signatures)
    # Drawings are laid on their longer side; of square ones it is not known which side that is in a copy.
    is_upright = proportions[:, 1] > proportions[:, 0]
    lying = np.where(is_upright[:, None, None], grids.transpose(0, 2, 1), grids)
    shorter = proportions.min(axis=1)
    square = np.flatnonzero(shorter >= 1 - max_proportion_gap)
    rows = np.concatenate([np.arange(len(grids)), square])
    codes, uncertain = _encode(np.concatenate([lying, lying[square].transpose(0, 2, 1)]))
    return Keys(rows + first_row, codes, shorter[rows], uncertain)


def _encode(grids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes, and least certain bits by band, of (num_grids, GRID, GRID) uint8."""
    coefficients = _WAVES @ grids.astype(np.float64) @ _WAVES.T
    coefficients[:, 0, 0] = 0  # the mean
    lengths = np.sqrt((coefficients**2).sum(axis=(1, 2)))
    values = coefficients[:, _VERTICAL, _HORIZONTAL] / np.maximum(lengths, 1e-9)[:, None]
    margins = np.where(_IS_EVEN, values, np.abs(values) - _ODD_FROM)
    weights = np.left_shift(np.uint64(1), np.arange(margins.shape[1], dtype=np.uint64))
    codes = np.where(margins > 0, weights, np.uint64(0)).sum(axis=1, dtype=np.uint64)
    by_band = np.abs(margins).reshape(-1, NUM_BANDS, _BITS_A_BAND)
    return codes, np.argsort(by_band, axis=2, kind="stable")[:, :, :_NUM_FLIPPED].astype(np.uint8)


def index_keys(keys: Keys, band: int) -> np.ndarray:
    """The key of each entry in a band: (num_keys,) uint64, below 2**26."""
    return _joined(_band_of(keys.codes, band), _cell_of(keys.shorter))


def lookup_keys(keys: Keys, band: int, max_proportion_gap: float) -> tuple[np.ndarray, np.ndarray]:
    """The keys under which the near-duplicates of each entry may be found in a band.

    Args:
        keys: The entries.
        band: Number of the band.
        max_proportion_gap: How far the proportions of near-duplicates may lie apart, less than half a cell.

    Returns:
        (num_lookups,) uint64, the keys; (num_lookups,) int64, the index of the entry that each is of.
    """
    variants = _band_of(keys.codes, band)[:, None]
    for position in keys.uncertain[:, band].T:
        flipped = variants ^ np.left_shift(np.uint64(1), position.astype(np.uint64))[:, None]
        variants = np.concatenate([variants, flipped], axis=1)
    # Proportions near the edge of their cell are looked up in the next cell, too.
    own = _cell_of(keys.shorter)
    low, high = _cell_of(keys.shorter - max_proportion_gap), _cell_of(keys.shorter + max_proportion_gap)
    other = np.where(low < own, low, high)
    at_edge = np.flatnonzero(other != own)
    found = np.concatenate([_joined(variants, own[:, None]), _joined(variants[at_edge], other[at_edge, None])])
    return found.ravel(), np.repeat(np.concatenate([np.arange(len(keys)), at_edge]), variants.shape[1])


def _band_of(codes: np.ndarray, band: int) -> np.ndarray:
    return codes >> np.uint64(_BITS_A_BAND * band) & np.uint64(2**_BITS_A_BAND - 1)


def _cell_of(shorter: np.ndarray) -> np.ndarray:
    return np.floor(np.maximum(shorter, 0.0) / _CELL).astype(np.uint64)


def _joined(bits: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return bits | cells << np.uint64(_BITS_A_BAND)
