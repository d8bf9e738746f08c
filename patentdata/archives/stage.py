"""Stage archives: keep the DESIGN members of one weekly archive."""

from __future__ import annotations

import io
import logging
from typing import Any

from patentdata.archives.designs import ArchivesConfig, Reading, keep_designs, require_kept
from patentdata.archives.kept import provenance_of, reason_to_fetch
from patentdata.archives.remote_file import RemoteFile
from patentdata.archives.sources import USUAL_ACCESS, AccessConfig, open_archive, relisted
from patentdata.archives.weekly_archive import WeeklyArchive, is_same_size
from patentdata.errors import ArchiveError, SourceChangedError, SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from patentdata.store.weeks import kept_note, kept_path, note_path

_LOG = logging.getLogger(__name__)


def keep_archive(
    folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig, access: AccessConfig = USUAL_ACCESS
) -> Report:
    """Keep the DESIGN members of a weekly archive as a tar, and note next to it where they come from.

    An archive that is kept already is not read again; `kept.is_kept` says when that is so. If the archive was re-issued
    since it was listed, the new issue is kept.

    Args:
        folder: The data folder.
        archive: The archive, as its source lists it.
        config: Bounds on members, and how far the archive is read.
        access: How the source is accessed.

    Returns:
        The report of the week, which counts "members".

    Raises:
        ArchiveError: Not an archive, one cut short, or one of which no member was kept.
        SourceError: The source cannot be read.
        OutputError: The data folder cannot be written.
    """
    note = kept_note(folder, archive.week)
    reason = reason_to_fetch(note, archive, config)
    if note is not None and reason is None:
        _LOG.info("%s archives: skipped, it is kept already", archive.week)
        return Report.from_dict(note["report"])
    _LOG.info("%s archives: reading %s, since %s", archive.week, archive.file_name, reason)
    try:
        return _keep(folder, archive, config, access)
    except SourceChangedError:
        newer = relisted(archive, access)
        if newer is None or newer == archive:
            raise
        _LOG.info("%s archives: re-issued since it was listed, reading %s", archive.week, newer.file_name)
        return _keep(folder, newer, config, access)


def _keep(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig, access: AccessConfig) -> Report:
    """Read an archive, and write its tar and its note."""
    report = Report("archives", archive.week)
    try:
        mark = archive.mark() if archive.kind == "folder" else None
        with (
            open_archive(archive, access, to_end=config.whole) as source,
            folder.writing(kept_path(folder, archive.week)) as out,
        ):
            num_bytes = _size_of(source)
            # Reading may stop after the designs only if the server and its listing agree about the size: otherwise the
            # archive may be cut short, which shows at its end.
            is_size_certain = num_bytes is not None and is_same_size(num_bytes, archive.num_bytes)
            reading = keep_designs(
                source,
                out,
                name=archive.file_name,
                config=config,
                report=report,
                hash_all=config.whole or archive.kind == "folder" or not is_size_certain,
            )
            require_kept(report, reading.contents, archive.file_name)
            if None not in (reading.sha256, archive.listed_sha256) and reading.sha256 != archive.listed_sha256:
                raise ArchiveError(f"{archive.file_name} has another hash than its source lists; fetch it again")
    except OSError as error:
        raise SourceError(f"cannot read {archive.url}: {error.strerror or error}") from error
    if mark is not None and reading.sha256 is not None:
        archive.remember_sha256(reading.sha256, mark)
    report.check()
    _write_note(folder, archive, config, reading, num_bytes, report)
    return report


def _write_note(
    folder: DataFolder,
    archive: WeeklyArchive,
    config: ArchivesConfig,
    reading: Reading,
    num_bytes: int | None,
    report: Report,
) -> None:
    """Write what made a kept tar, what it was made from, and how complete it is."""
    tar_path = kept_path(folder, archive.week)
    folder.write_json(
        note_path(folder, archive.week),
        {
            "made": provenance_of(config).to_dict(),
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


def _size_of(source: Any) -> int | None:
    """Size of an open archive, as its server states it; None if that is not known."""
    if isinstance(source, RemoteFile):
        return source.num_bytes
    return source.seek(0, io.SEEK_END) - source.seek(0) if source.seekable() else None
