"""The rates that a rebuild plan is estimated with: how fast work goes, and how large things are.

Each rate says whether it was measured, and on what, or published, or assumed: a plan is only as good as its rates. What
was measured in the data folder itself takes precedence.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from tasks.running.progress import Listener, listener


@dataclass(frozen=True)
class Rate:
    """A number that the plan is estimated with, and its source: measured here, measured elsewhere, given or assumed."""

    value: float
    unit: str
    provenance: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return vars(self)


_TIMINGS = "rebuild-timings.json"  # file in the data folder
_MIN_SHEETS = 2_000  # in a run of fewer, the start of the workers takes most of the time
_MIN_ARCHIVE_BYTES = 1 << 30  # of fewer bytes, the measured share of DESIGN is not used

_REDBOOK = "a week of 2024, 3.7 GB"
DESIGN_SHARE = Rate(0.055, "of an archive's bytes are DESIGN", _REDBOOK)
SHEET_BYTES = Rate(36_000, "bytes of the archive per sheet", _REDBOOK)
PATENT_BYTES = Rate(286_000, "bytes of the archive per patent", _REDBOOK)
SHEETS_PER_CORE_S = Rate(
    23.2,
    "sheets per second and core",
    "docs/benchmarks.md, 248 real sheets: 29.9, and 28.9 % more time for broken lines",
)
NETWORK_BYTES_PER_S = Rate(
    12.5e6, "bytes per second over the network", "assumed: 100 Mbit/s; --megabytes-a-second overrides it"
)
FOLDER_BYTES_PER_S = Rate(
    200e6, "bytes per second from a folder", "assumed: a plain disk; --megabytes-a-second overrides it"
)
VIEWS_A_SHEET = Rate(1.4, "views per sheet, front pages included", "29 real patents, 144 sheets, 2026-11-21")
VIEW_BYTES = Rate(52_400, "bytes per view", "29 real patents, 201 views and their claimed images, 2026-11-28")
TRAINING_IMAGE_BYTES = Rate(
    12_600, "bytes per view of the dataset", "29 real patents, 172 views and their claimed images, 2026-11-28"
)


def free_bytes(folder: DataFolder) -> int | None:
    """Free bytes on the disk of a local data folder, which need not exist yet; None for an object store."""
    if not folder.is_local:
        return None
    path = Path(folder.root)
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def kept_bytes(note: dict[str, Any]) -> int:
    """Size of what is kept of an archive, as its note states it; 0 if it does not."""
    kept = note.get("kept")
    return int(kept.get("num_bytes") or 0) if isinstance(kept, dict) else 0


def share_of_designs(notes: dict[str, dict[str, Any]]) -> Rate:
    """Share of DESIGN in archives: measured in the data folder if it keeps enough weeks, or else `DESIGN_SHARE`."""
    known = [
        (note["source"]["num_bytes"], kept_bytes(note))
        for note in notes.values()
        if isinstance(note.get("source"), dict) and note["source"].get("num_bytes")
    ]
    whole = sum(num_bytes for num_bytes, _ in known)
    if whole < _MIN_ARCHIVE_BYTES:
        return DESIGN_SHARE
    measured = min(sum(num_bytes for _, num_bytes in known) / whole, 1.0)
    return Rate(measured, DESIGN_SHARE.unit, f"measured here on {len(known)} weeks")


def arrival_of(to_move: Iterable[WeeklyArchive], bytes_per_s: float | None) -> Rate:
    """How fast archives arrive: as given, or as assumed for a folder or for a network."""
    is_folder = all(archive.kind == "folder" for archive in to_move)
    assumed = FOLDER_BYTES_PER_S if is_folder else NETWORK_BYTES_PER_S
    return assumed if bytes_per_s is None else Rate(bytes_per_s, assumed.unit, "given")


class Stopwatch(Listener):
    """Measures how fast weeks are processed, and passes everything on to the listener it replaces.

    Args:
        done: Weeks whose views are done already; their sheets do not count.
        now: A clock, in seconds.

    Attributes:
        elapsed_s: Seconds from the start to the end of the last stage of a week.
        num_sheets: Sheets split in that time.
    """

    def __init__(self, done: Iterable[str], now: Callable[[], float]) -> None:
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

    def on_server(self, text: str) -> None:
        self._next.on_server(text)

    def on_captions(self, num_done: int, num_all: int) -> None:
        self._next.on_captions(num_done, num_all)

    def on_dataset(self, name: str) -> None:
        self._next.on_dataset(name)

    def on_dataset_weeks(self, num_done: int, num_weeks: int) -> None:
        self._next.on_dataset_weeks(num_done, num_weeks)

    def on_training(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        self._next.on_training(step, num_steps, values)

    def on_evaluation(self, model: str) -> None:
        self._next.on_evaluation(model)

    def on_evaluation_step(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        self._next.on_evaluation_step(step, num_steps, values)


def write_speed(folder: DataFolder, watch: Stopwatch, num_workers: int, day: datetime.date) -> None:
    """Note the speed of a run in the data folder for later plans, if it split enough sheets to tell."""
    if watch.num_sheets >= _MIN_SHEETS and watch.elapsed_s > 0:
        noted = {
            "num_sheets": watch.num_sheets,
            "elapsed_s": round(watch.elapsed_s, 1),
            "num_workers": num_workers,
            "day": day.isoformat(),
        }
        folder.write_json(folder.path(_TIMINGS), noted)


def read_speed(folder: DataFolder) -> Rate | None:
    """The speed that the last run in this data folder measured, reading included; None if none was measured."""
    noted = folder.read_json(folder.path(_TIMINGS))
    try:
        value = noted["num_sheets"] / noted["elapsed_s"] / noted["num_workers"]
        provenance = f"measured here on {noted['day']}: {noted['num_sheets']:,} sheets, all stages and reading"
    except (TypeError, KeyError, ZeroDivisionError, ValueError):
        return None
    return Rate(value, SHEETS_PER_CORE_S.unit, provenance) if value > 0 else None
