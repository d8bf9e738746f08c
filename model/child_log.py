"""The log of a child process as JSON lines on its standard output, so that its caller can log the same records.

Without this, a warning of a training run would be lost among the lines that are kept for an error message.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

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
