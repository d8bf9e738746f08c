"""The weekly stages: the files of each week, which weeks there are, and the state of each.

The state is read from the files themselves; there is no database of what was done that could differ from them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Rows, fingerprint, is_intact, read_provenance
from patentdata.store.report import Report

WEEKLY_STAGES = ("archives", "grants", "views", "captions")
ROWS_A_GROUP = 256
_BYTES_A_GROUP = 64 << 20  # of images
_ARCHIVE_NAME = re.compile(r"^(I(\d{8}))(?:_r(\d{1,3}))?\.(tar|zip)$", re.IGNORECASE)
_TUESDAY = 1  # of `date.weekday`

Progress = Callable[[int, int], None]  # done, in all


def parse_archive_name(name: str) -> tuple[str, int] | None:
    """Week and revision of an archive's file name, or None if it is not the name of a weekly archive.

    >>> parse_archive_name("i20210105_R2.ZIP")
    ('I20210105', 2)
    """
    match = _ARCHIVE_NAME.match(name)
    if match is None:
        return None
    try:
        datetime.datetime.strptime(match[2], "%Y%m%d")
    except ValueError:
        return None
    return match[1].upper(), int(match[3] or 0)


def is_week(name: str) -> bool:
    """Whether a name is the canonical name of a week.

    >>> is_week("I20210105"), is_week("I20211305"), is_week("notes")
    (True, False, False)
    """
    return parse_archive_name(f"{name}.tar") == (name, 0)


def missing_weeks(years: Iterable[int], weeks: Iterable[str], today: datetime.date) -> list[str]:
    """Tuesdays of the years, up to today, that are not among the weeks; in order.

    >>> missing_weeks([2021], ["I20210105"], datetime.date(2021, 1, 19))
    ['I20210112', 'I20210119']
    """
    there, missing = set(weeks), []
    for year in sorted(set(years)):
        day = datetime.date(year, 1, 1)
        day += datetime.timedelta((_TUESDAY - day.weekday()) % 7)
        while day.year == year and day <= today:
            if (week := f"I{day:%Y%m%d}") not in there:
                missing.append(week)
            day += datetime.timedelta(7)
    return missing


def table_path(folder: DataFolder, stage: str, week: str) -> str:
    """Path of the Parquet file of a stage and week."""
    return folder.path(stage, f"{week}.parquet")


def kept_path(folder: DataFolder, week: str) -> str:
    """Path of the tar of a week's DESIGN members."""
    return folder.path("archives", f"{week}.tar")


def note_path(folder: DataFolder, week: str) -> str:
    """Path of the note that says what a week's tar was kept from."""
    return folder.path("archives", f"{week}.json")


def kept_weeks(folder: DataFolder) -> list[str]:
    """Weeks whose DESIGN members are in the data folder, in order of date."""
    return weeks_of(folder, "archives")


def weeks_of(folder: DataFolder, stage: str) -> list[str]:
    """Weeks that a stage has written, in order of date; files that are not its own are ignored."""
    ending = ".json" if stage == "archives" else ".parquet"
    stems = (name.removesuffix(ending) for name in folder.names(stage) if name.endswith(ending))
    return [stem for stem in stems if is_week(stem)]


def state_of(folder: DataFolder, stage: str, week: str) -> tuple[str, Report | None]:
    """State and report of one stage's output.

    States are "done", "stale" (an input has changed since), "damaged" and "missing"; the report is None for the last
    two. Settings are not known here, so output made with other settings than those of the next run is "done".
    """
    if stage == "archives":
        note = kept_note(folder, week)
        if note is not None:
            return "done", Report.from_dict(note["report"])
        return ("damaged" if folder.exists(note_path(folder, week)) else "missing"), None
    path = table_path(folder, stage, week)
    if not folder.exists(path):
        return "missing", None
    made = read_provenance(folder, path)
    if made is None or not is_intact(folder, path, made):
        return "damaged", None
    report = Report.from_dict(made["report"])
    try:
        inputs = {
            name: kept_sha256(folder, week)
            if name == "archive"
            else fingerprint(folder, table_path(folder, name, week))
            for name in made["inputs"]
        }
    except OutputError:
        return "stale", report
    return ("done" if inputs == made["inputs"] else "stale"), report


def require_done(folder: DataFolder, stage: str, week: str) -> None:
    """Raise OutputError unless the output of a stage is done and whole."""
    state, _ = state_of(folder, stage, week)
    if state != "done":
        raise OutputError(f"{table_path(folder, stage, week)} is {state}; run again from the stage {stage}")


def read_note(folder: DataFolder, week: str) -> dict[str, Any] | None:
    """The note next to a kept tar; None unless the tar has the size that is noted. The tar itself is not read.

    The note of a tar without members is none either: such a week is wrong, and has to be fetched again.
    """
    note = folder.read_json(note_path(folder, week))
    try:
        is_there = folder.fs.size(kept_path(folder, week)) == note["kept"]["num_bytes"]
        has_members = note["report"]["tallies"]["members"]["num_out"] > 0
        return note if is_there and has_members and {"made", "source", "report"} <= note.keys() else None
    except (OSError, TypeError, KeyError, AttributeError):
        return None


def kept_note(folder: DataFolder, week: str) -> dict[str, Any] | None:
    """The note next to a kept tar; None unless the tar has the very bytes that are noted."""
    note = read_note(folder, week)
    try:
        return note if note and folder.sha256(kept_path(folder, week)) == note["kept"]["sha256"] else None
    except KeyError:
        return None


def kept_sha256(folder: DataFolder, week: str) -> str:
    """Hash of a kept tar, which the stages that read it note as their input. Raises OutputError."""
    note = kept_note(folder, week)
    if note is None:
        raise OutputError(f"the kept archive of {week} is missing or damaged; run the archives stage with its source")
    return note["kept"]["sha256"]


def in_groups(rows: Iterable[dict[str, Any]]) -> Iterator[Rows]:
    """Rows in groups that are small enough to hold in memory, by their number and by the bytes of their images."""
    group: Rows = []
    num_bytes = 0
    for row in rows:
        group.append(row)
        num_bytes += len(row.get("image") or b"") + len(row.get("claimed_image") or b"")
        if len(group) >= ROWS_A_GROUP or num_bytes >= _BYTES_A_GROUP:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group
