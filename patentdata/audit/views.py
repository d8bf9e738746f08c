"""The views of a frozen dataset as an audit reads them: everything except the images, and these by name."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from patentdata.dataset.near_duplicates.listing import FILE_NAME
from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import table_path
from patentdata.views.signatures import NUM_BYTES

_COLUMNS = [
    "view_id",
    "patent_number",
    "family",
    "split",
    "title",
    "uspc_class",
    "locarno_class",
    "figure_label",
    "viewpoint",
    "viewpoint_direction",
    "text",
    "signature",
]


@dataclass(frozen=True)
class AuditedViews:
    """The views of a dataset, in its order.

    Attributes:
        folder: The data folder.
        name: Name of the dataset.
        manifest: The content of `dataset.json`.
        rows: One dict a view, without image and signature.
        signatures: (num_views, NUM_BYTES) uint8; zeros for a view without one.
    """

    folder: DataFolder
    name: str
    manifest: Mapping[str, Any]
    rows: list[dict[str, Any]]
    signatures: np.ndarray

    def near_duplicates(self) -> list[dict[str, Any]]:
        """The listed pairs, those left out included; empty if the dataset has no list."""
        path = self.folder.path("datasets", self.name, FILE_NAME)
        if not self.folder.exists(path):
            return []
        with _reading(path), open_table(self.folder, path) as table:
            return table.read().to_pylist()

    def images(self, view_ids: Collection[str]) -> dict[str, bytes]:
        """view_id → JPEG, for the views that are in the dataset."""
        wanted = pa.array(sorted(view_ids), pa.string())
        found: dict[str, bytes] = {}
        for path in _files(self.folder, self.name, self.manifest):
            with _reading(path), open_table(self.folder, path) as table:
                for batch in table.iter_batches(batch_size=256, columns=["view_id", "image"]):
                    rows = batch.filter(pc.is_in(batch.column("view_id"), wanted)).to_pylist()
                    found |= {row["view_id"]: row["image"] for row in rows}
        return found

    def with_grants(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Index and row of each view, with the words of its grant if the tables of its week are in the data folder."""
        index = {row["view_id"]: number for number, row in enumerate(self.rows)}
        for week in self.manifest["weeks"]:
            paragraphs = dict(self._pairs("grants", week, "patent_number", "other_paragraphs"))
            for view_id, description in self._pairs("views", week, "view_id", "description"):
                number = index.pop(view_id, None)
                if number is not None:
                    row = self.rows[number]
                    grant = {"description": description, "other_paragraphs": paragraphs.get(row["patent_number"])}
                    yield number, {**row, **grant}
        for number in index.values():  # of weeks whose tables are not here
            yield number, self.rows[number]

    def _pairs(self, stage: str, week: str, key: str, column: str) -> Iterator[tuple[str, Any]]:
        path = table_path(self.folder, stage, week)
        if not self.folder.exists(path):
            return
        with _reading(path), open_table(self.folder, path) as table:
            for batch in table.iter_batches(columns=[key, column]):
                yield from zip(batch.column(key).to_pylist(), batch.column(column).to_pylist(), strict=True)


def read_views(folder: DataFolder, name: str) -> AuditedViews:
    """The views of a dataset.

    Raises:
        OutputError: There is no such dataset, or one of its files is missing or damaged.
    """
    manifest = folder.read_json(folder.path("datasets", name, "dataset.json"))
    if not isinstance(manifest, dict) or "files" not in manifest:
        raise OutputError(f"{folder.url} has no finished dataset {name!r}; build it with designclip dataset")
    rows: list[dict[str, Any]] = []
    parts = []
    for path in _files(folder, name, manifest):
        with _reading(path), open_table(folder, path) as table:
            if "signature" not in table.schema_arrow.names:
                raise OutputError(f"{path} was made by an earlier version; build the dataset again")
            for batch in table.iter_batches(columns=_COLUMNS):
                of_batch = batch.to_pylist()
                parts.append(b"".join(row.pop("signature") or bytes(NUM_BYTES) for row in of_batch))
                rows += of_batch
    signatures = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, NUM_BYTES)
    return AuditedViews(folder, name, manifest, rows, signatures)


def _files(folder: DataFolder, name: str, manifest: Mapping[str, Any]) -> list[str]:
    return [folder.path("datasets", name, file["name"]) for file in manifest["files"]]


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn the errors of a damaged file into OutputError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"{path} is damaged ({error}); build the dataset again") from error
