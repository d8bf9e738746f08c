"""The nearest of many features, by exact search or by an approximate index.

Exact search compares the query with every feature, which takes too long for millions of views. The approximate index
compares only some. How many it compares is tuned when it is built: as few as reach the required recall, measured
against exact search with sample queries.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import ConfigError, NonFiniteError
from model.files import atomic_write, read_json, write_json

_LOG = logging.getLogger(__name__)
_TRAINING_POINTS_A_LIST = 64
_MAX_LISTS = 16_384
_ROWS_A_BLOCK = 65_536


class Nearest:
    """Exact search by inner product over features of unit length.

    Args:
        parts: Matrices (num_rows, embed_dim) float32; the rows count through them in order. They are not copied.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = list(parts)
        self.num_rows = sum(len(part) for part in self.parts)

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the `k` nearest and their scores, the nearest first; equal scores in the order of the rows.

        Args:
            query: (embed_dim,) float32, unit length.
            k: Number of rows to find; fewer are found if fewer are allowed.
            allowed: (num_rows,) bool; None allows all rows.

        Raises:
            NonFiniteError: A score is NaN.
        """
        scores = np.concatenate([part @ query for part in self.parts])
        rows = np.arange(self.num_rows) if allowed is None else np.flatnonzero(allowed)
        found = rows[highest(scores[rows], k)]
        return found, scores[found]

    def row(self, row: int) -> np.ndarray:
        """The feature of one row: (embed_dim,) float32."""
        for part in self.parts:
            if row < len(part):
                return part[row]
            row -= len(part)
        raise IndexError(row)

    def blocks(self) -> Iterator[np.ndarray]:
        """The features in order, in blocks of at most `_ROWS_A_BLOCK` rows."""
        for part in self.parts:
            for first in range(0, len(part), _ROWS_A_BLOCK):
                yield np.ascontiguousarray(part[first : first + _ROWS_A_BLOCK])


def highest(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the `k` highest scores, the highest first; equal scores in their order.

    Raises:
        NonFiniteError: A score is NaN, which has no order.

    >>> highest(np.array([0.1, 0.5, 0.3, 0.5]), 3)
    array([1, 3, 2])
    """
    k = min(k, len(scores))
    if k <= 0:
        return np.empty(0, np.int64)
    if np.isnan(scores.max()):
        raise NonFiniteError("the scores of a search are not numbers (NaN); check the weights of the model")
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    indices = np.flatnonzero(scores >= least)
    return indices[np.lexsort((indices, -scores[indices]))[:k]]


@dataclass(frozen=True, kw_only=True)
class ApproximateConfig:
    """Settings of the approximate index.

    Attributes:
        from_views: Galleries with more views use the index; smaller ones are searched exactly.
        min_recall: Share of the exact `k` nearest rows that it must find.
        k: Number of nearest rows for which the recall is measured.
        num_probes: Number of queries of each kind that the recall is measured with.
        seed: Seed for the choice of training rows and queries.
    """

    from_views: int = 500_000
    min_recall: float = 0.95
    k: int = 20
    num_probes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.from_views < 0:
            raise ConfigError(f"from_views is {self.from_views}; use 0 (always) or a larger number")
        if not 0 < self.min_recall <= 1:
            raise ConfigError(f"min_recall is {self.min_recall}; use a number above 0 and up to 1")
        if self.k < 1 or self.num_probes < 1:
            raise ConfigError("k and num_probes must be at least 1")


@dataclass(frozen=True)
class Probes:
    """Queries of one kind, to measure recall with.

    Attributes:
        features: (num_queries, embed_dim) float32, unit length.
        own_rows: (num_queries,) row that the query is a copy of, which does not count as found; -1 for other queries.
    """

    features: np.ndarray
    own_rows: np.ndarray


