"""Telling a diverging loss from one that merely fluctuates."""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Iterable

_NUM_REMEMBERED = 100


class LossWatch:
    """Detects a diverging loss: one that stays above `factor` times its median for `num_steps` consecutive steps.

    The median is taken over the last hundred steps that were not above this threshold, so that a loss which rises and
    stays high does not raise its own threshold. No step is judged before ten such steps are known.

    Args:
        factor: Multiple of the median; None never reports divergence.
        num_steps: Number of consecutive steps above the threshold.
        losses: Losses of earlier steps, if a run is resumed.

    >>> watch = LossWatch(factor=3, num_steps=2, losses=[1.0] * 10)
    >>> [watch.diverges(loss) for loss in (3.5, 0.9, 4.0, 5.0)]
    [False, False, False, True]
    """

    def __init__(self, *, factor: float | None, num_steps: int, losses: Iterable[float] = ()) -> None:
        self._factor = factor
        self._num_steps = num_steps
        self._reference: collections.deque[float] = collections.deque(maxlen=_NUM_REMEMBERED)
        self._num_above = 0
        for loss in losses:
            self.diverges(loss)

    @property
    def median(self) -> float:
        """Median of the reference losses; NaN before the first step."""
        return statistics.median(self._reference) if self._reference else math.nan

    def diverges(self, loss: float) -> bool:
        """Add the loss of the next step; True if the loss has diverged."""
        is_above = self._factor is not None and len(self._reference) >= 10 and loss > self._factor * self.median
        if not is_above:
            self._reference.append(loss)
        self._num_above = self._num_above + 1 if is_above else 0
        return self._num_above >= self._num_steps
