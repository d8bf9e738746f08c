"""The captioned views of a split, with random access to images, captions and metadata.

The images stay as JPEG bytes in Arrow memory, or in a mapped file if the split is large, and are decoded only when they
are needed. A million views then fit on any machine, and a shuffled batch costs no more than a sequential one.
"""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.dataset.classes import UNKNOWN, ClassTable
from model.dataset.folder import CAPTION_COLUMNS, LINES, Dataset
from model.dataset.mapped import mapped_table
from model.errors import DatasetError
from model.files import sha256_of_json

_WEIGHTS = {"shape_or_function": {"shape": 1.0, "function": 1.0}}  # name of a mixture → its columns and weights
_REQUIRED = ("view_id", "patent_number", "image")
_OPTIONAL = (
    "family",
    "grant_date",
    "uspc_class",
    "locarno_class",
    "owners",
    "figure_label",
    "viewpoint",
    "cited_by_examiner",
    "broken_share",
    "role",  # "query" or "database", in DeepPatent's test and validation splits
)
_CLAIMED = ("claimed_image", "claimed_box")
_BOTH_LINES = "both"
_MAPPED_FROM_BYTES = 2**29

T = TypeVar("T")


class Column:
    """Random access to the values of one column, without a copy of the Arrow buffers."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks]).tolist()

    def scalar(self, row: int) -> pa.Scalar:
        """The Arrow value of a row."""
        chunk = bisect.bisect_right(self._ends, row)
        start = self._ends[chunk - 1] if chunk else 0
        return self._chunks[chunk][row - start]

    def __getitem__(self, row: int) -> Any:
        return self.scalar(row).as_py()


class Images(Column):
    """Random access to the JPEG bytes of a split.

    Args:
        column: The images.
        otherwise: The images of rows that have none in `column`.
    """

    def __init__(self, column: pa.ChunkedArray, otherwise: Images | None = None) -> None:
        super().__init__(column)
        self._otherwise = otherwise

    def __getitem__(self, row: int) -> bytes:
        return self._buffer(row).to_pybytes()

    def view(self, row: int) -> np.ndarray:
        """The bytes of a row without a copy: (num_bytes,) uint8."""
        return np.frombuffer(self._buffer(row), np.uint8)

    def _buffer(self, row: int) -> pa.Buffer:
        value = self.scalar(row)
        if self._otherwise is not None and not value.is_valid:
            return self._otherwise._buffer(row)
        return value.as_buffer()


@dataclass(frozen=True)
class Views:
    """The captioned views of one split, in the dataset's order.

    Columns become lists when they are first used; a column that the dataset does not have is all None. With a million
    views such a list takes a second and a few hundred MB, so training uses numbers and single texts instead.

    Attributes:
        split: Name of the split.
        table: One row a view.
        num_without_caption: Number of views that were left out because they have no `text`.
        lines: Which lines `images` shows, one of `LINES`. A view in which nothing is unclaimed, or nothing claimed, is
            shown whole in either case.
    """

    split: str
    table: pa.Table
    num_without_caption: int
    lines: str = "all"

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> list[Any]:
        """One value a view from any column of the dataset; None if the view or the whole dataset has no value."""
        if name not in self.table.column_names:
            return [None] * len(self)
        return self.table.column(name).to_pylist()

    def num_distinct(self, name: str) -> int:
        """Number of distinct values in a column; 0 if the dataset does not have the column."""
        if name not in self.table.column_names:
            return 0
        return int(pc.count_distinct(self.table.column(name), mode="only_valid").as_py())

    @cached_property
    def images(self) -> Images:
        """The images of the lines in `lines`."""
        return self.claimed_images if self.lines == "claimed" else self.whole_images

    @cached_property
    def whole_images(self) -> Images:
        """The images of all lines."""
        return Images(self.table.column("image"))

    @cached_property
    def claimed_images(self) -> Images:
        """The images of the claimed lines; of all lines for views that have no image of their own for the claimed ones.

        They can only be had if the views were read with their claimed lines.
        """
        return Images(self.table.column("claimed_image"), self.whole_images)

    def claimed_box(self, row: int) -> list[float] | None:
        """Where the image of a view's claimed lines is on its whole image: x0, y0, x1, y1 as shares of the side.

        None if the view has no image of its own for the claimed lines, or if these were not read.
        """
        return self._claimed_boxes[row] if self._claimed_boxes is not None else None

    @cached_property
    def _claimed_boxes(self) -> Column | None:
        return Column(self.table.column("claimed_box")) if "claimed_box" in self.table.column_names else None

    @cached_property
    def patent_ids(self) -> np.ndarray:
        """(num_views,) int64 number of each view's patent, from 0 in the order of first occurrence."""
        return _codes(self.table.column("patent_number"))[0]

    def class_ids(self, classes: ClassTable) -> np.ndarray:
        """(num_views,) int64 index of each view's class in the table; -1 if unknown."""
        name = f"{classes.scheme}_class"
        if name not in self.table.column_names:
            return np.full(len(self), UNKNOWN)
        codes, names = _codes(self.table.column(name))
        return np.append(classes.indices_of(names), UNKNOWN)[codes]  # code -1 means null and selects the last entry

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
        """US design classes, such as "D14"."""
        return self.column("uspc_class")

    @cached_property
    def locarno_classes(self) -> list[str | None]:
        """Locarno classes with their subclasses, such as "14-02"."""
        return self.column("locarno_class")

    @cached_property
    def figure_labels(self) -> list[str | None]:
        return self.column("figure_label")

    @cached_property
    def viewpoints(self) -> list[str | None]:
        return self.column("viewpoint")

    @cached_property
    def cited_by_examiner(self) -> list[list[str] | None]:
        """Numbers of the US designs that the examiner cited against the patent of each view."""
        return self.column("cited_by_examiner")

    @cached_property
    def captions(self) -> dict[str, list[str | None]]:
        """Caption column → one text a view; None if the view has no such caption."""
        return {name: self.column(name) for name in CAPTION_COLUMNS}

    def texts(self, caption: str) -> list[str]:
        """One caption a view from the column `caption`, or from `text` if that column is empty."""
        chosen = self.captions[caption]
        return [own or text or "" for own, text in zip(chosen, self.captions["text"], strict=True)]

    def texts_of(self, rows: Sequence[int], caption: str | Mapping[str, float], draws: Sequence[float]) -> list[str]:
        """The captions of single rows.

        Args:
            rows: Rows of the views, in the order of the result.
            caption: A caption column, "shape_or_function" to draw one of the two, or columns with the weights by which
                one of them is drawn. `text` is used if it is empty.
            draws: (num_rows,) random numbers in [0, 1); the lowest draw the first column.
        """
        weights = _WEIGHTS.get(caption, {caption: 1.0}) if isinstance(caption, str) else caption
        columns = list(weights)
        ends = np.cumsum([weights[name] for name in columns])
        chosen = np.searchsorted(ends, np.asarray(draws) * ends[-1], side="right")
        return [
            self._caption(columns[index], int(row)) or self._caption("text", int(row)) or ""
            for row, index in zip(rows, np.minimum(chosen, len(columns) - 1).tolist(), strict=True)
        ]

    def _caption(self, name: str, row: int) -> str | None:
        column = self._caption_columns.get(name)
        return column[row] if column is not None else None

    @cached_property
    def _caption_columns(self) -> dict[str, Column]:
        return {name: Column(self.table.column(name)) for name in CAPTION_COLUMNS if name in self.table.column_names}


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A column as indices into its distinct values, -1 for null, and those values."""
    encoded = column.dictionary_encode().unify_dictionaries()
    codes = pa.chunked_array([chunk.indices for chunk in encoded.chunks]).fill_null(UNKNOWN)
    names = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    return codes.to_numpy().astype(np.int64), names


def read_views(
    dataset: Dataset,
    split: str,
    *,
    captioned: bool | None = None,
    lines: str = "all",
    mapped_from_bytes: int = _MAPPED_FROM_BYTES,
) -> Views:
    """Read one split. Rows without a caption are left out and counted.

    A large split is written into the user's cache when it is first used, and mapped into memory from there.

    Args:
        dataset: The dataset.
        split: "train", "validation" or "test".
        captioned: False keeps rows without a caption; None keeps them only if the dataset has no captions at all.
        lines: Which lines the images show: "all" or "claimed"; "both" reads the images of both and shows all lines.
        mapped_from_bytes: A split whose files are smaller than this is read into memory.

    Raises:
        DatasetError: The split is empty, a file is missing, damaged, or not what `dataset.json` says, or the claimed
            lines are asked for and the dataset does not have them.
    """
    files = [file for file in dataset.files if file.split == split]
    if not files:
        raise _empty_split(dataset, split)
    if captioned is None:
        captioned = dataset.is_captioned
    assert lines in (*LINES, _BOTH_LINES), lines
    if lines != "all":
        _require_claimed_images(dataset)
    schema = _unified_schema(
        [dataset.folder / file.name for file in files], captioned=captioned, is_claimed_read=lines != "all"
    )

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
        raise _empty_split(dataset, split)
    num_rows = sum(file.num_rows for file in files)
    return Views(
        split=split,
        table=table,
        num_without_caption=num_rows - table.num_rows,
        lines="claimed" if lines == "claimed" else "all",
    )


def has_claimed_images(dataset: Dataset) -> bool:
    """Whether a dataset has images of the claimed lines; those of earlier versions and of DeepPatent do not.

    Raises:
        DatasetError: A file is missing or damaged.
    """
    return bool(dataset.files) and all(
        set(_CLAIMED) <= set(_with_file(dataset.folder / file.name, lambda file: file.schema_arrow.names))
        for file in dataset.files
    )


def _require_claimed_images(dataset: Dataset) -> None:
    if not has_claimed_images(dataset):
        raise DatasetError(
            f"dataset {dataset.name} has no images of the claimed lines; build it again with this version, or use all "
            "lines"
        )


def _empty_split(dataset: Dataset, split: str) -> DatasetError:
    counts = ", ".join(f"{name} {count}" for name, count in dataset.num_views.items()) or "no views at all"
    return DatasetError(
        f"dataset {dataset.name} has no captioned view in the split {split!r} ({counts}); "
        "add grants to the dataset or name another split"
    )


def _has_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0), False)


def _unified_schema(paths: list[Path], *, captioned: bool, is_claimed_read: bool) -> pa.Schema:
    """The columns that training and evaluation use, over all files; a file may lack optional columns.

    The images of the claimed lines are only read if they are used: they take memory.
    """
    schemas = [_with_file(path, lambda file: file.schema_arrow) for path in paths]
    for path, schema in zip(paths, schemas, strict=True):
        missing = [name for name in (*_REQUIRED, *(["text"] if captioned else [])) if name not in schema.names]
        if missing:
            raise DatasetError(f"{path}: no column {', '.join(missing)}; build the dataset again")
    unified = pa.unify_schemas(schemas, promote_options="permissive")
    wanted = dict.fromkeys((*_REQUIRED, *(_CLAIMED if is_claimed_read else ()), *_OPTIONAL, *CAPTION_COLUMNS))
    return pa.schema([unified.field(name) for name in wanted if name in unified.names])


def _read_file(path: Path, num_rows: int, schema: pa.Schema) -> pa.Table:
    def read(file: pq.ParquetFile) -> pa.Table:
        return file.read(columns=[name for name in schema.names if name in file.schema_arrow.names])

    table = _with_file(path, read)
    if table.num_rows != num_rows:
        raise DatasetError(f"{path}: {table.num_rows} rows, but dataset.json says {num_rows}; build the dataset again")
    return pa.concat_tables([schema.empty_table(), table], promote_options="permissive").replace_schema_metadata()


def _with_file(path: Path, use: Callable[[pq.ParquetFile], T]) -> T:
    """What `use` returns for an open Parquet file; raises DatasetError if it is missing or unreadable."""
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            return use(file)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: dataset.json names it, but it is not there; build the dataset again") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: not a readable Parquet file ({error}); build the dataset again") from error
