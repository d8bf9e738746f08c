"""Results that every classifier of views shares: accuracy over views and over classes, by class, and confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.dataset.classes import LOCARNO, USPC, ClassTable
from model.dataset.columns import read_columns
from model.dataset.views import Views
from model.errors import NonFiniteError
from model.evaluation.context import EvaluationContext
from model.evaluation.measures.metrics import TIE_TOLERANCE
from model.evaluation.measures.result_table import Row, tabulate

TABLES = {"uspc": USPC, "locarno": LOCARNO}
COLUMNS = {"uspc": "uspc_class", "locarno": "locarno_class"}
TIE_RULE = (
    f"a wrong class whose score ties with the right one is taken instead; scores within {TIE_TOLERANCE:g} are tied"
)


@dataclass(frozen=True)
class LabelledViews:
    """The views of the measured split that have a class, and how often each class occurs in training.

    Attributes:
        scheme: The classification, "uspc" or "locarno".
        table: Its classes.
        rows: (num_labelled,) rows of the views that have a class, ascending.
        truth: (num_labelled,) int64, index of each view's class in the table.
        training_counts: (num_classes,) number of training views of each class.
        num_without_class: Number of views without a class.
    """

    scheme: str
    table: ClassTable
    rows: np.ndarray
    truth: np.ndarray
    training_counts: np.ndarray
    num_without_class: int


def label_views(context: EvaluationContext, scheme: str) -> LabelledViews | None:
    """The views of the measured split that have a class; None if there are none."""
    table = TABLES[scheme]
    indices = class_indices(context.views, scheme)
    rows = np.flatnonzero(indices >= 0)
    if not len(rows):
        return None
    training = read_columns(context.dataset, lambda split: split == "train", [COLUMNS[scheme]])
    training_indices = table.indices_of(training.get(COLUMNS[scheme], []))
    counts = np.bincount(training_indices[training_indices >= 0], minlength=len(table))
    return LabelledViews(scheme, table, rows, indices[rows], counts, len(indices) - len(rows))


def class_indices(views: Views, scheme: str) -> np.ndarray:
    """(num_views,) index of each view's class in the table of a classification; -1 without one."""
    return TABLES[scheme].indices_of(views.column(COLUMNS[scheme]))


def ranks_of_truth(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(num_views,) rank of each view's own class, ties against it; `scores` is (num_views, num_classes).

    Raises:
        NonFiniteError: A score is NaN. A score of -inf is one: that of a class unknown to the classifier.
    """
    refuse_nan(scores)
    own = scores[np.arange(len(truth)), truth]
    return (scores >= (own - TIE_TOLERANCE)[:, None]).sum(axis=1)


def predicted_classes(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(num_views,) index of the class predicted for each view; if scores are tied, a wrong one.

    Raises:
        NonFiniteError: A score is NaN.
    """
    refuse_nan(scores)
    lowered = scores.copy()
    lowered[np.arange(len(truth)), truth] -= TIE_TOLERANCE
    return lowered.argmax(axis=1)


def refuse_nan(scores: np.ndarray) -> None:
    """Raise NonFiniteError if one of (num_views, num_classes) scores is NaN, which no class could be compared with."""
    wrong = np.isnan(scores).any(axis=1)
    if wrong.any():
        raise NonFiniteError(
            f"{int(wrong.sum()):,} of {len(scores):,} views have class scores that are not numbers (NaN); the first is "
            f"number {int(wrong.argmax()) + 1:,}"
        )


def accuracy_table(
    context: EvaluationContext,
    labelled: LabelledViews,
    scores: Mapping[str, np.ndarray],
    *,
    title: str,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The result table of classifiers.

    Args:
        context: The evaluation.
        labelled: The views that were classified.
        scores: Column → (num_labelled, num_classes).
        title: Title of the table.
        notes: Notes on how the scores were found.
    """
    num_classes = len(labelled.table)
    num_present = len(np.unique(labelled.truth))
    by_frequency = _by_training_frequency(labelled)
    majority_class = labelled.table.codes[by_frequency[0]] if len(by_frequency) else None
    terms = {
        "split": context.views.split,
        "gallery_size": num_classes,
        "num_queries": len(labelled.truth),
        "num_patents": len({context.views.patent_numbers[row] for row in labelled.rows}),
        "num_queries_without_positive": labelled.num_without_class,
        "positives_rule": f"the view's own class among the {num_classes} of the table",
        "tie_rule": TIE_RULE,
        "interval": context.interval_rule,
        "notes": [
            f"accuracy counts views; macro accuracy is the mean over the {num_present} classes that occur",
            f"the majority class is {majority_class}, the commonest of the training split"
            if majority_class
            else "the training split has no class, so there is no majority class",
            *notes,
        ],
    }
    patents = np.array(context.views.patent_numbers)[labelled.rows]
    rows = _accuracy_rows(labelled, scores, by_frequency)
    return tabulate(title=title, terms=terms, rows=rows, bootstrap=context.bootstrap(patents))


def _accuracy_rows(
    labelled: LabelledViews, scores: Mapping[str, np.ndarray], by_frequency: np.ndarray
) -> dict[str, Row]:
    """Accuracy, macro accuracy and top-5 accuracy, with chance and the majority classes as baselines."""
    truth, num_classes = labelled.truth, len(labelled.table)
    ranks = {column: ranks_of_truth(class_scores, truth) for column, class_scores in scores.items()}
    rows = {}
    for k in (1, 5):
        is_majority = np.isin(truth, by_frequency[:k])
        hits = {column: (class_ranks <= k).astype(np.float64) for column, class_ranks in ranks.items()}
        constants = {"chance": min(1.0, k / num_classes)}
        majority = {"majority": float(is_majority.mean())} if len(by_frequency) else {}
        rows["accuracy" if k == 1 else "top-5 accuracy"] = Row(hits, constants | majority)
        if k == 1:
            # The mean over classes of a classifier that always predicts the majority class.
            share_found = len(np.unique(truth[is_majority])) / len(np.unique(truth))
            majority = {"majority": share_found} if len(by_frequency) else {}
            rows["macro accuracy"] = Row(hits, constants | majority, classes=truth)
    return rows


def _by_training_frequency(labelled: LabelledViews) -> np.ndarray:
    """Indices of the classes that occur in training, the most frequent first; ties in the table's order."""
    order = np.argsort(-labelled.training_counts, kind="stable")
    return order[labelled.training_counts[order] > 0]


def results_by_class(labelled: LabelledViews, scores: np.ndarray) -> dict[str, Any]:
    """Number of views and accuracy of each class, and the confusion matrix, for one classifier.

    Args:
        labelled: The views that were classified.
        scores: (num_labelled, num_classes).

    Returns:
        Lists over the classes of the table, and `confusion`, whose rows are the true classes and whose columns are the
        predicted classes.
    """
    num_classes = len(labelled.table)
    predicted = predicted_classes(scores, labelled.truth)
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (labelled.truth, predicted), 1)
    num_views = confusion.sum(axis=1).tolist()
    return {
        "codes": list(labelled.table.codes),
        "titles": list(labelled.table.titles),
        "num_training_views": labelled.training_counts.tolist(),
        "num_views": num_views,
        "accuracy": [float(confusion[index, index] / num) if num else None for index, num in enumerate(num_views)],
        "confusion": confusion.tolist(),
    }


def accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    """Share of the views that are classified correctly; ties count as wrong."""
    return float((ranks_of_truth(scores, truth) == 1).mean())


def scheme_heading(scheme: str) -> str:
    """Name of a classification in headings."""
    return {"uspc": "US design classes", "locarno": "Locarno classes"}[scheme]
