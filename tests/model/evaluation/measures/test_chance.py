"""Chance, compared with the mean over all possible orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from model.evaluation.measures.chance import chance_average_precision, chance_recall_at_k, chance_reciprocal_rank

CASES = [(1, 6), (2, 6), (3, 6), (5, 6), (6, 6), (1, 1)]


def all_orders(num_right: int, num_candidates: int) -> list[tuple[int, ...]]:
    """Ranks, from 1, of the right candidates in each equally likely ranking."""
    return list(itertools.combinations(range(1, num_candidates + 1), num_right))


@pytest.mark.parametrize(("num_right", "num_candidates"), CASES)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_recall_is_the_share_of_all_orders_with_a_right_candidate_in_the_top_k(num_right, num_candidates, k):
    orders = all_orders(num_right, num_candidates)
    expected = np.mean([ranks[0] <= k for ranks in orders])
    assert chance_recall_at_k(np.array([num_right]), num_candidates, k) == pytest.approx(expected)


@pytest.mark.parametrize(("num_right", "num_candidates"), CASES)
def test_reciprocal_rank_and_average_precision_are_their_means_over_all_orders(num_right, num_candidates):
    orders = all_orders(num_right, num_candidates)
    reciprocal = np.mean([1 / ranks[0] for ranks in orders])
    precision = np.mean([np.mean([num / rank for num, rank in enumerate(ranks, 1)]) for ranks in orders])

    assert chance_reciprocal_rank(np.array([num_right]), num_candidates) == pytest.approx(reciprocal)
    assert chance_average_precision(np.array([num_right]), num_candidates) == pytest.approx(precision)


def test_chance_is_the_mean_over_the_queries_that_have_a_right_candidate():
    assert chance_recall_at_k(np.array([1, 3, 0]), 10, 1) == pytest.approx((0.1 + 0.3) / 2)
    assert chance_recall_at_k(np.array([1, 3]), 10, 10) == chance_recall_at_k(np.array([1]), 10, 50) == 1.0
    assert chance_recall_at_k(np.array([0]), 10, 1) == chance_average_precision(np.array([0]), 10) == 0.0
