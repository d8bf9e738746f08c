"""Worker processes of a walk: only the process that started one stops it, and it ends when that process does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def prepare_worker() -> None:
    """Prepare a new worker process; to be called once, in it.

    Ctrl-C reaches every process of a terminal, so the worker ignores it: the process that started it stops it. If that
    process is killed, the worker would wait for work for ever, or still write while the next run begins, so it ends at
    once. Files appear whole or not at all, so nothing is lost.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
