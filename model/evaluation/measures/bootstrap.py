"""How sure a figure is: whole patents are drawn with replacement, since the views of one stand or fall together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

_MAX_WEIGHTS = 2**21  # held at once


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of the patents that some queries belong to; equal seeds give equal resamples, whatever is measured.

    Attributes:
        groups: (num_queries,) patent of each query.
        num_resamples: Resamples drawn.
        seed: Of the draws.
    """

    groups: np.ndarray
    num_resamples: int
    seed: int
    _members: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        members = np.unique(self.groups, return_inverse=True)[1] if len(self.groups) else np.zeros(0, np.int64)
        object.__setattr__(self, "_members", members)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means over the queries of each resample.

        Args:
            values: (num_queries, num_figures).

        Returns:
            (num_resamples, num_figures).
        """
        sums = _sums(self._members, values)
        sizes = np.bincount(self._members).astype(np.float64)
        return np.concatenate([(weights @ sums) / (weights @ sizes)[:, None] for weights in self._weights(len(sizes))])

    def class_means(self, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Means over the classes of their means over queries, in each resample; a class that is not drawn is left out.

        Args:
            values: (num_queries, num_figures).
            classes: (num_queries,) int64 from 0; all queries of a patent are of one class.
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
        """How often each patent is drawn: (some resamples, num_patents) float64 at a time."""
        generator = np.random.default_rng(self.seed)
        at_once = max(1, _MAX_WEIGHTS // num_patents)
        for first in range(0, self.num_resamples, at_once):
            num = min(at_once, self.num_resamples - first)
            drawn = (generator.integers(num_patents, size=num_patents) for _ in range(num))
            yield np.stack([np.bincount(places, minlength=num_patents) for places in drawn]).astype(np.float64)


def _sums(members: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(num_patents, num_figures) sums over the queries of each patent."""
    return np.stack([np.bincount(members, weights=column) for column in values.T], axis=1)


def interval(samples: np.ndarray, share: float = 0.95) -> tuple[float, float]:
    """Percentile interval: the ends between which that share of the resampled figures lies."""
    low, high = np.quantile(samples, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def p_value(differences: np.ndarray) -> float:
    """Two-sided p of "there is no difference", from resampled paired differences.

    Twice the share of resamples on the rarer side of zero, those at zero counted on both sides, with one added to
    numerator and denominator so that no finite number of resamples gives 0.

    >>> p_value(np.array([0.1, 0.2, 0.3]))
    0.5
    """
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(differences) + 1)))
