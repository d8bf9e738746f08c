"""Scores of patents from scores of their views, for evaluation and search alike.

A design is drawn in several views, and so is a query. How the scores of all pairs of views become one score of two
patents is a choice (`SCORINGS`), and which choice is best is measured, not assumed: see docs/search.md.

- `max`: the score of the most similar pair of views. One view that both designs share is enough.
- `mean`: the mean over all pairs of views.
- `maxsim`: each view of the query takes its most similar view of the patent; the mean over the query's views, which
  ranks like their sum.
- `weighted`: like `maxsim`, with a weight for each view of the query (see `model.clip.view_weights`).

Scores are computed in chunks of queries and of patents. Beyond the result, the memory is bounded whatever the sizes,
and the chunks do not change the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

SCORINGS = ("max", "mean", "maxsim", "weighted")
DEFAULT_SCORING = "maxsim"
"""What finds most of the examiner-cited designs among drawn patents; see docs/search.md."""

MAX_CHUNK_MB = 64
_BYTES_A_SCORE = 4
_MAX_COLUMNS = 32_768  # views of the gallery in one chunk, unless a single patent has more


@dataclass(frozen=True)
class _Block:
    """Patents that have equally many views, adjacent in the order of a `PatentPool`: `first` and `last` are views."""

    size: int
    first: int
    last: int


class PatentPool:
    """Pools scores of views into scores of their patents.

    The views are sorted so that patents with equally many views are adjacent. The scores of such patents form a block,
    and pooling is one reduction over that block, without a loop over patents.

    Args:
        patents: (num_views,) int64, the patent of each view, from 0 without gaps.

    Attributes:
        order: (num_views,) int64, the views in the order that `pool` expects.
        sizes: (num_patents,) int64, number of views of each patent.
    """

    def __init__(self, patents: np.ndarray) -> None:
        self.sizes = np.bincount(patents)
        by_size = np.argsort(self.sizes, kind="stable")  # patents
        position = np.empty(len(by_size), np.int64)
        position[by_size] = np.arange(len(by_size))
        self.order = np.argsort(position[patents], kind="stable")
        self._position = position
        ends = np.cumsum(self.sizes[by_size])
        numbers, counts = np.unique(self.sizes, return_counts=True)
        last_of_block = ends[np.cumsum(counts) - 1] if len(ends) else ends
        starts = np.concatenate([[0], last_of_block])
        self._blocks = [
            _Block(int(size), int(first), int(last))
            for size, (first, last) in zip(numbers, pairwise(starts), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.sizes)

    def chunks(self) -> list[_Block]:
        """The blocks, cut so that each has at most `_MAX_COLUMNS` views, or one patent."""
        chunks = []
        for block in self._blocks:
            step = max(1, _MAX_COLUMNS // block.size) * block.size
            for first in range(block.first, block.last, step):
                chunks.append(_Block(block.size, first, min(first + step, block.last)))
        return chunks

    def in_patent_order(self, pooled: torch.Tensor) -> torch.Tensor:
        """Columns in the order of the chunks → columns in the order of the patents."""
        return pooled[:, torch.from_numpy(self._position).to(pooled.device)]

    def pool(self, similarity: torch.Tensor, *, mean: bool = False) -> torch.Tensor:
        """The highest score, or the mean, over the views of each patent.

        Args:
            similarity: (num_rows, num_views), the views in their own order.

        Returns:
            (num_rows, num_patents).
        """
        ordered = similarity[:, torch.from_numpy(self.order).to(similarity.device)]
        parts = [_pool_block(ordered[:, block.first : block.last], block.size, mean=mean) for block in self._blocks]
        return self.in_patent_order(torch.cat(parts, dim=1))


def _pool_block(similarity: torch.Tensor, size: int, *, mean: bool) -> torch.Tensor:
    """(num_rows, num_patents * size) → (num_rows, num_patents)."""
    grouped = similarity.reshape(len(similarity), -1, size)
    return grouped.mean(dim=2) if mean else grouped.amax(dim=2)


def pool_query(
    by_view: torch.Tensor, sizes: Sequence[int], scoring: str, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Scores of queries from the scores of their views.

    Args:
        by_view: (num_query_views, num_patents), scores of single views of the queries with patents; one query's views
            after the other's.
        sizes: Number of views of each query, at least 1.
        scoring: One of `SCORINGS`.
        weights: (num_query_views,) above 0; needed for `weighted` and not used otherwise.

    Returns:
        (num_queries, num_patents).
    """
    if scoring not in SCORINGS:
        raise ValueError(f"scoring is {scoring!r}; use one of {', '.join(SCORINGS)}")
    lengths = torch.tensor(list(sizes), device=by_view.device)
    if scoring == "max":
        return torch.segment_reduce(by_view, "max", lengths=lengths, axis=0)
    if scoring == "weighted":
        if weights is None:
            raise ValueError("the scoring 'weighted' needs a weight for each view of the queries")
        total = torch.segment_reduce(weights, "sum", lengths=lengths)
        by_view = by_view * (weights / torch.repeat_interleave(total, lengths)).unsqueeze(1)
        return torch.segment_reduce(by_view, "sum", lengths=lengths, axis=0)
    return torch.segment_reduce(by_view, "mean", lengths=lengths, axis=0)


