"""Worker processes of a walk: only the process that started one stops it, and it ends when that process does."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading

LOG_PIPE_VARIABLE = "DESIGNCLIP_LOG_PIPE"  # names the pipe on which a command receives the log of its workers
_PACKAGES = ("tasks", "patentdata", "model")
_LONGEST_MESSAGE = 900  # characters; lines of up to 4,096 bytes are never mixed with those of other processes


def prepare_worker() -> None:
    """Called once in a new worker.

    Ctrl-C reaches every process of a terminal; the one that started this worker ends it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    log_to_command()


def log_to_command() -> None:
    """Send the log of this process to the command that started it; if no command did, nothing changes.

    A command prints its log above its progress bars, which lines from other processes would break.
    """
    path = os.environ.get(LOG_PIPE_VARIABLE)
    if path is None or multiprocessing.parent_process() is None:
        return
    handler = _PipeHandler(path, mode="w")
    handler.setFormatter(_JsonLines())
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # on the root logger Prefect prints, if it is imported here


class _PipeHandler(logging.FileHandler):
    """Writes to a pipe, as long as somebody reads it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging gives it
        """Drop the record: the command has ended, and so will this process."""


class _JsonLines(logging.Formatter):
    """A record as one line of JSON, its message and traceback as text; `logging.makeLogRecord` takes it."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)[:_LONGEST_MESSAGE]
        values = {"name": record.name, "levelno": record.levelno, "created": record.created, "msg": message}
        return json.dumps(values, ensure_ascii=False)


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
