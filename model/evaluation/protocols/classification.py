"""Results that every classifier of views shares: accuracy over views and over classes, by class, and confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.errors import NonFiniteError
from model.evaluation.context import EvaluationContext
from model.evaluation.failures.counting import Failures
from model.evaluation.failures.queries import AnsweredQueries, Pool
from model.evaluation.measures.metrics import TIE_TOLERANCE
from model.evaluation.measures.result_table import Row, tabulate
from model.evaluation.protocols.class_thirds import ClassThirds, add_thirds
from model.evaluation.protocols.labelled import LabelledViews

TIE_RULE = (
    f"a wrong class whose score ties with the right one is taken instead; scores within {TIE_TOLERANCE:g} are tied"
)


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
    ranks = {column: ranks_of_truth(class_scores, labelled.truth) for column, class_scores in scores.items()}

    def rows_of(positions: np.ndarray) -> dict[str, Row]:
        of_part = {column: class_ranks[positions] for column, class_ranks in ranks.items()}
        return _accuracy_rows(labelled.truth[positions], num_classes, of_part, by_frequency)

    rows = rows_of(np.arange(len(labelled.truth)))
    table = tabulate(title=title, terms=terms, rows=rows, bootstrap=context.bootstrap(patents))
    # By thirds only the mean over the classes: within a third, too, one over the views is that of a few classes.
    return add_thirds(
        context,
        table,
        ClassThirds.of(labelled),
        labelled.rows,
        lambda positions: {"macro accuracy": rows_of(positions)["macro accuracy"]},
    )


def _accuracy_rows(
    truth: np.ndarray, num_classes: int, ranks: Mapping[str, np.ndarray], by_frequency: np.ndarray
) -> dict[str, Row]:
    """Accuracy, macro accuracy and top-5 accuracy, with chance and the majority classes as baselines.

    Args:
        truth: (num_views,) class of each view.
        num_classes: Length of the class table.
        ranks: Column → (num_views,) rank of each view's own class.
        by_frequency: Classes that occur in training, the most frequent first.
    """
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


def missed_classes(context: EvaluationContext, labelled: LabelledViews, scores: np.ndarray, title: str) -> Failures:
    """The views that a classifier is wrong about, by cause.

    Args:
        context: The evaluation.
        labelled: The views that were classified.
        scores: (num_labelled, num_classes).
        title: Title of the table.
    """
    predicted, table = predicted_classes(scores, labelled.truth), labelled.table

    def note(row: int) -> str:
        own, taken = int(labelled.truth[row]), int(predicted[row])
        return f"{table.codes[own]}, taken for {table.codes[taken]}: {table.titles[taken]}"

    return context.failures(
        AnsweredQueries(
            title=title,
            miss="another class than the view's own has the highest score",
            pool=Pool((context.views,)),
            views=labelled.rows,
            is_missed=predicted != labelled.truth,
            notes=note,
            thirds=ClassThirds.of(labelled).of_view[labelled.rows],
        )
    )


def accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    """Share of the views that are classified correctly; ties count as wrong."""
    return float((ranks_of_truth(scores, truth) == 1).mean())


def scheme_heading(scheme: str) -> str:
    """Name of a classification in headings."""
    return {"uspc": "US design classes", "locarno": "Locarno classes"}[scheme]
