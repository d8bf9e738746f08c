"""An object store that goes away for a moment."""

import pickle
import threading
import time

import pytest
import s3fs.core
from botocore.exceptions import EndpointConnectionError
from moto.server import ThreadedMotoServer

from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def store(monkeypatch):
    """A function that starts the store, always at the same address, and returns what stops it."""
    monkeypatch.setattr(s3fs.core, "S3_RETRYABLE_ERRORS", s3fs.core.S3_RETRYABLE_ERRORS)  # waiting adds to them
    servers = []

    def start(port=0):
        servers.append(ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False))
        servers[-1].start()
        return servers[-1]

    server = start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    DataFolder("s3://any").fs.clear_instance_cache()
    yield server, lambda: start(port)
    servers[-1].stop()
    DataFolder("s3://any").fs.clear_instance_cache()


def test_a_run_and_its_workers_wait_for_a_store_that_is_away_and_nobody_else_does(store):
    server, start_again = store
    folder = DataFolder("s3://outages/data")
    with folder.locked():
        folder.write_json(folder.path("grants", "a.json"), 1)
        in_worker = pickle.loads(pickle.dumps(folder))
        server.stop()
        back = threading.Timer(1.5, start_again)
        back.start()
        started = time.monotonic()
        folder.write_json(folder.path("grants", "b.json"), 2)
        assert time.monotonic() - started > 1
        back.join()
        assert in_worker.read_json(folder.path("grants", "b.json")) == 2
    assert folder.names("grants") == ["a.json", "b.json"] and not folder.exists(folder.path(".lock"))


def test_a_store_that_was_never_reached_is_an_error_in_one_sentence(store, monkeypatch):
    folder = DataFolder("s3://outages/data")
    tries = []

    def unreachable(*_args, **_options):
        tries.append(folder.fs.retries)
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    monkeypatch.setattr(folder.fs, "makedirs", unreachable)
    with pytest.raises(OutputError, match=r"cannot write to outages/data: .*127\.0\.0\.1:9"):
        folder.locked().__enter__()
    assert tries == [type(folder.fs).retries]
