"""Summarises the results of all runs: means, intervals, differences and verdicts as plain values and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bench.evidence.arms import BOTH, EVEN, LOSS, READINGS, TITLES, UNTRAINED, arms, multi_view, sampled
from bench.evidence.claims import claims
from bench.evidence.comparison import ALL, HEAD, MIDDLE, TAIL, THIRDS, Resampling, third_of_class
from bench.evidence.measures import ACCURACIES, MEASURES, QUERIES, SAME_PATENT
from bench.evidence.scale import Scale
from model.dataset.classes import USPC
from model.dataset.views import Views
from model.errors import TrainingError

_PARTS = (TAIL, MIDDLE, HEAD, ALL)


class Evidence:
    """The values of every arm, with the estimates and differences that follow from them.

    Args:
        scale: Scale of the runs.
        training: Training views; the frequency of a class is its number of patents.
        test: Test views.
        results: Results of the finished runs; only seeds with which all their arms were run are used.

    Raises:
        TrainingError: There is no such seed.
    """

    def __init__(self, scale: Scale, training: Views, test: Views, results: Sequence[dict[str, Any]]) -> None:
        self.scale = scale
        self.results = results
        by_arm: dict[str, dict[int, dict[str, Any]]] = {}
        for result in results:
            by_arm.setdefault(result["arm"], {})[result["seed"]] = result
        self.arms = frozenset(by_arm)
        self.seeds = sorted(set.intersection(*(set(by_seed) for by_seed in by_arm.values()))) if by_arm else []
        if not self.seeds:
            raise TrainingError("no seed was run with every arm yet; run again without --summary")
        self._values = {
            (arm, measure): np.array(
                [by_seed[seed]["values"].get(measure, [None] * len(test)) for seed in self.seeds], dtype=np.float64
            ).T
            for arm, by_seed in by_arm.items()
            for measure in MEASURES
        }
        self.patents_of_class = patents_of_class(training)
        self.third_of_class = third_of_class(self.patents_of_class)
        self.data = {
            split: {"num_patents": len(set(views.patent_numbers)), "num_views": len(views)}
            | {"num_families": len(set(views.families)), "num_classes": len(set(views.classes))}
            for split, views in (("train", training), ("test", test))
        }
        self._part_of_view = np.array(THIRDS)[self.third_of_class[test.class_ids(USPC)]]
        self._families = np.unique([family or "" for family in test.families], return_inverse=True)[1]

    def estimate(self, arm: str, measure: str, part: str = ALL) -> dict[str, Any]:
        """The mean of an arm and its interval."""
        rows = self._rows(part)
        return asdict(self._resampling(rows).estimate(self._values[arm, measure][rows]))

    def difference(self, arm: str, baseline: str, measure: str, part: str = ALL, *, floor: float = 0.0) -> dict:
        """An arm minus its baseline, and whether the difference is more than `floor`."""
        rows = self._rows(part)
        difference = self._resampling(rows).difference(
            self._values[arm, measure][rows], self._values[baseline, measure][rows]
        )
        return asdict(difference) | {"verdict": difference.verdict(floor)}

    def to_even(self, arm: str, measure: str, part: str) -> dict[str, Any]:
        """The difference to the arm without any correction, with the key "to_even"; empty for that arm itself."""
        if arm == EVEN or EVEN not in self.arms:
            return {}
        return {"to_even": self.difference(arm, EVEN, measure, part)}

    def _rows(self, part: str) -> np.ndarray:
        """Indices of the test views in a part of the classes."""
        return np.flatnonzero(self._part_of_view == part) if part != ALL else np.arange(len(self._part_of_view))

    def _resampling(self, rows: np.ndarray) -> Resampling:
        return Resampling(self._families[rows], self.scale.num_resamples)


def patents_of_class(views: Views) -> np.ndarray:
    """(num_classes,) number of patents of each class."""
    pairs = np.unique(np.stack([views.patent_ids, views.class_ids(USPC)]), axis=1)
    return np.bincount(pairs[1], minlength=len(USPC))


def summarise(evidence: Evidence) -> dict[str, Any]:
    """All estimates, as plain values for JSON."""
    scale, has = evidence.scale, evidence.arms.__contains__
    corrections = list(filter(has, (EVEN, sampled("item", scale.beta), LOSS, BOTH)))
    curve = [(reading, beta, arm) for reading in READINGS for beta in scale.betas if has(arm := sampled(reading, beta))]
    return {
        "seeds": evidence.seeds,
        "classes": {
            "codes": list(USPC.codes),
            "num_training_patents": evidence.patents_of_class.tolist(),
            "third": [THIRDS[third] for third in evidence.third_of_class],
        },
        "claims": [
            asdict(claim) | evidence.difference(claim.arm, claim.baseline, claim.measure, claim.part, floor=claim.floor)
            for claim in claims(scale)
            if {claim.arm, claim.baseline} <= evidence.arms
        ],
        "corrections": [
            {"arm": arm, "measure": measure, "part": part}
            | evidence.estimate(arm, measure, part)
            | evidence.to_even(arm, measure, part)
            for measure in ACCURACIES
            for arm in corrections
            for part in _PARTS
        ],
        "curve": [
            {"reading": reading, "beta": beta, "measure": measure, "part": part}
            | evidence.estimate(arm, measure, part)
            | evidence.to_even(arm, measure, part)
            for measure in ACCURACIES
            for reading, beta, arm in curve
            for part in _PARTS
        ],
        "same_patent": [
            {"arm": arm, **evidence.estimate(arm, SAME_PATENT)}
            | ({"baseline": base, "to_baseline": evidence.difference(arm, base, SAME_PATENT)} if base else {})
            for arm, base in _multi_view_arms(scale)
            if has(arm) and (base is None or has(base))
        ],
        "captions": [
            {"arm": arm, "measure": measure, **evidence.estimate(arm, measure)}
            for measure in (*(f"text_{name}" for name in QUERIES), *ACCURACIES)
            for arm in filter(has, (UNTRAINED, TITLES, BOTH))
            if not (arm == UNTRAINED and measure == "classifier")
        ],
        "runs": {
            "num": len(evidence.results),
            "cpu_s": round(sum(result["cpu_s"] for result in evidence.results), 1),
            "losses": {
                arm: [round(result["last_loss"], 3) for result in evidence.results if result["arm"] == arm]
                for arm in filter(has, arms(scale))
            },
        },
    }


def _multi_view_arms(scale: Scale) -> list[tuple[str, str | None]]:
    """Arms for which same-patent retrieval is reported, and the baseline of each (None if it has none)."""
    return [
        (UNTRAINED, None),
        (EVEN, None),
        *((multi_view(weight, base=EVEN), EVEN) for weight in scale.plain_multi_view_weights),
        (BOTH, None),
        *((multi_view(weight), BOTH) for weight in scale.multi_view_weights),
    ]


def tables(summary: dict[str, Any]) -> str:
    """The summary as Markdown tables, in percent and percentage points."""
    return "\n\n".join(
        f"### {title}\n\n{table}"
        for title, table in (
            ("Claims", _claims(summary["claims"])),
            ("Accuracy by thirds of the classes", _corrections(summary["corrections"])),
            ("Strength of the sampling", _curve(summary["curve"])),
            ("Other views of the same patent", _same_patent(summary["same_patent"])),
            ("Captions", _means(summary["captions"], ("measure", "arm"))),
        )
    )


def _claims(rows: Iterable[dict[str, Any]]) -> str:
    return _markdown(
        ("claim", "measure", "part", "difference in points, 95 %", "p", "verdict"),
        [(row["text"], row["measure"], row["part"], _points(row), f"{row['p']:.3f}", row["verdict"]) for row in rows],
    )


def _corrections(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for measure, arm in dict.fromkeys((row["measure"], row["arm"]) for row in rows):
        cells = [row for row in rows if (row["measure"], row["arm"]) == (measure, arm)]
        lines.append((measure, arm, *(_percent(cell) for cell in cells)))
        if "to_even" in cells[0]:
            lines.append(("", f"… minus {EVEN}", *(_points(cell["to_even"]) for cell in cells)))
    return _markdown(("measure", "arm", *_PARTS), lines)


def _curve(rows: Sequence[dict[str, Any]]) -> str:
    keys = dict.fromkeys((row["measure"], row["reading"], row["beta"]) for row in rows)
    lines = [
        (
            *(str(part) for part in key),
            *(_percent(row) for row in rows if (row["measure"], row["reading"], row["beta"]) == key),
        )
        for key in keys
    ]
    return _markdown(("measure", "reading", "β", *_PARTS), lines)


def _same_patent(rows: Iterable[dict[str, Any]]) -> str:
    return _markdown(
        ("arm", "mAP in %, 95 %", "difference in points, 95 %"),
        [
            (
                row["arm"],
                _percent(row),
                f"{_points(row['to_baseline'])} to {row['baseline']}" if "baseline" in row else "",
            )
            for row in rows
        ],
    )


def _means(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> str:
    return _markdown((*names, "mean in %, 95 %"), [(*(row[name] for name in names), _percent(row)) for row in rows])


def _percent(values: dict[str, Any]) -> str:
    return f"{100 * values['mean']:.1f} ({100 * values['low']:.1f} – {100 * values['high']:.1f})"


def _points(values: dict[str, Any]) -> str:
    return f"{100 * values['mean']:+.1f} ({100 * values['low']:+.1f} – {100 * values['high']:+.1f})"


def _markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines))
