"""A Dask scheduler and workers as processes of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from distributed import Client


@contextlib.contextmanager
def dask_cluster(num_workers: int, log_dir: Path) -> Iterator[str]:
    """Address of a scheduler with workers of one thread each; all end with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    quiet = ["--no-dashboard", "--host", "127.0.0.1"]
    commands = [["scheduler", "--port", str(port), *quiet]]
    commands += [["worker", address, "--nthreads", "1", "--no-nanny", *quiet]] * num_workers
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((log_dir / "dask.log").open("wb"))
        for command in commands:
            program = subprocess.Popen([sys.executable, "-m", "dask", *command], stdout=log, stderr=log)
            stack.callback(program.wait, 30)
            stack.callback(program.kill)
        with Client(address, timeout=120) as client:
            client.wait_for_workers(num_workers, timeout=120)
        yield address
