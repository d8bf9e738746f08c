"""Grants from files outside a data folder: documents, concatenated weekly files, Red Book archives, their members.

The names of such files say little (an ".xml" may hold a week, a ".zip" one patent), so the first bytes decide how a
file is read.
"""

from __future__ import annotations

import contextlib
import gzip
import tempfile
import zipfile
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.members import PACKINGS, READ_ERRORS, is_companion
from patentdata.errors import ArchiveError, ConfigError
from patentdata.grants import parsing
from patentdata.grants.config import GrantsConfig
from patentdata.grants.stage import GRANTS_VERSION
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import sha256_of
from patentdata.store.parquet import Provenance, write_table
from patentdata.store.report import Report
from patentdata.store.weeks import in_groups

_ZIP_START = b"PK\x03\x04"
_GZIP_START = b"\x1f\x8b"
_USTAR_OFFSET = 257
_OTHER_FORMATS = PACKINGS | {
    b"%PDF": "a PDF",
    b"II*\0": "a TIFF drawing",
    b"MM\0*": "a TIFF drawing",
    b"PAR1": "a Parquet table",
}
"""First bytes of files that hold no grants as they are → what they are."""
_NO_EXCLUSIONS = GrantsConfig()


def write_grants(files: Sequence[Path], out: Path, config: GrantsConfig = _NO_EXCLUSIONS) -> Report:
    """Parse the grants of files, in the order given, into one Parquet file of `schemas.GRANTS`.

    A file may be one document, a concatenated weekly file, a ZIP of either, a Red Book member, or a weekly archive, and
    each of them may be compressed with gzip; its first bytes say which. Of several documents with one patent number the
    first is kept. The report of files without any grant has `num_out` 0; the table is then empty.

    Returns:
        The report, with the tally "documents", and "members" for weekly archives.

    Raises:
        ConfigError: A file does not exist, or the file of excluded numbers cannot be read.
        ArchiveError: An archive is cut short or damaged.
        OutputError: The Parquet file cannot be written.
    """
    for path in files:
        if not path.is_file():
            raise ConfigError(f"no file {path}; name grant XML, single or concatenated, or an archive of it")
    folder = DataFolder(out.resolve().parent)
    inputs = {f"{i} {path.name}": sha256_of(folder.fs, str(path.resolve())) for i, path in enumerate(files)}
    report = Report("grants", out.name)
    excluded = config.excluded
    settings = {"exclude": sorted(excluded)} if excluded else {}
    provenance = Provenance(stage="grants", version=GRANTS_VERSION, config=settings, inputs=inputs)
    report.tally("documents")  # so that it is in the report of files without documents
    rows = _kept_rows((row for path in files for row in _grants_of_path(path, report)), excluded, report)
    write_table(folder, folder.path(out.name), schemas.GRANTS, in_groups(rows), provenance, report)
    return report


def _kept_rows(rows: Iterable[dict[str, Any]], excluded: Container[str], report: Report) -> Iterator[dict[str, Any]]:
    """The first row of each patent that is not excluded; the others are counted as dropped."""
    tally = report.tally("documents")
    kept: set[str] = set()
    for row in rows:
        number = row["patent_number"]
        if number not in excluded and number not in kept:
            kept.add(number)
            yield row
            continue
        tally.num_out -= 1
        if number in excluded:
            tally.drop("excluded", number)
        else:
            tally.drop("repeated_number", f"{row['source_archive']}!{row['source_member']}")


def _grants_of_path(path: Path, report: Report) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        if file.read(len(_GZIP_START)) == _GZIP_START:
            file.seek(0)
            with _unpacking(path.name), gzip.open(file) as unpacked:
                yield from _grants_of(cast(BinaryIO, unpacked), path.name.removesuffix(".gz"), report)
        else:
            yield from _grants_of(file, path.name, report)


def _grants_of(file: BinaryIO, name: str, report: Report) -> Iterator[dict[str, Any]]:
    """Rows of one file of any kind."""
    file.seek(0)
    head = file.read(_USTAR_OFFSET + 5)
    file.seek(0)
    other = next((kind for start, kind in _OTHER_FORMATS.items() if head.startswith(start)), None)
    if other is not None:
        tally = report.tally("documents")
        tally.num_in += 1
        tally.drop("other_format", name, f"{name} is {other}; unpack it, or name the XML of its grants")
    elif head.startswith(_ZIP_START) and _holds_documents(file, name):
        yield from _grants_of_zip(file, name, report)
    elif head.startswith(_ZIP_START) or head[_USTAR_OFFSET:] == b"ustar":
        yield from _grants_of_archive(file, name, report)
    else:
        yield from parsing.read_grants(file, name=name, report=report)


def _holds_documents(file: BinaryIO, name: str) -> bool:
    """Whether a ZIP holds XML, as a Red Book member or a zipped weekly file does. A weekly archive holds ZIPs."""
    with _unpacking(name), zipfile.ZipFile(file) as packed:
        has_xml = any(map(_is_document, packed.namelist()))
    file.seek(0)
    return has_xml


def _is_document(file_name: str) -> bool:
    """Whether a file of a ZIP is XML by its name, and not what a system added to one."""
    return file_name.upper().endswith(".XML") and not is_companion(file_name)


def _grants_of_zip(file: BinaryIO, name: str, report: Report) -> Iterator[dict[str, Any]]:
    """Rows of every XML file in a ZIP, in the order of its directory."""
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            if _is_document(info.filename):
                source = f"{name}!{info.filename}"
                with _unpacking(source):
                    if info.header_offset < 0:  # the front of the ZIP was cut off
                        raise zipfile.BadZipFile("it begins before the file")
                    with packed.open(info) as document:
                        yield from parsing.read_grants(cast(BinaryIO, document), name=source, report=report)


@contextlib.contextmanager
def _unpacking(name: str) -> Iterator[None]:
    """Turn whatever zipfile raises for a damaged file into an ArchiveError that names the file."""
    try:
        yield
    except READ_ERRORS as error:
        raise ArchiveError(f"{name} is cut short or damaged ({error}); fetch it again") from error


def _grants_of_archive(file: BinaryIO, name: str, report: Report) -> Iterator[dict[str, Any]]:
    """Rows of the designs of a weekly archive; a member without a document is counted as dropped.

    An archive without designs counts as one document that is dropped, with what the archive holds.
    """
    config, members, num_kept = ArchivesConfig(), report.tally("members"), report.tally("members").num_out
    with tempfile.TemporaryFile() as kept:
        reading = designs.keep_designs(file, kept, name=name, config=config, report=report)
        if members.num_out == num_kept:
            report.tally("documents").num_in += 1
            report.tally("documents").drop("no_design", name, f"no design in {name}; it holds {reading.contents}")
        kept.seek(0)
        for stem, read in designs.read_kept(kept):
            try:
                file_name, data = designs.read_grant_document(read(), stem)
            except ArchiveError as error:
                report.tally("documents").num_in += 1
                report.tally("documents").drop("broken_member", f"{name}!{stem}", str(error))
                continue
            yield from parsing.read_grants(data, name=f"{name}!{stem}/{file_name}", report=report)
