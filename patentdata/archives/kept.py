"""Whether an offered archive is already in the data folder."""

from __future__ import annotations

from typing import Any, Literal

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.weekly_archive import WeeklyArchive


def state_of_offer(
    archive: WeeklyArchive | None, note: dict[str, Any] | None, *, whole: bool
) -> Literal["here", "missing", "changed", "not offered"]:
    """What an offered archive is to a data folder, by the note of the one that is kept there; no byte is looked at.

    Args:
        archive: As offered; None where it is not.
        note: As `stages.keep_archive` wrote it; None where there is none.
        whole: Archives are read to their end, so that one read less far is "changed".
    """
    if archive is None:
        return "not offered"
    if note is None:
        return "missing"
    noted, complete = note.get("source"), note.get("complete")
    if not isinstance(noted, dict):
        return "changed"
    if archive.kind != "folder" and noted["revision"] > archive.revision:
        return "here"
    was_cut = isinstance(complete, dict) and complete.get("read_to") == "end of DESIGN"
    return (
        "here" if archive.matches_listing(noted) and not (whole and was_cut and archive.kind != "folder") else "changed"
    )


def is_same_source(note: dict[str, Any], archive: WeeklyArchive, config: ArchivesConfig) -> bool:
    """Whether what was kept is of this very archive, or of a later issue of it, and read as far as is wanted now."""
    noted, complete = note["source"], note.get("complete")
    if archive.kind == "folder":
        stated = (archive.file_name, archive.revision, archive.num_bytes)
        is_same = (noted["file_name"], noted["revision"], noted["num_bytes"]) == stated
        return is_same and noted["sha256"] == archive.sha256()
    if noted["revision"] > archive.revision:  # a mirror behind the portal, or a listing that lost a row
        return True
    if None not in (noted["sha256"], archive.listed_sha256) and noted["sha256"] != archive.listed_sha256:
        return False
    was_cut = isinstance(complete, dict) and complete["read_to"] == "end of DESIGN"
    return archive.matches_listing(noted) and not (config.whole and was_cut)
