"""Read-outs of one classification head: the same logits under the natural class prior, a balanced one, or any between.

A head that is to be right about what is filed names a frequent class when in doubt; one that is to treat all classes
alike names a rare one. Both can be read from the same logits (`model.clip.readout`), and a single accuracy does not say
which of them it is. The result therefore has both, by thirds of the classes from rare to frequent, and the curve
between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.clip.readout import BALANCED, NATURAL, ClassPriors
from model.dataset.thirds import THIRDS, accuracy_by_third, third_of_class
from model.evaluation.context import EvaluationContext
from model.evaluation.measures.result_table import Row, tabulate
from model.evaluation.protocols.classification import TIE_RULE, ranks_of_truth, scheme_heading
from model.evaluation.protocols.labelled import LabelledViews

TAUS = tuple(number / 20 for number in range(31))
"""The points of the curve: τ from 0 to 1.5."""

_NAMES = {"natural": NATURAL, "balanced": BALANCED}


@dataclass(frozen=True, eq=False)
class HeadLogits:
    """What a model's own head says about the measured views, and the class priors it can be read out under.

    Attributes:
        logits: (num_views, num_classes), as the head returns them.
        priors: The priors of the head; unknown priors make all read-outs equal.
    """

    logits: np.ndarray
    priors: ClassPriors

    def scores(self, tau: float) -> np.ndarray:
        """(num_views, num_classes) logits of the read-out at `tau`."""
        return self.priors.adjusted(self.logits, tau)

    def hits(self, truth: np.ndarray, tau: float) -> np.ndarray:
        """(num_views,) 1.0 for each view whose class is right in the read-out at `tau`, else 0.0; ties are wrong."""
        return (ranks_of_truth(self.scores(tau), truth) == 1).astype(np.float64)


def readout_table(
    context: EvaluationContext, labelled: LabelledViews, heads: Mapping[str, HeadLogits]
) -> dict[str, Any]:
    """Accuracy of the natural and the balanced read-out: over all views, over all classes, and in each third of them.

    Args:
        context: The evaluation.
        labelled: The views that were classified.
        heads: Column → what the head of its model says about these views.
    """
    patents = np.array(context.views.patent_numbers)[labelled.rows]
    chance = {"chance": 1 / len(labelled.table)}
    terms: dict[str, Any] = {}
    values: dict[str, dict[str, Any]] = {}
    for part, rows in _parts(labelled).items():
        truth = labelled.truth[rows]
        of_part = {
            f"{name}, {part}": Row(
                {column: head.hits(labelled.truth, tau)[rows] for column, head in heads.items()},
                chance,
                classes=None if part == "all views" else truth,
            )
            for name, tau in _NAMES.items()
        }
        table = tabulate(title="", terms={}, rows=of_part, bootstrap=context.bootstrap(patents[rows]))
        values |= table["figures"]
        terms[part] = len(rows)
    return {
        "title": f"Read-outs of the head, {scheme_heading(labelled.scheme)}",
        "terms": _terms(context, labelled, terms),
        "columns": table["columns"],
        "figures": {name: values[name] for readout in _NAMES for name in values if name.startswith(f"{readout},")},
    }


def _parts(labelled: LabelledViews) -> dict[str, np.ndarray]:
    """Name of a part → rows of `labelled.truth` in it; a third without measured views is left out."""
    everything = np.arange(len(labelled.truth))
    third = third_of_class(labelled.training_counts)[labelled.truth]
    thirds = {name: np.flatnonzero(third == index) for index, name in enumerate(THIRDS)}
    parts = {"all views": everything, "all classes": everything, **thirds}
    return {name: rows for name, rows in parts.items() if len(rows)}


def _terms(context: EvaluationContext, labelled: LabelledViews, num_views: Mapping[str, int]) -> dict[str, Any]:
    counts = ", ".join(f"{name} {num:,}" for name, num in num_views.items() if name in THIRDS)
    return {
        "split": context.views.split,
        "gallery_size": len(labelled.table),
        "num_queries": len(labelled.truth),
        "num_patents": len({context.views.patent_numbers[row] for row in labelled.rows}),
        "num_queries_without_positive": labelled.num_without_class,
        "positives_rule": f"the view's own class among the {len(labelled.table)} of the table",
        "tie_rule": TIE_RULE,
        "interval": context.interval_rule,
        "notes": [
            "natural: as if classes were as frequent as in training; balanced: as if they were equally frequent",
            "tail, middle and head are the thirds of the classes from rare to frequent by training views; their "
            "accuracy, like that of all classes, is the mean over the classes that occur",
            f"measured views: {counts}",
            "a class without training views is never predicted",
        ],
    }


def readout_curve(labelled: LabelledViews, head: HeadLogits, chosen_tau: float) -> dict[str, Any]:
    """Accuracy over τ from the natural read-out to beyond the balanced one, for one model.

    Args:
        labelled: The views that were classified.
        head: What the model's head says about them.
        chosen_tau: The read-out of the other results, for the chart.

    Returns:
        Lists over `tau`: the mean accuracy over the classes of each third and of all ("classes"), and over all views
        ("views"); and the codes of the classes of each third.
    """
    third = third_of_class(labelled.training_counts)
    hits = np.stack([head.hits(labelled.truth, tau) for tau in TAUS], axis=1)  # (num_labelled, num_taus)
    return {
        "tau": list(TAUS),
        "chosen_tau": chosen_tau,
        **accuracy_by_third(hits, labelled.truth, third),
        "thirds": {
            name: [code for code, member in zip(labelled.table.codes, third, strict=True) if member == index]
            for index, name in enumerate(THIRDS)
        },
    }


def readout_note(head: HeadLogits, tau: float) -> str:
    """Which read-out the values of a table are, in words."""
    if not head.priors.are_known:
        return "the model does not state the class priors of its head, so there is one read-out: the head's own logits"
    named = {NATURAL: " (natural class prior)", BALANCED: " (balanced class prior)"}
    return (
        f"read out at τ = {tau:g}{named.get(tau, '')}; the setting readout_tau picks another point without retraining"
    )
