"""Grants of loose files: single documents, concatenated weekly files, Red Book archives and their members."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from patentdata import archives, grants, records
from patentdata.archives import READ_ERRORS, ArchivesConfig
from patentdata.errors import ArchiveError, ConfigError
from patentdata.folder import DataFolder, sha256_of
from patentdata.parquet import Claim, write_table
from patentdata.report import Report
from patentdata.stages import GRANTS_VERSION, in_groups

_ZIP_START = b"PK\x03\x04"
_USTAR_AT = 257


def write_grants(files: Sequence[Path], out: Path) -> Report:
    """Parse the grants of files, in the order given, into one Parquet file of `records.GRANTS`.

    A file may be one document, a concatenated weekly file, a ZIP of either, a Red Book member, or a weekly archive; its
    first bytes say which.

    Raises:
        ConfigError: A file is not there.
        ArchiveError: An archive is cut short or damaged.
        OutputError: The Parquet file cannot be written.
    """
    for path in files:
        if not path.is_file():
            raise ConfigError(f"no file {path}; name grant XML, single or concatenated, or an archive of it")
    folder = DataFolder(out.resolve().parent)
    inputs = {f"{i} {path.name}": sha256_of(folder.fs, str(path.resolve())) for i, path in enumerate(files)}
    report = Report("grants", out.name)
    claim = Claim(stage="grants", version=GRANTS_VERSION, inputs=inputs)
    rows = (row for path in files for row in _grants_of(path, report))
    write_table(folder, folder.path(out.name), records.GRANTS, in_groups(rows), claim, report)
    return report


def _grants_of(path: Path, report: Report) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        head = file.read(_USTAR_AT + 5)
        file.seek(0)
        if head.startswith(_ZIP_START) and _holds_documents(file, path.name):
            yield from _grants_of_zip(file, path.name, report)
        elif head.startswith(_ZIP_START) or head[_USTAR_AT:] == b"ustar":
            yield from _grants_of_archive(file, path.name, report)
        else:
            yield from grants.read_grants(file, name=path.name, report=report)


def _holds_documents(file: BinaryIO, name: str) -> bool:
    """Whether a ZIP holds XML itself: a Red Book member, or a zipped weekly file."""
    with _unpacking(name), zipfile.ZipFile(file) as packed:
        is_one = any(entry.upper().endswith(".XML") for entry in packed.namelist())
    file.seek(0)
    return is_one


def _grants_of_zip(file: BinaryIO, name: str, report: Report) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            if info.filename.upper().endswith(".XML"):
                source = f"{name}!{info.filename}"
                with _unpacking(source):
                    if info.header_offset < 0:  # of a ZIP cut at its front
                        raise zipfile.BadZipFile("it begins before the file")
                    with packed.open(info) as document:
                        yield from grants.read_grants(cast(BinaryIO, document), name=source, report=report)


@contextlib.contextmanager
def _unpacking(name: str) -> Iterator[None]:
    """Whatever zipfile says of a damaged file is an ArchiveError that names it."""
    try:
        yield
    except READ_ERRORS as error:
        raise ArchiveError(f"{name} is cut short or damaged ({error}); fetch it again") from error


def _grants_of_archive(file: BinaryIO, name: str, report: Report) -> Iterator[dict[str, Any]]:
    config = ArchivesConfig()
    with tempfile.TemporaryFile() as kept:
        archives.keep_designs(file, kept, name=name, config=config, report=report)
        kept.seek(0)
        for stem, read in archives.read_kept(kept):
            documents = archives.unpack_member(read(), config, endings=(".xml",))
            for file_name, data in (documents or {"no document": b""}).items():
                source = f"{name}!{stem}/{file_name}"
                if data:
                    yield from grants.read_grants(data, name=source, report=report)
                else:
                    report.tally("documents").num_in += 1
                    report.tally("documents").drop("broken_member", source)
