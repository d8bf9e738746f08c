"""What a rebuild will take, before it starts: weeks, bytes, hours and disk, by rates that name their source.

A rebuild of many years runs for hours and moves terabytes, so it is planned and confirmed first. A plan must be cheap:
it reads the source's listing and the notes of the data folder, and opens no archive. All numbers beyond that are
estimates, and the plan carries the rates that they were made with.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from flows.preflight.rates import (
    PATENT_BYTES,
    SHEET_BYTES,
    SHEETS_PER_CORE_S,
    TRAINING_IMAGE_BYTES,
    VIEW_BYTES,
    VIEWS_A_SHEET,
    Rate,
    arrival_of,
    free_bytes,
    kept_bytes,
    read_speed,
    share_of_designs,
)
from flows.weeks import WeeksConfig
from patentdata.archives.sources import read_source
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks, missing_weeks, weeks_of

_ASSUMED_ARCHIVE_BYTES = 3_700_000_000  # of an archive whose size the source does not state: a week of 2024


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """What a rebuild will take.

    Attributes:
        years: The years asked for.
        num_weeks: Weeks that the source offers or the data folder keeps.
        num_done: Weeks among them that have the output of every stage; only the run checks whether it is intact.
        problems: What the source has and cannot give, each as a sentence.
        missing: Tuesdays of the years without an archive, such as "I20210112".
        archive_bytes: Size of the archives still to be read.
        move_bytes: Part of `archive_bytes` that is DESIGN, which is kept.
        num_patents: Patents still to be processed, estimated from the bytes.
        num_sheets: Sheets still to be processed, estimated from the bytes.
        move_hours: Hours of reading, one archive at a time: DESIGN alone from a server, everything from a folder.
        work_hours: Hours of the stages, on the workers.
        hours: Hours in all; weeks are fetched while others are worked on.
        num_workers: Weeks side by side.
        disk_bytes: Bytes by which the data folder (and IMPACT's layout) will still grow.
        free_bytes: Bytes that are free there now; None if that cannot be known.
        rates: The rates that the plan was estimated with.
    """

    years: tuple[int, ...]
    num_weeks: int
    num_done: int
    problems: tuple[str, ...]
    missing: tuple[str, ...]
    archive_bytes: int
    move_bytes: int
    num_patents: int
    num_sheets: int
    move_hours: float
    work_hours: float
    hours: float
    num_workers: int
    disk_bytes: int
    free_bytes: int | None
    rates: tuple[Rate, ...]

    @property
    def num_to_do(self) -> int:
        return self.num_weeks - self.num_done

    @property
    def fits(self) -> bool:
        """Whether the disk has room, as far as is known."""
        return self.free_bytes is None or self.disk_bytes <= self.free_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return vars(self) | {"num_to_do": self.num_to_do, "rates": [rate.to_dict() for rate in self.rates]}


def plan_rebuild(
    config: WeeksConfig,
    *,
    layout: bool = False,
    bytes_per_s: float | None = None,
    today: datetime.date | None = None,
) -> RebuildPlan:
    """Estimate what a rebuild will take, from the listing and the names of files alone: no archive is opened.

    Args:
        config: The weeks to rebuild, by year, and how they are read.
        layout: Whether IMPACT's layout is written too.
        bytes_per_s: How fast archives arrive; None for an assumed rate.
        today: Tuesdays after it do not count as missing; None for the clock's.

    Raises:
        SourceError: The source cannot be listed, or there is no week of these years.
    """
    folder = DataFolder(config.data_dir)
    weeks = _read_weeks(config, folder)
    num_workers = config.workers.num_workers_here
    share = share_of_designs(weeks.notes)
    speed = read_speed(folder) or SHEETS_PER_CORE_S
    arrival = arrival_of(weeks.to_move, bytes_per_s)

    archive_bytes = sum(_size_of(archive) for archive in weeks.to_move)
    move_bytes = sum(round(share.value * _size_of(archive)) for archive in weeks.to_move)
    design_bytes = move_bytes + sum(kept_bytes(weeks.notes[week]) for week in weeks.kept - weeks.done)
    num_sheets = round(design_bytes / SHEET_BYTES.value)
    move_hours = _move_hours(config, weeks.to_move, archive_bytes, move_bytes, arrival)
    work_hours = num_sheets / speed.value / num_workers / 3600

    return RebuildPlan(
        years=config.years,
        num_weeks=len(weeks.known),
        num_done=len(weeks.done),
        problems=weeks.problems,
        missing=tuple(missing_weeks(config.years, weeks.known, today or datetime.date.today())),
        archive_bytes=archive_bytes,
        move_bytes=move_bytes,
        num_patents=round(design_bytes / PATENT_BYTES.value),
        num_sheets=num_sheets,
        move_hours=move_hours,
        work_hours=work_hours,
        hours=max(move_hours, work_hours) if num_workers > 1 else move_hours + work_hours,
        num_workers=num_workers,
        disk_bytes=_disk_bytes(weeks, move_bytes, num_sheets, layout=layout),
        free_bytes=free_bytes(folder),
        rates=(share, SHEET_BYTES, PATENT_BYTES, arrival, speed, VIEWS_A_SHEET, VIEW_BYTES, TRAINING_IMAGE_BYTES),
    )


@dataclass(frozen=True, kw_only=True)
class _Weeks:
    """The weeks of the years of a plan.

    Attributes:
        offered: Week → its archive, as the source lists it.
        notes: Week → the note of its archive, for each week that the data folder keeps.
        done: Weeks that have the output of every stage.
    """

    offered: dict[str, WeeklyArchive]
    problems: tuple[str, ...]
    notes: dict[str, dict[str, Any]]
    done: set[str]

    @property
    def kept(self) -> set[str]:
        return set(self.notes)

    @property
    def known(self) -> set[str]:
        return {*self.offered, *self.notes}

    @property
    def to_move(self) -> list[WeeklyArchive]:
        """Archives that have yet to be read."""
        return [archive for week, archive in self.offered.items() if week not in self.notes]


def _read_weeks(config: WeeksConfig, folder: DataFolder) -> _Weeks:
    """What the source offers of the years, and what the data folder holds of them."""
    offered: dict[str, WeeklyArchive] = {}
    problems: tuple[str, ...] = ()
    if config.source is not None:
        listing = read_source(config.source, years=config.years, access=config.access)
        offered, problems = {archive.week: archive for archive in listing.weeks}, listing.problems
    kept = {week for week in kept_weeks(folder) if int(week[1:5]) in config.years}
    if not offered and not kept:
        years = f"{config.years[0]}–{config.years[-1]}"
        place = config.source or config.data_dir
        raise SourceError(f"no week of {years} in {place}; name a --source that holds them")
    notes = {week: folder.read_json(folder.path("archives", f"{week}.json")) or {} for week in sorted(kept)}
    done = kept.intersection(*(weeks_of(folder, stage) for stage in WEEKLY_STAGES[1:]))
    return _Weeks(offered=offered, problems=problems, notes=notes, done=done)


def _move_hours(
    config: WeeksConfig, to_move: list[WeeklyArchive], archive_bytes: int, move_bytes: int, arrival: Rate
) -> float:
    """Hours of reading: as long as the bytes take to arrive, and on the portal no faster than its limits allow."""
    reads_all = config.archives.whole or all(archive.kind == "folder" for archive in to_move)
    hours = (archive_bytes if reads_all else move_bytes) / arrival.value / 3600
    if any(archive.kind == "portal" for archive in to_move):
        limits = config.portal.limits
        hours = max(hours, len(to_move) * limits.files_window_s / limits.files_at_once / 3600)
    return hours


def _disk_bytes(weeks: _Weeks, move_bytes: int, num_sheets: int, *, layout: bool) -> int:
    """Bytes still to be written: DESIGN, views and training images, and DESIGN once more in IMPACT's layout."""
    num_bytes = move_bytes + num_sheets * VIEWS_A_SHEET.value * (VIEW_BYTES.value + TRAINING_IMAGE_BYTES.value)
    if layout:
        num_bytes += move_bytes + sum(kept_bytes(note) for note in weeks.notes.values())
    return round(num_bytes)


def _size_of(archive: WeeklyArchive) -> int:
    """Size of an archive in bytes; if the source does not state it, the assumed one."""
    return archive.num_bytes if archive.num_bytes is not None else _ASSUMED_ARCHIVE_BYTES
