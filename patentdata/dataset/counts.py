"""How many patents, families and views a dataset has, by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from patentdata.dataset.splits import SPLITS


class Counts:
    """Patents, families and views of the dataset, by split."""

    def __init__(self) -> None:
        self.patents: dict[str, set[str]] = {split: set() for split in SPLITS}
        self.families: dict[str, set[str]] = {split: set() for split in SPLITS}
        self.by_column: dict[str, dict[str, Counter[str]]] = {
            column: {split: Counter() for split in SPLITS} for column in ("uspc_class", "locarno_class", "viewpoint")
        }

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one view; of its Locarno class only the first two digits, the class proper, count."""
        split = row["split"]
        self.patents[split].add(row["patent_number"])
        self.families[split].add(row["family"])
        for column, of_split in self.by_column.items():
            value = row[column] or "none"
            of_split[split][value[:2] if column == "locarno_class" and row[column] else value] += 1

    def merge(self, other: Counts) -> None:
        """Add the counts of other views, such as those of another week."""
        for split in SPLITS:
            self.patents[split] |= other.patents[split]
            self.families[split] |= other.families[split]
            for column, of_split in self.by_column.items():
                of_split[split] += other.by_column[column][split]

    def to_dict(self) -> dict[str, dict[str, dict[str, int]]]:
        """Column → split → value → number of views, sorted by value."""
        return {
            column: {split: dict(sorted(counter.items())) for split, counter in of_split.items()}
            for column, of_split in self.by_column.items()
        }
