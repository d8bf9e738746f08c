"""FiftyOne: a dataset on disk of the type `FiftyOneDataset`, its views grouped by patent.

    OUT/metadata.json                              the dataset: its fields, its groups and their slices
    OUT/samples.json                               one sample a view
    OUT/data/train-I20210105/D907292-1.jpg         the images
    OUT/fields/claimed_filepath/…                  if the dataset has them: the images of the claimed lines

A group is a patent, and a slice is a view of it: "view_1" is the first. FiftyOne reads the folder with

    fiftyone.Dataset.from_dir(dataset_dir=OUT, dataset_type=fiftyone.types.FiftyOneDataset)

The documents are those that FiftyOne 1.0 and later read; a later version brings them up to date when it opens them.
Identifiers are hashes of the names of views and patents, so that equal datasets give equal files.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from model.exports.folder import SCRATCH, PartReport
from model.exports.formats import Format, Part, parts_by_file, write_image
from model.exports.rows import CLAIMED_IMAGE, IMAGE, Row

_DOCUMENT_VERSION = "1.0.0"
_GROUP = "patent"
_FILEPATH, _CLAIMED_FILEPATH = "filepath", "claimed_filepath"
_FIELDS = "fiftyone.core.fields"
_RESERVED = {"id", _FILEPATH, _CLAIMED_FILEPATH, "tags", "metadata", "created_at", "last_modified_at", _GROUP}


class FiftyOneDataset(Format):
    """A grouped FiftyOne dataset."""

    name: ClassVar[str] = "fiftyone"

    def parts(self) -> list[Part]:
        claimed = [f"fields/{_CLAIMED_FILEPATH}"] if self.source.has_claimed_images else []
        return parts_by_file(
            self.source,
            lambda _, name: (f"{SCRATCH}/rows/{name}.json", *(f"{folder}/{name}" for folder in ("data", *claimed))),
        )

    @property
    def final_targets(self) -> tuple[str, ...]:
        return ("metadata.json", "samples.json")

    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        lines, *folders = (path(target) for target in part.targets)
        for folder in folders:
            folder.mkdir()
        fields = {_FILEPATH: IMAGE, _CLAIMED_FILEPATH: CLAIMED_IMAGE}
        images = list(zip(fields.items(), folders, part.targets[1:], strict=False))
        num_of_patent: Counter[str] = Counter()
        with lines.open("w", encoding="utf-8") as file:
            for row in self.rows_of(part, on_view):
                num_of_patent[row["patent_number"]] += 1
                paths: dict[str, str | None] = {}
                for (field, column), folder, target in images:
                    name = write_image(row, column, folder)
                    paths[field] = f"{target}/{name}" if name else None
                sample = self._sample(row, paths, part.split, num_of_patent[row["patent_number"]])
                file.write(json.dumps(sample, ensure_ascii=False) + "\n")
        most = max(num_of_patent.values(), default=0)
        return PartReport(num_in=part.num_views, num_out=part.num_views, values={"most_views": most})

    def _sample(self, row: Row, paths: Mapping[str, str | None], split: str, number: int) -> dict[str, Any]:
        """The document of one view; `number` is that of the view within its patent, from 1."""
        return {
            "_id": {"$oid": _object_id("view", row["view_id"])},
            **paths,
            "tags": [split],
            "metadata": None,
            "_media_type": "image",
            "_rand": int(_object_id("rand", row["view_id"])[:13], 16) / 16**13,
            _GROUP: {
                "_id": {"$oid": _object_id("patent", row["patent_number"])},
                "_cls": "Group",
                "name": f"view_{number}",
            },
            **{_field_name(name): _value(row[name]) for name in self.source.columns},
        }

    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        most = max(report.values["most_views"] for report in parts.values())
        path("metadata.json").write_text(json.dumps(self._metadata(most), indent=1) + "\n", encoding="utf-8")
        with path("samples.json").open("w", encoding="utf-8") as samples:
            samples.write('{"samples": [')
            separator = "\n"
            for part in parts:
                with written(part.targets[0]).open(encoding="utf-8") as lines:
                    for line in lines:
                        samples.write(separator + line.rstrip("\n"))
                        separator = ",\n"
            samples.write("\n]}\n")

    def _metadata(self, most_views: int) -> dict[str, Any]:
        """The document of the dataset; `most_views` is the number of views of the patent that has the most."""
        claimed = [_field(_CLAIMED_FILEPATH, "StringField")] if self.source.has_claimed_images else []
        slices = [f"view_{number}" for number in range(1, most_views + 1)]
        return {
            "version": _DOCUMENT_VERSION,
            "name": self.source.dataset.name,
            "media_type": "group",
            "group_field": _GROUP,
            "group_media_types": dict.fromkeys(slices, "image"),
            "default_group_slice": slices[0],
            "tags": [],
            "info": {"designclip_fingerprint": self.source.dataset.fingerprint},
            **({"app_config": {"media_fields": [_FILEPATH, _CLAIMED_FILEPATH]}} if claimed else {}),
            "classes": {},
            "default_classes": [],
            "mask_targets": {},
            "default_mask_targets": {},
            "skeletons": {},
            "sample_fields": [
                _field("id", "ObjectIdField", db_field="_id"),
                _field("filepath", "StringField"),
                _field("tags", "ListField", subfield=f"{_FIELDS}.StringField"),
                _metadata_field(),
                _field("created_at", "DateTimeField", read_only=True),
                _field("last_modified_at", "DateTimeField", read_only=True),
                _group_field(),
                *claimed,
                *(_field_of(self.source.schema.field(name)) for name in self.source.columns),
            ],
            "frame_fields": [],
            "saved_views": [],
            "workspaces": [],
            "annotation_runs": {},
            "brain_methods": {},
            "evaluations": {},
            "runs": {},
        }

    def advice(self, out: Path) -> str:
        return (
            f'fiftyone.Dataset.from_dir(dataset_dir="{out}", dataset_type=fiftyone.types.FiftyOneDataset), '
            "a group for each patent"
        )


def _object_id(kind: str, name: str) -> str:
    """A 12-byte identifier in hexadecimal, the same for the same name."""
    return hashlib.sha256(f"designclip {kind} {name}".encode()).hexdigest()[:24]


def _field_name(column: str) -> str:
    """A column under a name that FiftyOne does not use itself."""
    return f"{column}_" if column in _RESERVED else column


def _value(value: Any) -> Any:
    """A value as MongoDB's extended JSON has it: days as milliseconds since 1970."""
    if isinstance(value, datetime.date):
        return {"$date": (value - datetime.date(1970, 1, 1)).days * 86_400_000}
    return value


