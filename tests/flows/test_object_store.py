"""The data folder on an object store: a real S3 server on the loopback."""

import subprocess
import sys
import time

import pytest
from moto.server import ThreadedMotoServer

from flows.refresh import refresh
from flows.steps import freeze
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.captions.vllm.journal import journal_path
from patentdata.dataset.stage import DatasetConfig
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from tasks.running.local_copies import local_copy, upload, working_folder
from tasks.running.runners import WorkersConfig
from tests.flows.walks import BESIDE_THE_RESULT, WEEKS, draw_archives, small_walk
from tests.patentdata.captions.vllm.endpoint import Endpoint


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


def without_speeds(files: dict[str, bytes]) -> dict[str, bytes]:
    """All but how fast a run went, the checkpoints, which stay on the machine that trained, and locks."""
    apart = (*BESIDE_THE_RESULT, ".lock")
    return {path: data for path, data in files.items() if not path.endswith(apart) and "/checkpoints/" not in path}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_walk_on_an_object_store_leaves_the_bytes_of_a_local_one(bucket, tmp_path, monkeypatch):
    source = draw_archives(tmp_path / "source", num_patents=6)
    local = DataFolder(tmp_path / "data")
    refresh.fn(small_walk(source, tmp_path / "data"))
    remote = DataFolder(bucket)
    result = refresh.fn(small_walk(source, bucket))
    assert result.evaluation is not None
    there = without_speeds(objects(remote))
    assert there == without_speeds(objects(local))
    assert {"/runs/designs/training.json", "/runs/designs/evaluation.json", "/runs/designs/report.html"} <= there.keys()
    before = objects(remote)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "another machine"))
    assert refresh.fn(small_walk(source, bucket)).training == result.training
    assert objects(remote) == before  # nothing is trained again where the store has the run


def test_a_run_is_put_back_file_by_file_and_its_marks_at_the_end(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    folder = DataFolder(bucket)
    here = working_folder(folder, "runs", "designs")
    (here / "checkpoints").mkdir(parents=True)
    for name in ("training.json", "model.bin", "checkpoints/1.pt"):
        (here / name).write_text(name)
    put: list[str] = []
    writing = DataFolder.writing

    def noted(self, path):
        put.append(path.rpartition("/")[2])
        return writing(self, path)

    monkeypatch.setattr(DataFolder, "writing", noted)
    upload(here, folder, "runs", "designs")
    assert put == ["model.bin", "training.json"]
    (here / "model.bin").write_text("another")
    (here / "training.json").unlink()
    upload(here, folder, "runs", "designs")
    assert put == ["model.bin", "training.json", "model.bin"]
    assert {path: content.decode() for path, content in objects(folder).items()} == {
        "/runs/designs/model.bin": "another"
    }


def test_a_copy_follows_its_store_and_fetches_only_what_is_new(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    folder = DataFolder(bucket)
    for name in ("a.bin", "b.bin"):
        folder.write_json(folder.path("datasets", "designs", name), name)
    here = local_copy(folder, "datasets", "designs")
    untouched = (here / "b.bin").stat().st_mtime_ns
    folder.write_json(folder.path("datasets", "designs", "a.bin"), "c.bin")
    folder.write_json(folder.path("datasets", "designs", "more", "d.bin"), "d")
    local_copy(folder, "datasets", "designs")
    assert (here / "a.bin").read_text() == '"c.bin"\n' and (here / "more" / "d.bin").is_file()
    assert (here / "b.bin").stat().st_mtime_ns == untouched
    folder.remove(folder.path("datasets", "designs", "b.bin"))
    assert not (local_copy(folder, "datasets", "designs") / "b.bin").exists()


def split_week(data_dir: str, source) -> DataFolder:
    """A data folder with one week up to its views."""
    wanted = ("archives", "grants", "views")
    workers = WorkersConfig(kind="threads", num_workers=1)
    (outcome,) = walk_weeks(WeeksConfig(data_dir=data_dir, source=str(source), only_stages=wanted, workers=workers))
    assert outcome.error is None
    return DataFolder(data_dir)


def test_captions_by_a_model_killed_half_way_go_on_from_the_journal_of_this_machine(bucket, tmp_path):
    write_week(tmp_path / "source", WEEKS[0], SpecimenConfig(num_patents=3))
    remote, local = (split_week(data_dir, tmp_path / "source") for data_dir in (bucket, str(tmp_path / "data")))
    settings = tmp_path / "settings.toml"
    settings.write_text("[weeks.captions.requests]\nnum_in_flight = 1\n")
    with Endpoint(delay_s=0.5) as endpoint:
        config = CaptionsConfig(captioner="vllm", endpoints=(endpoint.url,))
        command = [sys.executable, "-m", "flows.cli", "captions", "-d", bucket, "-c", str(settings)]
        with subprocess.Popen([*command, "--endpoint", endpoint.url], stderr=subprocess.DEVNULL) as client:
            while client.poll() is None and endpoint.num_asked < 5:
                time.sleep(0.01)
            client.kill()
        assert remote.names("captions") == []
        num_kept = journal_path(remote, WEEKS[0]).read_bytes().count(b"\n")
        assert num_kept >= 3
        endpoint.delay_s = endpoint.num_asked = 0
        num_views = caption_views(remote, WEEKS[0], config).tally("views").num_in
        assert endpoint.num_asked == num_views - num_kept
        caption_views(local, WEEKS[0], config)
    written = {path: content for path, content in objects(local).items() if not path.endswith(".lock")}
    assert objects(remote) == written
    assert not list(remote.local_cache_dir("captions").glob("*.journal"))


@pytest.mark.parametrize("num_bytes", [0, 1_000, 12 << 20])
def test_an_object_appears_whole_or_not_at_all(bucket, monkeypatch, num_bytes):
    monkeypatch.setattr("patentdata.store.folder._PUT_BYTES", 5 << 20)
    folder, data = DataFolder(bucket), bytes(range(256)) * (num_bytes // 256)
    path = folder.path("archives", "I20240102.tar")

    def copy_half(source, target, _length):
        target.write(source.read()[: len(data) // 2])
        raise OSError("the connection was cut")

    with monkeypatch.context() as broken:
        broken.setattr("patentdata.store.folder.shutil.copyfileobj", copy_half)
        with pytest.raises(OSError, match="the connection was cut"), folder.writing(path) as file:
            file.write(data)
    assert objects(folder) == {}
    with folder.writing(path) as file:
        file.write(data)
    assert objects(folder) == {"/archives/I20240102.tar": data}
