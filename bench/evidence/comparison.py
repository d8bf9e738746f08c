"""Comparisons of whole curves of read-outs between two arms. Pure functions.

Single values are compared by `model.study.comparison`, with the same resamples of families and seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.evaluation.measures.bootstrap import interval, p_value
from model.study.comparison import Difference, Estimate, Resampling

__all__ = ["ALL", "Advantage", "Difference", "Estimate", "Resampling", "advantage", "tail_at_head"]

ALL = "all"


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
