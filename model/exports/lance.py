"""LanceDB: one table with metadata, images and, with a model, the features of the views.

    OUT/views.lance      table "views": all columns, the images as JPEG, and vector, a list of fixed size

`lancedb.connect(OUT).open_table("views").search(vector)` searches it. LanceDB names the files of a table at random, so
two exports of the same dataset have equal rows and not equal bytes; the table is written in one go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from model.errors import ConfigError
from model.exports.folder import PartReport
from model.exports.formats import Format, Part
from model.exports.rows import IMAGE, DatasetRows
from model.exports.vectors import WITHOUT_VECTOR, Vectors

_TABLE, _VECTOR = "views", "vector"


class LanceTable(Format):
    """A LanceDB table of all splits.

    Args:
        source: The rows of the dataset.
        vectors: The features; None for a table without them.

    Raises:
        ConfigError: LanceDB is not installed.
    """

    name: ClassVar[str] = "lancedb"

    def __init__(self, source: DatasetRows, vectors: Vectors | None) -> None:
        super().__init__(source)
        self._vectors = vectors
        try:
            import lancedb  # noqa: F401
        except ImportError as error:
            raise ConfigError("LanceDB is not installed here; install it with: pip install lancedb") from error

    def parts(self) -> list[Part]:
        num_views = sum(self.source.dataset.num_views.values())
        return [Part(name=_TABLE, split="", first=0, num_views=num_views, targets=(f"{_TABLE}.lance",))]

    @property
    def final_targets(self) -> tuple[str, ...]:
        return ()

    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        import lancedb

        dropped: Counter[str] = Counter()
        batches = self._batches(dropped, on_view)
        first = next(batches)
        reader = pa.RecordBatchReader.from_batches(first.schema, _chained(first, batches))
        folder = path(part.targets[0]).parent
        table = lancedb.connect(folder).create_table(_TABLE, data=reader, schema=first.schema)
        return PartReport(num_in=part.num_views, num_out=table.count_rows(), dropped=dict(dropped))

    def _batches(self, dropped: Counter[str], on_view: Callable[[], None]) -> Iterator[pa.RecordBatch]:
        """The rows of all splits with their vectors; views without one are counted in `dropped`."""
        for split in self.source.splits:
            vectors = self._vectors.of_split(split) if self._vectors is not None else None
            for batch in self.source.batches(split):
                ids = batch.column("view_id").to_pylist()
                if vectors is None:
                    yield batch
                else:
                    has_vector = np.array([view_id in vectors.index_of for view_id in ids])
                    dropped.update({WITHOUT_VECTOR: int((~has_vector).sum())} if not has_vector.all() else {})
                    kept = batch.filter(pa.array(has_vector))
                    yield _with_vectors(kept, vectors.of(kept.column("view_id").to_pylist()))
                for _ in ids:
                    on_view()

    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        """Nothing is left to write."""

    def advice(self, out: Path) -> str:
        return f'lancedb.connect("{out}").open_table("{_TABLE}"), its images in "{IMAGE}"' + (
            f' and its features in "{_VECTOR}"' if self._vectors is not None else ""
        )


def _with_vectors(batch: pa.RecordBatch, features: np.ndarray) -> pa.RecordBatch:
    """The batch with one more column: (num_rows, embed_dim) float32 as lists of fixed size."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
    return pa.RecordBatch.from_arrays(
        [*batch.columns, column], schema=batch.schema.append(pa.field(_VECTOR, column.type))
    )


def _chained(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[Any]:
    yield first
    yield from others
