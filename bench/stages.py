"""Speed at which a week's grants become a Parquet file, against only parsing the same XML in the same run.

    python -m bench.stages [--patents N]

Draws a week of patents, keeps its archive, and runs the stage "grants": read the archive, parse, write. The reference
is `lxml.etree.fromstring` over the same documents, already in memory. The processor time of the best of three rounds
counts. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.grants.stage import parse_archive
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import kept_path, table_path

_ROUNDS = 3


def best_seconds(work: Callable[[], object]) -> float:
    """Seconds of processor time of the fastest of a few rounds."""
    seconds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def measure(num_patents: int) -> dict[str, float]:
    """Draw the week, run the stage and the reference, and compare."""
    with tempfile.TemporaryDirectory() as temporary:
        config = SpecimenConfig(num_patents=num_patents, drawing_scale=0.1, workers=2)
        write_week(Path(temporary), "I20240102", config, truth=False)
        folder = DataFolder(Path(temporary) / "data")
        (week,) = list_weeks(temporary)
        keep_archive(folder, week, ArchivesConfig())
        with folder.open(kept_path(folder, week.week)) as archive:
            documents = [
                next(iter(designs.unpack_member(read(), ArchivesConfig(), endings=(".xml",)).values()))
                for _, read in designs.read_kept(archive)
            ]

        def run_stage() -> None:
            folder.remove(table_path(folder, "grants", week.week))
            parse_archive(folder, week.week)

        stage_s = best_seconds(run_stage)
        parse_s = best_seconds(lambda: [etree.fromstring(document) for document in documents])
    return {
        "num_patents": num_patents,
        "patents_per_s": round(num_patents / stage_s, 1),
        "ms_a_patent": round(1000 * stage_s / num_patents, 3),
        "bare_parse_ms_a_patent": round(1000 * parse_s / num_patents, 3),
        "ratio": round(stage_s / parse_s, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patents", type=int, default=200)
    print(json.dumps({"bench": "stages", **measure(parser.parse_args().patents)}))
