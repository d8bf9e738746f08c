"""How the library reports what it does: progress to a function, and the log of a child process to its caller.

Training and evaluation run in child processes. A child prints its log as JSON lines on its standard output, among those
of its progress, and the caller logs the same records. Without this, a warning of a training run would be lost among the
lines that are kept for an error message.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Progress = Callable[[int, int, dict[str, Any]], None]
"""Called with the units of work done, the units in all, and what belongs to them.

Training passes the metrics of each step. Everything else passes what is being counted, under "doing": "texts".
"""

_PACKAGE = "model"


class _LineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = {"log": {"name": record.name, "level": record.levelno, "message": record.getMessage()}}
        print(json.dumps(line), flush=True)


@contextlib.contextmanager
def log_to_stdout() -> Iterator[None]:
    """Print what this library logs, one JSON object a record, until the block ends."""
    logger, handler = logging.getLogger(_PACKAGE), _LineHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def log_again(values: Mapping[str, Any]) -> None:
    """Log a record that a child process has printed: the value of "log" in its line."""
    logging.getLogger(str(values["name"])).log(int(values["level"]), "%s", values["message"])
