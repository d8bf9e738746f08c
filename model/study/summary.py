"""What a study found: an estimate for each arm, measure and part of the classes, and a verdict for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from model.dataset.thirds import THIRDS
from model.dataset.views import Views
from model.study.comparison import NOT_DECIDED, Resampling
from model.study.config import Claim, StudyConfig
from model.study.outcomes import MEASURES, PARTS

NOT_MEASURED = "not measured"
_FEWEST_VIEWS = 2  # that have an interval
_FEWEST_FAMILIES, _FEWEST_SEEDS = 5, 2  # that decide a claim; fewer say nothing about how much they vary


class Outcomes:
    """The outcomes of all finished runs of a study.

    Args:
        values: (arm, seed) → measure → (num_views,) values.
        views: The measured views.
        parts: (num_views,) index in `THIRDS` of each view's class; -1 without a class.
        num_resamples: Number of bootstrap resamples.
    """

    def __init__(
        self,
        values: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
        views: Views,
        parts: np.ndarray,
        num_resamples: int,
    ) -> None:
        self._values = values
        self._parts = parts
        self._num_resamples = num_resamples
        names = [family or number for family, number in zip(views.families, views.patent_numbers, strict=True)]
        self._families = np.unique(names, return_inverse=True)[1]

    def seeds(self, *arms: str) -> list[int]:
        """Seeds with which all these arms are finished."""
        known = sorted({seed for _, seed in self._values})
        return [seed for seed in known if all((arm, seed) in self._values for arm in arms)]

    def num_views(self, part: str) -> int:
        return len(self._rows(part))

    def estimate(self, arm: str, measure: str, part: str) -> dict[str, Any] | None:
        """Mean and interval of an arm; None if there is nothing to measure."""
        found = self._measured(measure, part, arm)
        return asdict(found[0].estimate(found[1])) if found is not None else None

    def judge(self, claim: Claim) -> dict[str, Any]:
        """The claim with its difference, its interval and its verdict."""
        stated = claim.to_dict()
        found = self._measured(claim.measure, claim.part, claim.arm, claim.baseline)
        if found is None:
            return stated | {"verdict": NOT_MEASURED, "difference": None, "num_seeds": 0, "num_families": 0}
        resampling, own, other = found
        difference = resampling.difference(own, other)
        num_seeds, num_families = own.shape[1], len(np.unique(resampling.families))
        is_enough = num_seeds >= _FEWEST_SEEDS and num_families >= _FEWEST_FAMILIES
        return stated | {
            "verdict": difference.verdict(claim.at_least) if is_enough else NOT_DECIDED,
            "difference": asdict(difference),
            "num_seeds": num_seeds,
            "num_families": num_families,
        }

    def _measured(self, measure: str, part: str, *arms: str) -> Any:
        """Resampling and (num_views, num_seeds) values of each arm, of the views where all have one; None without."""
        seeds, rows = self.seeds(*arms), self._rows(part)
        if not seeds or len(rows) < _FEWEST_VIEWS:
            return None
        values = [np.stack([self._values[arm, seed][measure] for seed in seeds], axis=1)[rows] for arm in arms]
        has_value = ~np.isnan(np.concatenate(values, axis=1)).any(axis=1)
        if has_value.sum() < _FEWEST_VIEWS:
            return None
        resampling = Resampling(self._families[rows][has_value], self._num_resamples)
        return (resampling, *(of_arm[has_value] for of_arm in values))

    def _rows(self, part: str) -> np.ndarray:
        if part == "all":
            return np.arange(len(self._parts))
        return np.flatnonzero(self._parts == THIRDS.index(part))


def summarise(config: StudyConfig, outcomes: Outcomes) -> dict[str, Any]:
    """Estimates and verdicts as JSON values."""
    estimates: dict[str, Any] = {}
    for measure in MEASURES:
        of_measure = {
            arm.name: {
                part: estimate for part in PARTS if (estimate := outcomes.estimate(arm.name, measure, part)) is not None
            }
            for arm in config.arms
        }
        if any(of_measure.values()):
            estimates[measure] = of_measure
    return {
        "seeds": {arm.name: outcomes.seeds(arm.name) for arm in config.arms},
        "num_views": {part: outcomes.num_views(part) for part in PARTS},
        "estimates": estimates,
        "claims": [outcomes.judge(claim) for claim in config.claims],
    }


def verdict_counts(claims: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Verdict → number of claims, in the order in which they occur."""
    counts: dict[str, int] = {}
    for claim in claims:
        counts[claim["verdict"]] = counts.get(claim["verdict"], 0) + 1
    return counts