def _field(name: str, kind: str, *, db_field: str | None = None, **values: Any) -> dict[str, Any]:
    """The document that declares a field; `kind` is its class in `fiftyone.core.fields`."""
    return {
        "name": name,
        "ftype": f"{_FIELDS}.{kind}",
        "embedded_doc_type": None,
        "subfield": None,
        "fields": [],
        "db_field": db_field or name,
        "description": None,
        "info": None,
        "read_only": False,
        "created_at": None,
        **values,
    }


def _field_of(column: pa.Field) -> dict[str, Any]:
    """The field for a column of the dataset."""
    name, kind = _field_name(column.name), column.type
    if pa.types.is_list(kind):
        return _field(name, "ListField", subfield=f"{_FIELDS}.{_kind_of(kind.value_type)}")
    return _field(name, _kind_of(kind))


def _kind_of(kind: pa.DataType) -> str:
    if pa.types.is_date(kind):
        return "DateField"
    if pa.types.is_boolean(kind):
        return "BooleanField"
    if pa.types.is_integer(kind):
        return "IntField"
    return "FloatField" if pa.types.is_floating(kind) else "StringField"


def _metadata_field() -> dict[str, Any]:
    """The field in which FiftyOne keeps what it computes of an image file."""
    parts = {"size_bytes": "IntField", "mime_type": "StringField", "width": "IntField", "height": "IntField"}
    return _field(
        "metadata",
        "EmbeddedDocumentField",
        embedded_doc_type="fiftyone.core.metadata.ImageMetadata",
        fields=[
            *(_field(name, kind) for name, kind in parts.items()),
            _field("num_channels", "IntField"),
        ],
    )


def _group_field() -> dict[str, Any]:
    return _field(
        _GROUP,
        "EmbeddedDocumentField",
        embedded_doc_type="fiftyone.core.groups.Group",
        fields=[_field("id", "ObjectIdField", db_field="_id"), _field("name", "StringField")],
    )
