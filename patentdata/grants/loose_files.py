"""Grants of loose files: single documents, concatenated weekly files, Red Book archives and their members."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.members import READ_ERRORS
from patentdata.errors import ArchiveError, ConfigError
from patentdata.grants import parsing
from patentdata.grants.stage import GRANTS_VERSION
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import sha256_of
from patentdata.store.parquet import Provenance, write_table
from patentdata.store.report import Report
from patentdata.store.weeks import in_groups

_ZIP_START = b"PK\x03\x04"
_USTAR_AT = 257


def write_grants(files: Sequence[Path], out: Path) -> Report:
    """Parse the grants of files, in the order given, into one Parquet file of `schemas.GRANTS`.

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
    claim = Provenance(stage="grants", version=GRANTS_VERSION, inputs=inputs)
    rows = (row for path in files for row in _grants_of(path, report))
    write_table(folder, folder.path(out.name), schemas.GRANTS, in_groups(rows), claim, report)
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
            yield from parsing.read_grants(file, name=path.name, report=report)


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
                        yield from parsing.read_grants(cast(BinaryIO, document), name=source, report=report)


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
        designs.keep_designs(file, kept, name=name, config=config, report=report)
        kept.seek(0)
        for stem, read in designs.read_kept(kept):
            documents = designs.unpack_member(read(), config, endings=(".xml",))
            for file_name, data in (documents or {"no document": b""}).items():
                source = f"{name}!{stem}/{file_name}"
                if data:
                    yield from parsing.read_grants(data, name=source, report=report)
                else:
                    report.tally("documents").num_in += 1
                    report.tally("documents").drop("broken_member", source)
