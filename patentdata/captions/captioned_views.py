"""Captions of a week together with their views, grants and pictures, for whoever reports on them or samples them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa

from patentdata.captions.captioner import GRANT_COLUMNS, VIEW_COLUMNS, Row
from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import state_of, table_path

_ROWS_A_BATCH = 1_024


def captioned_views(folder: DataFolder, week: str) -> Iterator[Row]:
    """Every caption of a week with the columns of its view and grant, in order.

    Raises:
        OutputError: The captions are missing, damaged or stale, or differ from the views in order.
    """
    state, _ = state_of(folder, "captions", week)
    if state != "done":
        raise OutputError(f"the captions of {week} are {state}; run the captions stage on {folder.url} first")
    with open_table(folder, table_path(folder, "grants", week)) as table:
        columns = ["patent_number", *GRANT_COLUMNS]
        grants = {row["patent_number"]: row for row in table.read(columns=columns).to_pylist()}
    with (
        open_table(folder, table_path(folder, "captions", week)) as captions,
        open_table(folder, table_path(folder, "views", week)) as views,
    ):
        for caption, view in zip(rows_of(captions), rows_of(views, list(VIEW_COLUMNS)), strict=True):
            if caption["view_id"] != view["view_id"]:
                raise OutputError(f"{week}: captions and views differ in order; run the captions stage again")
            yield {**grants.get(view["patent_number"], dict.fromkeys(GRANT_COLUMNS)), **view, **caption}


def images_of(folder: DataFolder, week: str, view_ids: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
    """View → its PNG, of the named views of a week; row groups without one of them are not read."""
    with open_table(folder, table_path(folder, "views", week)) as table:
        for group in range(table.num_row_groups):
            names = table.read_row_group(group, columns=["view_id"]).column(0).to_pylist()
            indices = [index for index, name in enumerate(names) if name in view_ids]
            if not indices:
                continue
            images = table.read_row_group(group, columns=["image"]).column(0).take(pa.array(indices)).to_pylist()
            yield from ((names[index], png) for index, png in zip(indices, images, strict=True))


def rows_of(table: Any, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of an open table, a batch at a time."""
    for batch in table.iter_batches(batch_size=_ROWS_A_BATCH, columns=columns):
        yield from batch.to_pylist()


def random_key(seed: int, view_id: str) -> int:
    """A pseudo-random number that depends on the seed and the view alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{view_id}".encode(), digest_size=8).digest())
