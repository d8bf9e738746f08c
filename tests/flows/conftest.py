"""What the tests of the flows share: one Prefect server, and training without a process of its own."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from model import child_process
from patentdata.store.folder import DataFolder
from tests.flows.prefect_site import running_server
from tests.flows.walks import training_here


@pytest.fixture(scope="module", autouse=True)
def _training_here() -> Iterator[None]:
    """Training and evaluation run in the tests' own process; `child_processes` is for tests about the process."""
    with training_here():
        yield


@pytest.fixture
def child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and evaluation run in child processes, as they do for a user."""
    monkeypatch.setattr(child_process, "subprocess", subprocess)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server, to which the flows of this process report as well. Returns the address of its API."""
    with running_server(tmp_path_factory.mktemp("prefect")) as api_url, temporary_settings({PREFECT_API_URL: api_url}):
        yield api_url
        APILogWorker.drain_all()  # what is still to be sent, while there is a server for it
        EventsWorker.drain_all()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server on the loopback, which this process and its children find by their environment. Returns "s3://"."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield "s3://"
        DataFolder("s3://any").fs.clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3_server: str) -> str:
    """Address of an empty folder in a bucket of its own."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    DataFolder(f"{s3_server}{name}").fs.mkdir(name)
    return f"{s3_server}{name}/data"
