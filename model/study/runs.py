"""The runs of a study: each arm with each seed, trained and measured, unless an equal run exists already.

A run that is finished in the study's folder or anywhere among the runs of the data folder is taken over as it is. A run
that was stopped resumes from its last checkpoint. What a study keeps of a run is its outcomes, view by view; the
comparison is made from them alone.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.dataset.folder import Dataset, open_dataset
from model.errors import ConfigError, ModelError, TrainingError, TrainingStoppedError
from model.evaluation.config import EvaluationConfig
from model.files import read_json
from model.progress import Progress
from model.study.config import Arm, StudyConfig
from model.study.outcomes import outcomes_of, read_outcomes, write_outcomes
from model.training.config import TrainConfig
from model.training.done import training_identity
from model.training.run.folder import RunFolder
from model.training.sampling import num_steps_per_epoch
from model.training.train import train

_LOG = logging.getLogger(__name__)
_REPORT_EVERY_S = 1.0


@dataclass(frozen=True)
class StudyRun:
    """One arm with one seed.

    Attributes:
        arm: The arm.
        seed: The seed.
        folder: The study's own folder of the run.
        found: Folder of a finished run with the same settings on the same data, which is taken over; None without one.
        outcomes_path: File of its outcomes.
        training: Settings of training.
        training_identity: All that the trained model depends on.
        evaluation: Settings of measuring.
    """

    arm: Arm
    seed: int
    folder: Path
    found: Path | None
    outcomes_path: Path
    training: TrainConfig
    training_identity: dict[str, Any]
    evaluation: EvaluationConfig

    @property
    def name(self) -> str:
        return f"{self.arm.name}-seed-{self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """All that the outcomes depend on."""
        settings = self.evaluation.result_settings
        names = ("split", "caption", "readout_tau", "prompts", "schemes", "lines")
        return {
            "training": self.training_identity,
            "evaluation": {name: settings[name] for name in names if name in settings},
        }

    def outcomes(self) -> dict[str, np.ndarray] | None:
        """What the run has left; None if it has to be made."""
        return read_outcomes(self.outcomes_path, self.identity)


def plan_runs(config: StudyConfig, dataset: Dataset, out: Path, others: Sequence[Path]) -> list[StudyRun]:
    """All runs of a study, the first seed of every arm first, so that a first answer comes early.

    Arms that differ only in how they are measured share a run, in the folder of the first of them.

    Args:
        config: The study.
        dataset: The dataset.
        out: Folder of the study.
        others: Folders of runs that may be taken over.
    """
    identities = [(folder, read_json(RunFolder(folder).config)) for folder in others]
    runs: list[StudyRun] = []
    for seed in config.seeds:
        for arm in config.arms:
            training = config.training_of(arm, seed)
            identity = training_identity(dataset, training)
            name = f"{arm.name}-seed-{seed}"
            folder = next((run.folder for run in runs if run.training_identity == identity), out / "runs" / name)
            runs.append(
                StudyRun(
                    arm=arm,
                    seed=seed,
                    folder=folder,
                    found=_finished_among([folder for folder, other in identities if other == identity], identity),
                    outcomes_path=out / "outcomes" / f"{name}.npz",
                    training=training,
                    training_identity=identity,
                    evaluation=config.evaluation_of(arm),
                )
            )
    return runs


def _finished_among(folders: Sequence[Path], identity: dict[str, Any]) -> Path | None:
    """The first of the folders that has the finished and intact run of an identity."""
    return next((folder for folder in folders if RunFolder(folder).finished_summary(identity) is not None), None)


def require_replaceable(runs: Sequence[StudyRun]) -> None:
    """Raise ConfigError if the folder of a run that has to be trained holds a run of other settings or data."""
    for run in runs:
        is_trained = run.outcomes() is None and run.found is None
        if is_trained and RunFolder(run.folder).other_run(run.training_identity) is not None:
            raise ConfigError(
                f"{run.folder} holds a run of other settings or data; choose another --name for this study, or "
                "--replace, which keeps each run until its successor is finished"
            )


def make_run(
    run: StudyRun,
    dataset_dir: Path,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train a run, or take one over, measure it, and store its outcomes.

    Raises:
        ModelError: It cannot be trained or measured.
        TrainingStoppedError: `should_stop` returned True.
    """
    if run.found is not None:
        _LOG.info("%s: taken over from %s", run.name, run.found)
        folder = run.found
    else:
        folder = run.folder
        train(dataset_dir, folder, run.training, replace="any", progress=progress, should_stop=should_stop)
    write_outcomes(run.outcomes_path, outcomes_of(folder, open_dataset(dataset_dir), run.evaluation), run.identity)


