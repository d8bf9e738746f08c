"""What workers do in the tests of the runners: in a module that a worker process imports in no time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from patentdata.errors import SourceError


def double(value: int) -> int:
    return 2 * value


def be_killed(value: int) -> int:
    """As the system does to a process where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def refuse(value: int) -> int:
    raise SourceError(f"no {value}")


def appear(path: Path) -> None:
    """Wait until a file is there."""
    while not path.exists():
        time.sleep(0.01)
