"""The weekly stages: where their files are, which weeks exist, and in which state each is."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Rows, fingerprint, is_intact, read_provenance
from patentdata.store.report import Report

_ARCHIVE_NAME = re.compile(r"^(I(\d{8}))(?:_r(\d{1,3}))?\.(tar|zip)$", re.IGNORECASE)

_TUESDAY = 1  # of `date.weekday`

Progress = Callable[[int, int], None]  # done, in all

WEEKLY_STAGES = ("archives", "grants", "views", "captions")

ROWS_A_GROUP = 256

_BYTES_A_GROUP = 64 << 20


def parse_archive_name(name: str) -> tuple[str, int] | None:
    """Week and revision of an archive's file name, or None where it names no weekly archive.

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
    """Where the Parquet file of a stage and week lies."""
    return folder.path(stage, f"{week}.parquet")


def kept_path(folder: DataFolder, week: str) -> str:
    """Where the tar of a week's DESIGN members lies."""
    return folder.path("archives", f"{week}.tar")


def kept_weeks(folder: DataFolder) -> list[str]:
    """Weeks whose DESIGN members are in the data folder, in order of date."""
    return weeks_of(folder, "archives")


def weeks_of(folder: DataFolder, stage: str) -> list[str]:
    """Weeks that a stage has written, in order of date; files that are none of its own are passed over."""
    ending = ".json" if stage == "archives" else ".parquet"
    stems = (name.removesuffix(ending) for name in folder.names(stage) if name.endswith(ending))
    return [stem for stem in stems if is_week(stem)]


def state_of(folder: DataFolder, stage: str, week: str) -> tuple[str, Report | None]:
    """State of one stage's output: "done", "stale" (an input has changed since), "damaged" or "missing"; its report.

    Settings are not known here, so output made with other settings than the next run's is "done".
    """
    if stage == "archives":
        note = kept_note(folder, week)
        if note is not None:
            return "done", Report.from_dict(note["report"])
        return ("damaged" if folder.exists(folder.path("archives", f"{week}.json")) else "missing"), None
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
    state, _ = state_of(folder, stage, week)
    if state != "done":
        raise OutputError(f"{table_path(folder, stage, week)} is {state}; run again from the stage {stage}")


def kept_note(folder: DataFolder, week: str) -> dict[str, Any] | None:
    """The note beside a kept tar, if the tar is there and has the bytes that the note speaks of."""
    note = folder.read_json(folder.path("archives", f"{week}.json"))
    path = kept_path(folder, week)
    try:
        is_whole = folder.exists(path) and folder.sha256(path) == note["kept"]["sha256"]
        return note if is_whole and {"made", "source", "report"} <= note.keys() else None
    except (TypeError, KeyError, AttributeError):
        return None


def kept_sha256(folder: DataFolder, week: str) -> str:
    note = kept_note(folder, week)
    if note is None:
        raise OutputError(f"the kept archive of {week} is missing or damaged; run the archives stage with its source")
    return note["kept"]["sha256"]


def in_groups(rows: Any) -> Iterator[Rows]:
    """Rows in groups small enough to hold in memory: by number, and by the bytes of their images."""
    group: Rows = []
    num_bytes = 0
    for row in rows:
        group.append(row)
        num_bytes += len(row.get("image") or b"")
        if len(group) >= ROWS_A_GROUP or num_bytes >= _BYTES_A_GROUP:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group
