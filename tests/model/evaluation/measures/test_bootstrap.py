"""Intervals and p values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value


def interval_of(values: np.ndarray, groups: np.ndarray, *, num_resamples: int = 500, seed: int = 0):
    return interval(Bootstrap(groups, num_resamples, seed).means(values[:, None])[:, 0])


def test_the_interval_widens_where_queries_of_one_patent_stand_or_fall_together():
    values = np.tile([1.0, 0.0], 50).repeat(4)
    alone = interval_of(values, np.arange(400))
    together = interval_of(values, np.arange(100).repeat(4))

    assert alone[0] < 0.5 < alone[1]
    assert together[1] - together[0] > 1.6 * (alone[1] - alone[0])
    assert interval_of(values, np.arange(400)) == alone


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = (rng.random(120) < 0.3).astype(float)
        low, high = interval_of(values, np.arange(120), num_resamples=200, seed=trial)
        covered += low <= 0.3 <= high

    assert 0.88 <= covered / 200 <= 0.99


def test_the_interval_is_near_that_of_scipy():
    values = np.random.default_rng(1).random(300)
    low, high = interval_of(values, np.arange(300), num_resamples=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval

    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_resamples_do_not_depend_on_what_is_measured_beside_or_on_memory(monkeypatch):
    values = np.random.default_rng(0).random((60, 3))
    bootstrap = Bootstrap(np.arange(20).repeat(3), 50, 0)
    together = bootstrap.means(values)
    monkeypatch.setattr("model.evaluation.measures.bootstrap._MAX_WEIGHTS", 20 * 7)  # seven resamples at a time

    np.testing.assert_allclose(bootstrap.means(values[:, 1:2])[:, 0], together[:, 1])


def test_means_over_classes_equal_a_plain_computation():
    rng = np.random.default_rng(0)
    patents, classes = np.arange(12).repeat(2), np.repeat([0, 0, 1, 1, 2, 2], 4)
    values = rng.random((24, 1))
    samples = Bootstrap(patents, 5, 3).class_means(values, classes)

    generator = np.random.default_rng(3)
    for sample in samples:
        drawn = np.concatenate([np.flatnonzero(patents == patent) for patent in generator.integers(12, size=12)])
        means = [values[drawn][classes[drawn] == number].mean() for number in np.unique(classes[drawn])]
        assert sample[0] == pytest.approx(np.mean(means))


def test_a_clear_difference_has_a_small_p_and_none_a_large_one():
    rng = np.random.default_rng(0)
    one, other = rng.random(200) < 0.6, rng.random(200) < 0.3
    values = np.stack([one, other, one], axis=1).astype(float)
    samples = Bootstrap(np.arange(200), 999, 0).means(values)

    assert p_value(samples[:, 0] - samples[:, 1]) <= 0.004
    assert p_value(samples[:, 0] - samples[:, 2]) == 1.0
