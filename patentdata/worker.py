"""A worker process of a walk: it leaves being stopped to the process that started it, and ends when that one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def prepare_worker() -> None:
    """Called once in a new worker.

    Ctrl-C reaches every process of a terminal; the one that started this worker ends it. Were that one killed, this
    worker would wait for work for ever, or write on while another run begins: so it ends too, at once. Files appear
    whole or not at all, so nothing is lost.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
