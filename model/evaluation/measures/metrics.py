"""Retrieval metrics, from scores and from ranks.

The tie rule everywhere: a right candidate is ranked behind every *wrong* one that scores at least as high. Ties count
against the model, so a model that gives every candidate the same score finds nothing, and the order of the gallery does
not change any result. Scores that differ by at most `tie_tolerance` are tied, since equal images may give slightly
different float32 sums.

Ranks are found by counting the candidates that score higher; only the right candidates of a query are sorted. This is
faster than sorting the gallery for each query, and needs no memory beyond one chunk of scores.

Scores that are NaN or infinite are refused. Every comparison with NaN is false, so no wrong candidate would rank before
a right one, and a model that returns nothing but NaN would be perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.errors import NonFiniteError

TIE_RULE = "a wrong candidate whose score ties with a right one is ranked before it"
TIE_TOLERANCE = 1e-6
MAX_CHUNK_MB = 64
_BYTES_A_SCORE = 4

Scores = Callable[[int, int], torch.Tensor]
"""Called with a range of queries (first, last), last excluded → (num_queries, num_candidates) float32.

The caller may overwrite the returned tensor.
"""


@dataclass(frozen=True)
class Answers:
    """Which candidates are right for which query, and which one is the query itself.

    Attributes:
        starts: (num_queries,) where each query's right candidates begin in `columns`.
        ends: (num_queries,) where they end; the ranges of two queries may be the same.
        columns: Candidates, by their index in the gallery.
        own: (num_queries,) the candidate that is the query itself, neither right nor wrong, -1 for a query that is not
            in the gallery; None if no query is.
    """

    starts: np.ndarray
    ends: np.ndarray
    columns: np.ndarray
    own: np.ndarray | None = None

    @classmethod
    def by_group(cls, query_groups: np.ndarray, gallery_groups: np.ndarray, own: np.ndarray | None = None) -> Answers:
        """A candidate is right if it has the query's group and is not the query itself.

        Args:
            query_groups: (num_queries,) int64.
            gallery_groups: (num_candidates,) int64.
        """
        columns = np.argsort(gallery_groups, kind="stable")
        ordered = gallery_groups[columns]
        return cls(
            np.searchsorted(ordered, query_groups, side="left"),
            np.searchsorted(ordered, query_groups, side="right"),
            columns,
            own,
        )

    @classmethod
    def listed(cls, lists: Sequence[Sequence[int]], own: np.ndarray | None = None) -> Answers:
        """From a list of right candidates for each query, without duplicates and without the query itself."""
        ends = np.cumsum([len(right) for right in lists], dtype=np.int64)
        columns = np.array([column for right in lists for column in right], dtype=np.int64)
        return cls(np.concatenate([[0], ends])[:-1].astype(np.int64), ends, columns, own)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def num_right(self) -> np.ndarray:
        """(num_queries,) number of right candidates of each query."""
        if self.own is None:
            return self.ends - self.starts
        return np.bincount(self.pairs(0, len(self))[0], minlength=len(self))

    def pairs(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Right candidates of a range of queries: rows counted from `first`, and columns, ordered by row."""
        num = self.ends[first:last] - self.starts[first:last]
        rows = np.repeat(np.arange(last - first), num)
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(num) - num, num)
        columns = self.columns[self.starts[first:last][rows] + offsets]
        if self.own is None:
            return rows, columns
        others = columns != self.own[first:last][rows]
        return rows[others], columns[others]


