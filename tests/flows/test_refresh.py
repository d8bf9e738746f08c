"""The walk as a whole, on a drawn week."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from flows.outcomes import WeeksFailedError
from flows.preflight.status import read_status
from flows.refresh import RefreshConfig, refresh
from flows.steps import freeze, train_and_measure
from flows.weeks import walk_weeks
from model.dataset.folder import open_dataset
from model.errors import ConfigError
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks
from patentdata.views.patent_views import ViewsConfig
from tasks.running.runners import WorkersConfig
from tests.flows.programs import started
from tests.flows.walks import WEEKS, hashes, small_walk, times

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(drawn_weeks) -> Path:
    return drawn_weeks


@pytest.fixture
def copied(walked, tmp_path) -> Path:
    """A copy of the walked data folder, to be disturbed; times of change are kept."""
    subprocess.run(["cp", "-a", f"{walked[0]}/.", str(tmp_path)], check=True)
    return tmp_path


def weekly(source: Path | None, data_dir: Path, **weeks: object) -> RefreshConfig:
    """Settings of a walk that ends with the dataset."""
    return dataclasses.replace(small_walk(source, data_dir, **weeks), training=None)


def changed_since(before: dict[str, int], data_dir: Path) -> set[str]:
    return {path for path, moment in times(data_dir).items() if before.get(path) != moment}


def test_every_stage_passes_its_work_to_the_next(walked):
    _, result = walked
    assert result.failures == []
    for outcome in result.weeks:
        reports = outcome.reports
        num_grants = reports["grants"].tally("grants").num_out
        assert reports["archives"].tally("members").num_out == num_grants == 4
        assert reports["views"].tally("sheets").num_in >= 4
        assert reports["captions"].tally("views").num_in > num_grants
    num_captions = sum(outcome.reports["captions"].tally("views").num_out for outcome in result.weeks)
    assert result.dataset.tally("views").num_in == num_captions
    assert result.evaluation["tasks"]["retrieval"]["tables"]["text_to_image"]["terms"]["num_queries"] > 0
    assert (Path(result.run_dir) / "report.html").is_file()


def test_worker_processes_give_the_bytes_of_threads(walked, source, tmp_path):
    workers = WorkersConfig(kind="processes", num_workers=2)
    outcomes = walk_weeks(weekly(source, tmp_path, workers=workers).weeks)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert _stage_hashes(tmp_path) == _stage_hashes(walked[0])


def test_a_second_run_does_no_work_and_changes_no_byte(copied, source):
    before, moments = hashes(copied), times(copied)
    refresh.fn(small_walk(source, copied))
    assert hashes(copied) == before
    assert changed_since(moments, copied) == set()


def test_without_its_source_a_data_folder_walks_on_from_what_it_keeps(copied, walked):
    moments = times(copied)
    result = refresh.fn(small_walk(None, copied))
    assert [outcome.week for outcome in result.weeks] == list(WEEKS)
    assert changed_since(moments, copied) == set()


@pytest.mark.parametrize("stage", ["archives", "grants", "views", "captions"])
@pytest.mark.parametrize("harm", ["delete", "flip", "truncate"])
def test_an_output_harmed_is_built_again_as_it_was(copied, source, stage, harm):
    before, moments = hashes(copied), times(copied)
    path = copied / stage / f"{WEEKS[0]}.{'tar' if stage == 'archives' else 'parquet'}"
    data = bytearray(path.read_bytes())
    if harm == "delete":
        path.unlink()
    elif harm == "flip":
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2])
    refresh.fn(weekly(source, copied))
    assert hashes(copied) == before
    of_the_stage = {f"{stage}/{path.name}", f"{stage}/{WEEKS[0]}.json"}
    assert f"{stage}/{path.name}" in changed_since(moments, copied) <= of_the_stage


def test_other_settings_of_a_stage_rebuild_it_and_what_comes_after_it(copied, source):
    moments = times(copied)
    config = weekly(source, copied, views=ViewsConfig(max_pixels=50_000_000))
    refresh.fn(config)
    changed = changed_since(moments, copied)
    assert {path.split("/")[0] for path in changed} == {"views", "captions", "datasets"}
    assert {f"views/{week}.parquet" for week in WEEKS} <= changed


def test_a_week_added_later_leaves_the_files_of_the_others_alone(source, tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    (first / f"{WEEKS[0]}.tar").symlink_to(source / f"{WEEKS[0]}.tar")
    config = weekly(first, tmp_path / "data")
    refresh.fn(config)
    moments = times(tmp_path / "data")
    refresh.fn(weekly(source, tmp_path / "data"))
    changed = changed_since(moments, tmp_path / "data")
    of_all_weeks = {"datasets/designs/dataset.json", "datasets/designs/.near_duplicates/pairs.parquet"}
    assert {path for path in changed if WEEKS[1] not in path} == of_all_weeks


def test_a_run_is_replaced_when_its_dataset_has_grown_but_not_by_one_with_other_settings(copied):
    config, folder = small_walk(None, copied), DataFolder(str(copied))
    run_dir = copied / "runs" / config.dataset.name
    before = hashes(run_dir)
    freeze(folder, [WEEKS[0]], config.dataset, config.weeks.workers)
    other = dataclasses.replace(config.training, seed=1)
    with pytest.raises(ConfigError, match="is a finished run with another dataset and seed 0, not 1; choose another"):
        train_and_measure(folder, config.dataset.name, run_dir, other, config.evaluation)
    assert hashes(run_dir) == before

    trained, measured = train_and_measure(folder, config.dataset.name, run_dir, config.training, config.evaluation)
    fingerprint = open_dataset(copied / "datasets" / config.dataset.name).fingerprint
    assert trained["dataset"]["fingerprint"] == measured["dataset"]["fingerprint"] == fingerprint
    assert json.loads((run_dir / "evaluation.json").read_text()) == measured and hashes(run_dir) != before


def test_a_broken_week_stops_no_other_and_heals_when_it_is_mended(source, walked, tmp_path):
    here = tmp_path / "source"
    here.mkdir()
    (here / f"{WEEKS[0]}.tar").write_text("<!DOCTYPE html><html>Sign in</html>")
    whole = next(path for path in source.iterdir() if path.suffix.lower() == ".zip")
    (here / whole.name).symlink_to(whole)
    data_dir = tmp_path / "data"
    with pytest.raises(WeeksFailedError, match=r"1 of 2 weeks failed.*I20240102 archives: .*web page, not an archive"):
        refresh.fn(weekly(here, data_dir))
    assert kept_weeks(DataFolder(data_dir)) == [WEEKS[1]]
    (here / f"{WEEKS[0]}.tar").write_bytes((source / f"{WEEKS[0]}.tar").read_bytes())
    result = refresh.fn(weekly(here, data_dir))
    assert result.failures == []
    assert _stage_hashes(data_dir) == _stage_hashes(walked[0])


def test_a_source_gone_bad_leaves_what_was_kept_of_it(copied, source, tmp_path_factory):
    here = tmp_path_factory.mktemp("source")
    (here / f"{WEEKS[0]}.tar").write_bytes((source / f"{WEEKS[0]}.tar").read_bytes()[:5000])
    before = _stage_hashes(copied)
    with pytest.raises(WeeksFailedError, match=r"I20240102 archives: .* is cut short"):
        refresh.fn(weekly(here, copied))
    assert _stage_hashes(copied) == before
    assert refresh.fn(weekly(None, copied)).failures == []


def test_a_stage_alone_refuses_inputs_that_are_stale(copied, source):
    other = dataclasses.replace(
        weekly(source, copied).weeks, only_stages=("views",), views=ViewsConfig(max_pixels=10**7)
    )
    (copied / "archives" / f"{WEEKS[0]}.tar").write_bytes((copied / "archives" / f"{WEEKS[1]}.tar").read_bytes())
    note = (copied / "archives" / f"{WEEKS[1]}.json").read_text()
    (copied / "archives" / f"{WEEKS[0]}.json").write_text(note)
    outcomes = walk_weeks(other)
    assert "grants/I20240102.parquet is stale; run again from the stage grants" in outcomes[0].error
    assert outcomes[1].error is None


def _stage_hashes(data_dir: Path) -> dict[str, str]:
    """Hashes of the weekly stages, but for the notes, which name the folder an archive came from."""
    stages_of_weeks = tuple(f"{stage}/" for stage in WEEKLY_STAGES)
    return {
        path: sha256
        for path, sha256 in hashes(data_dir).items()
        if path.startswith(stages_of_weeks) and not path.endswith(".json")
    }


def test_status_tells_what_is_done_stale_damaged_and_missing(copied):
    assert {stage.state for week in read_status(str(copied)) for stage in week.stages} == {"done"}
    (copied / "captions" / f"{WEEKS[0]}.parquet").unlink()
    (copied / "views" / f"{WEEKS[0]}.parquet").write_bytes(b"garbage")
    (copied / "grants" / f"{WEEKS[1]}.parquet").unlink()
    states = {week.week: [stage.state for stage in week.stages] for week in read_status(str(copied))}
    assert states == {
        WEEKS[0]: ["done", "done", "damaged", "missing"],
        WEEKS[1]: ["done", "missing", "stale", "stale"],
    }


def test_a_worker_killed_in_a_walk_costs_the_weeks_it_was_at_and_the_next_run_heals(source, walked, tmp_path):
    data_dir = tmp_path / "data"

    def kill_one() -> None:
        while not (data_dir / "grants" / f"{WEEKS[0]}.parquet").exists():
            time.sleep(0.002)
        for worker in multiprocessing.active_children()[:1]:
            worker.kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    workers = WorkersConfig(kind="processes", num_workers=2)
    outcomes = walk_weeks(weekly(source, data_dir, workers=workers).weeks)
    killer.join()
    assert all(outcome.error is None or "a worker process was killed" in outcome.error for outcome in outcomes)
    assert any(outcome.error for outcome in outcomes)
    refresh.fn(weekly(source, data_dir))
    assert hashes(data_dir) == {path: sha256 for path, sha256 in hashes(walked[0]).items() if path[:4] != "runs"}


def _walk(source: Path, data_dir: Path) -> None:
    refresh.fn(small_walk(source, data_dir))


# Files whose appearance says how far the walk has come.
_POINTS = (
    f"archives/.{WEEKS[0]}.tar.partial",
    f"grants/{WEEKS[0]}.parquet",
    f"views/.{WEEKS[1]}.parquet.partial",
    "datasets/designs",
    "runs/designs/metrics.jsonl",
)


@pytest.mark.parametrize("point", _POINTS)
def test_killed_at_any_point_and_run_again_the_bytes_are_the_same(source, walked, tmp_path, point):
    data_dir = tmp_path / "data"
    while not _is_killed_at(data_dir / point, source, data_dir, tmp_path / "log"):
        shutil.rmtree(data_dir)
    with_training = point.startswith("runs")
    refresh.fn(small_walk(source, data_dir) if with_training else weekly(source, data_dir))
    undisturbed = {path: sha256 for path, sha256 in hashes(walked[0]).items() if with_training or path[:4] != "runs"}
    assert hashes(data_dir) == undisturbed


def _is_killed_at(point: Path, source: Path, data_dir: Path, log: Path) -> bool:
    """Walk in another process and kill that as soon as a file appears; False if it was over before anyone looked."""
    with started(_walk, source, data_dir, log=log) as walk:
        while walk.is_alive() and not point.exists():
            time.sleep(0.002)
        assert walk.exitcode in (None, 0), log.read_text()
        is_killed = walk.exitcode is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(walk.pid, signal.SIGKILL)
    return is_killed
