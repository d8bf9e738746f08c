"""What the tests of the flows share: one Prefect server, and training without a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness

from model import child_process
from tests.flows.walks import training_here


@pytest.fixture(scope="module", autouse=True)
def _training_here() -> Iterator[None]:
    """Training and evaluation run in the tests' own process; `child_processes` is for tests about the process."""
    with training_here():
        yield


@pytest.fixture
def child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and evaluation run in child processes, as they do for a user."""
    import subprocess

    monkeypatch.setattr(child_process, "subprocess", subprocess)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary server with a database of its own."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
