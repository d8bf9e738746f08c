"""The nearest of many features: exactly, or by an approximate index whose recall against exact is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import ConfigError
from model.files import atomic_write, read_json, write_json

_TRAINING_POINTS_A_LIST = 64
_MAX_LISTS = 16_384
_ROWS_A_BLOCK = 65_536


class Nearest:
    """Exact search by inner product over features of unit length.

    Args:
        parts: Matrices (num_rows, embed_dim) float32, one below the other; they are not copied.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = list(parts)
        self.num_rows = sum(len(part) for part in self.parts)

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the `k` nearest and their scores, the nearest first; equal scores in the order of the rows.

        Args:
            query: (embed_dim,) float32, unit length.
            k: Fewer are found where fewer are allowed.
            allowed: (num_rows,) bool; None allows all.
        """
        scores = np.concatenate([part @ query for part in self.parts])
        rows = np.arange(self.num_rows) if allowed is None else np.flatnonzero(allowed)
        places = highest(scores[rows], k)
        return rows[places], scores[rows[places]]

    def row(self, row: int) -> np.ndarray:
        """The feature of one row: (embed_dim,) float32."""
        for part in self.parts:
            if row < len(part):
                return part[row]
            row -= len(part)
        raise IndexError(row)

    def blocks(self) -> Any:
        """The features in order, some rows at a time."""
        for part in self.parts:
            for first in range(0, len(part), _ROWS_A_BLOCK):
                yield np.ascontiguousarray(part[first : first + _ROWS_A_BLOCK])


def highest(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the `k` highest scores, the highest first; equal ones in their order.

    >>> highest(np.array([0.1, 0.5, 0.3, 0.5]), 3)
    array([1, 3, 2])
    """
    k = min(k, len(scores))
    if k <= 0:
        return np.empty(0, np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= least)
    return places[np.lexsort((places, -scores[places]))[:k]]


@dataclass(frozen=True, kw_only=True)
class ApproximateConfig:
    """Settings of the approximate index.

    Attributes:
        from_views: Galleries of more views are searched by it; smaller ones exactly.
        min_recall: Share of the exact `k` nearest that it is to find; it looks as far as that takes.
        k: Of that recall.
        num_probes: Queries of each kind that the recall is measured with.
        seed: Of the draw of training rows and queries.
    """

    from_views: int = 500_000
    min_recall: float = 0.95
    k: int = 20
    num_probes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.from_views < 0:
            raise ConfigError(f"from_views is {self.from_views}; use 0 (always) or more")
        if not 0 < self.min_recall <= 1:
            raise ConfigError(f"min_recall is {self.min_recall}; choose above 0, to 1")
        if self.k < 1 or self.num_probes < 1:
            raise ConfigError("k and num_probes must be at least 1")


@dataclass(frozen=True)
class Probes:
    """Queries of one kind.

    Attributes:
        features: (num_queries, embed_dim) float32, unit length.
        own_rows: Row that each query was taken from and that is no find; -1 where it is none of the rows.
    """

    features: np.ndarray
    own_rows: np.ndarray


class Approximate:
    """FAISS's inverted lists over an exact search, which answers where a filter leaves few rows.

    Attributes:
        exact: The features.
        recall: Kind of query → measured recall@k against exact, with `num_probed` lists.
        num_probed: Lists looked at for each query.
    """

    def __init__(self, exact: Nearest, index: Any, num_probed: int, recall: dict[str, float]) -> None:
        self.exact = exact
        self.recall = recall
        self.num_probed = num_probed
        self._index = index

    @property
    def num_lists(self) -> int:
        return int(self._index.nlist)

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `Nearest.search`, but some of the nearest may be missed."""
        import faiss

        # Of few rows, looking at all is as fast, and lists hold too few of them to be found.
        if allowed is not None and allowed.sum() * 4 <= self.exact.num_rows:
            return self.exact.search(query, k, allowed)
        settings = faiss.SearchParametersIVF(nprobe=self.num_probed)  # type: ignore[call-arg]
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            settings.sel = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
        # Not `index.search`: where faiss.contrib.torch_utils was imported, it takes no params any more.
        found = faiss.search_with_parameters(
            self._index, query[None].astype(np.float32), min(k, self.exact.num_rows), settings
        )
        rows = found[1][0]
        rows = rows[rows >= 0]
        if not len(rows):
            return rows, np.empty(0, np.float32)
        scores = (
            np.stack([self.exact.row(int(row)) for row in rows]) @ query
        )  # the index holds features of half precision
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    def row(self, row: int) -> np.ndarray:
        return self.exact.row(row)


def approximate(
    exact: Nearest,
    probes: Callable[[], dict[str, Probes]],
    config: ApproximateConfig,
    *,
    path: Path,
    identity: dict[str, Any],
) -> Approximate:
    """The approximate index of some features, from `path` where it is stored, else built, measured and stored there.

    Args:
        exact: The features.
        probes: Gives kind of query → queries to measure recall with.
        config: Settings.
        path: FAISS index; what it is of, and its recall, stand in a JSON file beside it.
        identity: What it depends on.
    """
    import faiss

    note_path = path.with_suffix(".json")
    identity = {**identity, "k": config.k, "min_recall": config.min_recall, "seed": config.seed}
    note = read_json(note_path)
    if note is not None and note.get("identity") == identity and path.is_file():
        try:
            index = faiss.read_index(str(path))
            if index.ntotal == exact.num_rows:
                return Approximate(exact, index, int(note["num_probed"]), dict(note["recall"]))
        except (RuntimeError, KeyError, TypeError, ValueError):
            pass  # damaged: built anew
    index = _build(exact, config)
    num_probed, recall = _tune(exact, index, probes(), config)
    with atomic_write(path) as aside:
        faiss.write_index(index, str(aside))
    write_json(note_path, {"identity": identity, "num_probed": num_probed, "recall": recall})
    return Approximate(exact, index, num_probed, recall)


def _build(exact: Nearest, config: ApproximateConfig) -> Any:
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
    index.cp.min_points_per_centroid = 1  # few views are no reason for a warning
    index.train(np.stack([exact.row(int(row)) for row in rows]))
    for block in exact.blocks():
        index.add(block)
    return index


def _tune(
    exact: Nearest, index: Any, probes: dict[str, Probes], config: ApproximateConfig
) -> tuple[int, dict[str, float]]:
    """The fewest lists, of powers of two, with which every kind of query reaches the recall; and that recall."""
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
    """The first `k` rows but `own`."""
    return set(rows[rows != own][:k].tolist())
