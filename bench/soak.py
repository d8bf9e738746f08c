"""A long walk that is killed again and again: does anything grow, stay behind or come out otherwise?

    python -m bench.soak [--patents 5000] [--weeks 10] [--memory-gb 3] [--kill-every-s 180] [--no-training]

Draws weeks and refreshes a data folder from them: archives, grants, views, captions, dataset, a short training, an
evaluation. Every few minutes the command is ended with SIGKILL, as the system does when memory runs out, and started
again; after the first kill one week is issued again with other drawings. Then the same is done in another folder
without a disturbance. No process may take more memory than the limit (RLIMIT_DATA).

Prints one JSON line: whether both folders have the same bytes, the peak memory of each kind of process, how that of the
last third of the weeks compares with the first third in the undisturbed run, how many file descriptors were added
between them, what the kills left behind, and the size of the data folder against that by the
rates of `rebuild --plan`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import re
import resource
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from flows.preflight.rates import SHEET_BYTES, TRAINING_IMAGE_BYTES, VIEW_BYTES, VIEWS_A_SHEET
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_report
from patentdata.store.weeks import table_path
from tests.flows.programs import designclip, started
from tests.flows.walks import hashes

_FIRST_DAY = datetime.date(2024, 1, 2)
_SAMPLE_S = 0.1
_PATIENCE_S = 60.0  # until what a killed command had started must be gone
_GB, _MB = 1 << 30, 1 << 20
_SHARED_MEMORY = Path("/dev/shm")
_SETTINGS = """
[training]
architecture = "designclip-tiny"
batch_size = 32
num_steps = 60
checkpoint_every_steps = 20
device = "cpu"

