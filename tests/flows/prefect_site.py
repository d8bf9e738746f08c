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
POOLS = ("cpu", "gpu")

ValueT = TypeVar("ValueT")


@dataclass
class Site:
    """A folder where a server, workers and runs live.

    Attributes:
        folder: Contains `prefect.yaml`; the working folder of every run.
        api_url: Address of the server's API.
        programs: Name → process started here.
    """

    folder: Path
    api_url: str
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api_url,
            "PWD": str(self.folder),  # as a shell sets it; prefect.yaml asks for it
            # With a file, requests that were cancelled can leave connections whose writes fail: "database is locked".
            "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///file::memory:?cache=shared&uri=true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
        }

    def prefect(self, *arguments: str) -> None:
        """Run a command of Prefect to its end; if it fails, its output is the message."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"prefect {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of Prefect that does not end by itself; its log is `NAME.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.programs[name]

    def start_worker(self, pool: str) -> subprocess.Popen[bytes]:
        """Start a worker of a pool, which it creates if there is none."""
        return self.start(f"worker-{pool}", "worker", "start", "--pool", pool, "--type", "process")

    def post(self, path: str, **values: Any) -> Any:
        """Ask the server's API."""
        answer = requests.post(f"{self.api_url}{path}", json=values, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        """Read from the server's API; None if there is no such thing."""
        answer = requests.get(f"{self.api_url}{path}", timeout=60)
        if answer.status_code == requests.codes.not_found:
            return None
        answer.raise_for_status()
        return answer.json()

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """Have a deployment "flow/name" run now, as `prefect deployment run` does. Returns the flow run."""
        deployed = self.get(f"/deployments/name/{deployment}")
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        return self.post(f"/deployments/{deployed['id']}/create_flow_run", state=state, parameters=parameters)

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
        """The first value that `ask` returns; if none comes in time, the logs are the message."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            with contextlib.suppress(requests.RequestException):
                if (value := ask()) is not None:
                    return value
            time.sleep(0.2)
        raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}\n{self.logs()}")

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """Kill every program and all that it started."""
        for program in self.programs.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                family = psutil.Process(program.pid)
                for process in [*family.children(recursive=True), family]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            program.wait(30)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Address of the API of a Prefect server with an empty database in a folder, for the length of a block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = Site(folder, f"http://127.0.0.1:{port}/api")
    try:
        site.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        site.wait_for("the server", lambda: requests.get(f"{site.api_url}/health", timeout=5).ok or None)
        yield site.api_url
    finally:
        site.stop()


@contextlib.contextmanager
def deployed(api_url: str, folder: Path, change: Callable[[dict[str, Any]], None]) -> Iterator[Site]:
    """The deployments of the project's `prefect.yaml` on a server, and a worker for each of their pools.

    Args:
        api_url: Address of the server's API. Deployments and automations are removed again at the end.
        folder: Where the runs work.
        change: May change the values of `prefect.yaml` before they are deployed.
    """
    values = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    change(values)
    (folder / "prefect.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    site = Site(folder, api_url)
    try:
        for pool in POOLS:
            site.start_worker(pool)
        for pool in POOLS:
            site.wait_for(f"the pool {pool}", lambda pool=pool: site.get(f"/work_pools/{pool}"))
        site.prefect("--no-prompt", "deploy", "--all")
        yield site
    finally:
        site.stop()
        for kind in ("automations", "deployments"):
            for one in site.post(f"/{kind}/filter"):
                requests.delete(f"{api_url}/{kind}/{one['id']}", timeout=60)
