"""Things that are expensive to make and never changed: made once per test run, whichever worker asks first."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

ResultT = TypeVar("ResultT")


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], ResultT]
) -> tuple[Path, ResultT]:
    """A folder that all workers of a test run share, and what making it returned. No test may write to it.

    Args:
        tmp_path_factory: That of the session.
        name: Name of the folder, one for each thing.
        make: Fills the folder, which exists and is empty. Its result must be picklable.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # a worker has a folder of its own within that of the run
    folder, result = root / f"shared-{name}", root / f"shared-{name}.pickle"
    with FileLock(root / f"shared-{name}.lock"):
        if not result.exists():
            folder.mkdir()
            result.write_bytes(pickle.dumps(make(folder)))
        return folder, pickle.loads(result.read_bytes())
