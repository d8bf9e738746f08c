"""A loss that goes up and down is let be; one that goes up and stays is not."""

from __future__ import annotations

import pytest

from model.training.run.divergence import LossWatch


def first_alarm(losses, **settings):
    watch = LossWatch(**{"factor": 5.0, "num_steps": 3} | settings)
    return next((place for place, loss in enumerate(losses) if watch.diverges(loss)), None)


@pytest.mark.parametrize(
    ("losses", "place"),
    [
        ([1.0] * 50, None),
        ([1.0] * 20 + [6.0] * 2 + [1.0] * 20, None),  # a peak
        ([1.0] * 20 + [6.0] * 3, 22),
        ([1.0] * 20 + [6.0, 1.0] * 20, None),  # never three on end
        ([1.0] * 5 + [6.0] * 3, None),  # too early to tell
        ([2.0**step for step in range(60)], 12),  # what it compares with does not climb along
    ],
)
def test_the_alarm_comes_at_the_last_of_enough_steps_on_end(losses, place):
    assert first_alarm(losses) == place


def test_without_a_factor_nothing_diverges():
    assert first_alarm([1.0] * 20 + [1e9] * 50, factor=None) is None


def test_a_watch_that_goes_on_says_what_an_undisturbed_one_says():
    losses = [1.0] * 15 + [9.0] * 3
    for cut in range(len(losses)):
        watch = LossWatch(factor=5, num_steps=3, losses=losses[:cut])
        rest = [watch.diverges(loss) for loss in losses[cut:]]
        assert rest == [*[False] * (len(losses) - cut - 1), True]
