"""Figures of retrieval, from features and from ranks.

The tie rule, throughout: the rank of a query is 1 plus the number of *wrong* candidates that score at least as high as
its best right one. Ties count against the model, so one that gives every candidate the same score finds nothing. Scores
within `tie_tolerance` are tied, since equal images need not give equal sums of float32.
"""

from __future__ import annotations

import numpy as np
import torch

TIE_RULE = "a wrong candidate whose score ties with the best right one is ranked before it"
TIE_TOLERANCE = 1e-6


def rank_queries(
    query_features: torch.Tensor,
    gallery_features: torch.Tensor,
    query_groups: np.ndarray,
    gallery_groups: np.ndarray,
    *,
    chunk_size: int = 1024,
    tie_tolerance: float = TIE_TOLERANCE,
) -> np.ndarray:
    """Rank of each query's best right candidate, by counting the wrong ones that are not worse.

    A candidate is right where its group is the query's. Nothing is sorted, and no more than `chunk_size` rows of the
    similarity exist at once.

    Args:
        query_features: (num_queries, embed_dim) float32.
        gallery_features: (num_candidates, embed_dim) float32.
        query_groups: (num_queries,) int64.
        gallery_groups: (num_candidates,) int64.
        chunk_size: Queries compared at once.
        tie_tolerance: Scores that differ by no more are tied.

    Returns:
        (num_queries,) int64 from 1; 0 for a query that no candidate answers.
    """
    # Candidates in the order of their groups: the right ones of a query lie side by side.
    order = np.argsort(gallery_groups, kind="stable")
    ordered_groups = gallery_groups[order]
    starts = np.searchsorted(ordered_groups, query_groups, side="left")
    ends = np.searchsorted(ordered_groups, query_groups, side="right")
    gallery = gallery_features[torch.from_numpy(order).to(gallery_features.device)]
    ranks = np.zeros(len(query_groups), dtype=np.int64)
    for first in range(0, len(query_groups), chunk_size):
        chunk = slice(first, first + chunk_size)
        similarity = query_features[chunk] @ gallery.T  # (chunk, num_candidates)
        ranks[chunk] = _ranks_of_chunk(similarity, starts[chunk], ends[chunk], tie_tolerance)
    return ranks


def _ranks_of_chunk(similarity: torch.Tensor, starts: np.ndarray, ends: np.ndarray, tie_tolerance: float) -> np.ndarray:
    """Ranks where the right candidates of row i are the columns starts[i] to before ends[i]."""
    num_right = ends - starts
    places = np.arange(max(1, int(num_right.max(initial=0))))
    is_right = places[None, :] < num_right[:, None]  # (chunk, most right ones of any query)
    columns = np.where(is_right, starts[:, None] + places[None, :], 0)
    device = similarity.device
    right = similarity.gather(1, torch.from_numpy(columns).to(device))
    right = right.masked_fill(torch.from_numpy(~is_right).to(device), -torch.inf)
    bound = right.amax(dim=1, keepdim=True) - tie_tolerance
    num_not_worse = (similarity >= bound).sum(dim=1) - (right >= bound).sum(dim=1)
    return np.where(num_right > 0, 1 + num_not_worse.cpu().numpy(), 0)


def recall_at_k(ranks: np.ndarray, k: int) -> float:
    """Share of the queries with a right candidate among their top `k`; queries that none answers are left out.

    >>> recall_at_k(np.array([1, 3, 7, 0]), k=5)
    0.6666666666666666
    """
    answered = ranks[ranks > 0]
    return float((answered <= k).mean()) if len(answered) else 0.0


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """Mean of 1 / rank over the queries that some candidate answers.

    >>> mean_reciprocal_rank(np.array([1, 2, 0]))
    0.75
    """
    answered = ranks[ranks > 0]
    return float((1 / answered).mean()) if len(answered) else 0.0


def median_rank(ranks: np.ndarray) -> float:
    """Median rank over the queries that some candidate answers."""
    answered = ranks[ranks > 0]
    return float(np.median(answered)) if len(answered) else 0.0


def chance_recall_at_k(num_right: np.ndarray, num_candidates: int, k: int) -> float:
    """What `recall_at_k` is expected to be for candidates in random order.

    A query with p right ones among n misses with probability C(n - p, k) / C(n, k), which is the product over the
    first k places of (n - p - i) / (n - i).

    Args:
        num_right: (num_queries,) right candidates of each query; queries with 0 are left out.

    >>> chance_recall_at_k(np.array([1, 1]), num_candidates=100, k=5)
    0.05
    """
    counts, numbers = np.unique(num_right[num_right > 0], return_counts=True)
    if not len(counts):
        return 0.0
    places = np.arange(min(k, num_candidates))
    wrong_left = np.maximum(num_candidates - counts[:, None] - places[None, :], 0)
    miss = np.prod(wrong_left / (num_candidates - places)[None, :], axis=1)
    return round(float(np.average(1 - miss, weights=numbers)), 12)


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, *, num_resamples: int, seed: int, share: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of `values`, drawing whole groups (patents) with replacement.

    Args:
        values: (num_values,) one value a query.
        groups: (num_values,) the patent of each query; its queries stand or fall together.
        num_resamples: Resamples drawn.
        share: Of the resampled means that lie inside.

    Returns:
        Lower and upper end; both 0 without values.
    """
    if not len(values):
        return 0.0, 0.0
    _, members = np.unique(groups, return_inverse=True)
    sums = np.bincount(members, weights=values)
    sizes = np.bincount(members)
    generator = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for resample in range(num_resamples):
        drawn = generator.integers(len(sums), size=len(sums))
        means[resample] = sums[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
