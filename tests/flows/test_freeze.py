"""Freezing a dataset on workers: the same bytes wherever the weeks run, and after any stop."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from flows.steps import freeze
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import weeks_of
from tasks.running.progress import Listener, listening
from tasks.running.runners import WorkersConfig
from tests.flows.programs import started
from tests.flows.walks import hashes

pytestmark = pytest.mark.slow

CONFIG = DatasetConfig(split=SplitConfig(test_share=0.34, validation_share=0.1))
HERE = WorkersConfig(kind="threads", num_workers=1)


@pytest.fixture
def data_dir(walked, tmp_path):
    """A walked data folder whose dataset is not frozen."""
    shutil.copytree(walked[0], tmp_path / "data", ignore=shutil.ignore_patterns("datasets", "runs", ".lock"))
    return tmp_path / "data"


def freeze_all(data_dir: Path, workers: WorkersConfig) -> None:
    folder = DataFolder(data_dir)
    freeze(folder, weeks_of(folder, "captions"), CONFIG, workers)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_workers_of_any_kind_give_the_bytes_of_a_walk_with_one(walked, data_dir, kind):
    freeze_all(data_dir, WorkersConfig(kind=kind, num_workers=2))
    assert hashes(data_dir / "datasets") == hashes(walked[0] / "datasets")


def test_progress_is_reported_after_each_week(data_dir):
    heard = []

    class Ear(Listener):
        def on_dataset(self, name):
            heard.append(name)

        def on_dataset_weeks(self, num_done, num_weeks):
            heard.append((num_done, num_weeks))

    with listening(Ear()):
        freeze_all(data_dir, HERE)
        freeze_all(data_dir, HERE)
    assert heard == ["designs", (1, 2), (2, 2), "designs"]


@pytest.mark.parametrize("sign", [".near_duplicates/pairs.parquet", "*.parquet"])
def test_a_freeze_that_is_killed_and_run_again_gives_the_same_bytes(walked, data_dir, tmp_path, sign):
    """The first sign comes before any week is frozen, the second in the middle of the weeks."""
    two_processes = WorkersConfig(kind="processes", num_workers=2)
    with started(freeze_all, data_dir, two_processes, log=tmp_path / "log") as run:
        while not list((data_dir / "datasets").glob(f"designs/{sign}")):
            assert run.is_alive(), (tmp_path / "log").read_text()
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGKILL)
        run.join()
    assert not (data_dir / "datasets" / "designs" / "dataset.json").exists()
    freeze_all(data_dir, HERE)
    assert hashes(data_dir / "datasets") == hashes(walked[0] / "datasets")
