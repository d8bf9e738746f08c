"""Which views make up which training step, as a pure function of the seed and the step.

Nothing is kept between steps, so a run that resumes at step n sees what an undisturbed run sees there.
"""

from __future__ import annotations

import functools

import numpy as np

_ORDER, _DRAWS = 0, 1  # what a generator is for; keeps the streams apart


def num_steps_per_epoch(num_views: int, batch_size: int) -> int:
    """Whole batches in one pass; a split smaller than a batch makes one batch of all of it.

    >>> num_steps_per_epoch(100, 32), num_steps_per_epoch(7, 32)
    (3, 1)
    """
    return max(1, num_views // batch_size)


@functools.lru_cache(maxsize=2)
def _epoch_order(num_views: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(num_views)


def batch_rows(step: int, *, num_views: int, batch_size: int, seed: int) -> np.ndarray:
    """Rows of the views that step `step` (from 0) trains on.

    Each epoch goes through the views in an order of its own; the rest that fills no batch is left out of that epoch.

    Returns:
        (min(batch_size, num_views),) int64, without repetition.
    """
    epoch, place = divmod(step, num_steps_per_epoch(num_views, batch_size))
    start = place * batch_size
    return _epoch_order(num_views, seed, epoch)[start : start + batch_size]


def batch_draws(step: int, *, num_rows: int, num_draws: int, seed: int) -> np.ndarray:
    """Random numbers in [0, 1) for the views of a step: (num_rows, num_draws) float64."""
    return np.random.default_rng([seed, _DRAWS, step]).random((num_rows, num_draws))