@dataclass(frozen=True)
class Ranks:
    """The rank of each right candidate of each query, from 1, ascending within a query.

    Attributes:
        ranks: The ranks of all queries, one query after the other.
        ends: (num_queries,) where the ranks of each query end in `ranks`.
        columns: The candidate that each of `ranks` belongs to, by its index in the gallery.
    """

    ranks: np.ndarray
    ends: np.ndarray
    columns: np.ndarray

    @property
    def queries(self) -> np.ndarray:
        """The query that each of `ranks` belongs to."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(num_queries,) sums of `values` over a query's right candidates; 0 for a query without any."""
        return np.bincount(self.queries, weights=values, minlength=len(self.ends))

    def only(self, queries: np.ndarray) -> Ranks:
        """The ranks of some of the queries, numbered from 0 in their order, which is ascending."""
        kept = np.isin(self.queries, queries)
        return Ranks(self.ranks[kept], np.cumsum(self.num_right[queries]), self.columns[kept])

    @property
    def num_right(self) -> np.ndarray:
        """(num_queries,) number of right candidates of each query."""
        return np.diff(self.ends, prepend=0)

    @property
    def best(self) -> np.ndarray:
        """(num_queries,) rank of the best right candidate; 0 for a query without any."""
        best = np.zeros(len(self.ends), dtype=np.int64)
        answered = self.num_right > 0
        best[answered] = self.ranks[(self.ends - self.num_right)[answered]]
        return best

    @property
    def average_precision(self) -> np.ndarray:
        """(num_queries,) mean over the right candidates of the precision at their ranks, over the whole ranking.

        0 for a query without a right candidate.
        """
        num_found = np.arange(len(self.ranks)) - np.repeat(self.ends - self.num_right, self.num_right) + 1
        return self.sums(num_found / self.ranks) / np.maximum(self.num_right, 1)

    def share_found(self, k: int, among: np.ndarray | None = None) -> np.ndarray:
        """(num_queries,) share of a query's right candidates that are among its top `k`; 0 for a query without any.

        Args:
            k: Cut-off, at least 1.
            among: (num_candidates,) bool; if given, only these right candidates count.
        """
        counted = np.ones(len(self.ranks)) if among is None else among[self.columns].astype(np.float64)
        return self.sums(counted * (self.ranks <= k)) / np.maximum(self.sums(counted), 1)


def scores_of_features(query_features: torch.Tensor, gallery_features: torch.Tensor) -> Scores:
    """Inner products of (num_queries, embed_dim) and (num_candidates, embed_dim), both float32."""
    return lambda first, last: query_features[first:last] @ gallery_features.T


def best_ranks(
    scores: Scores,
    answers: Answers,
    num_candidates: int,
    *,
    max_chunk_mb: int = MAX_CHUNK_MB,
    tie_tolerance: float = TIE_TOLERANCE,
) -> np.ndarray:
    """Rank of each query's best right candidate: 1 plus the number of wrong ones that score at least as high.

    Args:
        scores: Computes the scores of a range of queries.
        answers: Which candidates are right.
        num_candidates: Size of the gallery.
        max_chunk_mb: Memory for the scores of one chunk of queries; a chunk has at least one query.
        tie_tolerance: Scores that differ by no more than this are tied.

    Returns:
        (num_queries,) int64 from 1; 0 for a query without a right candidate.

    Raises:
        NonFiniteError: A score is NaN or infinite.
    """
    ranks = np.zeros(len(answers), dtype=np.int64)
    for first, last in _chunks(len(answers), num_candidates, max_chunk_mb):
        similarity = scores(first, last)
        rows, right, _ = _take_right(similarity, answers, first, last)
        best = torch.full((last - first,), -torch.inf, device=right.device)
        best = best.scatter_reduce(0, rows, right, "amax")
        # In place, and as float32: a sum of ones is exact up to 2^24 candidates, and faster than a sum of booleans.
        num_not_worse = similarity.ge_((best - tie_tolerance).unsqueeze(1)).sum(dim=1).long()
        is_answered = torch.bincount(rows, minlength=last - first) > 0
        ranks[first:last] = np.where(is_answered.cpu().numpy(), 1 + num_not_worse.cpu().numpy(), 0)
    return ranks


