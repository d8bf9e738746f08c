"""Parquet files whose footer says what made them, and proves that they are whole.

The footer holds the provenance (stage, version, settings, fingerprints of the inputs), the report, the hash of the
rows, and a seal: the SHA-256 of the whole file with 64 fixed characters in the place of the seal. A file is done if its
provenance is the one that it would have if it were made now, and the seal is right. Times of files prove neither: they
change when a folder is copied, and stay when a disk fails.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import remember_sha256, sha256_of
from patentdata.store.report import Report

_KEY = "designclip"
_SEAL = "designclip_sha256"
_BLANK_SEAL = "unsealed" * 8  # in the file while it is hashed; the hash then replaces it
_FOOTER_TAIL_BYTES = 8  # the footer's length and the closing magic

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What makes a file what it is: equal provenance gives equal bytes.

    Attributes:
        stage: Name of the stage.
        version: Version of the stage, which is raised whenever its code gives other output.
        config: Settings of the stage as plain JSON values.
        inputs: Name of each input → its fingerprint.
    """

    stage: str
    version: int
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def config_sha256(self) -> str:
        """Hash of the settings, hexadecimal."""
        return _sha256_of_json(self.config)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as the footer holds them."""
        return {
            "stage": self.stage,
            "version": self.version,
            "config": to_json_values(self.config),
            "config_sha256": self.config_sha256,
            "inputs": dict(sorted(self.inputs.items())),
        }


def to_json_values(value: Any) -> Any:
    """Settings as JSON values: dataclasses as objects, tuples as lists, paths and dates as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json_values(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(item) for item in value]
    if isinstance(value, os.PathLike | datetime.date):
        return str(value)
    return value


def write_table(
    folder: DataFolder,
    path: str,
    schema: pa.Schema,
    batches: Iterable[Rows | pa.RecordBatch],
    provenance: Provenance,
    report: Report,
) -> str:
    """Write rows as they are produced, one row group per batch.

    Equal batches, provenance and reports give equal bytes. Binary columns are not compressed; the others are.

    Args:
        folder: The data folder.
        path: Path of the file in it.
        schema: Schema of the rows.
        batches: The rows.
        provenance: What makes the file.
        report: Checked, and written into the footer, after the last batch; the generator of batches may fill it.

    Returns:
        The file's fingerprint.

    Raises:
        ReconciliationError: The report does not balance; nothing is written.
        OutputError: The file system refuses to write; no part of the file is left.
    """
    binary = {name for name in schema.names if pa.types.is_binary(schema.field(name).type)}
    leaves = _leaves(schema)
    encoded = [leaf for leaf in leaves if leaf not in binary]
    with folder.writing(path) as file:
        sink = _HashingSink(file)
        writer = pq.ParquetWriter(
            sink,
            schema,
            compression={leaf: "NONE" if leaf in binary else "ZSTD" for leaf in leaves},
            use_dictionary=encoded,
            write_statistics=encoded,
            write_page_checksum=True,
        )
        try:
            # The rows, hashed as they pass.
            for batch in batches:
                _write_batch(writer, schema, batch)
            # The footer, with a blank seal; the position of the seal is found in the bytes written from here on.
            report.check()
            made = {**provenance.to_dict(), "rows_sha256": sink.digest.hexdigest(), "report": report.to_dict()}
            writer.add_key_value_metadata({_KEY: json.dumps(made, ensure_ascii=False), _SEAL: _BLANK_SEAL})
            sink.remember_from_here()
        finally:
            writer.close()
        # The hash of all that was written replaces the blank seal.
        seal, seal_at = sink.digest.hexdigest(), sink.position_of(_BLANK_SEAL.encode())
        file.seek(seal_at)
        file.write(seal.encode())
        file.seek(0, io.SEEK_END)
    remember_sha256(folder.fs, path, seal, blank=(seal_at, _BLANK_SEAL.encode()))
    return _fingerprint(made)


def _write_batch(writer: pq.ParquetWriter, schema: pa.Schema, batch: Rows | pa.RecordBatch) -> None:
    """Write a batch as one row group; an empty one is left out."""
    is_arrow = isinstance(batch, pa.RecordBatch)
    table = pa.Table.from_batches([batch], schema) if is_arrow else pa.Table.from_pylist(batch, schema)
    if len(table):
        writer.write_table(table, row_group_size=len(table))


