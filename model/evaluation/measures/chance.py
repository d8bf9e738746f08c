"""The expected value of each retrieval metric if the candidates are in random order.

In every function `num_right` is (num_queries,), the number of right candidates of each query; queries with 0 are left
out. `num_candidates` is the size of the gallery without the query itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def chance_recall_at_k(num_right: np.ndarray, num_candidates: int, k: int) -> float:
    """Expected share of queries with a right candidate among the first `k`.

    A query with p right candidates among n misses with probability C(n - p, k) / C(n, k), which is the product over the
    first k ranks of (n - p - i) / (n - i).

    >>> chance_recall_at_k(np.array([1, 1]), num_candidates=100, k=5)
    0.05
    """
    return _mean_over_queries(num_right, lambda p: 1 - float(_misses(p, num_candidates, k)[-1]))


def chance_reciprocal_rank(num_right: np.ndarray, num_candidates: int) -> float:
    """Expected mean of 1 / rank of the first right candidate.

    >>> round(chance_reciprocal_rank(np.array([1]), num_candidates=2), 3)
    0.75
    """

    def expected(p: int) -> float:
        misses = _misses(p, num_candidates, num_candidates)  # after 0, 1, … ranks
        return float(((misses[:-1] - misses[1:]) / np.arange(1, num_candidates + 1)).sum())

    return _mean_over_queries(num_right, expected)


def chance_average_precision(num_right: np.ndarray, num_candidates: int) -> float:
    """Expected average precision over the whole ranking.

    With p right candidates among n and H the n-th harmonic number: (H + (p - 1) / (n - 1) · (n - H)) / n.

    >>> chance_average_precision(np.array([3]), num_candidates=3)
    1.0
    """
    harmonic = float((1 / np.arange(1, num_candidates + 1)).sum())

    def expected(p: int) -> float:
        return (harmonic + (p - 1) / max(1, num_candidates - 1) * (num_candidates - harmonic)) / num_candidates

    return _mean_over_queries(num_right, expected)


def _misses(num_right: int, num_candidates: int, k: int) -> np.ndarray:
    """Probability that none of the first i candidates is right, for i from 0 to k."""
    num_drawn = np.arange(min(k, num_candidates))
    wrong_left = np.maximum(num_candidates - num_right - num_drawn, 0)
    return np.concatenate([[1.0], np.cumprod(wrong_left / (num_candidates - num_drawn))])


def _mean_over_queries(num_right: np.ndarray, expected: Callable[[int], float]) -> float:
    """Mean of `expected(num_right)` over the queries that have a right candidate; 0 without any."""
    counts, num_queries = np.unique(num_right[num_right > 0], return_counts=True)
    if not len(counts):
        return 0.0
    return round(float(np.average([expected(int(p)) for p in counts], weights=num_queries)), 12)
