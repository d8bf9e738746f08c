"""Weeks on a Dask cluster: a real scheduler and two worker processes."""

import dataclasses
import os
import shutil
import signal
import threading
import time

import dask
import pytest
from distributed import Client

from flows.refresh import refresh
from flows.steps import freeze
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.errors import PatentDataError
from patentdata.store.folder import DataFolder
from tasks.running.runners import WorkersConfig
from tests.flows.dask_cluster import dask_cluster
from tests.flows.walks import WEEKS, draw_archives, hashes, small_walk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(2, tmp_path_factory.mktemp("dask")) as address:
        yield address


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_archives(tmp_path_factory.mktemp("source"), num_patents=4)


def _kill_after_first_grants(pid: int, data_dir) -> threading.Thread:
    """Kill a process as soon as the first week of a data folder has its grants; the thread ends then."""

    def kill() -> None:
        while not list(data_dir.glob("grants/*.parquet")):
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    return killer


def _weeks(source, data_dir, workers: WorkersConfig) -> WeeksConfig:
    return WeeksConfig(data_dir=str(data_dir), source=str(source), workers=workers)


def test_a_dask_cluster_gives_the_same_bytes_as_this_machines_threads(cluster, source, tmp_path):
    here = walk_weeks(_weeks(source, tmp_path / "here", WorkersConfig(kind="threads", num_workers=2)))
    there = walk_weeks(_weeks(source, tmp_path / "there", WorkersConfig(kind="dask", dask_address=cluster)))
    assert [outcome.error for outcome in (*here, *there)] == [None] * 4
    assert hashes(tmp_path / "here") == hashes(tmp_path / "there")


def test_a_dataset_is_frozen_on_the_cluster_with_the_bytes_of_one_thread(cluster, walked, tmp_path):
    folder = DataFolder(tmp_path / "data")
    shutil.copytree(walked[0], folder.root, ignore=shutil.ignore_patterns("datasets", "runs", ".lock"))
    on_cluster = WorkersConfig(kind="dask", dask_address=cluster)
    freeze(folder, list(WEEKS), small_walk(None, folder.root).dataset, on_cluster)
    assert hashes(tmp_path / "data" / "datasets") == hashes(walked[0] / "datasets")


def test_a_flow_run_hands_its_weeks_to_the_cluster(cluster, source, tmp_path, prefect_server):
    config = small_walk(source, tmp_path / "flow", workers=WorkersConfig(kind="dask", dask_address=cluster))
    walk_weeks(_weeks(source, tmp_path / "here", WorkersConfig(kind="threads", num_workers=2)))
    refresh(dataclasses.replace(config, training=None))
    freeze(DataFolder(tmp_path / "here"), list(WEEKS), config.dataset, WorkersConfig(kind="threads", num_workers=2))
    for stage in ("archives", "grants", "views", "captions", "datasets"):
        assert hashes(tmp_path / "flow" / stage) == hashes(tmp_path / "here" / stage)


def test_a_broken_week_on_the_cluster_ends_alone_and_is_named(cluster, source, tmp_path):
    here = tmp_path / "source"
    here.mkdir()
    (here / "I20240102.tar").write_text("<html>")
    whole = next(path for path in source.iterdir() if path.suffix.lower() == ".zip")
    (here / whole.name).symlink_to(whole)
    outcomes = walk_weeks(_weeks(here, tmp_path / "data", WorkersConfig(kind="dask", dask_address=cluster)))
    assert [outcome.failed_stage for outcome in outcomes] == ["archives", None]
    assert "I20240102" in (outcomes[0].error or "")


def test_a_cluster_that_is_not_there_is_named_in_a_sentence(source, tmp_path):
    workers = WorkersConfig(kind="dask", dask_address="tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        pytest.raises(PatentDataError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
    ):
        walk_weeks(_weeks(source, tmp_path / "data", workers))


def test_a_worker_of_the_cluster_that_is_killed_costs_nothing(source, tmp_path):
    data_dir = tmp_path / "there"
    with dask_cluster(2, tmp_path) as address:
        with Client(address, timeout=120) as client:
            victim = min(client.run(os.getpid).values())

        killer = _kill_after_first_grants(victim, data_dir)
        there = walk_weeks(_weeks(source, data_dir, WorkersConfig(kind="dask", dask_address=address)))
        killer.join()
    walk_weeks(_weeks(source, tmp_path / "here", WorkersConfig(kind="threads", num_workers=2)))
    assert [outcome.error for outcome in there] == [None, None]
    assert hashes(tmp_path / "here") == hashes(data_dir)


def test_a_scheduler_that_is_lost_ends_the_run_in_a_sentence_and_the_next_one_heals(source, tmp_path):
    data_dir = tmp_path / "there"
    with dask_cluster(2, tmp_path) as address:
        with Client(address, timeout=120) as client:
            scheduler = client.run_on_scheduler(os.getpid)

        killer = _kill_after_first_grants(scheduler, data_dir)
        outcomes = walk_weeks(_weeks(source, data_dir, WorkersConfig(kind="dask", dask_address=address)))
        killer.join()
    lost = {outcome.error for outcome in outcomes if outcome.error}
    assert lost == {f"the Dask scheduler at {address} was lost; run again when it is back, and what is done stays"}
    for folder in (data_dir, tmp_path / "here"):
        walk_weeks(_weeks(source, folder, WorkersConfig(kind="threads", num_workers=2)))
    assert hashes(tmp_path / "here") == hashes(data_dir)
