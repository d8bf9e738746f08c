"""Whether an archive has to be fetched: the one rule, by the note that the data folder keeps next to each tar.

The stage asks it before it opens an archive, the scheduler of the weeks before it gives a week its turn to fetch, and
the listing of a source before it names a week as missing. If they asked different rules, a week could be fetched out of
turn, and its failure would not count towards leaving a source alone that is down.
"""

from __future__ import annotations

from typing import Any

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import SourceError
from patentdata.store.parquet import Provenance, to_json_values
from patentdata.store.report import Report

ARCHIVES_VERSION = 2

_BEFORE_REPACKED = 1  # the last version that read no archives packed again by hand
_STATED = {"file_name", "revision", "num_bytes", "sha256"}


def provenance_of(config: ArchivesConfig) -> Provenance:
    """What makes a kept tar what it is, next to the archive itself: the stage's version and its bounds."""
    return Provenance(stage="archives", version=ARCHIVES_VERSION, config=to_json_values(config.bounds))


def is_kept(note: dict[str, Any] | None, archive: WeeklyArchive, config: ArchivesConfig) -> bool:
    """Whether what a data folder keeps of a week was made from this archive, and as it would be made now.

    Args:
        note: The note of the week, as the stage wrote it; None if there is none.
        archive: The archive, as its source lists it now.
        config: Bounds, and how far archives are read.
    """
    return reason_to_fetch(note, archive, config) is None


def reason_to_fetch(note: dict[str, Any] | None, archive: WeeklyArchive, config: ArchivesConfig) -> str | None:
    """Why `is_kept` says no, as a phrase for the log; None if the archive is kept.

    An archive on this machine is known by its hash, which is remembered while the file does not change. One on a server
    is known by what the server states of it; nothing is fetched to find that out.
    """
    if note is None:
        return "it is not kept yet"
    if not _is_made_alike(note, config):
        return "it was kept by another version of the stage or with other bounds"
    noted, complete = note.get("source"), note.get("complete")
    if not isinstance(noted, dict) or not noted.keys() >= _STATED:
        return "its note does not say what it was kept from"
    if archive.kind == "folder":
        return None if _is_same_file(noted, archive) else "the file is another one than the one that was kept"
    if noted["revision"] > archive.revision:  # a mirror that is older than the portal, or a listing that lost a row
        return None
    if None not in (noted["sha256"], archive.listed_sha256) and noted["sha256"] != archive.listed_sha256:
        return "its source lists another hash"
    if not archive.matches_listing(noted):
        return "its source lists another issue, size or time"
    if config.whole and isinstance(complete, dict) and complete.get("read_to") == "end of DESIGN":
        return "it was read to the end of its designs, and is to be read whole"
    return None


def _is_made_alike(note: dict[str, Any], config: ArchivesConfig) -> bool:
    """Whether this version of the stage, with these bounds, would keep the same members as the one that wrote a note.

    Version 2 keeps members that version 1 did not know by their names: with backslashes, without the DESIGN folder, or
    in a tar within another archive. A week in which version 1 met none of these is the same in both, and hundreds of
    them must not be fetched again.
    """
    made = provenance_of(config).to_dict()
    if note.get("made") != made | {"version": _BEFORE_REPACKED}:
        return note.get("made") == made
    tally = Report.from_dict(note["report"]).tally("members")
    has_unknown_names = "unexpected_name" in tally.dropped or "not_a_design_other" in tally.left_out
    return not has_unknown_names


def _is_same_file(noted: dict[str, Any], archive: WeeklyArchive) -> bool:
    """Whether an archive on this machine is the one noted; one that cannot be read is not."""
    stated = (archive.file_name, archive.revision, archive.num_bytes)
    if (noted["file_name"], noted["revision"], noted["num_bytes"]) != stated:
        return False
    try:
        return noted["sha256"] == archive.sha256()
    except SourceError:
        return False
