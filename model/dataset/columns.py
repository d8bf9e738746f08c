"""Reading single columns of a dataset without its images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.folder import Dataset
from model.errors import DatasetError


def read_columns(dataset: Dataset, is_wanted: Callable[[str], bool], columns: list[str]) -> dict[str, list[Any]]:
    """Column → one value a view, over all wanted splits, including views without a caption.

    A column that is missing from any of the files is left out.

    Args:
        dataset: The dataset.
        is_wanted: Whether to read the split of a name.
        columns: Names of the columns to read.

    Raises:
        DatasetError: A file is missing or damaged.
    """
    tables = []
    for file in dataset.files:
        if not is_wanted(file.split):
            continue
        path = dataset.folder / file.name
        try:
            parquet = pq.ParquetFile(path)
            tables.append(parquet.read(columns=[name for name in columns if name in parquet.schema_arrow.names]))
        except FileNotFoundError as error:
            raise DatasetError(f"{path}: dataset.json names it, but it is not there; build it again") from error
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path}: not a readable Parquet file ({error}); build the dataset again") from error
    present = [name for name in columns if all(name in table.column_names for table in tables)]
    return {name: [value for table in tables for value in table.column(name).to_pylist()] for name in present}
