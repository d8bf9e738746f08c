"""Scores of patents from scores of views: every scoring against its definition, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.clip import patent_scores
from model.clip.patent_scores import SCORINGS, PatentPool, PatentScores, pool_query


def by_definition(similarity: np.ndarray, scoring: str, weights: np.ndarray) -> float:
    """The score of a query and a patent: (views of the query, views of the patent)."""
    if scoring == "max":
        return similarity.max()
    if scoring == "mean":
        return similarity.mean()
    best = similarity.max(axis=1)
    return best.mean() if scoring == "maxsim" else (best * weights).sum() / weights.sum()


def gallery(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, patents and weights of views of 12 patents with one to five views each, in no order."""
    rng = np.random.default_rng(seed)
    patents = rng.permutation(np.repeat(np.arange(12), rng.integers(1, 6, 12)))
    features = rng.normal(size=(len(patents), 5)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, patents, rng.uniform(0.2, 3, len(patents)).astype(np.float32)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize(("max_chunk_mb", "max_columns"), [(64, 32_768), (0, 3)])
def test_scores_of_patents_follow_their_definition_whatever_the_chunks(monkeypatch, scoring, max_chunk_mb, max_columns):
    monkeypatch.setattr(patent_scores, "_MAX_COLUMNS", max_columns)
    for seed in range(5):
        features, patents, weights = gallery(seed)
        queries = [np.flatnonzero(patents == number) for number in np.random.default_rng(seed).permutation(12)[:7]]
        similarity = features @ features.T
        expected = [
            [by_definition(similarity[np.ix_(query, patents == other)], scoring, weights[query]) for other in range(12)]
            for query in queries
        ]
        scores = PatentScores(
            torch.from_numpy(features), patents, queries, scoring=scoring, weights=weights, max_chunk_mb=max_chunk_mb
        )
        np.testing.assert_allclose(torch.cat([scores(0, 3), scores(3, 7)]), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_the_views_of_a_query_can_be_left_out_of_their_patent(scoring):
    features, patents, weights = gallery(3)
    number = int(np.bincount(patents).argmax())
    query, rest = np.split(np.flatnonzero(patents == number), [2])
    similarity = features @ features.T
    scores = PatentScores(
        torch.from_numpy(features), patents, [query], scoring=scoring, weights=weights, leave_out_own=True
    )(0, 1)[0]
    for other in range(12):
        views = rest if other == number else np.flatnonzero(patents == other)
        expected = by_definition(similarity[np.ix_(query, views)], scoring, weights[query])
        assert float(scores[other]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_patent_that_has_no_other_view_gets_the_least_score(scoring):
    features = torch.eye(3)
    scores = PatentScores(
        features,
        np.array([0, 1, 1]),
        [np.array([0]), np.array([1, 2])],
        scoring=scoring,
        weights=np.ones(3),
        leave_out_own=True,
    )(0, 2)
    assert scores[0, 0] == scores[1, 1] == -1 and scores[0, 1] == scores[1, 0] == 0


def test_pooling_keeps_the_order_of_patents_and_rows():
    similarity = torch.tensor([[0.1, 0.9, 0.3, 0.5], [0.4, 0.2, 0.8, 0.0]])
    pool = PatentPool(np.array([1, 0, 1, 2]))
    assert pool.pool(similarity).tolist() == pytest.approx(np.array([[0.9, 0.3, 0.5], [0.2, 0.8, 0.0]]))
    assert pool.pool(similarity, mean=True).numpy() == pytest.approx(np.array([[0.9, 0.2, 0.5], [0.2, 0.6, 0.0]]))
    assert len(pool) == 3 and pool.sizes.tolist() == [1, 2, 1]


def test_no_queries_give_no_scores():
    assert PatentScores(torch.eye(2), np.array([0, 1]), [])(0, 0).shape == (0, 2)


def test_an_unknown_scoring_and_missing_weights_are_refused():
    with pytest.raises(ValueError, match="scoring is 'median'; use one of max, mean, maxsim, weighted"):
        pool_query(torch.eye(2), [2], "median")
    with pytest.raises(ValueError, match="'weighted' needs a weight for each view"):
        pool_query(torch.eye(2), [2], "weighted")
