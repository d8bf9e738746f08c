"""What a rebuild will take, before it starts: weeks, bytes, hours and disk, by rates that say where they are from."""

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
from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.portal import PortalConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks, missing_weeks, weeks_of
from tasks.running.runners import WorkersConfig

_AS_PUBLISHED, _AS_USUAL = PortalConfig(), DownloadsConfig()


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """What a rebuild will take.

    Attributes:
        years: The years asked for.
        num_weeks: Weeks that the source offers or the data folder keeps.
        num_done: Weeks of those whose stages all lie in the data folder; whether they are whole, the run will see.
        missing: Tuesdays of the years without an archive, "I20210112".
        archive_bytes: Archives still to be read, whole, as far as the source states their sizes.
        move_bytes: What of them is DESIGN, which is kept.
        num_patents: Patents still to be walked, reckoned from the bytes.
        num_sheets: Their sheets, likewise.
        move_hours: For the reading, one archive at a time: of DESIGN from a server, of everything from a folder.
        work_hours: For the stages, on the workers.
        hours: In all; weeks are fetched while others are worked on.
        num_workers: Weeks side by side.
        disk_bytes: What the data folder (and IMPACT's layout) will still grow by.
        free_bytes: Free there now; None where that cannot be known.
        rates: What was reckoned with.
    """

    years: tuple[int, ...]
    num_weeks: int
    num_done: int
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
    data_dir: str,
    source: str | None,
    years: tuple[int, ...],
    workers: WorkersConfig,
    *,
    layout: bool = False,
    whole: bool = False,
    bytes_per_s: float | None = None,
    today: datetime.date | None = None,
    portal: PortalConfig = _AS_PUBLISHED,
    downloads: DownloadsConfig = _AS_USUAL,
) -> RebuildPlan:
    """Reckon what a rebuild will take, from the listing and the names of files alone: no archive is opened.

    Args:
        data_dir: The data folder.
        source: Where archives come from; None walks the weeks that are kept.
        years: Years to rebuild.
        workers: Where weeks run.
        layout: Whether IMPACT's layout is written too.
        whole: Whether archives of a server are read to their end.
        bytes_per_s: How fast archives arrive; None assumes it.
        today: Tuesdays after it are not missing; None for the clock's.
        portal: How the portal is asked, where it is the source.
        downloads: How patient a listing is.

    Raises:
        SourceError: The source cannot be listed, or there is no week of these years.
    """
    folder = DataFolder(data_dir)
    offered: dict[str, WeeklyArchive] = {}
    if source is not None:
        listed = list_weeks(source, years=years, portal=portal, downloads=downloads)
        offered = {archive.week: archive for archive in listed}
    kept = {week for week in kept_weeks(folder) if int(week[1:5]) in years}
    weeks = {*offered, *kept}
    if not weeks:
        raise SourceError(f"no week of {years[0]}–{years[-1]} in {source or data_dir}; name a --source that holds them")
    done = kept.intersection(*(weeks_of(folder, stage) for stage in WEEKLY_STAGES[1:]))
    notes = {week: folder.read_json(folder.path("archives", f"{week}.json")) or {} for week in sorted(kept)}
    share = share_of_designs(notes)
    to_move = [archive for week, archive in offered.items() if week not in kept]
    archive_bytes = sum(_size_of(archive, share) for archive in to_move)
    move_bytes = sum(
        round(min(share.value * _size_of(archive, share), archive.num_bytes or 1e12)) for archive in to_move
    )
    waiting_bytes = sum(kept_bytes(notes[week]) for week in kept - done)
    num_sheets = round((move_bytes + waiting_bytes) / SHEET_BYTES.value)
    speed = read_speed(folder) or SHEETS_PER_CORE_S
    arrival = arrival_of(to_move, bytes_per_s)
    reads_all = whole or all(archive.kind == "folder" for archive in to_move)
    move_hours = (archive_bytes if reads_all else move_bytes) / arrival.value / 3600
    if any(archive.kind == "portal" for archive in to_move):
        limits = portal.limits
        move_hours = max(move_hours, len(to_move) * limits.files_window_s / limits.files_at_once / 3600)
    work_hours = num_sheets / speed.value / workers.num_workers_here / 3600
    image_bytes = VIEW_BYTES.value + TRAINING_IMAGE_BYTES.value
    disk_bytes = move_bytes + num_sheets * VIEWS_A_SHEET.value * image_bytes
    if layout:
        disk_bytes += move_bytes + sum(kept_bytes(note) for note in notes.values())
    return RebuildPlan(
        years=years,
        num_weeks=len(weeks),
        num_done=len(done),
        missing=tuple(missing_weeks(years, weeks, today or datetime.date.today())),
        archive_bytes=archive_bytes,
        move_bytes=move_bytes,
        num_patents=round((move_bytes + waiting_bytes) / PATENT_BYTES.value),
        num_sheets=num_sheets,
        move_hours=move_hours,
        work_hours=work_hours,
        hours=max(move_hours, work_hours) if workers.num_workers_here > 1 else move_hours + work_hours,
        num_workers=workers.num_workers_here,
        disk_bytes=round(disk_bytes),
        free_bytes=free_bytes(folder),
        rates=(share, SHEET_BYTES, PATENT_BYTES, arrival, speed, VIEWS_A_SHEET, VIEW_BYTES, TRAINING_IMAGE_BYTES),
    )


def _size_of(archive: WeeklyArchive, share: Rate) -> int:
    """Size of an archive; where the source states none, that of a week of 2024."""
    return archive.num_bytes if archive.num_bytes is not None else 3_700_000_000


# --- Speed measured here ----------------------------------------------------------------------------------------------
