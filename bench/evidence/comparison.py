"""Estimates of arms with intervals, differences between two arms, and comparisons of whole curves. Pure functions.

Two things vary by chance: the patents that are measured, and the seed that a model was trained with. A resample
therefore draws both with replacement: whole families of patents, and whole runs. The two arms of a difference are
resampled together, with the same families and with runs of the same seeds, so that what affects both cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value

ALL = "all"

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
        """Whether the difference is at least `floor`.

        "holds" if the whole interval is above it, "does not hold" if none of it is, and between them "holds on the
        mean" or "missed on the mean", which these runs cannot tell from each other.

        >>> Difference(0.04, 0.01, 0.07, 0.01).verdict(), Difference(-0.02, -0.05, 0.01, 0.2).verdict(floor=-0.03)
        ('holds', 'holds on the mean')
        """
        if self.low > floor:
            return "holds"
        if self.high <= floor:
            return "does not hold"
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


def tail_at_head(head: np.ndarray, tail: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The best tail accuracy of a curve of read-outs that keeps a head accuracy.

    Between neighbouring points the curve is a straight line. It counts as 0 where it does not reach the head accuracy,
    which favours it: no tail accuracy is lower.

    Args:
        head: (…, num_points) head accuracy at each point of the curve, in the order of τ.
        tail: The same for the tail.
        at: (num_heads,) head accuracies that are to be kept.

    Returns:
        (…, num_heads).

    >>> curve = np.array([0.6, 0.4, 0.2]), np.array([0.0, 0.2, 0.3])
    >>> tail_at_head(*curve, np.array([0.7, 0.6, 0.5, 0.1])).tolist()
    [0.0, 0.0, 0.1, 0.3]
    """
    best = np.zeros((*head.shape[:-1], len(at)))
    for index, wanted in enumerate(at):
        kept = np.where(head >= wanted, tail, 0.0).max(axis=-1)
        before, after = head[..., :-1], head[..., 1:]
        crosses = (before - wanted) * (after - wanted) < 0
        share = np.divide(before - wanted, before - after, out=np.zeros_like(before), where=crosses)
        between = tail[..., :-1] + share * (tail[..., 1:] - tail[..., :-1])
        best[..., index] = np.maximum(kept, np.where(crosses, between, 0.0).max(axis=-1))
    return best


@dataclass(frozen=True)
class Advantage:
    """How much more of the tail one curve of read-outs finds than another at equal head accuracy.

    Attributes:
        head: (num_heads,) head accuracies.
        mean: (num_heads,) difference of the tail accuracies there.
        low: Lower ends of their 95 % intervals.
        high: Upper ends.
        smallest: The smallest difference over all head accuracies; its interval is that of the smallest difference of
            each resample, so that it holds for all head accuracies at once.
    """

    head: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    smallest: Difference


def advantage(
    curves: tuple[np.ndarray, np.ndarray],
    samples: tuple[np.ndarray, np.ndarray],
    other_curves: tuple[np.ndarray, np.ndarray],
    other_samples: tuple[np.ndarray, np.ndarray],
    at: np.ndarray,
) -> Advantage:
    """One curve of read-outs against another one, of the same views and seeds.

    Args:
        curves: Head and tail accuracy of the first, (num_points,) each.
        samples: The same in each resample, (num_resamples, num_points) each.
        other_curves: Those of the second.
        other_samples: In the same resamples.
        at: (num_heads,) head accuracies to compare at.
    """
    mean = tail_at_head(*curves, at) - tail_at_head(*other_curves, at)
    differences = tail_at_head(*samples, at) - tail_at_head(*other_samples, at)  # (num_resamples, num_heads)
    low, high = np.quantile(differences, [0.025, 0.975], axis=0)
    smallest = differences.min(axis=1)
    return Advantage(at, mean, low, high, Difference(float(mean.min()), *interval(smallest), p_value(smallest)))
