"""How fast and how large: measured, published and assumed rates that a rebuild plan is estimated from."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from tasks.running.progress import Listener, listener


@dataclass(frozen=True)
class Rate:
    """A number the plan reckons with, and where it is from: measured here, measured in the docs, or assumed."""

    value: float
    unit: str
    provenance: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return vars(self)


_TIMINGS = "rebuild-timings.json"

_FEWEST_SHEETS = 2_000  # of fewer, most of the time is the start of the workers

_FEWEST_BYTES = 1 << 30  # of archives, before the data folder's own share of DESIGN counts

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


def kept_bytes(note: dict[str, Any]) -> int:
    kept = note.get("kept")
    return int(kept.get("num_bytes") or 0) if isinstance(kept, dict) else 0


def share_of_designs(notes: dict[str, dict[str, Any]]) -> Rate:
    """Share of DESIGN in archives: of the weeks here where they are many enough, else of the week described."""
    known = [
        (note["source"]["num_bytes"], kept_bytes(note))
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
