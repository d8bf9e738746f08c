"""Gain from a second worker: a drawn month processed by two Dask workers, against one, in the same run.

    python -m bench.clusters [--patents N] [--weeks N]

Draws weeks of equal size, starts a Dask scheduler with worker processes of one thread each, takes the weeks to captions
in an empty data folder and freezes a dataset of them, once with one worker (the reference) and once
with two. Measures wall time, of the weekly stages and of the dataset. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from flows.steps import freeze
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.dataset.config import DatasetConfig
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import weeks_of
from tasks.running.runners import WorkersConfig
from tests.flows.dask_cluster import dask_cluster
from tests.flows.walks import hashes

_FIRST_DAY = datetime.date(2024, 1, 2)


class Seconds(NamedTuple):
    """Wall seconds of the weekly stages, and of the dataset."""

    walk: float
    freeze: float


def _walk(source: Path, folder: Path, num_workers: int) -> Seconds:
    """Wall seconds of processing all weeks, after a small week that warms the workers up."""
    data_dir = folder / f"data-{num_workers}"
    warm_up = folder / f"warm-{num_workers}"
    with dask_cluster(num_workers, folder) as address:
        workers = WorkersConfig(kind="dask", dask_address=address)
        # Imports, and loads models.
        walk_weeks(WeeksConfig(data_dir=str(warm_up), source=str(source / "warm"), workers=workers))
        _freeze(warm_up, workers)
        started = time.perf_counter()
        outcomes = walk_weeks(WeeksConfig(data_dir=str(data_dir), source=str(source), workers=workers))
        walked = time.perf_counter()
        assert all(outcome.error is None for outcome in outcomes), outcomes
        _freeze(data_dir, workers)
        return Seconds(walked - started, time.perf_counter() - walked)


def _freeze(data_dir: Path, workers: WorkersConfig) -> None:
    folder = DataFolder(data_dir)
    freeze(folder, weeks_of(folder, "captions"), DatasetConfig(), workers)


def measure(num_patents: int, num_weeks: int) -> dict[str, object]:
    """Draw the weeks, process them twice, and compare."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, source = Path(temporary), Path(temporary) / "source"
        for i in range(num_weeks + 2):
            week = f"I{_FIRST_DAY + datetime.timedelta(weeks=i):%Y%m%d}"
            is_warm_up = i >= num_weeks
            config = SpecimenConfig(
                num_patents=2 if is_warm_up else num_patents, first_number=900_001 + i * num_patents, workers=2
            )
            write_week(source / "warm" if is_warm_up else source, week, config, truth=False)
        seconds = {num_workers: _walk(source, folder, num_workers) for num_workers in (1, 2)}
        is_same = hashes(folder / "data-1") == hashes(folder / "data-2")
    return {
        "num_weeks": num_weeks,
        "num_patents_a_week": num_patents,
        "num_cores": len(os.sched_getaffinity(0)),
        "same_bytes": is_same,
        "one_worker_s": round(seconds[1].walk, 1),
        "two_workers_s": round(seconds[2].walk, 1),
        "ratio": round(seconds[2].walk / seconds[1].walk, 3),
        "dataset_one_worker_s": round(seconds[1].freeze, 1),
        "dataset_two_workers_s": round(seconds[2].freeze, 1),
        "dataset_ratio": round(seconds[2].freeze / seconds[1].freeze, 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patents", type=int, default=100)
    parser.add_argument("--weeks", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps({"bench": "clusters", **measure(options.patents, options.weeks)}))