class PatentScores:
    """Scores of queries with every patent of a gallery; the views of the queries are views of that gallery.

    An instance is called with a range of queries (first, last), last excluded, and returns (num_queries, num_patents)
    float32, as the ranking metrics expect.

    Args:
        features: (num_views, embed_dim) float32, unit length.
        patents: (num_views,) int64, the patent of each view, from 0 without gaps.
        queries: The views of each query, as rows of `features`; at least one each.
        scoring: One of `SCORINGS`.
        weights: (num_views,) weight of each view when it is part of a query, above 0; only for `weighted`.
        leave_out_own: Whether the views of a query do not count as views of their patents, so that a query finds the
            other views of its patent and not itself. A patent without any other view scores -1, the least cosine.
        max_chunk_mb: Memory for the scores of one chunk; a chunk has at least one query and one patent.
    """

    def __init__(
        self,
        features: torch.Tensor,
        patents: np.ndarray,
        queries: Sequence[np.ndarray],
        *,
        scoring: str = "max",
        weights: np.ndarray | None = None,
        leave_out_own: bool = False,
        max_chunk_mb: int = MAX_CHUNK_MB,
    ) -> None:
        self._features = features
        self._patents = patents
        self._queries = [np.asarray(query, dtype=np.int64) for query in queries]
        self._scoring = scoring
        self._weights = None if weights is None else torch.from_numpy(weights.astype(np.float32)).to(features.device)
        self._leave_out_own = leave_out_own
        self._pool = PatentPool(patents)
        self._chunks = self._pool.chunks()
        self._gallery = features[torch.from_numpy(self._pool.order).to(features.device)]
        self._column = np.empty(len(patents), np.int64)
        self._column[self._pool.order] = np.arange(len(patents))
        widest = max((chunk.last - chunk.first for chunk in self._chunks), default=1)
        self._max_views = max(1, max_chunk_mb * 2**20 // (_BYTES_A_SCORE * widest))

    def __call__(self, first: int, last: int) -> torch.Tensor:
        parts = [self._score(queries) for queries in self._in_chunks(self._queries[first:last])]
        return torch.cat(parts) if parts else self._features.new_empty((0, len(self._pool)))

    def _in_chunks(self, queries: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Consecutive queries in chunks of at most `_max_views` views; a chunk has at least one query."""
        chunks: list[list[np.ndarray]] = []
        num_views = 0
        for query in queries:
            if not chunks or num_views + len(query) > self._max_views:
                chunks.append([])
                num_views = 0
            chunks[-1].append(query)
            num_views += len(query)
        return chunks

    def _score(self, queries: list[np.ndarray]) -> torch.Tensor:
        """(num_queries, num_patents) scores of a chunk of queries."""
        device = self._features.device
        rows = np.concatenate(queries)
        sizes = [len(query) for query in queries]
        view_features = self._features[torch.from_numpy(rows).to(device)]
        weights = None if self._weights is None else self._weights[torch.from_numpy(rows).to(device)]
        own_rows, own_columns = self._own_pairs(queries) if self._leave_out_own else (rows[:0], rows[:0])
        by_view = []
        for chunk in self._chunks:
            similarity = view_features @ self._gallery[chunk.first : chunk.last].T
            here = (own_columns >= chunk.first) & (own_columns < chunk.last)
            row, column = (torch.from_numpy(part[here]).to(device) for part in (own_rows, own_columns))
            by_view.append(self._pool_chunk(similarity, chunk, row, column - chunk.first))
        pooled = self._pool.in_patent_order(torch.cat(by_view, dim=1))
        return pool_query(pooled, sizes, self._scoring, weights)

    def _own_pairs(self, queries: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Each view of a query with each view of the same query: rows in the chunk, and columns of the gallery."""
        starts = np.concatenate([[0], np.cumsum([len(query) for query in queries])])
        rows = [np.repeat(np.arange(first, last), last - first) for first, last in pairwise(starts)]
        columns = [np.tile(self._column[query], len(query)) for query in queries]
        return np.concatenate(rows), np.concatenate(columns)

    def _pool_chunk(
        self, similarity: torch.Tensor, chunk: _Block, own_rows: torch.Tensor, own_columns: torch.Tensor
    ) -> torch.Tensor:
        """(num_query_views, num_patents) of a chunk of patents, without the pairs that are left out."""
        if self._scoring != "mean":
            similarity[own_rows, own_columns] = -1.0
            return _pool_block(similarity, chunk.size, mean=False)
        similarity[own_rows, own_columns] = 0.0
        pooled = _pool_block(similarity, chunk.size, mean=True)
        if len(own_rows):
            # The mean was over all views of the patent; make it one over those that are left.
            num_own = torch.zeros_like(pooled).index_put_(
                (own_rows, own_columns // chunk.size), pooled.new_ones(len(own_rows)), accumulate=True
            )
            num_left = chunk.size - num_own
            pooled = torch.where(num_left > 0, pooled * chunk.size / num_left.clamp(min=1), -1.0)
        return pooled
