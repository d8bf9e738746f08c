"""Rows of a frozen dataset as exports read them: in order, a few at a time, whatever the size of the dataset."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.folder import Dataset, DatasetFile
from model.errors import DatasetError
from model.files import sha256_of_json

Row = dict[str, Any]
T = TypeVar("T")

IMAGE, CLAIMED_IMAGE = "image", "claimed_image"  # other bytes, such as signatures, are of use to this package alone
_ROWS_A_BATCH = 64
_MAX_NAME_CHARS = 90  # a tar member of the oldest format has at most 100


@dataclass(frozen=True)
class DatasetRows:
    """All columns of a dataset, split by split.

    Attributes:
        dataset: The dataset.
        splits: The splits that have views, in the order of the dataset.
    """

    dataset: Dataset

    @property
    def splits(self) -> list[str]:
        return [split for split, num in self.dataset.num_views.items() if num]

    def files(self, split: str) -> list[DatasetFile]:
        """The files of a split, in order."""
        return [file for file in self.dataset.files if file.split == split and file.num_rows]

    @cached_property
    def schema(self) -> pa.Schema:
        """Every column of every file, the images last; a file may lack columns of a later version.

        Raises:
            DatasetError: A file is missing or unreadable, or its columns do not fit those of the others.
        """
        schemas = [self._open(file, lambda opened: opened.schema_arrow) for file in self.dataset.files]
        try:
            unified = pa.unify_schemas(schemas, promote_options="permissive").remove_metadata()
        except pa.ArrowException as error:
            raise DatasetError(
                f"{self.dataset.folder}: its files have different columns ({error}); build the dataset again"
            ) from error
        for name in ("view_id", "patent_number", IMAGE):
            if name not in unified.names:
                raise DatasetError(f"{self.dataset.folder}: no column {name}; build the dataset again")
        fields = [_plain(item) for item in unified]
        images = [unified.field(name) for name in (CLAIMED_IMAGE, IMAGE) if name in unified.names]
        return pa.schema([*(item for item in fields if not pa.types.is_binary(item.type)), *map(_plain, images)])

    @property
    def columns(self) -> list[str]:
        """Names of all columns but the images, in order."""
        return [name for name in self.schema.names if name not in (IMAGE, CLAIMED_IMAGE)]

    @property
    def has_claimed_images(self) -> bool:
        """Whether views may have a second image, of their claimed lines."""
        return CLAIMED_IMAGE in self.schema.names

    @cached_property
    def descriptions(self) -> dict[str, str]:
        """Column → what it is, as the files of the dataset say; without the columns of which they say nothing."""
        fields = [item for file in self.dataset.files for item in self._open(file, lambda opened: opened.schema_arrow)]
        texts = {item.name: (item.metadata or {}).get(b"description", b"").decode() for item in reversed(fields)}
        return {name: texts[name] for name in self.schema.names if texts.get(name)}

    def rows(
        self, split: str, first: int = 0, num: int | None = None, *, columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """Yield rows of a split in order.

        Args:
            split: Name of the split.
            first: Number of rows that are passed over; whole row groups of them are not read.
            num: Number of rows; None for all that follow.
            columns: Columns that are read; None for all, the images included.
        """
        for batch in self.batches(split, first, num, columns=columns):
            yield from batch.to_pylist()

    def batches(
        self, split: str, first: int = 0, num: int | None = None, *, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the same rows in batches of at most `_ROWS_A_BATCH`, all with the same columns in the same order.

        Raises:
            DatasetError: A file is missing or damaged, or has another number of rows than `dataset.json` says.
        """
        last = self.dataset.num_views[split] if num is None else first + num
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        start = 0
        for file in self.files(split):
            end = start + file.num_rows
            if start < last and end > first:
                yield from self._batches_of(file, max(first - start, 0), min(last, end) - start, schema)
            start = end

    def _batches_of(self, file: DatasetFile, first: int, last: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Rows `first` to `last` of a file."""
        path = self.dataset.folder / file.name
        with (
            _explained(path, "damaged"),
            pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as opened,
        ):
            if opened.metadata.num_rows != file.num_rows:
                raise DatasetError(
                    f"{path}: {opened.metadata.num_rows} rows, but dataset.json says {file.num_rows}; build the "
                    "dataset again"
                )
            groups, start = _groups_from(opened, first)
            names = [name for name in schema.names if name in opened.schema_arrow.names]
            for batch in opened.iter_batches(_ROWS_A_BATCH, row_groups=groups, columns=names):
                wanted = batch.slice(max(first - start, 0), max(last - max(start, first), 0))
                start += len(batch)
                if len(wanted):
                    yield _completed(wanted, schema)
                if start >= last:
                    return

    def _open(self, file: DatasetFile, use: Callable[[pq.ParquetFile], T]) -> T:
        path = self.dataset.folder / file.name
        with _explained(path, "not a readable Parquet file"), pq.ParquetFile(path, memory_map=True) as opened:
            return use(opened)


@contextlib.contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Raise DatasetError, which says what the file is, for an error while it is read."""
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: dataset.json names it, but it is not there; build the dataset again") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: {what} ({error}); build the dataset again") from error


def _completed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with all columns of a schema, in order; those that its file lacks are null."""
    names = batch.schema.names
    arrays = [
        batch.column(item.name).cast(item.type) if item.name in names else pa.nulls(len(batch), item.type)
        for item in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _groups_from(opened: pq.ParquetFile, first: int) -> tuple[list[int], int]:
    """The row groups from the one that has row `first` on, and the first row of that group."""
    start = 0
    for group in range(opened.num_row_groups):
        num = opened.metadata.row_group(group).num_rows
        if start + num > first:
            return list(range(group, opened.num_row_groups)), start
        start += num
    return [], start


def _plain(item: pa.Field) -> pa.Field:
    """A column without dictionary encoding and without the description of its field."""
    kind = item.type.value_type if pa.types.is_dictionary(item.type) else item.type
    return pa.field(item.name, kind)


def json_values(row: Row, columns: Sequence[str]) -> Row:
    """The metadata of a row as JSON values: days as "2021-01-05"; without the images."""
    return {
        name: str(value) if isinstance(value, datetime.date) else value
        for name, value in ((name, row[name]) for name in columns)
    }


def file_stem(view_id: str) -> str:
    """A file name without ending for a view: the view's own name, with everything but letters, digits, - and _ escaped.

    Dots are escaped too: in a WebDataset the name of a sample ends at the first dot.

    >>> file_stem("D907292-1A"), file_stem("../x y.jpg")
    ('D907292-1A', '%2E%2E%2Fx%20y%2Ejpg')
    """
    stem = quote(view_id, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(stem) <= _MAX_NAME_CHARS:
        return stem
    return f"{re.sub('%.?$', '', stem[:60])}-{sha256_of_json(view_id)[:16]}"


def stem_of_file(file: DatasetFile) -> str:
    """Name of a folder or part for a file of the dataset, "train-I20210105".

    >>> stem_of_file(DatasetFile("train-I20210105.parquet", "train", 3))
    'train-I20210105'
    """
    return file_stem(Path(file.name).stem)
