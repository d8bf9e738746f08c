"""Intervals and p values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value


def interval_of(values: np.ndarray, groups: np.ndarray, *, num_resamples: int = 500, seed: int = 0):
    return interval(Bootstrap(groups, num_resamples, seed).means(values[:, None])[:, 0])


def test_the_interval_is_wider_if_the_queries_of_a_patent_have_the_same_result():
    values = np.tile([1.0, 0.0], 50).repeat(4)
    ungrouped = interval_of(values, np.arange(400))
    grouped = interval_of(values, np.arange(100).repeat(4))

    assert ungrouped[0] < 0.5 < ungrouped[1]
    assert grouped[1] - grouped[0] > 1.6 * (ungrouped[1] - ungrouped[0])
    assert interval_of(values, np.arange(400)) == ungrouped


def test_the_interval_contains_the_true_mean_about_as_often_as_it_claims():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = (rng.random(120) < 0.3).astype(float)
        low, high = interval_of(values, np.arange(120), num_resamples=200, seed=seed)
        covered += low <= 0.3 <= high

    assert 0.88 <= covered / 200 <= 0.99


def test_the_interval_is_close_to_that_of_scipy():
    values = np.random.default_rng(1).random(300)
    low, high = interval_of(values, np.arange(300), num_resamples=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval

    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_resamples_depend_neither_on_the_other_values_nor_on_the_chunk_size(monkeypatch):
    values = np.random.default_rng(0).random((60, 3))
    bootstrap = Bootstrap(np.arange(20).repeat(3), 50, 0)
    together = bootstrap.means(values)
    monkeypatch.setattr("model.evaluation.measures.bootstrap._MAX_WEIGHTS", 20 * 7)  # seven resamples at a time

    np.testing.assert_allclose(bootstrap.means(values[:, 1:2])[:, 0], together[:, 1])


def test_means_over_classes_equal_a_direct_computation():
    rng = np.random.default_rng(0)
    patents, classes = np.arange(12).repeat(2), np.repeat([0, 0, 1, 1, 2, 2], 4)
    values = rng.random((24, 1))
    samples = Bootstrap(patents, 5, 3).class_means(values, classes)

    generator = np.random.default_rng(3)
    for sample in samples:
        drawn = np.concatenate([np.flatnonzero(patents == patent) for patent in generator.integers(12, size=12)])
        means = [values[drawn][classes[drawn] == number].mean() for number in np.unique(classes[drawn])]
        assert sample[0] == pytest.approx(np.mean(means))


def test_a_clear_difference_has_a_small_p_value_and_no_difference_has_p_1():
    rng = np.random.default_rng(0)
    one, other = rng.random(200) < 0.6, rng.random(200) < 0.3
    values = np.stack([one, other, one], axis=1).astype(float)
    samples = Bootstrap(np.arange(200), 999, 0).means(values)

    assert p_value(samples[:, 0] - samples[:, 1]) <= 0.004
    assert p_value(samples[:, 0] - samples[:, 2]) == 1.0
