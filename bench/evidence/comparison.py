"""Figures of arms with their intervals, differences between two arms, and what these say of a claim. Pure.

Two things vary: which patents are tested on, and with which seed a model was trained. A resample draws both with
replacement, whole families of patents and whole runs. The two arms of a difference are resampled together: the same
families, and runs of the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value

TAIL, MIDDLE, HEAD, ALL = "tail", "middle", "head", "all"
THIRDS = (TAIL, MIDDLE, HEAD)

_SEED = 20240102


@dataclass(frozen=True)
class Figure:
    """A mean over views and seeds, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Figure):
    """Mean of an arm minus that of its baseline; `p` of "there is no difference", two-sided."""

    p: float

    def verdict(self, floor: float = 0.0) -> str:
        """Whether the difference is above `floor`: "holds", "does not hold", or "not decided" by these runs.

        >>> Difference(0.04, 0.01, 0.07, 0.01).verdict(), Difference(-0.02, -0.05, 0.01, 0.2).verdict(floor=-0.03)
        ('holds', 'not decided')
        """
        if self.low > floor:
            return "holds"
        return "does not hold" if self.high <= floor else "not decided"


def third_of_class(training_counts: np.ndarray) -> np.ndarray:
    """(num_classes,) place in `THIRDS`: classes by how often they occur in training, parted into three of equal size.

    Equals stay in the order of the table.

    >>> third_of_class(np.array([50, 1, 7, 60, 2, 9])).tolist()
    [2, 0, 1, 2, 0, 1]
    """
    places = np.empty(len(training_counts), dtype=np.int64)
    places[np.argsort(training_counts, kind="stable")] = np.arange(len(training_counts))
    return places * len(THIRDS) // len(training_counts)


@dataclass(frozen=True)
class Resampling:
    """Draws of families and seeds; equal for all arms that are measured on the same views.

    Attributes:
        families: (num_views,) family of each view's patent.
        num_resamples: Draws.
    """

    families: np.ndarray
    num_resamples: int

    def figure(self, values: np.ndarray) -> Figure:
        """Mean over (num_views, num_seeds); views without a value (NaN) are left out."""
        return Figure(_mean(values), *interval(self._means(values)))

    def difference(self, values: np.ndarray, baseline: np.ndarray) -> Difference:
        """Mean of `values` minus `baseline`, both (num_views, num_seeds), view by view and seed by seed."""
        paired = values - baseline
        means = self._means(paired)
        return Difference(_mean(paired), *interval(means), p_value(means))

    def _means(self, values: np.ndarray) -> np.ndarray:
        """(num_resamples,) means over drawn families and drawn seeds."""
        has_value = ~np.isnan(values).any(axis=1)
        by_seed = Bootstrap(self.families[has_value], self.num_resamples, _SEED).means(values[has_value])
        num_seeds = values.shape[1]
        drawn = np.random.default_rng([_SEED, 1]).integers(num_seeds, size=(self.num_resamples, num_seeds))
        return np.take_along_axis(by_seed, drawn, axis=1).mean(axis=1)


def _mean(values: np.ndarray) -> float:
    return float(values[~np.isnan(values).any(axis=1)].mean())
