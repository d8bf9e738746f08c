"""The runs of the evidence, each trained and measured, with what it leaves in one file and its receipt in another.

A run whose receipt names the same data, settings and measures is not repeated, so that interrupted evidence resumes
with the next run; within a run, training resumes from its last checkpoint.

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch

from bench.evidence.arms import Run, plan
from bench.evidence.features import VERSION, RunFeatures, write_features
from bench.evidence.scale import SCALES
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import ArchitectureError, ModelError, TrainingError
from model.files import read_json, remove, write_json
from model.training.config import TrainConfig
from model.training.done import training_identity
from model.training.run.folder import RunFolder
from model.training.train import train

Progress = Callable[[float], None]
"""Called with the share of all steps that is done, 0 to 1."""

_REPORT_EVERY_S = 2.0


@dataclass(frozen=True)
class Workplace:
    """The folders of the evidence.

    Attributes:
        out: Folder of the evidence.
    """

    out: Path

    def dataset(self, name: str) -> Path:
        return self.out / "data" / "datasets" / name

    def run_folder(self, run: Run) -> RunFolder:
        return RunFolder(self.out / "runs" / run.name)

    def features(self, run: Run) -> RunFeatures:
        """What a finished run has left."""
        return RunFeatures(self.out / "features" / f"{run.name}.npz")

    def receipt_path(self, run: Run) -> Path:
        return self.out / "receipts" / f"{run.name}.json"

    def config(self, run: Run) -> TrainConfig:
        """Settings of a run; one that starts from another run's model names its folder."""
        if run.starts_from is None:
            return run.config
        return replace(run.config, architecture=f"local-dir:{self.out / 'runs' / run.starts_from / 'model'}")

    def identity(self, run: Run) -> dict[str, Any]:
        """All that the features of a run depend on."""
        dataset = open_dataset(self.dataset(run.dataset))
        return {
            "features": VERSION,
            "splits": list(run.splits),
            "training": training_identity(dataset, self.config(run)),
        }

    def receipt(self, run: Run) -> dict[str, Any] | None:
        """What is known of a finished run, such as its cost; None if the run has to be made."""
        receipt = read_json(self.receipt_path(run))
        if receipt is None or not self.features(run).path.is_file():
            return None
        try:
            return receipt if receipt.get("identity") == self.identity(run) else None
        except ArchitectureError:  # the model that it starts from is gone, so it cannot be made again as it was
            return None


def make(run: Run, place: Workplace, should_stop: Callable[[], bool]) -> None:
    """Train and measure one run and write what it leaves; its folder is removed unless another run starts from it."""
    cpu_s, started = time.process_time(), time.monotonic()
    folder, dataset = place.run_folder(run), open_dataset(place.dataset(run.dataset))
    summary = train(dataset.folder, folder.folder, place.config(run), replace="any", should_stop=should_stop)
    training_cpu_s = time.process_time() - cpu_s
    training, *measured = (read_views(dataset, split) for split in ("train", *run.splits))
    write_features(place.features(run).path, folder.model, training, measured)
    receipt = {
        "study": run.study,
        "arm": run.arm,
        "seed": run.seed,
        "training_cpu_s": round(training_cpu_s, 1),  # only since the last start, if the run was interrupted
        "cpu_s": round(time.process_time() - cpu_s, 1),
        "wall_s": round(time.monotonic() - started, 1),
        **{name: summary.get(name) for name in ("num_steps", "first_loss", "last_loss")},
        "identity": place.identity(run),
    }
    write_json(place.receipt_path(run), receipt)
    if not run.keeps_model:
        remove(folder.folder)


def make_all(
    place: Workplace,
    scale_name: str,
    runs: Sequence[Run],
    *,
    num_workers: int,
    progress: Progress = lambda share: None,
) -> None:
    """Make the missing runs in up to `num_workers` child processes; runs that start from others come after all others.

    Args:
        place: Folders of the evidence.
        scale_name: One of `SCALES`.
        runs: All runs that are wanted.
        num_workers: Largest number of child processes.
        progress: Called every few seconds.

    Raises:
        TrainingError: A run failed, or a child process was killed; the finished runs are kept.
    """
    for from_others in (False, True):
        wanted = [run for run in runs if (run.starts_from is not None) == from_others]
        missing = [run for run in wanted if place.receipt(run) is None]
        for run in missing:
            remove(place.receipt_path(run))  # that of other data or settings, or a damaged one
        _make_in_children(place, scale_name, missing, num_workers, lambda: progress(_share_done(place, runs)))
    progress(1.0)


def _make_in_children(
    place: Workplace, scale_name: str, missing: list[Run], num_workers: int, report: Callable[[], None]
) -> None:
    """Make runs in child processes, in the order of the list; `report` is called every few seconds."""
    orders: SimpleQueue[Run] = SimpleQueue()
    for run in missing:
        orders.put(run)
    with ThreadPoolExecutor(num_workers) as pool:
        command = [sys.executable, "-m", "bench.evidence.runs", str(place.out), scale_name]
        children = [_start(command) for _ in range(min(num_workers, len(missing)))]
        try:
            pending = {pool.submit(_feed, child, orders) for child in children}
            while pending:
                ended, pending = wait(pending, timeout=_REPORT_EVERY_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                report()
        finally:
            for child in children:
                child.terminate()
                child.wait()


def _start(command: list[str]) -> subprocess.Popen[str]:
    """Start a child process of one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _feed(child: subprocess.Popen[str], orders: SimpleQueue[Run]) -> None:
    """Let a child make one run after another until none is left."""
    assert child.stdin is not None and child.stdout is not None
    for run in _drained(orders):
        try:
            child.stdin.write(f"{run.name}\n")
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


def _share_done(place: Workplace, runs: Sequence[Run]) -> float:
    """Share of all steps that is done, 0 to 1, from the runs' files."""
    taken = total = 0
    for run in runs:
        num_steps = run.config.num_steps or 0
        total += num_steps
        metrics = place.run_folder(run).metrics
        if place.receipt_path(run).is_file():
            taken += num_steps
        elif metrics.is_file():
            taken += metrics.read_bytes().count(b"\n")
    return taken / max(1, total)


def main(arguments: list[str]) -> int:
    """A child process: makes the runs named on stdin, a name a line, and answers each with a JSON line on stdout."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops its children
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print to stdout goes to stderr, so that it is not taken for an answer
    torch.set_num_threads(1)
    place, scale = Workplace(Path(arguments[0])), SCALES[arguments[1]]
    known = {run.name: run for run in plan(scale)}
    for line in sys.stdin:
        error = None
        try:
            make(known[line.strip()], place, lambda: os.getppid() != parent)
        except ModelError as problem:
            error = str(problem)
        if os.getppid() != parent:
            return 1
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
