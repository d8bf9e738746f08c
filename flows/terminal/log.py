"""The log of our packages on the terminal: warnings always, decisions with --verbose.

Decisions are logged at INFO: what is skipped because it is done, retried, taken over, promoted. They are printed on the
same console as the progress bars, which stay below them. Worker processes send their records through a pipe, since what
they print themselves would break the bars. Records do not reach the root logger while a command runs: Prefect attaches
its own console handler there, which would print each of them a second time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from flows.terminal.output import STDERR
from patentdata.worker import LOG_PIPE_VARIABLE

_PACKAGES = ("flows", "tasks", "patentdata", "model")


class TerminalHandler(logging.Handler):
    """Prints records on stderr as sentences, each in one line that a terminal may wrap.

    Args:
        verbose: Print decisions and tracebacks too, and the time of each record.
    """

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(logging.INFO if verbose else logging.WARNING)
        self.is_verbose = verbose

    def make_verbose(self) -> None:
        """Print decisions and tracebacks too, from now on."""
        self.is_verbose = True
        self.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            STDERR.print(self._line_of(record), soft_wrap=True, highlight=False)
        except Exception:
            self.handleError(record)

    def _line_of(self, record: logging.LogRecord) -> Text:
        line = Text()
        if self.is_verbose:
            line.append(f"{logging.Formatter().formatTime(record, '%H:%M:%S')} ", style="dim")
        if record.levelno >= logging.ERROR:
            line.append("error: ", style="bold red")
        elif record.levelno >= logging.WARNING:
            line.append("warning: ", style="yellow")
        line.append(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            line.append(_describe(record.exc_info[1], with_traceback=self.is_verbose))
        return line


@contextlib.contextmanager
def log_on_terminal(*, verbose: bool) -> Iterator[TerminalHandler]:
    """Print the log of our packages, of this process and of workers that it starts, for the length of a block."""
    handler = TerminalHandler(verbose=verbose)
    loggers = [logging.getLogger(package) for package in _PACKAGES]
    did_propagate = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    try:
        with _receiving_from_workers():
            yield handler
    finally:
        for logger, propagate in zip(loggers, did_propagate, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate


@contextlib.contextmanager
def _receiving_from_workers() -> Iterator[None]:
    """Take in the log of worker processes, which find the pipe in their environment."""
    before = os.environ.get(LOG_PIPE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="designclip-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "log"
        os.mkfifo(path, mode=0o600)
        with os.fdopen(os.open(path, os.O_RDWR), "r+b", buffering=0) as pipe:  # so it is open as long as it is read
            reader = threading.Thread(target=_handle_lines, args=(path,), daemon=True)
            reader.start()
            os.environ[LOG_PIPE_VARIABLE] = str(path)
            try:
                yield
            finally:
                os.environ.pop(LOG_PIPE_VARIABLE)
                if before is not None:
                    os.environ[LOG_PIPE_VARIABLE] = before
                pipe.write(b"\n")  # after what workers wrote
                reader.join()


def _handle_lines(path: Path) -> None:
    """Handle the records on a pipe, up to an empty line."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line == "\n":
                return
            with contextlib.suppress(ValueError):  # half a line, of a worker that was killed
                record = logging.makeLogRecord(json.loads(line))
                logging.getLogger(record.name).handle(record)


def _describe(error: BaseException, *, with_traceback: bool) -> str:
    if with_traceback:
        return "\n" + "".join(traceback.format_exception(error)).rstrip()
    return f": {type(error).__name__}: {error} (--verbose shows where)"
