"""Telling a run that goes wrong from one that goes up and down."""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Iterable

_NUM_REMEMBERED = 100


class LossWatch:
    """Says when a loss diverges: it stays above `factor` times its median for `num_steps` steps on end.

    The median is that of the last hundred steps that were not above it, so that a loss which climbs and stays there
    does not move its own mark. It speaks from the tenth step on.

    Args:
        factor: None never speaks.
        num_steps: How many steps on end.
        losses: Those of earlier steps, where a run goes on.

    >>> watch = LossWatch(factor=3, num_steps=2, losses=[1.0] * 10)
    >>> [watch.diverges(loss) for loss in (3.5, 0.9, 4.0, 5.0)]
    [False, False, False, True]
    """

    def __init__(self, *, factor: float | None, num_steps: int, losses: Iterable[float] = ()) -> None:
        self._factor = factor
        self._num_steps = num_steps
        self._calm: collections.deque[float] = collections.deque(maxlen=_NUM_REMEMBERED)
        self._num_above = 0
        for loss in losses:
            self.diverges(loss)

    @property
    def median(self) -> float:
        """What losses are compared with; not a number before the first."""
        return statistics.median(self._calm) if self._calm else math.nan

    def diverges(self, loss: float) -> bool:
        """Take in the loss of one step."""
        is_above = self._factor is not None and len(self._calm) >= 10 and loss > self._factor * self.median
        if not is_above:
            self._calm.append(loss)
        self._num_above = self._num_above + 1 if is_above else 0
        return self._num_above >= self._num_steps
