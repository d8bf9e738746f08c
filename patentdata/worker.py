"""Worker processes of a walk: only the process that started one stops it, and it ends when that process does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def prepare_worker() -> None:
    """Called once in a new worker.

    Ctrl-C reaches every process of a terminal; the one that started this worker ends it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Have this process end as soon as the one that started it has ended; for children of `multiprocessing` alone.

    If that one is killed, a worker would wait for work for ever, or write on while another run begins. Files appear
    whole or not at all, so nothing is lost.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
