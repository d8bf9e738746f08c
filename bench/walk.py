"""Cost of each stage from archives to dataset per sheet or view, against splitting sheets in the same run.

    python -m bench.walk [--source FOLDER] [--patents N]

Runs all stages over the weekly archives of a folder, or over three drawn weeks, one after the other in one process. The
first week warms up and is not counted. Measures processor time. Prints one JSON line; docs/write_scale.py estimates
with its values.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.stage import build_dataset
from patentdata.grants.stage import parse_archive
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import WEEKLY_STAGES, table_path
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.stage import split_archive
from patentdata.worker import prepare_worker

_WEEKS = ("I20240102", "I20240109", "I20240116")
ResultT = TypeVar("ResultT")


def timed(work: Callable[[], ResultT]) -> tuple[float, ResultT]:
    """Seconds of processor time that some work takes, and its result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def measure(source: str) -> dict[str, object]:
    """Run the stages over the weeks of `source`, and divide their time by what they made."""
    prepare_worker()
    with tempfile.TemporaryDirectory() as temporary:
        folder = DataFolder(temporary)
        seconds = dict.fromkeys(WEEKLY_STAGES, 0.0)
        num_sheets = num_patents = 0
        weeks = list_weeks(source)
        # The weekly stages, one week after the other.
        for i, archive in enumerate(weeks):
            calls: dict[str, Callable[[], object]] = {
                "archives": lambda archive=archive: keep_archive(folder, archive, ArchivesConfig()),
                "grants": lambda week=archive.week: parse_archive(folder, week),
                "views": lambda week=archive.week: split_archive(folder, week, ViewsConfig()),
                "captions": lambda week=archive.week: caption_views(folder, week, CaptionsConfig()),
            }
            taken = {stage: timed(call)[0] for stage, call in calls.items()}
            if i:
                seconds = {stage: seconds[stage] + taken[stage] for stage in seconds}
                num_sheets += split_archive(folder, archive.week, ViewsConfig()).tally("sheets").num_out
                num_patents += parse_archive(folder, archive.week).tally("grants").num_out
        # The dataset of all weeks.
        names = [archive.week for archive in weeks]
        dataset_s, _ = timed(lambda: build_dataset(folder, names, DatasetConfig()))
        views = [Path(table_path(folder, "views", week)) for week in names]
        rows = [pq.read_metadata(path).num_rows for path in views]
        walk_s = sum(seconds.values())
        return {
            "num_patents": num_patents,
            "num_sheets": num_sheets,
            "num_views": sum(rows[1:]),
            "ms_a_sheet": {stage: round(1000 * value / num_sheets, 2) for stage, value in seconds.items()},
            "sheets_a_core_s": round(num_sheets / walk_s, 1),
            "dataset_ms_a_view": round(1000 * dataset_s / sum(rows), 2),
            "views_a_sheet": round(sum(rows[1:]) / num_sheets, 2),
            "bytes_a_view": round(sum(path.stat().st_size for path in views) / sum(rows)),
            "ratio": round(walk_s / seconds["views"], 3),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source")
    parser.add_argument("--patents", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as drawn:
        if options.source is None:
            for i, week in enumerate(_WEEKS):
                config = SpecimenConfig(num_patents=options.patents, first_number=900_001 + i * options.patents)
                write_week(Path(drawn), week, config, truth=False)
        print(json.dumps({"bench": "walk", **measure(options.source or drawn)}))
