"""Finding all near-duplicates among millions of drawings, without comparing every drawing with every other.

Drawings with a common key are candidates, and candidates are compared by their signatures. Memory is bounded: besides
30 bytes a drawing only the candidates are held, and signatures may be in a mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from patentdata.dataset.near_duplicates.keys import NUM_BANDS, Keys, index_keys, keys_of, lookup_keys
from patentdata.dataset.near_duplicates.similarity import compare, details_of
from patentdata.errors import ConfigError

_VIEWS_A_BLOCK = 4096
_ENTRIES_A_BLOCK = 256  # with their lookups and the drawings found under each
_PAIRS_A_BLOCK = 2048
_MOST_FOUND = 256  # drawings taken from under one key: those with the most similar codes
_MOST_BITS = 16  # of the code that differ in near-duplicates
_LARGEST_GAP = 0.019


@dataclass(frozen=True, kw_only=True)
class NearDuplicateConfig:
    """What counts as a near-duplicate, and what becomes of it.

    Attributes:
        leave_out: Whether views of the training split that are near-duplicates of validation or test views, and views
            of the validation split that are near-duplicates of test views, are left out of the dataset.
        min_similarity: Least correlation of two drawings, in the best turn, mirrored or not.
        max_proportion_gap: Most that the width or height of two drawings, as a share of the longer side, may differ by.
    """

    leave_out: bool = False
    min_similarity: float = 0.95
    max_proportion_gap: float = 0.015

    def __post_init__(self) -> None:
        if not 0.5 <= self.min_similarity <= 1:
            raise ConfigError(f"min_similarity is {self.min_similarity}; choose 0.5 to 1 (equal)")
        if not 0 <= self.max_proportion_gap <= _LARGEST_GAP:
            raise ConfigError(f"max_proportion_gap is {self.max_proportion_gap}; choose 0 to {_LARGEST_GAP}")


@dataclass(frozen=True)
class Pairs:
    """Near-duplicates, in order of their indices.

    Attributes:
        first: (num_pairs,) int64, index of one drawing.
        second: (num_pairs,) int64, index of the other, which is higher.
        similarities: (num_pairs,) float64, correlation in the best turn.
        turns: (num_pairs,) int64, what makes the first look like the second, as an index of `TURNS`.
        num_crowded: Number of drawings that share a key with so many others that only some were compared.
    """

    first: np.ndarray
    second: np.ndarray
    similarities: np.ndarray
    turns: np.ndarray
    num_crowded: int = 0


def find_pairs(signatures: np.ndarray, config: NearDuplicateConfig) -> Pairs:
    """The near-duplicates among drawings.

    Args:
        signatures: (num_views, NUM_BYTES) uint8; may be a mapped file.
        config: What counts as a near-duplicate.
    """
    num_views = len(signatures)
    keys = Keys.joined(
        [
            keys_of(np.asarray(signatures[first : first + _VIEWS_A_BLOCK]), first, config.max_proportion_gap)
            for first in range(0, max(num_views, 1), _VIEWS_A_BLOCK)
        ]
    )
    is_crowded = np.zeros(num_views, bool)
    candidates = np.empty(0, np.int64)
    for band in range(NUM_BANDS):
        found = _candidates(keys, band, num_views, config.max_proportion_gap, is_crowded)
        candidates = np.unique(np.concatenate([candidates, *found]))
    parts = [
        _compared(signatures, *np.divmod(candidates[first : first + _PAIRS_A_BLOCK], num_views), config)
        for first in range(0, len(candidates), _PAIRS_A_BLOCK)
    ]
    first, second, similarities, turns = (np.concatenate(column) for column in zip(_NO_PAIRS, *parts, strict=True))
    return Pairs(first, second, similarities, turns, int(is_crowded.sum()))


_NO_PAIRS = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))


def _candidates(
    keys: Keys, band: int, num_views: int, max_proportion_gap: float, is_crowded: np.ndarray
) -> Iterator[np.ndarray]:
    """Pairs with a common key in a band, as first index × num_views + second index; marks crowded drawings."""
    # Under each key the entries are in order of their codes, so that the most similar ones are next to each other.
    ranks = np.unique(keys.codes, return_inverse=True)[1].astype(np.uint64)
    places = index_keys(keys, band) << np.uint64(32) | ranks
    order = np.argsort(places, kind="stable")
    places = places[order]
    for first in range(0, len(keys), _ENTRIES_A_BLOCK):
        lookups, entries = lookup_keys(keys.part(slice(first, first + _ENTRIES_A_BLOCK)), band, max_proportion_gap)
        entries = entries + first
        begin = np.searchsorted(places, lookups << np.uint64(32))
        end = np.searchsorted(places, lookups + np.uint64(1) << np.uint64(32))
        middle = np.searchsorted(places, lookups << np.uint64(32) | ranks[entries])
        is_crowded[keys.rows[entries[end - begin > _MOST_FOUND]]] = True
        begin = np.clip(middle - _MOST_FOUND // 2, begin, np.maximum(begin, end - _MOST_FOUND))
        sizes = np.minimum(end - begin, _MOST_FOUND)
        one = np.repeat(entries, sizes)
        other = order[np.arange(len(one)) - np.repeat(np.cumsum(sizes) - sizes - begin, sizes)]
        is_near = np.bitwise_count(keys.codes[one] ^ keys.codes[other]) <= _MOST_BITS
        rows, other_rows = keys.rows[one[is_near]], keys.rows[other[is_near]]
        low, high = np.minimum(rows, other_rows), np.maximum(rows, other_rows)
        yield np.unique((low * num_views + high)[low < high])


def _compared(
    signatures: np.ndarray, first: np.ndarray, second: np.ndarray, config: NearDuplicateConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Those of some candidates that are near-duplicates: first, second, similarity, turn."""
    rows, indices = np.unique(np.concatenate([first, second]), return_inverse=True)
    own, other = np.split(indices, 2)
    details = details_of(np.asarray(signatures[rows]))
    similarities, turns = compare(details, own, other, max_proportion_gap=config.max_proportion_gap)
    is_same = similarities >= config.min_similarity
    return first[is_same], second[is_same], similarities[is_same], turns[is_same]
