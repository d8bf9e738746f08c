"""Stage archives: keep the DESIGN members of one weekly archive."""

from __future__ import annotations

import io
from typing import Any

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.kept import is_same_source
from patentdata.archives.remote_file import RemoteFile
from patentdata.archives.weekly_archive import WeeklyArchive, is_same_size
from patentdata.errors import ArchiveError, SourceChangedError, SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, to_json_values
from patentdata.store.report import Report
from patentdata.store.weeks import kept_note, kept_path

_ARCHIVES_VERSION = 1


def keep_archive(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig) -> Report:
    """Stage archives: keep the DESIGN members of one weekly archive as a tar, and note beside it where they are from.

    An archive on this machine is the one that was kept if its hash is; one on a server, if what the server states of it
    is: nothing is fetched to find that out.

    Raises:
        ArchiveError: Not an archive, or one cut short.
        SourceError: The source cannot be read.
        OutputError: The data folder cannot be written.
    """
    claim = Provenance(stage="archives", version=_ARCHIVES_VERSION, config=to_json_values(config.bounds))
    note = kept_note(folder, archive.week)
    if note is not None and note["made"] == claim.to_dict() and is_same_source(note, archive, config):
        return Report.from_dict(note["report"])
    try:
        return _keep(folder, archive, config, claim)
    except SourceChangedError:
        newer = archive.relisted()  # re-issued since it was listed
        if newer is None or newer == archive:
            raise
        return _keep(folder, newer, config, claim)


def _keep(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig, claim: Provenance) -> Report:
    """Read an archive, write its tar and its note."""
    tar_path = kept_path(folder, archive.week)
    report = Report("archives", archive.week)
    try:
        with archive.open(to_end=config.whole) as source, folder.writing(tar_path) as out:
            num_bytes = _size_of(source)
            is_sure = num_bytes is not None and is_same_size(num_bytes, archive.num_bytes)
            reading = designs.keep_designs(
                source,
                out,
                name=archive.file_name,
                config=config,
                report=report,
                hash_all=config.whole or archive.kind == "folder" or not is_sure,
            )
            if None not in (reading.sha256, archive.listed_sha256) and reading.sha256 != archive.listed_sha256:
                raise ArchiveError(f"{archive.file_name} has another hash than its source lists; fetch it again")
    except OSError as error:
        raise SourceError(f"cannot read {archive.url}: {error.strerror or error}") from error
    report.check()
    folder.write_json(
        folder.path("archives", f"{archive.week}.json"),
        {
            "made": claim.to_dict(),
            "source": archive.stated() | {"sha256": reading.sha256},
            "kept": {"num_bytes": folder.fs.size(tar_path), "sha256": folder.sha256(tar_path)},
            "complete": {
                "read_to": reading.ended_at,
                "num_bytes_read": reading.num_bytes,
                "num_bytes": num_bytes,
                "num_bytes_listed": archive.num_bytes,
                "numbers": reading.run.to_dict(),
            },
            "report": report.to_dict(),
        },
    )
    return report


def _size_of(source: Any) -> int | None:
    """Size of an archive that is open, as its server states it."""
    if isinstance(source, RemoteFile):
        return source.num_bytes
    return source.seek(0, io.SEEK_END) - source.seek(0) if source.seekable() else None
