"""Every table by thirds of the classes: what it says of the rare classes, the middling ones and the frequent ones.

A mean over views is mostly one over the few classes that most patents have. A table therefore has its main values again
for the queries of each third of the classes, with the sizes of the thirds, since a third may hold few queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.dataset.thirds import THIRDS, third_of_class
from model.evaluation.context import EvaluationContext
from model.evaluation.measures.result_table import Row, tabulate
from model.evaluation.protocols.labelled import LabelledViews, label_views


@dataclass(frozen=True)
class ClassThirds:
    """The third that the class of each view of the measured split is in.

    Attributes:
        labelled: The views that have a class.
        of_view: (num_views,) index in `THIRDS`; -1 for a view without a class.
    """

    labelled: LabelledViews
    of_view: np.ndarray

    @classmethod
    def of(cls, labelled: LabelledViews) -> ClassThirds:
        """The thirds of one classification."""
        num_views = len(labelled.rows) + labelled.num_without_class
        of_view = np.full(num_views, -1)
        of_view[labelled.rows] = third_of_class(labelled.training_counts)[labelled.truth]
        return cls(labelled, of_view)

    @classmethod
    def of_split(cls, context: EvaluationContext) -> ClassThirds | None:
        """The thirds of the first classification of the settings that a view of the measured split has a class of."""
        for scheme in context.config.schemes:
            labelled = label_views(context, scheme)
            if labelled is not None:
                return cls.of(labelled)
        return None

    def sizes(self, views: np.ndarray) -> dict[str, dict[str, int]]:
        """Third → number of its classes, of their training views, and of the queries that it has.

        Args:
            views: (num_queries,) row of the view of each query.
        """
        third = third_of_class(self.labelled.training_counts)
        return {
            name: {
                "num_classes": int((third == number).sum()),
                "num_training_views": int(self.labelled.training_counts[third == number].sum()),
                "num_queries": int((self.of_view[views] == number).sum()),
            }
            for number, name in enumerate(THIRDS)
        }


def add_thirds(
    context: EvaluationContext,
    table: dict[str, Any],
    thirds: ClassThirds | None,
    views: np.ndarray,
    rows_of: Callable[[np.ndarray], dict[str, Row]],
) -> dict[str, Any]:
    """A table with its values by thirds of the classes; unchanged if no view has a class.

    Args:
        context: The evaluation.
        table: A result table.
        thirds: The thirds of the measured views.
        views: (num_queries,) row of the view of each query that has a right answer.
        rows_of: Positions of queries in `views`, ascending → the rows of a table over them.
    """
    if thirds is None:
        return table
    values: dict[str, dict[str, Any]] = {}
    patents = np.array(context.views.patent_numbers, dtype=object)[views].astype(str)
    for number, name in enumerate(THIRDS):
        positions = np.flatnonzero(thirds.of_view[views] == number)
        if len(positions):
            rows = {f"{row}, {name}": content for row, content in rows_of(positions).items()}
            bootstrap = context.bootstrap(patents[positions])
            values |= tabulate(title="", terms={}, rows=rows, bootstrap=bootstrap)["figures"]
    metrics = dict.fromkeys(name.rpartition(", ")[0] for name in values)
    figures = {
        f"{row}, {name}": values[f"{row}, {name}"] for row in metrics for name in THIRDS if f"{row}, {name}" in values
    }
    return table | {"thirds": {"scheme": thirds.labelled.scheme, "sizes": thirds.sizes(views), "figures": figures}}
