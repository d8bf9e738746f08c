"""A Prefect server and workers as real processes, and the project deployed to them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests
import yaml

REPOSITORY = Path(__file__).parents[2]

ValueT = TypeVar("ValueT")


@dataclass
class Site:
    """A folder that a server, workers and runs live in.

    Attributes:
        folder: Holds `prefect.yaml`; the working folder of every run.
        api_url: Address of the server's API.
        programs: Name → process started here.
    """

    folder: Path
    api_url: str = ""
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api_url,
            "PWD": str(self.folder),  # as a shell says it; prefect.yaml asks for it
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
        }

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of Prefect to its end; its output is the message where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"prefect {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of Prefect that goes on; its log is `NAME.log`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.programs[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.programs[name]

    def post(self, path: str, **values: Any) -> Any:
        """Ask the server's API."""
        answer = requests.post(f"{self.api_url}{path}", json=values, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Runs of a deployment "flow/name", the latest first."""
        flow, _, name = deployment.partition("/")
        return self.post(
            "/flow_runs/filter",
            sort="START_TIME_DESC",
            flows={"name": {"any_": [flow]}},
            deployments={"name": {"any_": [name]}},
        )

    def wait_for(self, what: str, ask: Callable[[], ValueT | None], *, timeout_s: float = 400) -> ValueT:
        """The first value that `ask` gives; where none comes in time, the logs are the message."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            with contextlib.suppress(requests.RequestException):
                if (value := ask()) is not None:
                    return value
            time.sleep(0.5)
        raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}\n{self.logs()}")

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """End every program and all that it started."""
        for program in self.programs.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                family = psutil.Process(program.pid)
                for process in [*family.children(recursive=True), family]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            program.wait(30)


@contextlib.contextmanager
def prefect_site(folder: Path, change: Callable[[dict[str, Any]], None]) -> Iterator[Site]:
    """A server with two pools, a worker each, and the deployments of the project's `prefect.yaml`.

    Args:
        folder: Where everything lies; empty.
        change: May change the values of `prefect.yaml` before they are deployed.
    """
    values = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    change(values)
    (folder / "prefect.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = Site(folder, f"http://127.0.0.1:{port}/api")
    try:
        site.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        site.wait_for("the server", lambda: requests.get(f"{site.api_url}/health", timeout=5).ok or None)
        for pool in ("cpu", "gpu"):
            site.prefect("work-pool", "create", pool, "--type", "process")
        site.prefect("--no-prompt", "deploy", "--all")
        for pool in ("cpu", "gpu"):
            site.start(f"worker-{pool}", "worker", "start", "--pool", pool)
        yield site
    finally:
        site.stop()
