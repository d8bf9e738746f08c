"""The runs of the evidence: every arm with every seed, each trained and measured, with its result in one JSON file.

A run whose file names the same data, settings and measures is not repeated, so that interrupted evidence resumes with
the next run; within a run, training resumes from its last checkpoint.

Runs are made in child processes of one torch thread each. A child makes one run after the other, so that it imports
torch only once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch

from bench.evidence.arms import UNTRAINED, arms
from bench.evidence.measures import VERSION, measure
from bench.evidence.scale import SCALES, Scale
from model.clip.loading import choose_device
from model.dataset.folder import Dataset, open_dataset
from model.dataset.views import read_views
from model.errors import ModelError, TrainingError
from model.files import read_json, remove, write_json
from model.training.config import TrainConfig
from model.training.done import training_identity
from model.training.run.folder import RunFolder
from model.training.train import train

Progress = Callable[[float], None]
"""Called with the share of all steps that is done, 0 to 1."""

_REPORT_EVERY_S = 2.0
_NUM_DECIMALS = 6


@dataclass(frozen=True)
class Run:
    """One arm with one seed; `config` is None for the model with fresh weights."""

    arm: str
    seed: int
    config: TrainConfig | None

    @property
    def name(self) -> str:
        """Name of its folder and of its result."""
        return f"{self.arm}-seed-{self.seed}"

    def folder(self, out: Path) -> RunFolder:
        return RunFolder(out / "runs" / self.name)

    def result_path(self, out: Path) -> Path:
        return out / "results" / f"{self.name}.json"

    def identity(self, dataset: Dataset) -> dict[str, Any]:
        """All that the values depend on."""
        trained = None if self.config is None else training_identity(dataset, self.config)
        return {"measures": VERSION, "dataset": dataset.fingerprint, "seed": self.seed, "training": trained}

    def result(self, out: Path, dataset: Dataset) -> dict[str, Any] | None:
        """The result of the run; None if the run has to be made."""
        result = read_json(self.result_path(out))
        return result if result is not None and result.get("identity") == self.identity(dataset) else None


def plan(scale: Scale) -> list[Run]:
    """All runs, seed by seed, so that evidence that is interrupted has all arms with some seeds."""
    untrained = [Run(UNTRAINED, seed, None) for seed in scale.seeds]
    return untrained + [
        Run(arm, seed, scale.training(seed=seed, **method))
        for seed in scale.seeds
        for arm, method in arms(scale).items()
    ]


def make(run: Run, out: Path, dataset: Dataset, scale: Scale, should_stop: Callable[[], bool]) -> None:
    """Train and measure one run and write its result; the weights are removed afterwards."""
    cpu_s, started = time.process_time(), time.monotonic()
    folder = run.folder(out)
    summary: dict[str, Any] = {}
    if run.config is not None:
        summary = train(dataset.folder, folder.folder, run.config, replace="any", should_stop=should_stop)
    values = measure(
        None if run.config is None else folder.model,
        read_views(dataset, "test"),
        architecture=scale.architecture,
        device=choose_device("auto"),
        seed=run.seed,
    )
    result = {
        "arm": run.arm,
        "seed": run.seed,
        "cpu_s": round(time.process_time() - cpu_s, 1),  # only since the last start, if the run was interrupted
        "wall_s": round(time.monotonic() - started, 1),
        **{name: summary.get(name) for name in ("num_steps", "first_loss", "last_loss", "class_shares")},
        "values": {name: [_rounded(value) for value in row] for name, row in values.items()},
        "identity": run.identity(dataset),
    }
    write_json(run.result_path(out), result)
    remove(folder.checkpoints)
    remove(folder.model)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _NUM_DECIMALS)


def make_all(
    out: Path,
    dataset_dir: Path,
    scale_name: str,
    runs: list[Run],
    *,
    num_workers: int,
    progress: Progress = lambda share: None,
) -> None:
    """Make the missing runs in up to `num_workers` child processes.

    Args:
        out: Folder of the evidence.
        dataset_dir: Folder of the dataset.
        scale_name: One of `SCALES`.
        runs: All runs that are wanted.
        num_workers: Largest number of child processes.
        progress: Called every few seconds.

    Raises:
        TrainingError: A run failed, or a child process was killed; the finished runs are kept.
    """
    dataset = open_dataset(dataset_dir)
    missing = [run for run in runs if run.result(out, dataset) is None]
    orders: SimpleQueue[Run] = SimpleQueue()
    for run in missing:
        remove(run.result_path(out))  # a result of other data or settings, or a damaged one
        orders.put(run)
    with ThreadPoolExecutor(num_workers) as pool:
        command = [sys.executable, "-m", "bench.evidence.runs", str(out), str(dataset_dir), scale_name]
        children = [_start(command) for _ in range(min(num_workers, len(missing)))]
        try:
            pending = {pool.submit(_feed, child, orders) for child in children}
            while pending:
                ended, pending = wait(pending, timeout=_REPORT_EVERY_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                progress(_share_done(out, dataset, runs))
        finally:
            for child in children:
                child.terminate()
                child.wait()
    progress(1.0)


def _start(command: list[str]) -> subprocess.Popen[str]:
    """Start a child process of one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _feed(child: subprocess.Popen[str], orders: SimpleQueue[Run]) -> None:
    """Let a child make one run after another until none is left."""
    assert child.stdin is not None and child.stdout is not None
    for run in _drained(orders):
        try:
            child.stdin.write(json.dumps({"arm": run.arm, "seed": run.seed}) + "\n")
            child.stdin.flush()
            answer = child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise TrainingError(f"the process of run {run.name} was killed; run again to resume")
        error = json.loads(answer)["error"]
        if error is not None:
            raise TrainingError(f"{run.name}: {error}")


def _drained(orders: SimpleQueue[Run]) -> Iterator[Run]:
    """Runs from a queue that several threads read, until it is empty."""
    while True:
        try:
            yield orders.get_nowait()
        except Empty:
            return


def _share_done(out: Path, dataset: Dataset, runs: list[Run]) -> float:
    """Share of all steps that is done, 0 to 1, from the runs' files."""
    taken = total = 0
    for run in runs:
        if run.config is None or run.config.num_steps is None:
            continue
        total += run.config.num_steps
        metrics = run.folder(out).metrics
        if run.result_path(out).is_file():
            taken += run.config.num_steps
        elif metrics.is_file():
            taken += metrics.read_bytes().count(b"\n")
    return taken / max(1, total)


def main(arguments: list[str]) -> int:
    """A child process: makes the runs named on stdin, one JSON line each, and answers each with a line on stdout."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops its children
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print to stdout goes to stderr, so that it is not taken for an answer
    torch.set_num_threads(1)
    out, dataset, scale = Path(arguments[0]), open_dataset(arguments[1]), SCALES[arguments[2]]
    known = {(run.arm, run.seed): run for run in plan(scale)}
    for line in sys.stdin:
        order = json.loads(line)
        error = None
        try:
            make(known[order["arm"], order["seed"]], out, dataset, scale, lambda: os.getppid() != parent)
        except ModelError as problem:
            error = str(problem)
        if os.getppid() != parent:
            return 1
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
