"""The measured views that have a class, with what is known of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.dataset.classes import LOCARNO, USPC, ClassTable
from model.dataset.columns import read_columns
from model.dataset.views import Views
from model.evaluation.context import EvaluationContext

TABLES = {"uspc": USPC, "locarno": LOCARNO}
COLUMNS = {"uspc": "uspc_class", "locarno": "locarno_class"}


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
    counts = context.once(("training counts", scheme), lambda: _training_counts(context, scheme))
    return LabelledViews(scheme, table, rows, indices[rows], counts, len(indices) - len(rows))


def _training_counts(context: EvaluationContext, scheme: str) -> np.ndarray:
    """(num_classes,) number of training views of each class."""
    training = read_columns(context.dataset, lambda split: split == "train", [COLUMNS[scheme]])
    indices = TABLES[scheme].indices_of(training.get(COLUMNS[scheme], []))
    return np.bincount(indices[indices >= 0], minlength=len(TABLES[scheme]))


def class_indices(views: Views, scheme: str) -> np.ndarray:
    """(num_views,) index of each view's class in the table of a classification; -1 without one."""
    return TABLES[scheme].indices_of(views.column(COLUMNS[scheme]))
