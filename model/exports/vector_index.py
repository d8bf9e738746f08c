"""FAISS: an index of the views' features, and a table that says which view each of its rows is.

    OUT/index.faiss      IndexFlatIP over features of unit length, so that a score is a cosine
    OUT/views.csv        line n (from 0, after the header) describes row n of the index

The index is exact. Whoever needs a faster, approximate one trains it from `index.reconstruct_n`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from model.exports.folder import PartReport
from model.exports.formats import Format, Part
from model.exports.rows import DatasetRows
from model.exports.tables import csv_cell
from model.exports.vectors import WITHOUT_VECTOR, Vectors

_INDEX, _VIEWS = "index.faiss", "views.csv"
_ROWS_A_BLOCK = 4096


class FaissIndex(Format):
    """An exact FAISS index of all splits.

    Args:
        source: The rows of the dataset.
        vectors: The features.
    """

    name: ClassVar[str] = "faiss"

    def __init__(self, source: DatasetRows, vectors: Vectors) -> None:
        super().__init__(source)
        self._vectors = vectors

    def parts(self) -> list[Part]:
        num_views = sum(self.source.dataset.num_views.values())
        return [Part(name="index", split="", first=0, num_views=num_views, targets=(_INDEX, _VIEWS))]

    @property
    def final_targets(self) -> tuple[str, ...]:
        return ()

    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        import faiss

        index: Any = None
        with path(_VIEWS).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(self.source.columns)
            for split in self.source.splits:
                vectors = self._vectors.of_split(split)
                if index is None:
                    index = faiss.IndexFlatIP(vectors.features.shape[1])
                # The features of a split are in the order of its rows, so blocks of them are added as they are.
                for first in range(0, len(vectors.features), _ROWS_A_BLOCK):
                    index.add(vectors.features[first : first + _ROWS_A_BLOCK])
                for row in self.source.rows(split, columns=self.source.columns):
                    if row["view_id"] in vectors.index_of:
                        table.writerow([csv_cell(row[name]) for name in self.source.columns])
                    on_view()
        faiss.write_index(index, str(path(_INDEX)))
        num_out = int(index.ntotal)
        left_out = part.num_views - num_out
        return PartReport(
            num_in=part.num_views, num_out=num_out, dropped={WITHOUT_VECTOR: left_out} if left_out else {}
        )

    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        """Nothing is left to write."""

    def advice(self, out: Path) -> str:
        return f'faiss.read_index("{out / _INDEX}"); row n of it is line n of {_VIEWS}, counted from 0 below the header'
