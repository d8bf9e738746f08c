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
