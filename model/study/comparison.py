"""Estimates of arms with intervals, and differences between two arms. Pure functions.

Two things vary by chance: the patents that are measured, and the seed that a model was trained with. A resample
therefore draws both with replacement: whole families of patents, and whole runs. The two arms of a difference are
resampled together, with the same families and with runs of the same seeds, so that what affects both cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value

HOLDS, DOES_NOT_HOLD, NOT_DECIDED = "holds", "does not hold", "not decided"

_SEED = 20240102


@dataclass(frozen=True)
class Estimate:
    """A mean over views and seeds, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """The mean of an arm minus that of its baseline; `p` is two-sided, for the hypothesis of no difference."""

    p: float

    def verdict(self, floor: float = 0.0) -> str:
        """Whether the difference is above `floor`: it is if its whole interval is, and it is not if none of it is.

        >>> Difference(0.04, 0.01, 0.07, 0.01).verdict(), Difference(-0.02, -0.05, 0.01, 0.2).verdict(floor=-0.03)
        ('holds', 'not decided')
        """
        if self.low > floor:
            return HOLDS
        return DOES_NOT_HOLD if self.high <= floor else NOT_DECIDED

    def verdict_with_mean(self, floor: float = 0.0) -> str:
        """As `verdict`, but what these runs cannot decide is called by the side of `floor` that the mean is on.

        >>> Difference(-0.02, -0.05, 0.01, 0.2).verdict_with_mean(floor=-0.03)
        'holds on the mean'
        """
        verdict = self.verdict(floor)
        if verdict != NOT_DECIDED:
            return verdict
        return "holds on the mean" if self.mean >= floor else "missed on the mean"


@dataclass(frozen=True)
class Resampling:
    """Resamples of families and seeds; they are the same for all arms that are measured on the same views.

    Attributes:
        families: (num_views,) family of each view's patent.
        num_resamples: Number of resamples.
    """

    families: np.ndarray
    num_resamples: int

    def estimate(self, values: np.ndarray) -> Estimate:
        """The mean of (num_views, num_seeds) values; views without a value (NaN) are left out."""
        return Estimate(_mean(values), *interval(self._means(values)))

    def difference(self, values: np.ndarray, baseline: np.ndarray) -> Difference:
        """The mean of `values` minus `baseline`, both (num_views, num_seeds), paired by view and seed."""
        paired = values - baseline
        means = self._means(paired)
        return Difference(_mean(paired), *interval(means), p_value(means))

    def _means(self, values: np.ndarray) -> np.ndarray:
        """(num_resamples,) means over resampled families and seeds."""
        has_value = ~np.isnan(values).any(axis=1)
        measured = Resampling(self.families[has_value], self.num_resamples)
        return measured.curve_means(values[has_value][:, :, None])[:, 0]

    def curve_means(self, values: np.ndarray) -> np.ndarray:
        """Means over resampled families and seeds, at each point of a curve.

        Args:
            values: (num_views, num_seeds, num_points), all finite.

        Returns:
            (num_resamples, num_points).
        """
        num_views, num_seeds, num_points = values.shape
        flat = values.reshape(num_views, num_seeds * num_points)
        by_seed = Bootstrap(self.families, self.num_resamples, _SEED).means(flat)
        by_seed = by_seed.reshape(self.num_resamples, num_seeds, num_points)
        drawn = np.random.default_rng([_SEED, 1]).integers(num_seeds, size=(self.num_resamples, num_seeds))
        return np.take_along_axis(by_seed, drawn[:, :, None], axis=1).mean(axis=1)


def _mean(values: np.ndarray) -> float:
    """The mean over the views that have a value with every seed."""
    return float(values[~np.isnan(values).any(axis=1)].mean())
