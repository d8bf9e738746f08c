"""A loss that fluctuates is accepted; one that rises and stays high is divergence."""

from __future__ import annotations

import pytest

from model.training.run.divergence import LossWatch


def first_alarm(losses, **settings):
    """Index of the first step at which the loss diverges; None if it never does."""
    watch = LossWatch(**{"factor": 5.0, "num_steps": 3} | settings)
    return next((step for step, loss in enumerate(losses) if watch.diverges(loss)), None)


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([1.0] * 50, None),
        ([1.0] * 20 + [6.0] * 2 + [1.0] * 20, None),  # a peak
        ([1.0] * 20 + [6.0] * 3, 22),
        ([1.0] * 20 + [6.0, 1.0] * 20, None),  # never three consecutive steps
        ([1.0] * 5 + [6.0] * 3, None),  # too few steps to judge
        ([2.0**power for power in range(60)], 12),  # the threshold does not rise with the loss
    ],
)
def test_divergence_is_reported_at_the_last_of_enough_consecutive_steps(losses, step):
    assert first_alarm(losses) == step


def test_without_a_factor_nothing_diverges():
    assert first_alarm([1.0] * 20 + [1e9] * 50, factor=None) is None


def test_a_resumed_watch_reports_the_same_as_an_uninterrupted_one():
    losses = [1.0] * 15 + [9.0] * 3
    for cut in range(len(losses)):
        watch = LossWatch(factor=5, num_steps=3, losses=losses[:cut])
        rest = [watch.diverges(loss) for loss in losses[cut:]]
        assert rest == [*[False] * (len(losses) - cut - 1), True]
