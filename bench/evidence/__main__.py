"""Tests the claims made for each part of DesignCLIP, on drawn patents of known classes.

Draws training weeks of patents with a long-tailed distribution over the 33 classes, and later test weeks with equally
frequent classes; trains every arm with every seed; writes summary.json, tables.md and plots to the folder. Finished
work is kept: if it was interrupted, run it again to resume.

    python -m bench.evidence --out evidence
    python -m bench.evidence --out evidence --scale large     # with a GPU
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.evidence.arms import UNTRAINED, arms
from bench.evidence.plots import draw_claims, draw_curve, draw_specimens, draw_thirds
from bench.evidence.runs import Run, make_all, plan
from bench.evidence.scale import SCALES, Scale
from bench.evidence.specimens import make_dataset
from bench.evidence.summary import Evidence, summarise, tables
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import ModelError
from model.files import exclusive_lock, write_json, write_text

_FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Draw, train, measure and summarise. Returns 0; if a run fails, prints one sentence on stderr and returns 1."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the data, the results and the summary")
    parser.add_argument("--scale", choices=list(SCALES), default="small", help="small is meant for two CPU cores")
    parser.add_argument("--workers", type=int, default=2, help="number of runs at a time, each in its own process")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these arms, such as even both; default: all")
    parser.add_argument("--summary", action="store_true", help="only summarise the runs that are done")
    options = parser.parse_args(arguments)
    scale = SCALES[options.scale]
    known = (UNTRAINED, *arms(scale))
    if unknown := sorted(set(options.arms or ()) - set(known)):
        parser.error(f"unknown arm {', '.join(unknown)}; the arms are {', '.join(known)}")
    runs = [run for run in plan(scale) if run.arm in (options.arms or known)]
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with contextlib.ExitStack() as locks:
            if not options.summary:
                locks.enter_context(exclusive_lock(options.out))
                _make(options.out, options.scale, runs, options.workers)
            summary = _summarise(options.out, scale, runs)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return _FAILED
    line = {"bench": "evidence", "scale": options.scale, "seeds": summary["seeds"], **summary["runs"]}
    line.pop("losses")
    verdicts = [{name: claim[name] for name in ("text", "measure", "part", "verdict")} for claim in summary["claims"]]
    print(json.dumps(line | {"wall_s": round(time.monotonic() - started), "claims": verdicts}, ensure_ascii=False))
    return 0


def _make(out: Path, scale_name: str, runs: list[Run], num_workers: int) -> None:
    """Draw the data and make the runs that are missing, each with a progress bar."""
    with _bar("drawing") as show:
        dataset_dir = make_dataset(
            out, SCALES[scale_name], num_workers=num_workers, progress=lambda n, of: show(n / of)
        )
    with _bar(f"{len(runs)} runs") as show:
        make_all(out, dataset_dir, scale_name, runs, num_workers=num_workers, progress=show)


def _summarise(out: Path, scale: Scale, runs: list[Run]) -> dict[str, Any]:
    """Write the summary, its tables and its plots; returns the summary."""
    dataset = open_dataset(out / "data" / "datasets" / "evidence")
    results = [result for run in runs if (result := run.result(out, dataset)) is not None]
    training = read_views(dataset, "train")
    evidence = Evidence(scale, training, read_views(dataset, "test"), results)
    summary = {"data": evidence.data, **summarise(evidence)}
    write_json(out / "summary.json", summary)
    write_text(out / "tables.md", tables(summary) + "\n")
    draw_thirds(summary, out / "evidence-thirds.png")
    draw_curve(summary, out / "evidence-beta.png")
    draw_claims(summary, out / "evidence-claims.png")
    draw_specimens(training, evidence.patents_of_class, out / "evidence-specimens.png")
    return summary


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar with the remaining time on stderr; if that is not a terminal, a line at each 10 %."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)
        tenths = 0

        def show(share: float) -> None:
            nonlocal tenths
            progress.update(task, completed=share)
            if not console.is_terminal and int(share * 10) > tenths:
                tenths = int(share * 10)
                console.print(f"{title}: {10 * tenths} %")

        yield show


if __name__ == "__main__":
    sys.exit(main())