def all_ranks(
    scores: Scores,
    answers: Answers,
    num_candidates: int,
    *,
    max_chunk_mb: int = MAX_CHUNK_MB,
    tie_tolerance: float = TIE_TOLERANCE,
) -> Ranks:
    """Rank of every right candidate: its rank among the right ones, plus the number of wrong ones not worse than it.

    The arguments, and what is raised, are those of `best_ranks`.
    """
    parts, sizes, candidates = ([np.zeros(0, dtype=np.int64)] for _ in range(3))
    for first, last in _chunks(len(answers), num_candidates, max_chunk_mb):
        similarity = scores(first, last)
        rows, right, columns = _take_right(similarity, answers, first, last)
        # Sort the right candidates by query, and best first within a query.
        num_right = torch.bincount(rows, minlength=last - first)
        order = torch.argsort(right, descending=True, stable=True)
        order = order[torch.argsort(rows[order], stable=True)]
        rows, right, columns = rows[order], right[order], columns[order]
        index_in_query = torch.arange(len(rows), device=rows.device) - (num_right.cumsum(0) - num_right)[rows]
        num_not_worse = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        # Compare the best right candidate of all queries at once with the wrong ones, then the second best, and so on.
        for index in range(int(num_right.max()) if len(num_right) else 0):
            here = index_in_query == index
            bound = (right[here] - tie_tolerance).unsqueeze(1)
            queries = rows[here]
            compared = similarity if len(queries) == len(similarity) else similarity[queries]
            num_not_worse[here] = (compared >= bound).sum(dim=1)
        parts.append((1 + index_in_query + num_not_worse).cpu().numpy())
        sizes.append(num_right.cpu().numpy())
        candidates.append(columns.cpu().numpy())
    return Ranks(np.concatenate(parts), np.cumsum(np.concatenate(sizes)), np.concatenate(candidates))


def best_wrong(
    scores: Scores, answers: Answers, num_candidates: int, *, max_chunk_mb: int = MAX_CHUNK_MB
) -> np.ndarray:
    """(num_queries,) int64, the wrong candidate that scores highest, the first of equals; -1 if there is none.

    The arguments, and what is raised, are those of `best_ranks`.
    """
    found = np.full(len(answers), -1, dtype=np.int64)
    for first, last in _chunks(len(answers), num_candidates, max_chunk_mb):
        similarity = scores(first, last)
        _take_right(similarity, answers, first, last)
        best, columns = similarity.max(dim=1)
        found[first:last] = torch.where(best > -torch.inf, columns, -1).cpu().numpy()
    return found


def _chunks(num_queries: int, num_candidates: int, max_chunk_mb: int) -> list[tuple[int, int]]:
    """Ranges of queries whose scores fit into `max_chunk_mb`."""
    rows = max(1, max_chunk_mb * 2**20 // (_BYTES_A_SCORE * max(1, num_candidates)))
    return [(first, min(first + rows, num_queries)) for first in range(0, num_queries, rows)]


def _take_right(
    similarity: torch.Tensor, answers: Answers, first: int, last: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, scores and columns of the right candidates.

    In `similarity` their scores, and those of the queries themselves, become -inf, so that only wrong candidates are
    counted afterwards.

    Raises:
        NonFiniteError: A score is NaN or infinite.
    """
    if similarity.numel() and not bool(similarity.amax().isfinite()):  # the maximum of anything and NaN is NaN
        query = first + int((~similarity.isfinite()).any(dim=1).nonzero()[0])
        raise NonFiniteError(f"query {query + 1:,} has scores that are not finite (NaN or infinite); check the model")
    rows, columns = (torch.from_numpy(indices).to(similarity.device) for indices in answers.pairs(first, last))
    right = similarity[rows, columns]
    similarity[rows, columns] = -torch.inf
    if answers.own is not None:
        own = torch.from_numpy(answers.own[first:last]).to(similarity.device)
        has_own = own >= 0
        similarity[torch.nonzero(has_own).squeeze(1), own[has_own]] = -torch.inf
    return rows, right, columns


def recall_at_k(ranks: np.ndarray, k: int) -> float:
    """Share of the queries with a right candidate among their top `k`; queries without any are left out.

    >>> recall_at_k(np.array([1, 3, 7, 0]), k=5)
    0.6666666666666666
    """
    answered = ranks[ranks > 0]
    return float((answered <= k).mean()) if len(answered) else 0.0


def median_rank(ranks: np.ndarray) -> float:
    """Median rank over the queries that have a right candidate; 0 if none has."""
    answered = ranks[ranks > 0]
    return float(np.median(answered)) if len(answered) else 0.0
