"""Captioned views, read from a dataset folder and made into what a model takes.

The views of a split stay as JPEG bytes in Arrow memory, or in a mapped file where they are many; an image is decoded
when it is asked for, and any one can be asked for at any time.
"""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.dataset.classes import UNKNOWN, ClassTable
from model.dataset.folder import CAPTION_COLUMNS, Dataset
from model.dataset.mapped import mapped_table
from model.errors import DatasetError
from model.files import sha256_of_json

_REQUIRED = ("view_id", "patent_number", "image")
_OPTIONAL = (
    "family",
    "grant_date",
    "uspc_class",
    "locarno_class",
    "figure_label",
    "viewpoint",
    "cited_by_examiner",
    "role",  # of DeepPatent's test and validation: query or database
)
_MAPPED_FROM_BYTES = 2**29

T = TypeVar("T")


class Column:
    """The values of one column by row, over the Arrow buffers they were read into."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks]).tolist()

    def scalar(self, row: int) -> pa.Scalar:
        chunk = bisect.bisect_right(self._ends, row)
        start = self._ends[chunk - 1] if chunk else 0
        return self._chunks[chunk][row - start]

    def __getitem__(self, row: int) -> Any:
        return self.scalar(row).as_py()


class Images(Column):
    """JPEG bytes of a split, by row."""

    def __getitem__(self, row: int) -> bytes:
        return self.scalar(row).as_buffer().to_pybytes()

    def view(self, row: int) -> np.ndarray:
        """The same bytes without a copy: (num_bytes,) uint8."""
        return np.frombuffer(self.scalar(row).as_buffer(), np.uint8)


@dataclass(frozen=True)
class Views:
    """The captioned views of one split, in the dataset's order.

    Columns are made into lists when they are first asked for; a column that the dataset does not have is all None. Of a
    million views a list takes a second and some hundred MB: training uses numbers and single texts instead.

    Attributes:
        table: One row a view.
        num_without_caption: Views that were left out since they have no `text`.
    """

    split: str
    table: pa.Table
    num_without_caption: int

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> list[Any]:
        """One value a view from any column of the dataset; None where the view or the whole dataset has none."""
        if name not in self.table.column_names:
            return [None] * len(self)
        return self.table.column(name).to_pylist()

    def num_distinct(self, name: str) -> int:
        """How many different values a column has; 0 for one that the dataset does not have."""
        if name not in self.table.column_names:
            return 0
        return int(pc.count_distinct(self.table.column(name), mode="only_valid").as_py())

    @cached_property
    def images(self) -> Images:
        return Images(self.table.column("image"))

    @cached_property
    def patent_ids(self) -> np.ndarray:
        """(num_views,) int64; equal numbers for views of one patent, from 0 in the order of first occurrence."""
        return _codes(self.table.column("patent_number"))[0]

    def class_ids(self, classes: ClassTable) -> np.ndarray:
        """(num_views,) int64 number of each view's class in the table; -1 where unknown."""
        name = f"{classes.scheme}_class"
        if name not in self.table.column_names:
            return np.full(len(self), UNKNOWN)
        codes, names = _codes(self.table.column(name))
        return np.append(classes.indices_of(names), UNKNOWN)[codes]  # no name has the code -1, the last entry

    def view_id(self, row: int) -> str:
        return self._view_ids[row]

    @cached_property
    def _view_ids(self) -> Column:
        return Column(self.table.column("view_id"))

    @cached_property
    def view_ids(self) -> list[str]:
        return self.column("view_id")

    @cached_property
    def patent_numbers(self) -> list[str]:
        return self.column("patent_number")

    @cached_property
    def families(self) -> list[str | None]:
        return self.column("family")

    @cached_property
    def grant_dates(self) -> list[datetime.date | None]:
        return self.column("grant_date")

    @cached_property
    def titles(self) -> list[str | None]:
        return self.column("title")

    @cached_property
    def classes(self) -> list[str | None]:
        """US design classes, "D14"."""
        return self.column("uspc_class")

    @cached_property
    def locarno_classes(self) -> list[str | None]:
        """Locarno classes with their subclasses, "14-02"."""
        return self.column("locarno_class")

    @cached_property
    def figure_labels(self) -> list[str | None]:
        return self.column("figure_label")

    @cached_property
    def viewpoints(self) -> list[str | None]:
        return self.column("viewpoint")

    @cached_property
    def cited_by_examiner(self) -> list[list[str] | None]:
        """US designs the examiner cited against each view's patent."""
        return self.column("cited_by_examiner")

    @cached_property
    def captions(self) -> dict[str, list[str | None]]:
        """Caption column → one text a view; None where the view has none."""
        return {name: self.column(name) for name in CAPTION_COLUMNS}

    def texts(self, caption: str) -> list[str]:
        """One caption a view from the column `caption`, and from `text` where that column is empty."""
        chosen = self.captions[caption]
        return [own or text or "" for own, text in zip(chosen, self.captions["text"], strict=True)]

    def texts_of(self, rows: Sequence[int], caption: str, draws: Sequence[float]) -> list[str]:
        """One caption for each of some rows.

        Args:
            rows: Rows of the views, in the order wanted.
            caption: A caption column, or "shape_or_function" for one of the two; `text` where that is empty.
            draws: (num_rows,) in [0, 1); below one half, shape is taken.
        """
        columns = ("shape", "function") if caption == "shape_or_function" else (caption, caption)
        return [
            self._caption(columns[int(draw * 2)], int(row)) or self._caption("text", int(row)) or ""
            for row, draw in zip(rows, draws, strict=True)
        ]

    def _caption(self, name: str, row: int) -> str | None:
        column = self._caption_columns.get(name)
        return column[row] if column is not None else None

    @cached_property
    def _caption_columns(self) -> dict[str, Column]:
        return {name: Column(self.table.column(name)) for name in CAPTION_COLUMNS if name in self.table.column_names}


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A column as numbers of its distinct values, -1 for null, and those values."""
    encoded = column.dictionary_encode().unify_dictionaries()
    codes = pa.chunked_array([chunk.indices for chunk in encoded.chunks]).fill_null(UNKNOWN)
    names = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    return codes.to_numpy().astype(np.int64), names


def read_views(
    dataset: Dataset,
    split: str,
    *,
    captioned: bool | None = None,
    mapped_from_bytes: int = _MAPPED_FROM_BYTES,
) -> Views:
    """Read one split; rows without a caption are counted and left out.

    A split of many bytes is written into the user's cache at its first use and mapped from there ever after.

    Args:
        dataset: The dataset.
        split: "train", "validation" or "test".
        captioned: False keeps the rows without a caption; None does so where the dataset says that it has none.
        mapped_from_bytes: A split whose files take less is read into memory.

    Raises:
        DatasetError: The split is empty, or a file is missing, damaged, or not what `dataset.json` says.
    """
    files = [file for file in dataset.files if file.split == split]
    if not files:
        raise _nothing_there(dataset, split)
    if captioned is None:
        captioned = dataset.is_captioned
    schema = _unified_schema([dataset.folder / file.name for file in files], captioned=captioned)

    def read() -> Iterator[pa.Table]:
        for file in files:
            table = _read_file(dataset.folder / file.name, file.num_rows, schema)
            yield table.filter(_has_text(table.column("text"))) if captioned else table

    num_bytes = sum((dataset.folder / file.name).stat().st_size for file in files)
    table = None
    if num_bytes >= mapped_from_bytes:
        name = f"{sha256_of_json([dataset.fingerprint, schema.to_string(), captioned])[:32]}-{split}"
        table = mapped_table(name, read, schema=schema, num_bytes=num_bytes)
    if table is None:
        table = pa.concat_tables(read())
    if table.num_rows == 0:
        raise _nothing_there(dataset, split)
    num_rows = sum(file.num_rows for file in files)
    return Views(split=split, table=table, num_without_caption=num_rows - table.num_rows)


def _nothing_there(dataset: Dataset, split: str) -> DatasetError:
    counts = ", ".join(f"{name} {count}" for name, count in dataset.num_views.items()) or "no split at all"
    return DatasetError(
        f"dataset {dataset.name} has no captioned view in the split {split!r} ({counts}); "
        "add grants to the dataset or name another split"
    )


def _has_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0), False)


def _unified_schema(paths: list[Path], *, captioned: bool) -> pa.Schema:
    """The columns that training and evaluation use, of all files; a file may lack some that another has."""
    schemas = [_opened(path, lambda file: file.schema_arrow) for path in paths]
    for path, schema in zip(paths, schemas, strict=True):
        missing = [name for name in (*_REQUIRED, *(["text"] if captioned else [])) if name not in schema.names]
        if missing:
            raise DatasetError(f"{path}: no column {', '.join(missing)}; build the dataset again")
    unified = pa.unify_schemas(schemas, promote_options="permissive")
    wanted = dict.fromkeys((*_REQUIRED, *_OPTIONAL, *CAPTION_COLUMNS))
    return pa.schema([unified.field(name) for name in wanted if name in unified.names])


def _read_file(path: Path, num_rows: int, schema: pa.Schema) -> pa.Table:
    def read(file: pq.ParquetFile) -> pa.Table:
        return file.read(columns=[name for name in schema.names if name in file.schema_arrow.names])

    table = _opened(path, read)
    if table.num_rows != num_rows:
        raise DatasetError(f"{path}: {table.num_rows} rows, but dataset.json says {num_rows}; build the dataset again")
    return pa.concat_tables([schema.empty_table(), table], promote_options="permissive").replace_schema_metadata()


def _opened(path: Path, use: Callable[[pq.ParquetFile], T]) -> T:
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            return use(file)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: dataset.json names it, but it is not there; build the dataset again") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: not a readable Parquet file ({error}); build the dataset again") from error
