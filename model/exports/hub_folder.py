"""A dataset as a repository of the Hugging Face hub: Parquet shards whose pictures its viewer shows, a card, Croissant.

OUT/data/train-00000-of-00003.parquet     the columns of the dataset; `image` is the hub's image feature
OUT/README.md                             the card: sizes, licence, fields, split rule, known limits, how it was made
OUT/croissant.json                        the same for machines, in the vocabulary of MLCommons Croissant
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from model.exports.card import LICENCE, describe, dtype_of, render_card
from model.exports.croissant import croissant
from model.exports.folder import PartReport
from model.exports.formats import Format, Part, parts_of_shards
from model.exports.rows import CLAIMED_IMAGE, IMAGE, DatasetRows, file_stem

CARD, CROISSANT = "README.md", "croissant.json"
_ROWS_A_GROUP = 512  # the viewer reads whole row groups


class HubFolder(Format):
    """Parquet shards with the card of a repository.

    Args:
        source: The rows of the dataset.
        repository: "owner/name".
        licence: An identifier of the hub, such as "cc-by-4.0"; `LICENCE` for the terms of US patents.
        views_a_shard: Number of views in a shard; the last one of a split has fewer.
    """

    name: ClassVar[str] = "hub"

    def __init__(
        self, source: DatasetRows, *, repository: str, licence: str = LICENCE, views_a_shard: int = 10_000
    ) -> None:
        super().__init__(source)
        self._repository = repository
        self._licence = licence
        self._views_a_shard = views_a_shard

    @property
    def settings(self) -> dict[str, Any]:
        return {"repository": self._repository, "licence": self._licence, "views_a_shard": self._views_a_shard}

    def parts(self) -> list[Part]:
        return parts_of_shards(
            self.source,
            self._views_a_shard,
            lambda split, number, num: f"data/{split}-{number:05d}-of-{num:05d}.parquet",
        )

    @property
    def final_targets(self) -> tuple[str, ...]:
        return (CARD, CROISSANT)

    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        file = path(part.targets[0])
        newest: datetime.date | None = None
        with pq.ParquetWriter(file, _schema(self.source), compression="zstd", write_page_index=True) as writer:
            for group in self._groups(part, on_view):
                writer.write_table(group, row_group_size=len(group))
                if "grant_date" in group.column_names:
                    days = [day for day in group.column("grant_date").to_pylist() if day is not None]
                    newest = max([*days, *([newest] if newest else [])], default=None)
        values = {"num_bytes": file.stat().st_size, "newest": str(newest or "")}
        return PartReport(num_in=part.num_views, num_out=part.num_views, values=values)

    def _groups(self, part: Part, on_view: Callable[[], None]) -> Iterator[pa.Table]:
        """The rows of a part as tables of `_ROWS_A_GROUP` rows, their images as the hub has them."""
        waiting: list[pa.RecordBatch] = []
        for batch in self.source.batches(part.split, part.first, part.num_views):
            waiting.append(_with_hub_images(batch))
            for _ in range(len(batch)):
                on_view()
            if sum(map(len, waiting)) >= _ROWS_A_GROUP:
                yield pa.Table.from_batches(waiting).cast(_schema(self.source))
                waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting).cast(_schema(self.source))

    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        sizes = {
            split: (
                sum(report.num_out for part, report in parts.items() if part.split == split),
                sum(report.values["num_bytes"] for part, report in parts.items() if part.split == split),
            )
            for split in self.source.splits
        }
        newest = max(report.values["newest"] for report in parts.values())
        facts = describe(self.source, self._repository, self._licence, sizes, newest)
        path(CARD).write_text(render_card(facts), encoding="utf-8")
        path(CROISSANT).write_text(json.dumps(croissant(facts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _with_hub_images(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with each image as a struct of its bytes and a file name; null for a view without one."""
    names = pa.array([f"{file_stem(view_id)}.jpg" for view_id in batch.column("view_id").to_pylist()])
    columns = [
        pa.StructArray.from_arrays([column, names], ["bytes", "path"], mask=column.is_null())
        if name in (IMAGE, CLAIMED_IMAGE)
        else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _schema(source: DatasetRows) -> pa.Schema:
    """The columns of the shards; its metadata declares the features as the library `datasets` reads them."""
    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    fields = [item.with_type(image) if item.name in (IMAGE, CLAIMED_IMAGE) else item for item in source.schema]
    features = {item.name: _feature(item.type) for item in source.schema}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_binary(kind):
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    return {"dtype": dtype_of(kind), "_type": "Value"}
