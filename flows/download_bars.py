"""Bars for the downloads of this machine, whichever process does them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.progress import Progress, TaskID

from patentdata.downloads import in_progress

_SECONDS_A_LOOK = 0.5
_MB = 1_000_000


@contextlib.contextmanager
def showing_downloads(progress: Progress) -> Iterator[None]:
    """One bar a download, in megabytes, for the length of a block."""
    is_over = threading.Event()

    def watch() -> None:
        bars: dict[str, TaskID] = {}
        while not is_over.wait(_SECONDS_A_LOOK):
            moving = {name: (num_bytes, total) for name, num_bytes, total in in_progress()}
            for name in bars.keys() - moving.keys():
                progress.remove_task(bars.pop(name))
            for name, (num_bytes, total) in moving.items():
                if name not in bars:
                    bars[name] = progress.add_task(f"{name}, MB")
                progress.update(bars[name], completed=num_bytes // _MB, total=None if total is None else total // _MB)

    thread = threading.Thread(target=watch, daemon=True)
    if not progress.disable:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if thread.is_alive():
            thread.join()
