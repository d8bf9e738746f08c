"""Confidence intervals and p values by bootstrap.

Whole patents are resampled with replacement, not views: the views of one patent are similar, so a model tends to get
all of them right or all of them wrong. Resampling single views would make the intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

_MAX_WEIGHTS = 2**21  # in memory at a time


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of the patents that the queries belong to.

    Equal seeds give equal resamples, whatever is measured, so that differences between models are paired.

    Attributes:
        groups: (num_queries,) patent of each query.
        num_resamples: How many resamples are drawn.
        seed: Seed of the random generator.
    """

    groups: np.ndarray
    num_resamples: int
    seed: int
    _members: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        members = np.unique(self.groups, return_inverse=True)[1] if len(self.groups) else np.zeros(0, np.int64)
        object.__setattr__(self, "_members", members)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean over the queries, in each resample.

        Args:
            values: (num_queries, num_values).

        Returns:
            (num_resamples, num_values).
        """
        sums = _sums(self._members, values)
        sizes = np.bincount(self._members).astype(np.float64)
        return np.concatenate([(weights @ sums) / (weights @ sizes)[:, None] for weights in self._weights(len(sizes))])

    def class_means(self, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Mean over the classes of the mean over their queries, in each resample; classes not drawn are left out.

        Args:
            values: (num_queries, num_values).
            classes: (num_queries,) int64 from 0; all queries of a patent have the same class.

        Returns:
            (num_resamples, num_values).
        """
        num_patents = int(self._members.max()) + 1
        sums, sizes = _sums(self._members, values), np.bincount(self._members).astype(np.float64)
        class_of = np.zeros(num_patents, dtype=np.int64)
        class_of[self._members] = classes
        rows = [np.flatnonzero(class_of == number) for number in np.unique(classes)]
        parts = []
        for weights in self._weights(num_patents):
            total, num_drawn = np.zeros((len(weights), values.shape[1])), np.zeros((len(weights), 1))
            for members in rows:
                size = weights[:, members] @ sizes[members]
                mean = (weights[:, members] @ sums[members]) / np.maximum(size, 1)[:, None]
                total += np.where(size[:, None] > 0, mean, 0)
                num_drawn += size[:, None] > 0
            parts.append(total / num_drawn)
        return np.concatenate(parts)

    def _weights(self, num_patents: int) -> Iterator[np.ndarray]:
        """How often each patent is drawn: blocks of (num_resamples_in_block, num_patents) float64."""
        generator = np.random.default_rng(self.seed)
        at_once = max(1, _MAX_WEIGHTS // num_patents)
        for first in range(0, self.num_resamples, at_once):
            num = min(at_once, self.num_resamples - first)
            drawn = (generator.integers(num_patents, size=num_patents) for _ in range(num))
            yield np.stack([np.bincount(members, minlength=num_patents) for members in drawn]).astype(np.float64)


def _sums(members: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(num_patents, num_values) sums over the queries of each patent."""
    return np.stack([np.bincount(members, weights=column) for column in values.T], axis=1)


def interval(samples: np.ndarray, share: float = 0.95) -> tuple[float, float]:
    """Percentile interval: the bounds that contain this share of the resampled values."""
    low, high = np.quantile(samples, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def p_value(differences: np.ndarray) -> float:
    """Two-sided p value of the hypothesis "there is no difference", from resampled paired differences.

    This is twice the share of resamples on the rarer side of zero. Resamples at zero count on both sides. One is added
    to numerator and denominator, so that a finite number of resamples never gives 0.

    >>> p_value(np.array([0.1, 0.2, 0.3]))
    0.5
    """
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(differences) + 1)))
