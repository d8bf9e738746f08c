"""The data folder on an object store: a real S3 server on the loopback."""

import dataclasses
import json
import time

import pytest

from flows.evaluate import EvaluateConfig, evaluate
from flows.outcomes import WalkResult
from flows.refresh import refresh
from flows.retrain import RetrainConfig, retrain
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.captions.vllm.journal import journal_path
from patentdata.errors import OutputError
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from tasks.running.local_copies import local_copy, upload, working_folder
from tasks.running.runners import WorkersConfig
from tests.flows.programs import designclip, started
from tests.flows.walks import BESIDE_THE_RESULT, BRIEF_TRAINING, WEEKS, small_walk
from tests.patentdata.captions.vllm.endpoint import Endpoint


def objects(folder: DataFolder) -> dict[str, bytes]:
    folder.fs.invalidate_cache()
    return {path.removeprefix(folder.root): folder.fs.cat_file(path) for path in folder.fs.find(folder.root)}


@pytest.fixture(scope="module")
def remote(drawn_weeks, s3_server, tmp_path_factory) -> tuple[DataFolder, WalkResult, dict[str, bytes]]:
    """A data folder on the store after a whole walk by one machine, the walk's result, and what the store holds."""
    folder = DataFolder(f"{s3_server}walked/data")
    folder.fs.mkdir("walked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DESIGNCLIP_CACHE", str(tmp_path_factory.mktemp("one-machine")))
        result = refresh.fn(small_walk(drawn_weeks, folder.url))
    return folder, result, objects(folder)


def without_speeds(files: dict[str, bytes]) -> dict[str, bytes]:
    """All but how fast a run went, the checkpoints, which stay on the machine that trained, and locks."""
    apart = (*BESIDE_THE_RESULT, ".lock")
    return {path: data for path, data in files.items() if not path.endswith(apart) and "/checkpoints/" not in path}


def test_the_whole_walk_on_an_object_store_leaves_the_bytes_of_a_local_one(remote, walked):
    _, result, there = remote
    assert result.evaluation is not None
    assert without_speeds(there) == without_speeds(objects(DataFolder(walked[0])))
    assert {"/runs/designs/training.json", "/runs/designs/evaluation.json", "/runs/designs/report.html"} <= there.keys()


def test_a_second_walk_by_another_machine_trains_nothing_and_writes_nothing(remote, drawn_weeks, monkeypatch, tmp_path):
    folder, result, _ = remote
    before = times_on_store(folder)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "another machine"))
    assert refresh.fn(small_walk(drawn_weeks, folder.url)).training == result.training
    assert times_on_store(folder) == before


def times_on_store(folder: DataFolder) -> dict[str, object]:
    folder.fs.invalidate_cache()
    return {path: folder.fs.info(path)["LastModified"] for path in folder.fs.find(folder.root)}


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
    write_week(tmp_path / "source", WEEKS[0], SpecimenConfig(num_patents=2))
    remote, local = (split_week(data_dir, tmp_path / "source") for data_dir in (bucket, str(tmp_path / "data")))
    settings = tmp_path / "settings.toml"
    settings.write_text("[weeks.captions.requests]\nnum_in_flight = 1\n")
    with Endpoint(delay_s=0.2) as endpoint:
        config = CaptionsConfig(captioner="vllm", endpoints=(endpoint.url,))
        command = ("captions", "-d", bucket, "-c", settings, "--endpoint", endpoint.url)
        with started(designclip, *command, log=tmp_path / "log") as client:
            while client.is_alive() and endpoint.num_asked < 5:
                time.sleep(0.01)
            with pytest.raises(OutputError, match=r"another run is writing to .*, process \d+; wait for it"):
                remote.locked().__enter__()
            client.kill()
            client.join()
        with remote.locked():
            pass  # the lock of a killed process of this machine does not hold
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
    monkeypatch.setattr("patentdata.store.folder._UPLOAD_BYTES", 5 << 20)
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


def test_a_model_is_trained_promoted_and_measured_on_an_object_store(remote, tmp_path, monkeypatch):
    folder, _, _ = remote
    walk_config = small_walk(None, folder.url)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "one machine"))
    config = RetrainConfig(data_dir=folder.url, training=BRIEF_TRAINING, evaluation=walk_config.evaluation)
    trained = retrain.fn(config)
    assert trained.state == "promoted"
    there = objects(folder)
    run = trained.decision.run
    assert {"/models/champion.json", f"/models/{trained.decision.model}/open_clip_config.json"} <= there.keys()
    assert {f"/runs/{run}/training.json", f"/runs/{run}/gate/evaluation.json"} <= there.keys()
    assert not any("/checkpoints/" in path for path in there)

    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "another machine"))
    assert retrain.fn(config).state == "nothing_new"
    again = retrain.fn(dataclasses.replace(config, min_new_patents=0))
    assert (again.state, again.why) == (trained.state, trained.why)  # decided once, taken over from the store
    measured = evaluate.fn(
        EvaluateConfig(data_dir=folder.url, model=run, run_name="again", evaluation=walk_config.evaluation)
    )
    after = objects(folder)
    assert json.loads(after["/runs/again/evaluation.json"]) == measured
    assert {path: after[path] for path in there} == there
