"""Summarises what the runs have left: estimates, differences, verdicts and curves as plain values, and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from bench.evidence.arms import EVEN, READOUT_TAU, RECIPE, REFIT_L2, Run
from bench.evidence.bar import BAR, CLASSIFIER, HEAD_SHARE
from bench.evidence.comparison import ALL, Advantage, Resampling, advantage, tail_at_head
from bench.evidence.features import SAME_PATENT, VALUES, ZERO_SHOT, RunFeatures
from model.clip.readout import BALANCED, NATURAL
from model.dataset.classes import USPC
from model.dataset.thirds import HEAD, MIDDLE, TAIL, THIRDS, third_of_class
from model.dataset.views import Views
from model.errors import TrainingError
from model.evaluation.protocols.readouts import HeadLogits

PARTS = (TAIL, MIDDLE, HEAD, ALL)
TAUS = np.round(np.arange(-0.5, 2.0001, 0.05), 2)
"""The points of the curves of read-outs, wide enough to bring the arms that favour rare classes back to common ones."""

_CHOSEN_HEAD_LOSS = 0.02  # candidates are compared at the read-out that costs the head at most this, on validation
_NUM_HEADS = 9  # head accuracies at which curves are compared


class Evidence:
    """The values of the arms of one study on one split.

    Args:
        runs: The finished runs of the study.
        features: What each of them has left, by name.
        training: The training views of the study's dataset; the frequency of a class is its number of patents.
        views: The measured views.
        num_resamples: Number of bootstrap resamples.

    Raises:
        TrainingError: No run is finished.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        features: dict[str, RunFeatures],
        training: Views,
        views: Views,
        num_resamples: int,
    ) -> None:
        if not runs:
            raise TrainingError("no run of this study is finished yet; run again without --summary")
        self._features = {(run.arm, run.seed): features[run.name] for run in runs}
        self.arms = list(dict.fromkeys(run.arm for run in runs))
        self._training_classes = training.class_ids(USPC)
        self._split, self._truth = views.split, views.class_ids(USPC)
        self._part_of_view = np.array(THIRDS)[third_of_class(patents_of_class(training))[self._truth]]
        self._families = np.unique([family or "" for family in views.families], return_inverse=True)[1]
        self._num_resamples = num_resamples
        self._curves: dict[tuple[str, bool, tuple[int, ...]], np.ndarray] = {}

    def seeds(self, *arms: str) -> tuple[int, ...]:
        """Seeds with which all these arms were run."""
        return tuple(
            seed
            for seed in sorted({seed for _, seed in self._features})
            if all((arm, seed) in self._features for arm in arms)
        )

    def estimate(self, arm: str, measure: str, part: str = ALL, *, tau: float = NATURAL, refit: bool = False) -> dict:
        """The mean of an arm and its interval."""
        rows = self._rows(part)
        values = self._values(arm, measure, self.seeds(arm), tau, refit)[rows]
        return asdict(self._resampling(rows).estimate(values))

    def difference(
        self, arm: str, baseline: str, measure: str, part: str = ALL, *, tau: float, baseline_tau: float = NATURAL
    ) -> Any:
        """An arm, read out at `tau`, minus its baseline, over the seeds that both have."""
        rows, seeds = self._rows(part), self.seeds(arm, baseline)
        values = self._values(arm, measure, seeds, tau, False)[rows]
        return self._resampling(rows).difference(
            values, self._values(baseline, measure, seeds, baseline_tau, False)[rows]
        )

    def advantage(
        self, arm: str, rival: str, at: np.ndarray, *, refit: bool = False, rival_refit: bool = False
    ) -> Advantage:
        """How much more of the tail the read-outs of `arm` find than those of `rival` at equal head accuracy."""
        seeds = self.seeds(arm, rival)
        own, other = self._sampled_curves(arm, refit, seeds), self._sampled_curves(rival, rival_refit, seeds)
        return advantage(*own, *other, at)

    def curve(self, arm: str, part: str, *, refit: bool = False) -> np.ndarray:
        """(num_taus,) mean accuracy of an arm at each of `TAUS`."""
        return self._curve(arm, refit, self.seeds(arm))[self._rows(part)].mean(axis=(0, 1))

    def _sampled_curves(
        self, arm: str, refit: bool, seeds: tuple[int, ...]
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Head and tail accuracy at each of `TAUS`, as means and in every resample."""
        hits = {part: self._curve(arm, refit, seeds)[self._rows(part)] for part in (HEAD, TAIL)}
        samples = {part: self._resampling(self._rows(part)).curve_means(values) for part, values in hits.items()}
        means = {part: values.mean(axis=(0, 1)) for part, values in hits.items()}
        return (means[HEAD], means[TAIL]), (samples[HEAD], samples[TAIL])

    def _curve(self, arm: str, refit: bool, seeds: tuple[int, ...]) -> np.ndarray:
        """(num_views, num_seeds, num_taus) whether each view's class is right in each read-out."""
        key = (arm, refit, seeds)
        if key not in self._curves:
            heads = [self._head(arm, seed, refit) for seed in seeds]
            self._curves[key] = np.stack(
                [np.stack([head.hits(self._truth, tau) for head in heads], axis=1) for tau in TAUS], axis=2
            ).astype(np.float32)
        return self._curves[key]

    def _values(self, arm: str, measure: str, seeds: tuple[int, ...], tau: float, refit: bool) -> np.ndarray:
        """(num_views, num_seeds) values of an arm; `tau` and `refit` matter for the classification head alone."""
        if measure == CLASSIFIER:
            heads = [self._head(arm, seed, refit) for seed in seeds]
            return np.stack([head.hits(self._truth, tau) for head in heads], axis=1)
        return np.stack([self._features[arm, seed].values(self._split, measure) for seed in seeds], axis=1)

    def _head(self, arm: str, seed: int, refit: bool) -> HeadLogits:
        features = self._features[arm, seed]
        if refit:
            return features.refitted(self._split, self._training_classes, REFIT_L2)
        return features.head(self._split)

    def _rows(self, part: str) -> np.ndarray:
        """Indices of the measured views in a part of the classes."""
        return np.flatnonzero(self._part_of_view == part) if part != ALL else np.arange(len(self._part_of_view))

    def _resampling(self, rows: np.ndarray) -> Resampling:
        return Resampling(self._families[rows], self._num_resamples)

    @cached_property
    def compared_heads(self) -> np.ndarray:
        """Head accuracies at which curves are compared: from that of the uncorrected arm to a third of it."""
        own = self.estimate(EVEN, CLASSIFIER, HEAD)["mean"]
        return np.linspace(own, own * HEAD_SHARE, _NUM_HEADS)


def patents_of_class(views: Views) -> np.ndarray:
    """(num_classes,) number of patents of each class."""
    pairs = np.unique(np.stack([views.patent_ids, views.class_ids(USPC)]), axis=1)
    return np.bincount(pairs[1], minlength=len(USPC))


def describe_data(views: Iterable[Views]) -> dict[str, dict[str, int]]:
    """Split → number of patents, views, families and classes."""
    return {
        of_split.split: {
            "num_patents": len(set(of_split.patent_numbers)),
            "num_views": len(of_split),
            "num_families": len(set(of_split.families)),
            "num_classes": len(set(of_split.classes)),
        }
        for of_split in views
    }


def summarise_tuning(evidence: Evidence) -> list[dict[str, Any]]:
    """The candidates on validation, each with its own last layer and with a refitted one.

    Their tail and middle are compared at the largest τ at which the head loses at most two points to the uncorrected
    arm, natural read-out against chosen one; the other measures do not depend on it.
    """
    kept_head = evidence.estimate(EVEN, CLASSIFIER, HEAD)["mean"] - _CHOSEN_HEAD_LOSS
    rows = []
    for arm in evidence.arms:
        others = {name: evidence.estimate(arm, name)["mean"] for name in VALUES}
        others |= {f"{ZERO_SHOT}_{part}": evidence.estimate(arm, ZERO_SHOT, part)["mean"] for part in THIRDS}
        for refit in (False, True):
            curves = {part: evidence.curve(arm, part, refit=refit) for part in PARTS}
            kept = np.flatnonzero(curves[HEAD] >= kept_head)
            chosen = int(kept[-1]) if len(kept) else None
            rows.append(
                {
                    "arm": arm,
                    "refit": refit,
                    "num_seeds": len(evidence.seeds(arm)),
                    "tau": None if chosen is None else float(TAUS[chosen]),
                    "chosen": None if chosen is None else {part: float(curves[part][chosen]) for part in PARTS},
                    "natural": {part: float(curves[part][np.flatnonzero(TAUS == NATURAL)[0]]) for part in PARTS},
                    "balanced": {part: float(curves[part][np.flatnonzero(TAUS == BALANCED)[0]]) for part in PARTS},
                    "at_equal_head": tail_at_head(curves[HEAD], curves[TAIL], evidence.compared_heads).tolist(),
                    **others,
                }
            )
    return rows


def summarise_study(evidence: Evidence) -> dict[str, Any]:
    """The verdict of one study on the test part: the bar, the read-outs, and the curves against those of all rivals."""
    has_recipe = RECIPE in evidence.arms and bool(evidence.seeds(EVEN, RECIPE))
    return {
        "seeds": {arm: list(evidence.seeds(arm)) for arm in evidence.arms},
        "bar": _bar(evidence) if has_recipe else [],
        "rivals": _rivals(evidence) if has_recipe else [],
        "readouts": _readouts(evidence),
        "others": [
            {"arm": arm, "measure": measure, "part": part} | evidence.estimate(arm, measure, part)
            for measure in VALUES
            for arm in evidence.arms
            for part in (PARTS if measure == ZERO_SHOT else (ALL,))
        ],
        "curves": [
            {"arm": arm, "refit": refit, "tau": TAUS.tolist()}
            | {part: evidence.curve(arm, part, refit=refit).tolist() for part in PARTS}
            for arm in evidence.arms
            for refit in (False, True)
        ],
    }


def _bar(evidence: Evidence) -> list[dict[str, Any]]:
    """Each requirement with the difference that was measured."""
    rows = []
    for requirement in BAR:
        difference = evidence.difference(RECIPE, EVEN, requirement.measure, requirement.part, tau=READOUT_TAU)
        verdict = difference.verdict_with_mean(requirement.floor)
        rows.append(
            asdict(requirement) | asdict(difference) | {"verdict": verdict, "is_met": requirement.is_met(verdict)}
        )
    return rows


def _rivals(evidence: Evidence) -> list[dict[str, Any]]:
    """The curve of the recipe against that of each other arm, as trained and with its own last layer refitted."""
    at, rows = evidence.compared_heads, []
    for arm in evidence.arms:
        if arm == RECIPE or not evidence.seeds(RECIPE, arm):
            continue
        for refit in (False, True):
            found = evidence.advantage(RECIPE, arm, at, rival_refit=refit)
            rows.append(
                {"arm": arm, "refit": refit, "num_seeds": len(evidence.seeds(RECIPE, arm))}
                | {name: getattr(found, name).tolist() for name in ("head", "mean", "low", "high")}
                | {"smallest": asdict(found.smallest), "verdict": found.smallest.verdict_with_mean()}
            )
    return rows


def _readouts(evidence: Evidence) -> list[dict[str, Any]]:
    """Accuracy of the head of every arm, natural and balanced, and of the recipe at its frozen read-out."""
    taus = {"natural": NATURAL, "balanced": BALANCED}
    rows = []
    for arm in evidence.arms:
        for name, tau in (taus | ({"recipe": READOUT_TAU} if arm == RECIPE else {})).items():
            for refit in (False, True):
                rows.append(
                    {"arm": arm, "readout": name, "tau": tau, "refit": refit}
                    | {part: evidence.estimate(arm, CLASSIFIER, part, tau=tau, refit=refit) for part in PARTS}
                )
    return rows


def summarise_transfer(chosen_on: Evidence, measured_on: Evidence) -> dict[str, Any]:
    """Ways of tuning towers that were trained on other kinds of article, each at its best learning rate.

    Args:
        chosen_on: The arms on validation; the rate is that with the highest balanced accuracy over all classes.
        measured_on: The same arms on the test part.
    """
    best: dict[str, tuple[float, str]] = {}
    for arm in chosen_on.arms:
        score = chosen_on.estimate(arm, CLASSIFIER, tau=BALANCED)["mean"]
        method = arm.partition("@")[0]
        best[method] = max(best.get(method, (0.0, arm)), (score, arm))
    arms = {method: arm for method, (_, arm) in best.items()}
    return {
        "rows": [
            {"method": method, "arm": arm, "num_seeds": len(measured_on.seeds(arm)), "readout": name}
            | {part: measured_on.estimate(arm, CLASSIFIER, part, tau=tau) for part in PARTS}
            for method, arm in arms.items()
            for name, tau in (("natural", NATURAL), ("balanced", BALANCED))
        ],
        "differences": [
            {"method": method, "baseline": baseline, "part": part}
            | asdict(
                measured_on.difference(
                    arms[method], arms[baseline], CLASSIFIER, part, tau=BALANCED, baseline_tau=BALANCED
                )
            )
            for method, baseline in (("lora", "full"), ("lora-adjusted", "full-adjusted"), ("lora-adjusted", "full"))
            if {method, baseline} <= arms.keys()
            for part in PARTS
        ],
    }


def tables(summary: dict[str, Any]) -> str:
    """The summary as Markdown tables, in percent and percentage points."""
    parts = [
        (f"{study}: candidates, on validation", _tuning_table(summary[study]))
        for study in ("tuning", "tuning-longer")
        if study in summary
    ]
    for study, content in summary["studies"].items():
        parts += [
            (f"{study}: the bar", _bar_table(content["bar"])),
            (f"{study}: tail at equal head", _rivals_table(content["rivals"])),
            (f"{study}: read-outs", _readouts_table(content["readouts"])),
            (f"{study}: other measures", _others_table(content["others"])),
        ]
    if "transfer" in summary:
        parts.append(("transfer", _transfer_table(summary["transfer"])))
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts)


