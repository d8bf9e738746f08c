"""What a rebuild will take, before it starts: weeks, bytes, hours and disk, by rates that say where they are from."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.progress import Listener, listener
from flows.runners import WorkersConfig
from patentdata import stages
from patentdata.catalog import WeeklyArchive, list_weeks
from patentdata.downloads import DownloadsConfig
from patentdata.errors import SourceError
from patentdata.folder import DataFolder
from patentdata.portal import PortalConfig
from patentdata.reconciliation import missing_weeks
from patentdata.report import Report

_AS_PUBLISHED, _AS_USUAL = PortalConfig(), DownloadsConfig()
_TIMINGS = "rebuild-timings.json"
_FEWEST_SHEETS = 2_000  # of fewer, most of the time is the start of the workers
_FEWEST_BYTES = 1 << 30  # of archives, before the data folder's own share of DESIGN counts


@dataclass(frozen=True)
class Rate:
    """A number the plan reckons with, and where it is from: measured here, measured in the docs, or assumed."""

    value: float
    unit: str
    provenance: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return vars(self)


_REDBOOK = "a week of 2024, 3.7 GB"
DESIGN_SHARE = Rate(0.055, "of an archive's bytes are DESIGN", _REDBOOK)
SHEET_BYTES = Rate(36_000, "bytes of the archive a sheet", _REDBOOK)
PATENT_BYTES = Rate(286_000, "bytes of the archive a patent", _REDBOOK)
SHEETS_PER_CORE_S = Rate(29.9, "sheets a second and core", "docs/benchmarks.md, 248 real sheets, 2026-11-20")
NETWORK_BYTES_PER_S = Rate(12.5e6, "bytes a second over the network", "assumed: 100 Mbit/s; --megabytes-a-second says")
FOLDER_BYTES_PER_S = Rate(200e6, "bytes a second from a folder", "assumed: a plain disk; --megabytes-a-second says")
VIEWS_A_SHEET = Rate(1.4, "views a sheet, front pages included", "29 real patents, 144 sheets, 2026-11-21")
VIEW_BYTES = Rate(35_200, "bytes a view", "29 real patents, 201 views, 2026-11-21")
TRAINING_IMAGE_BYTES = Rate(8_300, "bytes an image of the dataset", "docs/decisions.md, 2026-11-20")


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
    kept = {week for week in stages.kept_weeks(folder) if int(week[1:5]) in years}
    weeks = {*offered, *kept}
    if not weeks:
        raise SourceError(f"no week of {years[0]}–{years[-1]} in {source or data_dir}; name a --source that holds them")
    done = kept.intersection(*(stages.weeks_of(folder, stage) for stage in stages.WEEKLY_STAGES[1:]))
    notes = {week: folder.read_json(folder.path("archives", f"{week}.json")) or {} for week in sorted(kept)}
    share = share_of_designs(notes)
    to_move = [archive for week, archive in offered.items() if week not in kept]
    archive_bytes = sum(_size_of(archive, share) for archive in to_move)
    move_bytes = sum(
        round(min(share.value * _size_of(archive, share), archive.num_bytes or 1e12)) for archive in to_move
    )
    waiting_bytes = sum(_kept_bytes(notes[week]) for week in kept - done)
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
        disk_bytes += move_bytes + sum(_kept_bytes(note) for note in notes.values())
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


def free_bytes(folder: DataFolder) -> int | None:
    """Free bytes where a local data folder lies or will lie; None for an object store."""
    if not folder.is_local:
        return None
    place = Path(folder.root)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _size_of(archive: WeeklyArchive, share: Rate) -> int:
    """Size of an archive; where the source states none, that of a week of 2024."""
    return archive.num_bytes if archive.num_bytes is not None else 3_700_000_000


def _kept_bytes(note: dict[str, Any]) -> int:
    kept = note.get("kept")
    return int(kept.get("num_bytes") or 0) if isinstance(kept, dict) else 0


def share_of_designs(notes: dict[str, dict[str, Any]]) -> Rate:
    """Share of DESIGN in archives: of the weeks here where they are many enough, else of the week described."""
    known = [
        (note["source"]["num_bytes"], _kept_bytes(note))
        for note in notes.values()
        if isinstance(note.get("source"), dict) and note["source"].get("num_bytes")
    ]
    whole = sum(num_bytes for num_bytes, _ in known)
    if whole < _FEWEST_BYTES:
        return DESIGN_SHARE
    measured = min(sum(num_bytes for _, num_bytes in known) / whole, 1.0)
    return Rate(measured, DESIGN_SHARE.unit, f"measured here on {len(known)} weeks")


def arrival_of(to_move: Iterable[WeeklyArchive], bytes_per_s: float | None) -> Rate:
    """How fast archives arrive: as given, or as assumed of a folder or a network."""
    is_folder = all(archive.kind == "folder" for archive in to_move)
    assumed = FOLDER_BYTES_PER_S if is_folder else NETWORK_BYTES_PER_S
    return assumed if bytes_per_s is None else Rate(bytes_per_s, assumed.unit, "given")


# --- Speed measured here ----------------------------------------------------------------------------------------------


class Stopwatch(Listener):
    """Measures how fast weeks are walked, and passes all it hears on."""

    def __init__(self, done: Iterable[str], now: Any) -> None:
        self._done, self._now = set(done), now
        self._next = listener()
        self._started: float | None = None
        self.elapsed_s = 0.0
        self.num_sheets = 0

    def on_weeks(self, weeks: list[str], num_steps: int) -> None:
        self._started = self._now()
        self._next.on_weeks(weeks, num_steps)

    def on_stage(self, week: str, stage: str, report: Report | None) -> None:
        if self._started is not None:
            self.elapsed_s = self._now() - self._started
        if stage == "views" and report is not None and week not in self._done:
            self.num_sheets += report.tally("sheets").num_out
        self._next.on_stage(week, stage, report)

    def on_dataset(self, name: str) -> None:
        self._next.on_dataset(name)

    def on_training(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        self._next.on_training(step, num_steps, values)

    def on_evaluation(self, model: str) -> None:
        self._next.on_evaluation(model)


def write_speed(folder: DataFolder, watch: Stopwatch, num_workers: int, day: datetime.date) -> None:
    """Note the speed of a run that walked sheets enough; a later plan reckons with it."""
    if watch.num_sheets >= _FEWEST_SHEETS and watch.elapsed_s > 0:
        noted = {
            "num_sheets": watch.num_sheets,
            "elapsed_s": round(watch.elapsed_s, 1),
            "num_workers": num_workers,
            "day": day.isoformat(),
        }
        folder.write_json(folder.path(_TIMINGS), noted)


def read_speed(folder: DataFolder) -> Rate | None:
    """The speed that the last run measured in this data folder, fetching included; None where none has."""
    noted = folder.read_json(folder.path(_TIMINGS))
    try:
        value = noted["num_sheets"] / noted["elapsed_s"] / noted["num_workers"]
        where = f"measured here on {noted['day']}: {noted['num_sheets']:,} sheets, all stages and reading"
    except (TypeError, KeyError, ZeroDivisionError, ValueError):
        return None
    return Rate(value, SHEETS_PER_CORE_S.unit, where) if value > 0 else None
