"""Tests what corrects rare classes and at what cost, on drawn patents of known classes.

Draws training weeks of patents with a long-tailed distribution over the 33 classes, then weeks of equally frequent
classes to choose on and to test on; trains every arm with every seed; writes summary.json, tables.md and plots to the
folder. Finished work is kept: if it was interrupted, run it again to resume.

    python -m bench.evidence --out evidence
    python -m bench.evidence --out evidence --studies tuning       # only what the recipe is chosen on
    python -m bench.evidence --out evidence --scale large          # with a GPU
    python -m bench.evidence --out evidence --draw                 # only the patents, for designclip study

The verdict is also a study of the command line: bench/evidence/study.toml.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.evidence.arms import Run, plan
from bench.evidence.plots import draw_bar, draw_curves, draw_rivals, draw_specimens
from bench.evidence.runs import Workplace, make_all
from bench.evidence.scale import SCALES
from bench.evidence.specimens import make_datasets
from bench.evidence.summary import (
    Evidence,
    describe_data,
    patents_of_class,
    summarise_study,
    summarise_transfer,
    summarise_tuning,
    tables,
)
from model.dataset.classes import USPC
from model.dataset.folder import open_dataset
from model.dataset.thirds import THIRDS, third_of_class
from model.dataset.views import read_views
from model.errors import ModelError
from model.files import exclusive_lock, write_json, write_text

_FAILED = 1
_TITLES = {
    "verdict": "200 steps",
    "longer": "600 steps",
    "vit": "a small ViT, 300 steps",
}


def main(arguments: list[str] | None = None) -> int:
    """Draw, train, measure and summarise. Returns 0; if a run fails, prints one sentence on stderr and returns 1."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the data, the results and the summary")
    parser.add_argument("--scale", choices=list(SCALES), default="small", help="small is meant for two CPU cores")
    parser.add_argument("--workers", type=int, default=2, help="number of runs at a time, each in its own process")
    parser.add_argument("--studies", nargs="+", metavar="STUDY", help="only these studies; default: all")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these arms, such as even recipe; default: all")
    parser.add_argument("--summary", action="store_true", help="only summarise the runs that are done")
    parser.add_argument("--draw", action="store_true", help="only draw the patents and make the datasets in OUT/data")
    options = parser.parse_args(arguments)
    runs = plan(SCALES[options.scale])
    for name, given, known in (
        ("study", options.studies, [run.study for run in runs]),
        ("arm", options.arms, [run.arm for run in runs]),
    ):
        if unknown := sorted(set(given or ()) - set(known)):
            parser.error(f"unknown {name} {', '.join(unknown)}; known are {', '.join(dict.fromkeys(known))}")
    wanted = [
        run
        for run in runs
        if (not options.studies or run.study in options.studies) and (not options.arms or run.arm in options.arms)
    ]
    place = Workplace(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with contextlib.ExitStack() as locks:
            if options.draw:
                locks.enter_context(exclusive_lock(options.out))
                _draw_data(place, options.scale, options.workers)
                return 0
            if not options.summary:
                locks.enter_context(exclusive_lock(options.out))
                _make(place, options.scale, wanted, options.workers)
            summary = _summarise(place, options.scale, runs)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return _FAILED
    bars = {study: content["bar"] for study, content in summary["studies"].items()}
    met = {study: f"{sum(row['is_met'] for row in rows)} of {len(rows)}" for study, rows in bars.items()}
    line = {"bench": "evidence", "scale": options.scale, **summary["cost"], "requirements_met": met}
    print(json.dumps(line | {"wall_s": round(time.monotonic() - started)}, ensure_ascii=False))
    return 0


def _make(place: Workplace, scale_name: str, runs: list[Run], num_workers: int) -> None:
    """Draw the data and make the runs that are missing, each with a progress bar."""
    _draw_data(place, scale_name, num_workers)
    with _bar(f"{len(runs)} runs") as show:
        make_all(place, scale_name, runs, num_workers=num_workers, progress=show)


def _draw_data(place: Workplace, scale_name: str, num_workers: int) -> None:
    """Draw the patents and make the datasets of them, with a progress bar."""
    with _bar("drawing") as show:
        make_datasets(place.out, SCALES[scale_name].data, num_workers=num_workers, progress=lambda n, of: show(n / of))


def _summarise(place: Workplace, scale_name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Write the summary of all finished runs, its tables and its plots; returns the summary."""
    receipts = {run.name: receipt for run in runs if (receipt := place.receipt(run)) is not None}
    dataset = open_dataset(place.dataset("all"))
    training = read_views(dataset, "train")
    counts = patents_of_class(training)
    summary: dict[str, Any] = {
        "data": describe_data(read_views(dataset, split) for split in ("train", "validation", "test")),
        "classes": {
            "codes": list(USPC.codes),
            "num_training_patents": counts.tolist(),
            "third": [THIRDS[third] for third in third_of_class(counts)],
        },
        "cost": {
            "num_runs": len(receipts),
            "cpu_s": round(sum(receipt["cpu_s"] for receipt in receipts.values()), 1),
        },
        "studies": {},
    }

    def evidence(study: str, split: str) -> Evidence | None:
        done = [run for run in runs if run.study == study and run.name in receipts]
        if not done:
            return None
        own = open_dataset(place.dataset(done[0].dataset))
        features = {run.name: place.features(run) for run in done}
        num_resamples = SCALES[scale_name].num_resamples
        return Evidence(done, features, read_views(own, "train"), read_views(own, split), num_resamples)

    for study in ("tuning", "tuning-longer"):
        if tuning := evidence(study, "validation"):
            summary[study] = summarise_tuning(tuning)
    for study in _TITLES:
        if on_test := evidence(study, "test"):
            summary["studies"][study] = summarise_study(on_test)
    chosen_on, measured_on = evidence("transfer", "validation"), evidence("transfer", "test")
    if chosen_on and measured_on:
        summary["transfer"] = summarise_transfer(chosen_on, measured_on)
    write_json(place.out / "summary.json", summary)
    write_text(place.out / "tables.md", tables(summary) + "\n")
    _draw(place, summary)
    draw_specimens(training, counts, place.out / "evidence-specimens.png")
    return summary


def _draw(place: Workplace, summary: dict[str, Any]) -> None:
    """The plots of all studies that were measured on the test part."""
    shown = summary["studies"]
    if shown:
        draw_curves(shown, _TITLES, place.out / "evidence-curve.png")
        draw_bar(shown, _TITLES, place.out / "evidence-bar.png")
    if "verdict" in shown:
        draw_rivals(shown["verdict"]["rivals"], place.out / "evidence-rivals.png")


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