def make_runs(
    runs: Sequence[StudyRun],
    dataset_dir: Path,
    *,
    num_jobs: int = 1,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Make all runs that are missing, in this process or in several at a time.

    Args:
        runs: The runs of a study.
        dataset_dir: Folder of the dataset.
        num_jobs: Runs at a time. With more than one each has a process of its own, and, if there are several GPUs, one
            GPU.
        progress: Called with the steps done and the steps in all, over all runs.
        should_stop: Called now and then; if it returns True, runs leave a checkpoint and stop.

    Raises:
        ModelError: A run failed; its message names the run. What is finished is kept.
        TrainingStoppedError: `should_stop` returned True.
    """
    missing = [run for run in runs if run.outcomes() is None]
    counter = _StepCounter(runs, missing, open_dataset(dataset_dir), progress)
    counter.report("")
    if num_jobs == 1:
        for run in missing:
            with _named(run):
                make_run(run, dataset_dir, progress=counter.of(run), should_stop=should_stop)
            counter.finish(run)
        return
    _make_in_processes(missing, dataset_dir, num_jobs, counter, should_stop)


def _make_in_processes(
    missing: Sequence[StudyRun],
    dataset_dir: Path,
    num_jobs: int,
    counter: _StepCounter,
    should_stop: Callable[[], bool],
) -> None:
    context = multiprocessing.get_context("spawn")
    gpus = context.SimpleQueue()
    for gpu in itertools.islice(itertools.cycle(_visible_gpus()), num_jobs):
        gpus.put(gpu)
    with ProcessPoolExecutor(num_jobs, mp_context=context, initializer=_prepare_process, initargs=(gpus,)) as pool:
        pending: dict[Future[None], StudyRun] = {pool.submit(make_run, run, dataset_dir): run for run in missing}
        try:
            while pending:
                ended, _ = wait(pending, timeout=_REPORT_EVERY_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    run = pending.pop(future)
                    with _named(run):
                        future.result()
                    counter.finish(run)
                counter.look_into_folders(pending.values())
                if should_stop():
                    raise TrainingStoppedError("the study was stopped; run the same command again to resume")
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _visible_gpus() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them; a single empty name without any."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())] or [""]


def _prepare_process(gpus: Any) -> None:
    """Called once in each process: it gets one GPU and a share of the cores, and ends with the one that started it."""
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get()
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextlib.contextmanager
def _named(run: StudyRun) -> Iterator[None]:
    """Name the run in the message of an error."""
    try:
        yield
    except TrainingStoppedError:
        raise
    except BrokenProcessPool as error:
        raise TrainingError(f"the process of {run.name} was killed; run the same command again to resume") from error
    except ModelError as error:
        raise type(error)(f"{run.name}: {error}") from error


class _StepCounter:
    """Counts the steps of all runs, for one progress bar."""

    def __init__(
        self, runs: Sequence[StudyRun], missing: Sequence[StudyRun], dataset: Dataset, progress: Progress | None
    ) -> None:
        self._progress = progress
        self._steps = {run.name: num_steps_of(run.training, dataset) for run in runs}
        self._done = {run.name: 0 if run in missing else self._steps[run.name] for run in runs}

    def of(self, run: StudyRun) -> Progress:
        """Progress of the training of one run."""

        def progress(num_done: int, num_all: int, values: dict[str, Any]) -> None:
            self._done[run.name] = num_done
            self.report(run.name)

        return progress

    def finish(self, run: StudyRun) -> None:
        self._done[run.name] = self._steps[run.name]
        self.report(run.name)

    def look_into_folders(self, runs: Iterable[StudyRun]) -> None:
        """Take the steps of runs in other processes from what they have written."""
        for run in runs:
            if run.found is None and (metrics := RunFolder(run.folder).metrics).is_file():
                self._done[run.name] = metrics.read_bytes().count(b"\n")
        self.report("")

    def report(self, name: str) -> None:
        if self._progress is not None:
            doing = {"doing": f"steps, now {name}" if name else "steps"}
            self._progress(sum(self._done.values()), sum(self._steps.values()), doing)


def num_steps_of(config: TrainConfig, dataset: Dataset) -> int:
    """Steps of a run, as far as the dataset's own counts of views and patents tell."""
    if config.num_steps is not None:
        return config.num_steps
    num_items = dataset.num_views.get("train", 0)
    if config.views != "all":  # one view of each patent
        num_patents = (read_json(dataset.folder / "dataset.json") or {}).get("num_patents", {})
        num_items = num_patents.get("train", num_items)
    return config.num_epochs * num_steps_per_epoch(num_items, config.batch_size)