[evaluation]
tasks = ["retrieval"]
untrained = false
num_resamples = 50
device = "cpu"
"""


@dataclass(frozen=True, kw_only=True)
class Soak:
    """What is walked, and how it is disturbed.

    Attributes:
        num_patents: Patents in all weeks together.
        num_weeks: Weeks, of equal size.
        memory_bytes: Private memory that each process may have.
        kill_every_s: Seconds between a start of the command and its end by SIGKILL.
        max_kills: Number of kills at most.
        num_workers: Worker processes.
        trains: Whether a model is trained and measured as well.
    """

    num_patents: int = 5000
    num_weeks: int = 10
    memory_bytes: int = 3 * _GB
    kill_every_s: float = 180.0
    max_kills: int = 1000
    num_workers: int = 2
    trains: bool = True

    @property
    def weeks(self) -> list[str]:
        return [f"I{_FIRST_DAY + datetime.timedelta(weeks=index):%Y%m%d}" for index in range(self.num_weeks)]


@dataclass
class Watch:
    """Memory and file descriptors of the processes of a run, by kind of process and number of weeks that are split.

    Attributes:
        views_dir: Folder in which a file appears for each week that is split.
        peak_bytes: Kind → number of weeks → resident memory of the largest process of this kind.
        num_fds: Kind → number of weeks → file descriptors of the process that has most.
        shared: Names of semaphores and shared memory that the processes had.
    """

    views_dir: Path
    peak_bytes: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    num_fds: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    shared: set[str] = field(default_factory=set)

    @property
    def num_shared_left(self) -> int:
        """Semaphores and shared memory of the processes that are still there."""
        return sum((_SHARED_MEMORY / name).exists() for name in self.shared)

    def sample(self, run: BaseProcess) -> None:
        """Look once at all processes of a run."""
        num_weeks = len(list(self.views_dir.glob("I*.parquet")))
        for process in _family(run.pid):
            with contextlib.suppress(psutil.Error):
                kind = "command" if process.pid == run.pid else _kind_of(process)
                _raise_to(self.peak_bytes[kind], num_weeks, process.memory_info().rss)
                _raise_to(self.num_fds[kind], num_weeks, process.num_fds())
                self.shared |= _shared_memory_of(process)


def _raise_to(values: dict[int, int], key: int, value: int) -> None:
    values[key] = max(values.get(key, 0), value)


def _family(pid: int | None) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kind_of(process: psutil.Process) -> str:
    """What a child of the command is, by its command line."""
    words = " ".join(process.cmdline())
    kinds = {"model.training": "training", "model.evaluation": "evaluation", "resource_tracker": "tracker"}
    return next((kind for part, kind in kinds.items() if part in words), "worker")


def soak(settings: Soak, folder: Path) -> dict[str, Any]:
    """Walk twice, once disturbed and once not, and compare."""
    source, data_dir = folder / "source", folder / "disturbed"
    _draw(settings, source)
    disturbed, num_kills, left = _walk_disturbed(settings, source, data_dir, folder)
    undisturbed = Watch(folder / "undisturbed" / "views")
    started_at = time.perf_counter()
    _walk(settings, source, folder / "undisturbed", folder / "undisturbed.log", undisturbed)
    seconds = time.perf_counter() - started_at
    return {
        "same_bytes": hashes(data_dir) == hashes(folder / "undisturbed"),
        "num_kills": num_kills,
        "undisturbed_s": round(seconds, 1),
        "memory_limit_mb": settings.memory_bytes // _MB,
        "peak_mb": {"disturbed": _peaks(disturbed), "undisturbed": _peaks(undisturbed)},
        "last_third_over_first": {
            kind: _growth(values, settings.num_weeks) for kind, values in undisturbed.peak_bytes.items()
        },
        "num_fds_added": {kind: _added(values, settings.num_weeks) for kind, values in undisturbed.num_fds.items()},
        "processes_left": left,
        "shared_memory_left": disturbed.num_shared_left + undisturbed.num_shared_left,
        "files_left": [str(path) for path in data_dir.rglob("*") if path.name.endswith(".partial")],
        "disk_mb": round(_size_of(data_dir) / _MB, 1),
        "planned_disk_mb": round(_planned_bytes(settings, data_dir) / _MB, 1),
    }


def _draw(settings: Soak, source: Path) -> None:
    """Draw the weeks, and the re-issue of the second one, which waits in a folder of its own."""
    size = settings.num_patents // settings.num_weeks
    for index, week in enumerate(settings.weeks):
        config = SpecimenConfig(
            num_patents=size, first_number=900_001 + index * size, seed=index, workers=settings.num_workers
        )
        write_week(source, week, config, truth=False)
        if index == 1:
            aside = source.with_name("issued-again")
            other = SpecimenConfig(
                num_patents=size, first_number=900_001 + index * size, seed=1000, workers=settings.num_workers
            )
            write_week(aside, week, other, truth=False).rename(aside / f"{week}_r1.tar")


def _issue_again(source: Path) -> None:
    """Put the re-issue among the weeks, if it is not there yet."""
    for archive in source.with_name("issued-again").glob("*.tar"):
        archive.rename(source / archive.name)


def _walk_disturbed(settings: Soak, source: Path, data_dir: Path, folder: Path) -> tuple[Watch, int, list[str]]:
    """Walk with kills and the re-issue; returns what was seen, the number of kills, and the processes they left."""
    watch, num_kills = Watch(data_dir / "views"), 0
    left: list[str] = []
    while num_kills < settings.max_kills:
        log = folder / f"disturbed-{num_kills}.log"
        if _walk(settings, source, data_dir, log, watch, kill_after_s=settings.kill_every_s):
            break
        num_kills += 1
        left += _left_of_group(log)
        _issue_again(source)
    _issue_again(source)
    _walk(settings, source, data_dir, folder / "disturbed-end.log", watch)
    return watch, num_kills, left


def _walk(
    settings: Soak, source: Path, data_dir: Path, log: Path, watch: Watch, *, kill_after_s: float | None = None
) -> bool:
    """Refresh a data folder in a process of its own; returns False if it was killed before its end.

    Raises RuntimeError, with the last lines of its log, if the command fails.
    """
    config = log.with_suffix(".toml")
    config.write_text(_SETTINGS)
    arguments = ["refresh", "-s", source, "-d", data_dir, "-c", config, "--workers", settings.num_workers]
    arguments += [] if settings.trains else ["--no-training"]
    with started(_limited, settings.memory_bytes, arguments, log=log) as run:
        log.with_suffix(".pid").write_text(str(run.pid))
        ends_at = time.monotonic() + (kill_after_s if kill_after_s is not None else float("inf"))
        while run.is_alive():
            watch.sample(run)
            if time.monotonic() > ends_at:
                os.kill(run.pid or 0, signal.SIGKILL)  # the command alone: its workers have to notice
                run.join()
                _wait_for_group(run.pid or 0)
                return False
            run.join(_SAMPLE_S)
        if run.exitcode != 0:
            raise RuntimeError(f"the command ended with {run.exitcode}:\n" + log.read_text()[-2000:])
    return True


def _limited(memory_bytes: int, arguments: Sequence[object]) -> None:
    """The command line, in a process that may not have more private memory than this.

    The process is forked from one that has the imports. As a command of its own it has its own resource tracker, which
    removes what it leaves when it is killed.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    tracker: Any = resource_tracker._resource_tracker
    tracker._fd = tracker._pid = None  # that of the parent stays as long as the parent does
    designclip(*arguments)