def _tuning_table(rows: Sequence[dict[str, Any]]) -> str:
    def thirds(values: dict[str, float] | None) -> str:
        return "head out of reach" if values is None else "/".join(f"{100 * values[part]:.0f}" for part in PARTS)

    of_head = ("natural", "balanced", "head − 2: τ", "… tail/middle/head/all")
    return _markdown(
        ("arm", "last layer", *of_head, "class prompts", "same patent", "new words", "title"),
        [
            (
                row["arm"],
                "refitted" if row["refit"] else "as trained",
                thirds(row["natural"]),
                thirds(row["balanced"]),
                "–" if row["tau"] is None else f"{row['tau']:g}",
                thirds(row["chosen"]),
                "/".join(f"{100 * row[name]:.0f}" for name in (*(f"{ZERO_SHOT}_{part}" for part in THIRDS), ZERO_SHOT)),
                *(f"{100 * row[name]:.1f}" for name in (SAME_PATENT, "text_neutral", "text_title")),
            )
            for row in rows
        ],
    )


def _bar_table(rows: Iterable[dict[str, Any]]) -> str:
    return _markdown(
        ("required", "difference in points, 95 %", "p", "verdict", "met"),
        [
            (row["text"], _points(row), f"{row['p']:.3f}", row["verdict"], "yes" if row["is_met"] else "no")
            for row in rows
        ],
    )


