"""Figures of retrieval against a reference that sorts everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from model.metrics import (
    bootstrap_interval,
    chance_recall_at_k,
    mean_reciprocal_rank,
    median_rank,
    rank_queries,
    recall_at_k,
)


def rank_by_sorting(similarity: np.ndarray, query_groups: np.ndarray, gallery_groups: np.ndarray) -> np.ndarray:
    """The whole ranking of each query, wrong candidates first among equals; place of the first right one."""
    ranks = []
    for scores, group in zip(similarity, query_groups, strict=True):
        is_right = gallery_groups == group
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], is_right[place]))
        places = [number for number, place in enumerate(order, start=1) if is_right[place]]
        ranks.append(places[0] if places else 0)
    return np.array(ranks)


def features_with_ties(rng: np.random.Generator, num: int, embed_dim: int) -> np.ndarray:
    """Small whole numbers, so that scores are exact and many of them equal."""
    return rng.integers(-2, 3, size=(num, embed_dim)).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_ranks_equal_those_of_a_full_sort_ties_and_several_right_answers_included(seed, chunk_size):
    rng = np.random.default_rng(seed)
    queries, gallery = features_with_ties(rng, 40, 3), features_with_ties(rng, 60, 3)
    query_groups, gallery_groups = rng.integers(0, 15, 40), rng.integers(0, 12, 60)

    ranks = rank_queries(
        torch.from_numpy(queries),
        torch.from_numpy(gallery),
        query_groups,
        gallery_groups,
        chunk_size=chunk_size,
        tie_tolerance=0.0,
    )

    expected = rank_by_sorting(queries @ gallery.T, query_groups, gallery_groups)
    np.testing.assert_array_equal(ranks, expected)
    assert (expected == 0).any()  # the draw holds queries that nothing answers, too


def test_the_order_of_the_gallery_changes_no_rank():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(200, 16)).astype(np.float32)
    features[50:100] = features[:50]  # equal images under other captions
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    groups, order = rng.integers(0, 80, 200), rng.permutation(200)
    queries = torch.from_numpy(features)

    ranks = rank_queries(queries, torch.from_numpy(features), groups, groups)
    shuffled = rank_queries(queries, torch.from_numpy(features[order]), groups, groups[order])

    np.testing.assert_array_equal(ranks, shuffled)


def test_a_model_that_scores_everything_alike_finds_nothing():
    features = torch.ones(10, 4) / 2
    groups = np.arange(10)

    ranks = rank_queries(features, features, groups, groups)

    assert ranks.tolist() == [10] * 10
    assert recall_at_k(ranks, 5) == 0.0


def test_scores_that_differ_by_rounding_alone_are_tied():
    gallery = torch.tensor([[1.0, 0.0], [1.0 - 1e-7, 0.0], [0.9, 0.0]])
    query = torch.tensor([[1.0, 0.0]])

    assert rank_queries(query, gallery, np.array([0]), np.array([0, 1, 2])).tolist() == [2]
    assert rank_queries(query, gallery, np.array([0]), np.array([0, 1, 2]), tie_tolerance=0.0).tolist() == [1]


def test_recall_leaves_out_queries_without_a_right_answer():
    ranks = np.array([1, 2, 6, 0])

    assert [recall_at_k(ranks, k) for k in (1, 5, 10)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2 + 1 / 6) / 3)
    assert median_rank(ranks) == 2
    assert recall_at_k(np.array([0]), 5) == mean_reciprocal_rank(np.array([0])) == median_rank(np.array([])) == 0.0


@pytest.mark.parametrize(("num_right", "num_candidates", "k"), [(1, 6, 1), (2, 6, 2), (3, 6, 3), (5, 6, 2), (6, 6, 1)])
def test_chance_equals_the_share_of_all_orders_that_hit(num_right, num_candidates, k):
    draws = list(itertools.combinations(range(num_candidates), k))
    hits = sum(any(place < num_right for place in draw) for draw in draws)

    assert chance_recall_at_k(np.array([num_right]), num_candidates, k) == pytest.approx(hits / len(draws))


def test_chance_is_the_mean_over_queries_and_certain_at_the_whole_gallery():
    assert chance_recall_at_k(np.array([1, 3, 0]), 10, 1) == pytest.approx((0.1 + 0.3) / 2)
    assert chance_recall_at_k(np.array([1, 3]), 10, 10) == chance_recall_at_k(np.array([1]), 10, 50) == 1.0
    assert chance_recall_at_k(np.array([0]), 10, 1) == 0.0


def test_the_interval_widens_where_queries_of_one_patent_stand_or_fall_together():
    values = np.tile([1.0, 0.0], 50).repeat(4)
    alone = bootstrap_interval(values, np.arange(400), num_resamples=500, seed=0)
    together = bootstrap_interval(values, np.arange(100).repeat(4), num_resamples=500, seed=0)

    assert alone[0] < 0.5 < alone[1]
    assert together[1] - together[0] > 1.6 * (alone[1] - alone[0])
    assert bootstrap_interval(values, np.arange(400), num_resamples=500, seed=0) == alone
    assert bootstrap_interval(np.array([]), np.array([]), num_resamples=10, seed=0) == (0.0, 0.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = (rng.random(120) < 0.3).astype(float)
        low, high = bootstrap_interval(values, np.arange(120), num_resamples=200, seed=trial)
        covered += low <= 0.3 <= high

    assert 0.88 <= covered / 200 <= 0.99
