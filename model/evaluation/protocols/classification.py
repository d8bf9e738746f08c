"""Figures of any classifier of views: accuracy over views, over classes, class by class, and what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.dataset.classes import LOCARNO, USPC, ClassTable
from model.dataset.columns import read_columns
from model.dataset.views import Views
from model.evaluation.context import EvaluationContext
from model.evaluation.measures.metrics import TIE_TOLERANCE
from model.evaluation.measures.result_table import Row, tabulate

TABLES = {"uspc": USPC, "locarno": LOCARNO}
COLUMNS = {"uspc": "uspc_class", "locarno": "locarno_class"}
TIE_RULE = (
    f"a wrong class whose score ties with the right one is taken instead; scores within {TIE_TOLERANCE:g} are tied"
)


@dataclass(frozen=True)
class Labelled:
    """The views of the measured split that have a class, and how often each class was seen in training.

    Attributes:
        rows: (num_labelled,) their rows, ascending.
        truth: (num_labelled,) int64, place of each one's class in the table.
        training_counts: (num_classes,) training views of each class.
    """

    scheme: str
    table: ClassTable
    rows: np.ndarray
    truth: np.ndarray
    training_counts: np.ndarray
    num_without_class: int


def label_views(trial: EvaluationContext, scheme: str) -> Labelled | None:
    """The labelled views of the measured split; None where there is none."""
    table = TABLES[scheme]
    places = classes_of(trial.views, scheme)
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        return None
    seen = read_columns(trial.dataset, lambda split: split == "train", [COLUMNS[scheme]])
    in_training = table.indices_of(seen.get(COLUMNS[scheme], []))
    counts = np.bincount(in_training[in_training >= 0], minlength=len(table))
    return Labelled(scheme, table, rows, places[rows], counts, len(places) - len(rows))


def classes_of(views: Views, scheme: str) -> np.ndarray:
    """(num_views,) place of each view's class in its table; -1 without one."""
    return TABLES[scheme].indices_of(views.column(COLUMNS[scheme]))


def ranks_of_truth(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(num_views,) rank of each view's own class, ties against it; `scores` is (num_views, num_classes)."""
    own = scores[np.arange(len(truth)), truth]
    return (scores >= (own - TIE_TOLERANCE)[:, None]).sum(axis=1)


def taken_for(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(num_views,) class each view is taken for, a wrong one among equals."""
    lowered = scores.copy()
    lowered[np.arange(len(truth)), truth] -= TIE_TOLERANCE
    return lowered.argmax(axis=1)


def table_of(
    trial: EvaluationContext,
    labelled: Labelled,
    scores: Mapping[str, np.ndarray],
    *,
    title: str,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The figures of a classifier.

    Args:
        scores: Column → (num_labelled, num_classes).
    """
    truth, num_classes = labelled.truth, len(labelled.table)
    ranks = {column: ranks_of_truth(of, truth) for column, of in scores.items()}
    num_present = len(np.unique(truth))
    common = _commonest(labelled)
    rows = {}
    for k in (1, 5):
        is_majority = np.isin(truth, common[:k])
        majority = float(is_majority.mean()) if len(common) else None
        hits = {column: (of <= k).astype(np.float64) for column, of in ranks.items()}
        name = "accuracy" if k == 1 else "top-5 accuracy"
        chance = min(1.0, k / num_classes)
        rows[name] = Row(hits, {"chance": chance} | ({} if majority is None else {"majority": majority}))
        if k == 1:
            found = len(np.unique(truth[is_majority])) / num_present
            constants = {"chance": chance} | ({} if majority is None else {"majority": found})
            rows["macro accuracy"] = Row(hits, constants, classes=truth)
    majority_class = labelled.table.codes[common[0]] if len(common) else None
    terms = {
        "split": trial.views.split,
        "gallery_size": num_classes,
        "num_queries": len(truth),
        "num_patents": len({trial.views.patent_numbers[row] for row in labelled.rows}),
        "num_queries_without_positive": labelled.num_without_class,
        "positives_rule": f"the view's own class among the {num_classes} of the table",
        "tie_rule": TIE_RULE,
        "interval": trial.interval_rule,
        "notes": [
            f"accuracy counts views; macro accuracy is the mean over the {num_present} classes that occur",
            f"the majority class is {majority_class}, the commonest of the training split"
            if majority_class
            else "the training split has no class, so there is no majority class",
            *notes,
        ],
    }
    patents = np.array(trial.views.patent_numbers)[labelled.rows]
    return tabulate(title=title, terms=terms, rows=rows, bootstrap=trial.bootstrap(patents))


def _commonest(labelled: Labelled) -> np.ndarray:
    """Classes seen in training, the commonest first; equals in the table's order."""
    order = np.argsort(-labelled.training_counts, kind="stable")
    return order[labelled.training_counts[order] > 0]


def by_class(labelled: Labelled, scores: np.ndarray) -> dict[str, Any]:
    """Accuracy of each class against how often it occurs, and the confusion of classes, for one classifier.

    Returns:
        Parallel lists over the classes of the table, and `confusion`: row = true class, column = taken for.
    """
    num_classes = len(labelled.table)
    taken = taken_for(scores, labelled.truth)
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (labelled.truth, taken), 1)
    num_views = confusion.sum(axis=1)
    return {
        "codes": list(labelled.table.codes),
        "titles": list(labelled.table.titles),
        "num_training_views": labelled.training_counts.tolist(),
        "num_views": num_views.tolist(),
        "accuracy": [
            float(confusion[place, place] / num) if num else None for place, num in enumerate(num_views.tolist())
        ],
        "confusion": confusion.tolist(),
    }


def fraction_right(scores: np.ndarray, truth: np.ndarray) -> float:
    """Share of the views that are taken for what they are."""
    return float((ranks_of_truth(scores, truth) == 1).mean())


def heading_of(scheme: str) -> str:
    return {"uspc": "US design classes", "locarno": "Locarno classes"}[scheme]