def _rivals_table(rows: Iterable[dict[str, Any]]) -> str:
    return _markdown(
        ("rival", "last layer", "smallest difference in points, 95 %", "at even's head", "at a third of it", "verdict"),
        [
            (
                row["arm"],
                "refitted" if row["refit"] else "as trained",
                _points(row["smallest"]),
                *(f"{100 * row['mean'][index]:+.1f}" for index in (0, -1)),
                row["verdict"],
            )
            for row in rows
        ],
    )


def _readouts_table(rows: Iterable[dict[str, Any]]) -> str:
    return _markdown(
        ("arm", "last layer", "read-out", *PARTS),
        [
            (
                row["arm"],
                "refitted" if row["refit"] else "as trained",
                f"{row['readout']}, τ = {row['tau']:g}",
                *(_percent(row[part]) for part in PARTS),
            )
            for row in rows
        ],
    )


def _others_table(rows: Iterable[dict[str, Any]]) -> str:
    return _markdown(
        ("measure", "arm", "part", "mean in %, 95 %"),
        [(row["measure"], row["arm"], row["part"], _percent(row)) for row in rows],
    )


def _transfer_table(transfer: dict[str, Any]) -> str:
    rows = _markdown(
        ("tuning", "read-out", *PARTS),
        [(row["arm"], row["readout"], *(_percent(row[part]) for part in PARTS)) for row in transfer["rows"]],
    )
    differences = _markdown(
        ("tuning", "minus", "part", "difference in points, balanced, 95 %", "p"),
        [
            (row["method"], row["baseline"], row["part"], _points(row), f"{row['p']:.3f}")
            for row in transfer["differences"]
        ],
    )
    return f"{rows}\n\n{differences}"


def _percent(values: dict[str, Any]) -> str:
    return f"{100 * values['mean']:.1f} ({100 * values['low']:.1f} – {100 * values['high']:.1f})"


def _points(values: dict[str, Any]) -> str:
    return f"{100 * values['mean']:+.1f} ({100 * values['low']:+.1f} – {100 * values['high']:+.1f})"


def _markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines))
