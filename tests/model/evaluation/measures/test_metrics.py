"""Ranks and metrics, compared with a reference that sorts everything and with other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from model.errors import NonFiniteError
from model.evaluation.measures.metrics import (
    Answers,
    all_ranks,
    best_ranks,
    best_wrong,
    median_rank,
    recall_at_k,
    scores_of_features,
)


def ranks_by_sorting(scores: np.ndarray, is_right: np.ndarray) -> list[int]:
    """Ranks of the right candidates of one query in a full sort; wrong candidates first if scores are equal."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], is_right[index]))
    return [rank for rank, index in enumerate(order, start=1) if is_right[index]]


def features_with_ties(rng: np.random.Generator, num: int, embed_dim: int) -> np.ndarray:
    """Small integers, so that scores are exact and many of them are equal."""
    return rng.integers(-2, 3, size=(num, embed_dim)).astype(np.float32)


def scores_of(queries: np.ndarray, gallery: np.ndarray):
    return scores_of_features(torch.from_numpy(queries), torch.from_numpy(gallery))


def random_features(seed: int, *, ties: bool = True):
    """Features of 40 queries and 60 candidates, and their groups; some queries have no right candidate."""
    rng = np.random.default_rng(seed)
    if ties:
        features = features_with_ties(rng, 40, 3), features_with_ties(rng, 60, 3)
    else:
        features = tuple(rng.normal(size=(num, 8)).astype(np.float32) for num in (40, 60))
    return *features, rng.integers(0, 15, 40), rng.integers(0, 12, 60)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("queries_at_once", [1, 7, None])
def test_ranks_equal_those_of_a_full_sort_with_ties_and_several_right_candidates(
    monkeypatch, seed, ties, queries_at_once
):
    if queries_at_once:
        monkeypatch.setattr("model.evaluation.measures.metrics._BYTES_A_SCORE", 2**20 // (60 * queries_at_once))
    queries, gallery, query_groups, gallery_groups = random_features(seed, ties=ties)
    answers = Answers.by_group(query_groups, gallery_groups)
    terms = {"max_chunk_mb": 1, "tie_tolerance": 0.0}

    best = best_ranks(scores_of(queries, gallery), answers, 60, **terms)
    ranks = all_ranks(scores_of(queries, gallery), answers, 60, **terms)

    similarity = queries @ gallery.T
    expected = [
        ranks_by_sorting(row, gallery_groups == group) for row, group in zip(similarity, query_groups, strict=True)
    ]
    assert best.tolist() == ranks.best.tolist() == [of_query[0] if of_query else 0 for of_query in expected]
    assert ranks.ranks.tolist() == [rank for of_query in expected for rank in of_query]
    assert ranks.num_right.tolist() == answers.num_right.tolist() == [len(of_query) for of_query in expected]
    assert not all(expected)  # some queries have no right candidate


def test_chunks_stay_within_the_memory_limit(monkeypatch):
    sizes = []
    features = np.eye(3000, 8, dtype=np.float32)
    whole = scores_of(features, features)

    def recording_scores(first, last):
        sizes.append((last - first) * 3000 * 4)
        return whole(first, last)

    best_ranks(recording_scores, Answers.by_group(np.arange(3000), np.arange(3000)), 3000, max_chunk_mb=1)
    assert max(sizes) <= 2**20 and len(sizes) > 30


def test_a_query_in_the_gallery_is_neither_right_nor_wrong_for_itself():
    features = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.5, 0.5]], np.float32)
    groups = np.array([0, 0, 1, 1, 2])

    answers = Answers.by_group(groups, groups, own=np.arange(5))
    ranks = all_ranks(scores_of(features, features), answers, 5)

    assert answers.num_right.tolist() == ranks.num_right.tolist() == [1, 1, 1, 1, 0]
    assert ranks.best.tolist() == [1, 1, 1, 1, 0]
    assert best_ranks(scores_of(features, features), answers, 5).tolist() == [1, 1, 1, 1, 0]


def test_right_candidates_can_be_listed_for_each_query():
    gallery = np.array([[1.0], [0.9], [0.8], [0.7]], np.float32)
    answers = Answers.listed([[1, 3], [], [0]], own=np.array([0, 1, 2]))

    ranks = all_ranks(scores_of(np.ones((3, 1), np.float32), gallery), answers, 4)

    assert ranks.ranks.tolist() == [1, 3, 1]  # the first query itself, candidate 0, is skipped
    assert ranks.best.tolist() == [1, 0, 1]


