"""Gain from a second worker: a drawn month processed by two Dask workers, against one, in the same run.

    python -m bench.clusters [--patents N] [--weeks N]

Draws weeks of equal size, starts a Dask scheduler with worker processes of one thread each, and runs the stages from
archives to captions into an empty data folder, once with one worker (the reference) and once with two. Measures wall
time. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from pathlib import Path

from flows.weeks import WeeksConfig, walk_weeks
from patentdata.specimens import SpecimenConfig, write_week
from tasks.running.runners import WorkersConfig
from tests.flows.dask_cluster import dask_cluster
from tests.flows.walks import hashes

_FIRST_DAY = datetime.date(2024, 1, 2)


def _walk(source: Path, folder: Path, num_workers: int) -> float:
    """Wall seconds of processing all weeks, after a small week that warms the workers up."""
    data_dir = folder / f"data-{num_workers}"
    warm_up = folder / f"warm-{num_workers}"
    with dask_cluster(num_workers, folder) as address:
        workers = WorkersConfig(kind="dask", dask_address=address)
        walk_weeks(
            WeeksConfig(data_dir=str(warm_up), source=str(source / "warm"), workers=workers)
        )  # imports, loads models
        started = time.perf_counter()
        outcomes = walk_weeks(WeeksConfig(data_dir=str(data_dir), source=str(source), workers=workers))
        seconds = time.perf_counter() - started
    assert all(outcome.error is None for outcome in outcomes), outcomes
    return seconds


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
        "one_worker_s": round(seconds[1], 1),
        "two_workers_s": round(seconds[2], 1),
        "same_bytes": is_same,
        "ratio": round(seconds[2] / seconds[1], 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patents", type=int, default=100)
    parser.add_argument("--weeks", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps({"bench": "clusters", **measure(options.patents, options.weeks)}))
