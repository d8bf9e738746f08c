"""Seconds and memory of planning the split of a very large dataset, with made-up grants and no drawing.

    python -m bench.splits [--weeks 830] [--patents 600]

Writes a table of grants for each week, as the stage "grants" does, and divides all patents by family in a process of
its own, as the stage "dataset" does before it writes anything. One in twelve grants continues an older application, one
in nine claims a foreign priority that others claim too, and half are filed in groups of one owner, so families of
one day and families across years both occur. Prints one JSON line: wall seconds, and the peak of that process's memory.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patentdata.dataset.plan import assign_patents
from patentdata.dataset.splits import SPLITS, SplitConfig
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, write_table
from patentdata.store.report import Report
from patentdata.store.weeks import table_path

_FIRST_DAY = datetime.date(2007, 1, 2)
_FIRST_NUMBER = 500_001
_NOUNS = ("chair", "lamp", "bottle", "shoe", "handle", "display screen", "tyre", "vase", "toy", "knife")
_MB = 2**20


def write_grants(folder: DataFolder, num_weeks: int, num_patents: int, *, seed: int = 0) -> list[str]:
    """Write the tables of grants of consecutive weeks, and return the weeks.

    Args:
        folder: The data folder.
        num_weeks: How many weeks.
        num_patents: Patents a week.
        seed: Other seeds give other grants.
    """
    generator = random.Random(seed)
    weeks = []
    for index in range(num_weeks):
        day = _FIRST_DAY + datetime.timedelta(weeks=index)
        week = f"I{day:%Y%m%d}"
        first = _FIRST_NUMBER + index * num_patents
        rows = list(_grants_of_day(day, first, num_patents, generator))
        write_table(
            folder,
            table_path(folder, "grants", week),
            schemas.GRANTS,
            [rows],
            Provenance(stage="grants", version=1),
            Report("grants", week),
        )
        weeks.append(week)
    return weeks


def _grants_of_day(
    day: datetime.date, first: int, num_patents: int, generator: random.Random
) -> Iterator[dict[str, Any]]:
    """The grants of one day: what relates patents, and nothing else."""
    owner = ""
    for number in range(first, first + num_patents):
        if not owner or generator.random() < 0.5:
            owner = f"Owner {generator.randrange(20_000)}, Inc."
        is_child, has_priority = generator.random() < 1 / 12, generator.random() < 1 / 9
        parent = generator.randrange(_FIRST_NUMBER, number) if is_child and number > _FIRST_NUMBER else None
        yield {
            "patent_number": f"D{number}",
            "grant_date": day,
            "title": f"{generator.choice(_NOUNS).capitalize()} {generator.randrange(500)}",
            "application_number": _application_of(number),
            "application_date": day - datetime.timedelta(days=400),
            "inventors": [f"Name {generator.randrange(200_000)} Surname {n}" for n in range(generator.randint(1, 3))],
            "applicants": [owner],
            "assignees": [owner],
            "related": [] if parent is None else [_continuation_of(parent)],
            "priority_claims": [_priority(day, generator)] if has_priority else [],
        }


def _application_of(number: int) -> str:
    return f"29{number:06d}"


def _continuation_of(parent: int) -> dict[str, Any]:
    return {
        "relation": "continuation",
        "country": "US",
        "application_number": _application_of(parent),
        "patent_number": f"D{parent}",
        "date": "20050101",
    }


def _priority(day: datetime.date, generator: random.Random) -> dict[str, Any]:
    return {
        "number": f"{day.year - 1}30{generator.randrange(20_000):06d}",
        "country": generator.choice(("CN", "EM", "KR")),
        "date": f"{day.year - 1}0601",
        "kind": "national",
    }


def plan(data_dir: str, weeks: list[str]) -> dict[str, Any]:
    """Divide the patents of these weeks; returns seconds, peak memory of this process, and what came of it."""
    started = time.perf_counter()
    report = Report("dataset", "designs")
    assigned = assign_patents(DataFolder(data_dir), weeks, SplitConfig(), report)
    seconds = time.perf_counter() - started
    in_split = dict.fromkeys(SPLITS, 0)
    for of_week in assigned.values():
        for assignment in of_week.values():
            if assignment.split is not None:
                in_split[assignment.split] += 1
    return {
        "seconds": round(seconds, 1),
        "peak_mb": round(_peak_bytes() / _MB),
        "num_families": report.counts["families"],
        "largest_family": report.counts["largest_family"],
        "num_left_out": len(report.tally("patents").drops),
        **{f"num_{split}": num for split, num in in_split.items()},
    }


def _peak_bytes() -> int:
    """The most memory that this process has held so far."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def measure(num_weeks: int, num_patents: int) -> dict[str, Any]:
    """Make grants up, and plan their split in a process that has not done so."""
    with tempfile.TemporaryDirectory() as temporary:
        weeks = write_grants(DataFolder(temporary), num_weeks, num_patents)
        program = [sys.executable, "-m", "bench.splits", "--plan", temporary]
        planned = subprocess.run(program, input=json.dumps(weeks), capture_output=True, text=True, check=True)
    return {"num_weeks": num_weeks, "num_patents": num_weeks * num_patents, **json.loads(planned.stdout)}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", type=int, default=830)
    parser.add_argument("--patents", type=int, default=600, help="a week")
    parser.add_argument("--plan", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.plan is not None:
        print(json.dumps(plan(options.plan, json.load(sys.stdin))))
    else:
        print(json.dumps({"bench": "splits", **measure(options.weeks, options.patents)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