def test_ranks_do_not_depend_on_the_order_of_the_gallery():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(200, 16)).astype(np.float32)
    features[50:100] = features[:50]  # equal images with other captions
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    groups, order = rng.integers(0, 80, 200), rng.permutation(200)

    ranks = all_ranks(scores_of(features, features), Answers.by_group(groups, groups), 200)
    shuffled = all_ranks(scores_of(features, features[order]), Answers.by_group(groups, groups[order]), 200)

    np.testing.assert_array_equal(ranks.ranks, shuffled.ranks)
    np.testing.assert_array_equal(ranks.average_precision, shuffled.average_precision)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_those_of_torchmetrics_without_ties(seed):
    queries, gallery, query_groups, gallery_groups = random_features(seed, ties=False)
    answers = Answers.by_group(query_groups, gallery_groups)
    ranks = all_ranks(scores_of(queries, gallery), answers, 60)
    for query in np.flatnonzero(answers.num_right):
        scores = torch.from_numpy(gallery @ queries[query])
        scores = scores - scores.min() + 1  # torchmetrics ignores right candidates that score 0 or less
        is_right = torch.from_numpy(gallery_groups == query_groups[query])
        precision, found = ranks.average_precision[query], ranks.share_found(10)[query]
        assert precision == pytest.approx(retrieval_average_precision(scores, is_right).item(), abs=1e-6)
        assert found == pytest.approx(retrieval_recall(scores, is_right, top_k=10).item(), abs=1e-6)
        assert (ranks.best[query] <= 10) == bool(retrieval_hit_rate(scores, is_right, top_k=10))
        assert 1 / ranks.best[query] == pytest.approx(retrieval_reciprocal_rank(scores, is_right).item(), abs=1e-6)


def test_metrics_equal_those_of_pytorch_metric_learning_without_ties():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(0, 20, 120)
    labels[:20] = labels[100:120] = np.arange(20)  # each label at least twice
    ranks = all_ranks(scores_of(features, features), Answers.by_group(labels, labels, own=np.arange(120)), 120)

    theirs = AccuracyCalculator(include=("mean_average_precision", "precision_at_1"), k=119).get_accuracy(
        torch.from_numpy(features), torch.from_numpy(labels)
    )

    assert ranks.average_precision.mean() == pytest.approx(theirs["mean_average_precision"], abs=1e-6)
    assert (ranks.best == 1).mean() == pytest.approx(theirs["precision_at_1"], abs=1e-6)


def test_a_model_that_gives_all_candidates_the_same_score_finds_nothing():
    features = np.ones((10, 4), np.float32) / 2
    ranks = best_ranks(scores_of(features, features), Answers.by_group(np.arange(10), np.arange(10)), 10)

    assert ranks.tolist() == [10] * 10
    assert recall_at_k(ranks, 5) == 0.0


def test_scores_that_differ_only_by_rounding_are_tied():
    gallery = np.array([[1.0, 0.0], [1.0 - 1e-7, 0.0], [0.9, 0.0]], np.float32)
    scores = scores_of(np.array([[1.0, 0.0]], np.float32), gallery)
    answers = Answers.by_group(np.array([0]), np.array([0, 1, 2]))

    assert best_ranks(scores, answers, 3).tolist() == [2]
    assert best_ranks(scores, answers, 3, tie_tolerance=0.0).tolist() == [1]


def test_recall_leaves_out_queries_without_a_right_candidate():
    ranks = np.array([1, 2, 6, 0])

    assert [recall_at_k(ranks, k) for k in (1, 5, 10)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert median_rank(ranks) == 2
    assert recall_at_k(np.array([0]), 5) == median_rank(np.array([])) == 0.0


@pytest.mark.parametrize("rank", [best_ranks, all_ranks])
@pytest.mark.parametrize("of", ["queries", "gallery"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_have_no_rank(rank, of, value):
    """Comparisons with NaN are false, so that a model that returns NaN would rank first everywhere."""
    queries, gallery, query_groups, gallery_groups = random_features(0)
    answers = Answers.by_group(query_groups, gallery_groups)
    (queries if of == "queries" else gallery)[7] = value
    first = 8 if of == "queries" else 1

    with pytest.raises(NonFiniteError, match=rf"^query {first} has scores that are not finite"):
        rank(scores_of(queries, gallery), answers, 60)


@pytest.mark.parametrize("queries_at_once", [1, 7, None])
def test_the_best_wrong_candidate_is_the_first_of_those_that_score_highest(monkeypatch, queries_at_once):
    if queries_at_once:
        monkeypatch.setattr("model.evaluation.measures.metrics._BYTES_A_SCORE", 2**20 // (60 * queries_at_once))
    queries, gallery, query_groups, gallery_groups = random_features(3)
    own = np.where(np.arange(40) % 2 == 0, np.arange(40), -1)  # half of the queries are in the gallery themselves
    answers = Answers.by_group(query_groups, gallery_groups, own=own)
    scores = (queries @ gallery.T).astype(np.float64)
    scores[query_groups[:, None] == gallery_groups[None, :]] = -np.inf
    scores[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
    found = best_wrong(scores_of(queries, gallery), answers, 60, max_chunk_mb=1)
    assert found.tolist() == scores.argmax(axis=1).tolist()


def test_without_a_wrong_candidate_there_is_no_best_one():
    features = np.ones((2, 3), np.float32)
    answers = Answers.by_group(np.zeros(2, np.int64), np.zeros(2, np.int64))
    assert best_wrong(scores_of(features, features), answers, 2).tolist() == [-1, -1]


def test_the_ranks_of_some_queries_are_those_of_all_queries_without_the_others():
    queries, gallery, query_groups, gallery_groups = random_features(1)
    answers = Answers.by_group(query_groups, gallery_groups)
    ranks = all_ranks(scores_of(queries, gallery), answers, 60)
    chosen = np.array([0, 3, 4, 17, 39])
    some = ranks.only(chosen)
    assert some.best.tolist() == ranks.best[chosen].tolist()
    assert some.average_precision.tolist() == ranks.average_precision[chosen].tolist()
    assert some.num_right.tolist() == ranks.num_right[chosen].tolist()