def _group(pid: int) -> Iterator[psutil.Process]:
    """The processes of the group of a command that has ended."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _wait_for_group(pid: int) -> None:
    ends_at = time.monotonic() + _PATIENCE_S
    while time.monotonic() < ends_at and any(True for _ in _group(pid)):
        time.sleep(_SAMPLE_S)


def _left_of_group(log: Path) -> list[str]:
    """Kinds of the processes that a killed command has left; they are ended."""
    kinds = []
    for process in _group(int(log.with_suffix(".pid").read_text())):
        with contextlib.suppress(psutil.Error):
            kinds.append(_kind_of(process))
            process.kill()
    return kinds


def _shared_memory_of(process: psutil.Process) -> set[str]:
    """Names of the semaphores and shared memory that a process has mapped."""
    with contextlib.suppress(OSError):
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        return set(re.findall(rf"{_SHARED_MEMORY}/(\S+)$", maps, re.MULTILINE))
    return set()


def _peaks(watch: Watch) -> dict[str, int]:
    return {kind: round(max(values.values()) / _MB) for kind, values in watch.peak_bytes.items()}


def _thirds(values: dict[int, int], num_weeks: int) -> tuple[int, int] | None:
    """The largest values of the first and the last third of the weeks; None if there is none in one of them."""
    first = [value for week, value in values.items() if week < num_weeks / 3]
    last = [value for week, value in values.items() if 2 * num_weeks / 3 <= week < num_weeks]
    return (max(first), max(last)) if first and last else None


def _growth(values: dict[int, int], num_weeks: int) -> float | None:
    thirds = _thirds(values, num_weeks)
    return None if thirds is None else round(thirds[1] / thirds[0], 3)


def _added(values: dict[int, int], num_weeks: int) -> int | None:
    thirds = _thirds(values, num_weeks)
    return None if thirds is None else thirds[1] - thirds[0]


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _planned_bytes(settings: Soak, data_dir: Path) -> float:
    """Size of the data folder by the rates of `rebuild --plan`, which are those of real sheets."""
    folder = DataFolder(data_dir)
    sheets = sum(
        read_report(folder, table_path(folder, "views", week)).tally("sheets").num_in for week in settings.weeks
    )
    view = VIEW_BYTES.value + TRAINING_IMAGE_BYTES.value
    return sheets * (SHEET_BYTES.value + VIEWS_A_SHEET.value * view)


def main(arguments: list[str] | None = None) -> int:
    """Run and print. Returns 0 if the bytes are the same and nothing was left behind, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patents", type=int, default=5000, help="in all weeks together")
    parser.add_argument("--weeks", type=int, default=10)
    parser.add_argument("--memory-gb", type=float, default=3.0, help="private memory of each process")
    parser.add_argument("--kill-every-s", type=float, default=180.0)
    parser.add_argument("--max-kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--out", type=Path, help="keep the folders there; default: they are removed")
    options = parser.parse_args(arguments)
    settings = Soak(
        num_patents=options.patents,
        num_weeks=options.weeks,
        memory_bytes=int(options.memory_gb * _GB),
        kill_every_s=options.kill_every_s,
        max_kills=options.max_kills,
        num_workers=options.workers,
        trains=not options.no_training,
    )
    with contextlib.ExitStack() as stack:
        folder = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["DESIGNCLIP_CACHE"] = str(folder / "cache")
        result = soak(settings, folder)
    size = {"num_patents": settings.num_patents, "num_weeks": settings.num_weeks, "trained": settings.trains}
    print(json.dumps({"bench": "soak", **size, **result}))
    is_clean = not (result["processes_left"] or result["shared_memory_left"] or result["files_left"])
    return 0 if result["same_bytes"] and is_clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
