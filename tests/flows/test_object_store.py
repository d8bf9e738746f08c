"""The data folder on an object store: a real S3 server on the loopback."""

import pytest
from moto.server import ThreadedMotoServer

from flows.refresh import freeze
from flows.runners import WorkersConfig
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.dataset import DatasetConfig
from patentdata.folder import DataFolder
from tests.flows.walks import draw_archives


@pytest.fixture
def bucket(monkeypatch) -> str:
    """Address of an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"patents-{port}"  # the server's buckets outlive it within this process
    fs = DataFolder(f"s3://{name}").fs
    fs.mkdir(name)
    yield f"s3://{name}/data"
    fs.clear_instance_cache()
    server.stop()


def objects(folder: DataFolder) -> dict[str, bytes]:
    folder.fs.invalidate_cache()
    return {path.removeprefix(folder.root): folder.fs.cat_file(path) for path in folder.fs.find(folder.root)}


def walk(data_dir: str, source) -> DataFolder:
    workers = WorkersConfig(kind="threads", num_workers=2)
    outcomes = walk_weeks(WeeksConfig(data_dir=data_dir, source=str(source), workers=workers))
    assert [outcome.error for outcome in outcomes] == [None, None]
    folder = DataFolder(data_dir)
    freeze(folder, [outcome.week for outcome in outcomes], DatasetConfig())
    return folder


def test_an_object_store_holds_the_same_bytes_as_a_local_folder(bucket, tmp_path):
    source = draw_archives(tmp_path / "source", num_patents=3)
    remote = walk(bucket, source)
    assert objects(remote) == objects(walk(str(tmp_path / "data"), source))


def test_a_second_walk_on_an_object_store_writes_nothing(bucket, tmp_path):
    source = draw_archives(tmp_path / "source", num_patents=3)
    remote = walk(bucket, source)
    marks = {path: remote.fs.info(path)["LastModified"] for path in remote.fs.find(remote.root)}
    walk(bucket, source)
    remote.fs.invalidate_cache()
    assert {path: remote.fs.info(path)["LastModified"] for path in remote.fs.find(remote.root)} == marks
