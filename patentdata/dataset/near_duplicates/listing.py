"""The near-duplicates of a dataset: which pairs of its views there are, and which views are left out because of them.

A near-duplicate of a test view in the training split lets a model be right without having learned anything. Patents of
one family are in one split, but a drawing can return years later, under another title and another owner.

The list is a file of the dataset, in a hidden folder so that no reader of Parquet files takes it for views. It has
every pair of views of different patents, also of those that were left out.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from patentdata.dataset.near_duplicates.search import NearDuplicateConfig, Pairs, find_pairs
from patentdata.dataset.near_duplicates.similarity import TURNS
from patentdata.dataset.splits import SPLITS
from patentdata.errors import OutputError
from patentdata.store.parquet import Rows
from patentdata.views.signatures import NUM_BYTES

FILE_NAME = ".near_duplicates/pairs.parquet"
LEFT_OUT = "near_duplicate"
_ROWS_A_GROUP = 8192


@dataclass(frozen=True)
class NearDuplicates:
    """The near-duplicates among the views that may enter a dataset.

    Attributes:
        rows: One row a pair of views of different patents, with the keys of `schemas.NEAR_DUPLICATES`.
        left_out: view_id that is left out → the view of a later split that it is like; empty unless the settings ask
            for it.
        left_out_by_patent: Patent number → its views that are left out.
        num_same_patent: Pairs of views of one patent, such as its left and right side; they are not listed.
        num_without_signature: Views that could not be compared.
        num_crowded: Views that look like so many others that only some were compared.
    """

    rows: Rows
    left_out: Mapping[str, str]
    left_out_by_patent: Mapping[str, list[str]] = field(default_factory=dict)
    num_same_patent: int = 0
    num_without_signature: int = 0
    num_crowded: int = 0

    def left_out_of(self, patents: Iterable[str]) -> Iterator[str]:
        """The view_id of each view of these patents that is left out."""
        for patent in patents:
            yield from self.left_out_by_patent.get(patent, ())

    def groups(self) -> Iterator[Rows]:
        """The rows as row groups."""
        for first in range(0, len(self.rows), _ROWS_A_GROUP):
            yield self.rows[first : first + _ROWS_A_GROUP]

    def to_dict(self) -> dict[str, Any]:
        """Counts for `dataset.json`: pairs by their splits, and what was left out."""
        pairs = Counter("-".join(sorted({row["split"], row["other_split"]}, key=SPLITS.index)) for row in self.rows)
        return {
            "num_pairs": dict(sorted(pairs.items())),
            "num_left_out": len(self.left_out),
            "num_pairs_of_one_patent": self.num_same_patent,
            "num_without_signature": self.num_without_signature,
            "num_crowded": self.num_crowded,
        }


@dataclass
class _Drawings:
    """What is kept of every view while near-duplicates are looked for: the signatures are in a file."""

    view_ids: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    patents: list[str] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    without_signature: list[str] = field(default_factory=list)


def find_near_duplicates(rows: Iterable[Mapping[str, Any]], config: NearDuplicateConfig) -> NearDuplicates:
    """The near-duplicates among views.

    Args:
        rows: Rows with the keys of `schemas.DATASET`, without their images.
        config: What counts as a near-duplicate, and whether views are left out because of it.

    Raises:
        OutputError: Views are to be left out, but some have no signature.
    """
    drawings = _Drawings()
    with tempfile.TemporaryFile() as file:
        for row in rows:
            if row["signature"] is None:
                drawings.without_signature.append(row["view_id"])
                continue
            file.write(row["signature"])
            drawings.view_ids.append(row["view_id"])
            drawings.splits.append(row["split"])
            drawings.patents.append(row["patent_number"])
            drawings.families.append(row["family"])
        if config.leave_out and drawings.without_signature:
            raise OutputError(
                f"{len(drawings.without_signature):,} views cannot be searched for near-duplicates, such as "
                f"{drawings.without_signature[0]}: an earlier version made them; run the views stage again"
            )
        file.flush()
        shape = (len(drawings.view_ids), NUM_BYTES)
        signatures = np.memmap(file, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)
        pairs = find_pairs(signatures, config)
    return _listed(drawings, pairs, config)


def _listed(drawings: _Drawings, pairs: Pairs, config: NearDuplicateConfig) -> NearDuplicates:
    """The pairs of different patents as rows, and what is left out because of them."""
    rows: Rows = []
    left_out: dict[str, str] = {}
    of_patent: defaultdict[str, list[str]] = defaultdict(list)
    for first, second, similarity, turn in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.similarities.tolist(), pairs.turns.tolist(), strict=True
    ):
        if drawings.patents[first] == drawings.patents[second]:
            continue
        splits = drawings.splits[first], drawings.splits[second]
        if config.leave_out and splits[0] != splits[1]:
            # The earlier of train, validation and test gives way to the later one.
            one, other = (first, second) if SPLITS.index(splits[0]) < SPLITS.index(splits[1]) else (second, first)
            if drawings.view_ids[one] not in left_out:
                left_out[drawings.view_ids[one]] = drawings.view_ids[other]
                of_patent[drawings.patents[one]].append(drawings.view_ids[one])
        rows.append(
            {
                "view_id": drawings.view_ids[first],
                "split": splits[0],
                "other_view_id": drawings.view_ids[second],
                "other_split": splits[1],
                "similarity": round(similarity, 4),
                "turn": TURNS[turn],
                "is_same_family": drawings.families[first] == drawings.families[second],
            }
        )
    for row in rows:
        row["is_left_out"] = row["view_id"] in left_out or row["other_view_id"] in left_out
    return NearDuplicates(
        rows,
        left_out,
        dict(of_patent),
        num_same_patent=len(pairs.first) - len(rows),
        num_without_signature=len(drawings.without_signature),
        num_crowded=pairs.num_crowded,
    )
