"""What is known of the queries of a table and of what was found for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.dataset.views import Views

NOTHING = -1  # instead of the number of a view


@dataclass(frozen=True)
class Pool:
    """The views of one or more splits, numbered through: first those of the first split, then those of the next one.

    Attributes:
        parts: The views of each split.
    """

    parts: tuple[Views, ...]

    def __len__(self) -> int:
        return sum(len(views) for views in self.parts)

    @cached_property
    def starts(self) -> np.ndarray:
        """(num_parts,) number of the first view of each split."""
        return np.concatenate([[0], np.cumsum([len(views) for views in self.parts])])[:-1].astype(np.int64)

    def column(self, name: str) -> list[Any]:
        """One value a view; None if the view, or its split, has none."""
        return [value for views in self.parts for value in views.column(name)]

    def jpeg(self, number: int) -> bytes:
        """The encoded image of a view."""
        part = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.parts[part].images[int(number - self.starts[part])]


@dataclass(frozen=True, kw_only=True)
class AnsweredQueries:
    """The queries of one table, and which of them the model missed.

    Attributes:
        title: Title of the table.
        miss: What a miss is, in a sentence.
        pool: The views that the other attributes number.
        views: (num_queries,) view of each query; for a query of a whole patent, its first view.
        is_missed: (num_queries,) bool.
        notes: What became of a query, such as "rank 12".
        thirds: (num_queries,) index in `model.dataset.thirds.THIRDS` of the third of the query's class; -1 without a
            class. None if no view has a class.
        wrong: (num_queries,) view of the highest-scoring wrong candidate, `NOTHING` if there is none; None if the
            candidates are classes.
        is_right: Query and view → whether the view is a right answer to the query.
        captions: (num_queries,) captions, if the query or the answer is one.
        is_of_patents: Whether a query is a whole patent, so that it has no single viewpoint.
    """

    title: str
    miss: str
    pool: Pool
    views: np.ndarray
    is_missed: np.ndarray
    notes: Callable[[int], str]
    thirds: np.ndarray | None = None
    wrong: np.ndarray | None = None
    is_right: Callable[[int, int], bool] = lambda query, view: False
    captions: Sequence[str] | None = None
    is_of_patents: bool = False

    def __len__(self) -> int:
        return len(self.views)

    def values(self, column: str) -> np.ndarray:
        """(num_queries,) object array of a column of the queries' views."""
        return np.array([*self.pool.column(column), None], dtype=object)[:-1][self.views]

    def found_values(self, column: str) -> np.ndarray:
        """(num_queries,) object array of a column of the highest-scoring wrong candidates; None without one."""
        assert self.wrong is not None
        return np.array([*self.pool.column(column), None], dtype=object)[self.wrong]
