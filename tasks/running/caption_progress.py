"""How far the captions of a walk have come."""

from __future__ import annotations

import contextlib
import contextvars
import datetime
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext

from patentdata.captions.vllm.journal import journal_path
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import table_path
from tasks.running.progress import listener

_ARTIFACT_EVERY_S = 5.0

_LOOK_EVERY_S = 1.0


def pace_in_words(num_done: int, num_left: int, seconds: float) -> str:
    """The rate so far and the time that the rest takes at that rate; empty before it is known.

    >>> pace_in_words(300, 1_000, 60)
    ', 5.0 a second, 0:03:20 left'
    """
    if seconds < 1 or not num_done:
        return ""
    rate = num_done / seconds
    left = f", {datetime.timedelta(seconds=round(num_left / rate))} left" if num_left else ""
    return f", {rate:,.1f} a second{left}"


class CaptionArtifact:
    """The progress of captions as an artifact of the flow run; outside of one, nothing is shown."""

    def __init__(self) -> None:
        self._id: UUID | None = None
        self._updated_at = 0.0
        self._shown: float | None = None
        self._began: tuple[float, int] | None = None  # time of the first update, and how many were done by then
        self._is_in_run = FlowRunContext.get() is not None

    def update(self, num_done: int, num_all: int) -> None:
        """Show views done, their rate and the time left: every few seconds, and the end at once."""
        percent = 100 * num_done / num_all if num_all else 0.0
        self._began = self._began or (time.monotonic(), num_done)
        is_early = num_done < num_all and time.monotonic() - self._updated_at < _ARTIFACT_EVERY_S
        if not self._is_in_run or percent == self._shown or (is_early and self._id is not None):
            return
        seconds, num_since = time.monotonic() - self._began[0], num_done - self._began[1]
        pace = pace_in_words(num_since, num_all - num_done, seconds)
        described = f"Captions: {num_done:,} of {num_all:,} views{pace}"
        if self._id is None:
            self._id = create_progress_artifact(percent, key="captions", description=described)  # type: ignore[assignment]
        else:
            update_progress_artifact(self._id, percent, description=described)
        self._updated_at, self._shown = time.monotonic(), percent


class CaptionProgress:
    """How many views of the weeks in progress, and of those that are done, have their captions.

    It is read from the journals, so that workers in other processes count as well. A journal on another machine cannot
    be read; its week counts once it is done.
    """

    def __init__(self, folder: DataFolder, report: Callable[[int, int], None]) -> None:
        self._folder, self._report = folder, report
        self._lock = threading.Lock()
        self._num_views: dict[str, int] = {}
        self._journals: dict[str, LineCount] = {}
        self._num_done = 0

    @contextlib.contextmanager
    def of(self, week: str) -> Iterator[None]:
        """Count a week as in progress for the length of a block, and as done after it."""
        with open_table(self._folder, table_path(self._folder, "views", week)) as table:
            num_views = table.metadata.num_rows
        with self._lock:
            self._num_views[week] = num_views
            self._journals[week] = LineCount(journal_path(self._folder, week))
        try:
            yield
        finally:
            with self._lock:
                del self._journals[week]
                self._num_done += num_views
            self.look()

    def look(self) -> None:
        """Report the progress so far, unless there is no week yet."""
        with self._lock:
            if not self._num_views:
                return
            under_way = sum(min(count.read(), self._num_views[week]) for week, count in self._journals.items())
            self._report(self._num_done + under_way, sum(self._num_views.values()))


class LineCount:
    """Counts the lines of a growing file, reading only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = self._num = 0

    def read(self) -> int:
        """Lines so far; 0 before there is a file."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            if self._path.stat().st_size < self._at:
                self._at = self._num = 0
            file.seek(self._at)
            while chunk := file.read(1 << 20):
                self._at += len(chunk)
                self._num += chunk.count(b"\n")
        return self._num


@contextlib.contextmanager
def watching(folder: DataFolder) -> Iterator[CaptionProgress]:
    """Report to the listener and to Prefect every second how far captions have come."""
    artifact, to = CaptionArtifact(), listener()

    def report(num_done: int, num_all: int) -> None:
        to.on_captions(num_done, num_all)
        artifact.update(num_done, num_all)

    progress = CaptionProgress(folder, report)
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_S):
            progress.look()

    context = contextvars.copy_context()
    watcher = threading.Thread(target=context.run, args=(watch,), name="caption progress", daemon=True)
    watcher.start()
    try:
        yield progress
    finally:
        is_over.set()
        watcher.join()
        progress.look()