class Approximate:
    """Approximate search with an inverted-list index of FAISS.

    Attributes:
        exact: Exact search over the same features; it answers if a filter allows few rows.
        recall: Kind of query → recall@k with `num_probed` lists, measured against exact search.
        num_probed: Number of lists that are searched for each query.
    """

    def __init__(self, exact: Nearest, index: Any, num_probed: int, recall: dict[str, float]) -> None:
        self.exact = exact
        self.recall = recall
        self.num_probed = num_probed
        self._index = index

    @property
    def num_lists(self) -> int:
        """Number of lists of the index."""
        return int(self._index.nlist)

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Like `Nearest.search`, but some of the nearest rows may be missed."""
        import faiss

        if not np.isfinite(query).all():  # FAISS would find nothing and say nothing
            raise NonFiniteError("the features of the query are not finite; check the weights of the model")
        # If few rows are allowed, exact search is as fast, and the searched lists would contain too few of them.
        if allowed is not None and allowed.sum() * 4 <= self.exact.num_rows:
            return self.exact.search(query, k, allowed)
        settings = faiss.SearchParametersIVF(nprobe=self.num_probed)  # type: ignore[call-arg]
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            settings.sel = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
        # Not `index.search`: once faiss.contrib.torch_utils is imported, that does not accept `params`.
        found = faiss.search_with_parameters(
            self._index, query[None].astype(np.float32), min(k, self.exact.num_rows), settings
        )
        rows = found[1][0]
        rows = rows[rows >= 0]
        if not len(rows):
            return rows, np.empty(0, np.float32)
        # The index stores features of half precision, so the scores are computed from the exact ones.
        scores = np.stack([self.exact.row(int(row)) for row in rows]) @ query
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    def row(self, row: int) -> np.ndarray:
        """The feature of one row: (embed_dim,) float32."""
        return self.exact.row(row)


def approximate(
    exact: Nearest,
    probes: Callable[[], dict[str, Probes]],
    config: ApproximateConfig,
    *,
    path: Path,
    identity: dict[str, Any],
) -> Approximate:
    """The approximate index of some features: the stored one if it fits, else one that is built, measured and stored.

    Args:
        exact: Exact search over the features.
        probes: Called if the index is built; returns kind of query → queries to measure recall with.
        config: Settings.
        path: File of the FAISS index. A JSON file of the same name has its identity, its recall and how it is searched.
        identity: What the features depend on.
    """
    import faiss

    identity = {**identity, "k": config.k, "min_recall": config.min_recall, "seed": config.seed}
    stored = _read_stored(exact, path, identity)
    if stored is not None:
        return stored
    index = _build(exact, config)
    num_probed, recall = _tune(exact, index, probes(), config)
    with atomic_write(path) as partial:
        faiss.write_index(index, str(partial))
    write_json(path.with_suffix(".json"), {"identity": identity, "num_probed": num_probed, "recall": recall})
    return Approximate(exact, index, num_probed, recall)


def _read_stored(exact: Nearest, path: Path, identity: dict[str, Any]) -> Approximate | None:
    """The stored index; None if there is none, or if it is of other features or damaged."""
    import faiss

    note = read_json(path.with_suffix(".json"))
    if note is None or not path.is_file():
        reason = "none is stored"
    elif note.get("identity") != identity:
        reason = "the stored one is of other features or settings"
    else:
        reason = "the stored one is damaged"
        try:
            index = faiss.read_index(str(path))
            if index.ntotal == exact.num_rows:
                _LOG.info("search index %s reused", path.name)
                return Approximate(exact, index, int(note["num_probed"]), dict(note["recall"]))
        except (RuntimeError, KeyError, TypeError, ValueError):
            pass
    _LOG.info("search index %s is built: %s", path.name, reason)
    return None


def _build(exact: Nearest, config: ApproximateConfig) -> Any:
    """An inverted-list index over all features, stored with half precision."""
    import faiss

    embed_dim = exact.parts[0].shape[1]
    num_lists = int(min(_MAX_LISTS, max(1, 4 * round(exact.num_rows**0.5)), max(1, exact.num_rows // 40)))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(embed_dim),
        embed_dim,
        num_lists,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
    )
    draw = np.random.default_rng(config.seed)
    num_training = min(exact.num_rows, _TRAINING_POINTS_A_LIST * num_lists)
    rows = np.sort(draw.choice(exact.num_rows, num_training, replace=False))
    index.cp.seed = config.seed
    index.cp.min_points_per_centroid = 1  # do not warn about small galleries
    index.train(np.stack([exact.row(int(row)) for row in rows]))
    for block in exact.blocks():
        index.add(block)
    return index


def _tune(
    exact: Nearest, index: Any, probes: dict[str, Probes], config: ApproximateConfig
) -> tuple[int, dict[str, float]]:
    """The fewest lists, in powers of two, that reach `min_recall` for every kind of query, and their recall."""
    k = max(1, min(config.k, exact.num_rows - 1))
    truth = {
        kind: [
            _others(exact.search(query, k + 1)[0], own, k)
            for query, own in zip(queries.features, queries.own_rows, strict=True)
        ]
        for kind, queries in probes.items()
    }
    num_probed = 1
    while True:
        index.nprobe = num_probed
        recall = {}
        for kind, queries in probes.items():
            found = index.search(np.ascontiguousarray(queries.features, np.float32), k + 1)[1]
            hits = [
                len(right & _others(rows, own, k)) / len(right)
                for right, rows, own in zip(truth[kind], found, queries.own_rows, strict=True)
            ]
            recall[kind] = round(float(np.mean(hits)), 4)
        if num_probed >= index.nlist or min(recall.values()) >= config.min_recall:
            return num_probed, recall
        num_probed = min(2 * num_probed, index.nlist)


def _others(rows: np.ndarray, own: int, k: int) -> set[int]:
    """The first `k` rows other than `own`."""
    return set(rows[rows != own][:k].tolist())
