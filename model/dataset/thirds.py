"""Classes in three groups by how frequent they are in training: tail, middle and head.

A mean over all views is a mean over the frequent classes, and one over all classes hides which of them are found. The
thirds show both ends, and are equally many classes each, so that their means are equally certain.
"""

from __future__ import annotations

import numpy as np

TAIL, MIDDLE, HEAD = "tail", "middle", "head"
THIRDS = (TAIL, MIDDLE, HEAD)


def third_of_class(training_counts: np.ndarray) -> np.ndarray:
    """(num_classes,) index in `THIRDS`: classes by frequency in training, divided into three groups of equal size.

    Equally frequent classes stay in the order of the table.

    >>> third_of_class(np.array([50, 1, 7, 60, 2, 9])).tolist()
    [2, 0, 1, 2, 0, 1]
    """
    positions = np.empty(len(training_counts), dtype=np.int64)
    positions[np.argsort(training_counts, kind="stable")] = np.arange(len(training_counts))
    return positions * len(THIRDS) // len(training_counts)


def accuracy_by_third(hits: np.ndarray, truth: np.ndarray, third: np.ndarray) -> dict[str, list[float]]:
    """Mean accuracy over the classes of each third and of all ("classes"), and over all views ("views").

    Args:
        hits: (num_views, num_points) 1.0 for each view that is classified rightly, at each point of a curve.
        truth: (num_views,) class of each view.
        third: (num_classes,) index in `THIRDS` of each class.

    Returns:
        Name → one value a point; a third without views is left out.
    """

    def over_classes(rows: np.ndarray) -> list[float]:
        means = [hits[rows][truth[rows] == number].mean(axis=0) for number in np.unique(truth[rows])]
        return np.mean(means, axis=0).tolist()

    everything = np.arange(len(truth))
    parts = {name: everything[third[truth] == number] for number, name in enumerate(THIRDS)}
    return {
        **{name: over_classes(rows) for name, rows in parts.items() if len(rows)},
        "classes": over_classes(everything),
        "views": hits.mean(axis=0).tolist(),
    }
