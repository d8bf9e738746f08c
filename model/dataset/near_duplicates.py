"""The list of near-duplicates that a dataset carries: pairs of views of different patents that are nearly one drawing.

It is made with the dataset, over all of its splits, turned and mirrored drawings included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.folder import Dataset
from model.errors import DatasetError

_FILE = ".near_duplicates/pairs.parquet"


@dataclass(frozen=True)
class NearDuplicate:
    """A view of a split, and a view of another patent that is nearly the same drawing.

    Attributes:
        view_id: The view.
        other_view_id: The other view.
        other_split: Split of the other view.
        similarity: Correlation of the two drawings' details, at most 1.
        turn: What makes one look like the other, such as "mirrored".
    """

    view_id: str
    other_view_id: str
    other_split: str
    similarity: float
    turn: str


def read_near_duplicates(dataset: Dataset, split: str) -> list[NearDuplicate] | None:
    """The near-duplicates of the views of a split in other splits, the most similar first.

    Pairs of which one view was left out of the dataset are not among them.

    Returns:
        The pairs; None if the dataset has no list, such as one that an earlier version made.

    Raises:
        DatasetError: The list is damaged.
    """
    rows = _read(dataset)
    if rows is None:
        return None
    found = []
    for row in rows:
        one, other = (row["view_id"], row["split"]), (row["other_view_id"], row["other_split"])
        if split not in (one[1], other[1]) or one[1] == other[1]:
            continue
        own, foreign = (one, other) if one[1] == split else (other, one)
        found.append(NearDuplicate(own[0], *foreign, similarity=row["similarity"], turn=row["turn"]))
    return sorted(found, key=lambda pair: (-pair.similarity, pair.view_id, pair.other_view_id))


def read_near_duplicates_of(dataset: Dataset, split: str) -> dict[str, set[str]] | None:
    """View → the views of other patents, in any split, that are nearly the same drawing; only pairs of a split.

    Args:
        dataset: The dataset.
        split: One view of each pair is in this split.

    Returns:
        Both views of each pair are keys; None if the dataset has no list.

    Raises:
        DatasetError: The list is damaged.
    """
    rows = _read(dataset)
    if rows is None:
        return None
    found: dict[str, set[str]] = {}
    for row in rows:
        if split in (row["split"], row["other_split"]):
            found.setdefault(row["view_id"], set()).add(row["other_view_id"])
            found.setdefault(row["other_view_id"], set()).add(row["view_id"])
    return found


def _read(dataset: Dataset) -> list[dict[str, Any]] | None:
    """The rows of the list, without pairs of which a view was left out; None if there is no list."""
    path = dataset.folder / _FILE
    if not path.is_file():
        return None
    try:
        return pq.read_table(path, filters=[("is_left_out", "=", False)]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: not a readable Parquet file ({error}); build the dataset again") from error