def read_provenance(folder: DataFolder, path: str) -> dict[str, Any] | None:
    """What a file's footer says about how it was made; None if the file is missing, cut short, or not one of ours."""
    if not folder.exists(path):
        return None
    try:
        with folder.fs.open(path, "rb") as file:
            metadata = pq.read_metadata(file)
            values = metadata.metadata or {}
            made, seal = json.loads(values[_KEY.encode()]), values[_SEAL.encode()]
            footer_at = folder.fs.size(path) - metadata.serialized_size - _FOOTER_TAIL_BYTES
            file.seek(footer_at)
            at_in_footer = file.read().find(seal)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None
    if at_in_footer < 0 or len(seal) != len(_BLANK_SEAL):
        return None
    return {**made, "seal": seal.decode("ascii", "replace"), "seal_at": footer_at + at_in_footer}


def is_intact(folder: DataFolder, path: str, made: Mapping[str, Any] | None) -> bool:
    """Whether every byte of a file is the one that was sealed, by what `read_provenance` returned of it."""
    if made is None:
        return False
    return sha256_of(folder.fs, path, blank=(made["seal_at"], _BLANK_SEAL.encode())) == made["seal"]


def is_done(folder: DataFolder, path: str, provenance: Provenance) -> bool:
    """Whether a file exists, is whole, and has exactly this provenance."""
    made = read_provenance(folder, path)
    if made is None or any(made.get(key) != value for key, value in provenance.to_dict().items()):
        return False
    return is_intact(folder, path, made)


def read_report(folder: DataFolder, path: str) -> Report:
    """The report in the footer of a finished file. Raises OutputError if the file is missing or damaged."""
    return Report.from_dict(_made(folder, path)["report"])


def fingerprint(folder: DataFolder, path: str) -> str:
    """Fingerprint of a finished file, over its provenance and its rows. Raises OutputError if it is damaged."""
    return _fingerprint(_made(folder, path))


def open_table(folder: DataFolder, path: str) -> pq.ParquetFile:
    """Open a finished file, as a context manager; damaged pages raise an error when they are read.

    Raises:
        OutputError: The file is missing, or is not a Parquet file.
    """
    if not folder.exists(path):
        raise OutputError(f"{path} does not exist; run the stage that writes it")
    try:
        source = path if folder.is_local else folder.open(path)
        return pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
    except pa.ArrowException as error:
        raise OutputError(f"{path} is not a Parquet file ({error}); delete it and run again") from error


def describe_schema(schema: pa.Schema) -> list[tuple[str, str, str]]:
    """Name, type and description of every field, nested ones under dotted names."""
    rows: list[tuple[str, str, str]] = []
    for item in schema:
        _describe(item, item.name, rows)
    return rows


def _describe(item: pa.Field, name: str, rows: list[tuple[str, str, str]]) -> None:
    kind = item.type
    inner = kind.value_type if pa.types.is_list(kind) else kind
    is_struct = pa.types.is_struct(inner)
    shown = ("list<struct>" if pa.types.is_list(kind) else "struct") if is_struct else str(kind).replace("item: ", "")
    rows.append((name, shown, (item.metadata or {}).get(b"description", b"").decode()))
    for part in inner if is_struct else ():
        _describe(part, f"{name}.{part.name}", rows)


def _made(folder: DataFolder, path: str) -> dict[str, Any]:
    """What the footer of a finished file says. Raises OutputError if the file is missing or damaged."""
    made = read_provenance(folder, path)
    if made is None or not is_intact(folder, path, made):
        raise OutputError(f"{path} is missing or damaged; run again to rebuild it")
    return made


def _fingerprint(made: Mapping[str, Any]) -> str:
    return _sha256_of_json({key: made[key] for key in ("stage", "version", "config_sha256", "inputs", "rows_sha256")})


def _sha256_of_json(values: Any) -> str:
    return hashlib.sha256(json.dumps(to_json_values(values), sort_keys=True).encode()).hexdigest()


def _leaves(schema: pa.Schema) -> list[str]:
    """Column paths as Parquet names them ("box.list.element"), for settings by column."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(i).path for i in range(len(columns))]


class _HashingSink:
    """A file that pyarrow writes to, which hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest: bytearray | None = None
        self._rest_at = 0
        self.digest = hashlib.sha256()
        self.num_bytes = 0
        self.closed = False
        self.mode = "wb"

    def remember_from_here(self) -> None:
        """Remember what is written from now on, for `position_of`."""
        self._rest, self._rest_at = bytearray(), self.num_bytes

    def position_of(self, needle: bytes) -> int:
        """Position in the file of the one occurrence of `needle` in what was remembered."""
        assert self._rest is not None and self._rest.count(needle) == 1, "the footer must hold the blank seal once"
        return self._rest_at + self._rest.find(needle)

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        self.num_bytes += len(data)
        if self._rest is not None:
            self._rest += data
        self._file.write(data)
        return len(data)

    def tell(self) -> int:
        return self.num_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Does nothing: the owner of the file closes it."""
