"""Progress bars on a terminal."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.terminal.output import STDERR
from patentdata.archives.remote_file import in_progress
from patentdata.store.report import Report
from tasks.running.progress import Listener

_POLL_S = 0.5  # between two looks at how far downloads are
_MB = 1_000_000


class Bars(Listener):
    """Progress bars on stderr for the length of a block; if stderr is not a terminal, nothing is shown."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=STDERR,
            disable=not STDERR.is_terminal,
        )
        self._bars: dict[str, TaskID] = {}
        self._downloads = contextlib.ExitStack()

    def __enter__(self) -> Bars:
        self._progress.start()
        self._downloads.enter_context(showing_downloads(self._progress))
        return self

    def __exit__(self, *_: object) -> None:
        self._downloads.close()
        self._progress.stop()

    def on_weeks(self, weeks: list[str], num_steps: int) -> None:
        self._bars["weeks"] = self._progress.add_task(f"{len(weeks)} weeks", total=num_steps)

    def on_stage(self, week: str, stage: str, report: Report | None) -> None:
        outcome = "" if report is not None else " [red]failed[/]"
        self._progress.update(self._bars["weeks"], advance=1, description=f"{week} {stage}{outcome}")

    def on_server(self, text: str) -> None:
        if "server" not in self._bars:
            self._bars["server"] = self._progress.add_task("", total=None)
        self._progress.update(self._bars["server"], description=escape(_shortened(text)))

    def on_captions(self, num_done: int, num_all: int) -> None:
        if "captions" not in self._bars:
            self._bars["captions"] = self._progress.add_task("captions", total=num_all)
            self._first_caption = (time.monotonic(), num_done)
        started, num_before = self._first_caption
        seconds = time.monotonic() - started
        rate = f", {(num_done - num_before) / seconds:,.1f} a second" if seconds >= 1 else ""
        self._progress.update(self._bars["captions"], completed=num_done, total=num_all, description=f"captions{rate}")

    def on_dataset(self, name: str) -> None:
        self._bars["dataset"] = self._progress.add_task(f"dataset {escape(name)}", total=None)

    def on_dataset_weeks(self, num_done: int, num_weeks: int) -> None:
        self._progress.update(self._bars["dataset"], completed=num_done, total=num_weeks)

    def on_training(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        if "training" not in self._bars:
            self._bars["training"] = self._progress.add_task("training", total=num_steps)
        loss = values.get("loss")
        description = "training" if loss is None else f"training, loss {loss:.3f}"
        self._progress.update(self._bars["training"], completed=step, description=description)

    def on_evaluation(self, model: str) -> None:
        self._bars["evaluation"] = self._progress.add_task("evaluation", total=None)

    def on_evaluation_step(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        description = f"evaluation, {escape(str(values.get('doing', '')))}"
        self._progress.update(self._bars["evaluation"], completed=step, total=num_steps, description=description)


def _shortened(text: str, num_chars: int = 100) -> str:
    return text if len(text) <= num_chars else text[: num_chars - 1] + "…"


def counter(unit: str) -> Callable[[int, int], None]:
    """A function that shows progress in one line on stderr, called with the units done and the units in all."""

    def show(num_done: int, num_all: int) -> None:
        if STDERR.is_terminal:
            end = "\n" if num_done == num_all else "\r"
            STDERR.print(f"{num_done:,} of {num_all:,} {unit}", end=end, highlight=False)

    return show


@contextlib.contextmanager
def showing_downloads(progress: Progress) -> Iterator[None]:
    """One bar per download, in megabytes, for the length of a block."""
    has_ended = threading.Event()

    def watch() -> None:
        bars: dict[str, TaskID] = {}
        while not has_ended.wait(_POLL_S):
            downloads = {name: (num_bytes, total) for name, num_bytes, total in in_progress()}
            for name in bars.keys() - downloads.keys():
                progress.remove_task(bars.pop(name))
            for name, (num_bytes, total) in downloads.items():
                if name not in bars:
                    bars[name] = progress.add_task(f"{name}, MB")
                progress.update(bars[name], completed=num_bytes // _MB, total=None if total is None else total // _MB)

    thread = threading.Thread(target=watch, daemon=True)
    if not progress.disable:
        thread.start()
    try:
        yield
    finally:
        has_ended.set()
        if thread.is_alive():
            thread.join()
