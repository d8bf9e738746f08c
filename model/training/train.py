"""Training: turns a dataset and a config into a run folder with a model.

It is also a program, so that a run can be a child process, or several processes under torchrun:

    python -m model.training.train --dataset D --run-dir R --config C.toml
    torchrun --nproc-per-node 4 -m model.training.train --dataset D --run-dir R --config C.toml
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from model.clip.loading import choose_device
from model.dataset.folder import Dataset, open_dataset
from model.dataset.views import Views, read_views
from model.errors import ConfigError, DatasetError, ModelError
from model.files import exclusive_lock, remove, write_json
from model.progress import Progress, log_to_stdout
from model.training.batches import BatchStream
from model.training.config import TrainConfig
from model.training.distributed import Processes, join_processes, local_device, world_size
from model.training.done import training_identity
from model.training.loop import TrainingLoop
from model.training.run.folder import REPLACE_CHOICES, Replace, RunFolder
from model.training.sampling import one_view_of_each_patent
from model.training.stop_signal import StopOnSignal

__all__ = ["TrainConfig", "train"]

_FAILED, _BAD_ARGUMENTS = 1, 2  # exit codes

_LOG = logging.getLogger(__name__)


def train(
    dataset_dir: str | Path,
    run_dir: str | Path,
    config: TrainConfig,
    *,
    replace: Replace = "nothing",
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train a model, or resume where an earlier call stopped; a finished run is returned at once.

    On the CPU, equal dataset, config, torch version, number of threads and of processes give equal bytes, interrupted
    or not. Under torchrun every process calls this with the same arguments; only the first one writes files.

    Args:
        dataset_dir: Folder with `dataset.json` and its Parquet files.
        run_dir: Folder of the run.
        config: How to train.
        replace: Which other run in the folder may be replaced. It stays as it is until the new one is finished, which
            is trained in `.replacing/` next to it.
        progress: Called after each step with the steps done, the steps in all, and the step's metrics.
        should_stop: Called after each step; if it returns True, a checkpoint is written and the run stops.

    Returns:
        The summary, which is the content of `training.json`.

    Raises:
        ConfigError: The folder holds another run, and `replace` does not allow to replace it.
        ModelError: The dataset, the model or the device cannot be used, or the loss is not finite or diverges.
        TrainingStoppedError: `should_stop` returned True before the last step.
    """
    dataset = open_dataset(dataset_dir)
    identity = training_identity(dataset, config)
    run = RunFolder(Path(run_dir))
    device = local_device(choose_device(config.device))
    with join_processes(device) as processes, _locked_by_first(run, processes):
        work = _folder_to_train_in(run, identity, replace, processes)
        summary = processes.broadcast(work.finished_summary(identity) if processes.is_first else None)
        if summary is None:
            views = _training_views(dataset, config)
            with reproducible(config.seed, device):
                loop = TrainingLoop(work, BatchStream(views, config, processes), device)
                summary = loop.train(identity, progress, should_stop)
                summary |= {"dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, **summary["dataset"]}}
                if processes.is_first:
                    summary["model_files"] = loop.export(summary)
                    remove(work.refit)
                    _write_read_outs(work, loop, dataset)
                    write_json(work.summary, summary)
        elif processes.is_first:
            _LOG.info("%s: the training run is finished and intact, nothing to do", run.folder.name)
        if processes.is_first and not work.page.is_file():
            from model.training.run.page import write_training_page  # matplotlib takes seconds to import

            write_training_page(work, summary)
        if processes.is_first and work != run:
            run.adopt_replacement()
        processes.wait_for_all()
    return summary


def _write_read_outs(run: RunFolder, loop: TrainingLoop, dataset: Dataset) -> None:
    """Write the read-outs on the validation split, for the page; without any, the file of an earlier run is removed.

    They are not part of the result, so that a validation split that cannot be read costs a warning.
    """
    remove(run.read_outs)
    try:
        measured = loop.read_outs(dataset)
    except DatasetError as error:
        _LOG.warning("the page of the run has no read-outs: %s", error)
        return
    if measured is not None:
        write_json(run.read_outs, measured)


def _folder_to_train_in(run: RunFolder, identity: dict[str, Any], replace: Replace, processes: Processes) -> RunFolder:
    """The folder of the run, or that of its replacement if another run is there. Raises ConfigError."""
    found: tuple[bool, str] = (False, "")
    if processes.is_first:
        run.complete_replacement()
        try:
            run.require_replaceable(identity, replace)
            found = (run.other_run(identity) is not None, "")
        except ConfigError as error:
            found = (False, str(error))
    replaces, refusal = processes.broadcast(found)
    if refusal:  # in every process, so that none waits for the others
        raise ConfigError(refusal)
    if not replaces:
        return run
    if processes.is_first:
        run.replacement.folder.mkdir(parents=True, exist_ok=True)
        _LOG.info("%s: another run is there, which stays until this one is finished", run.folder.name)
    return run.replacement


def _training_views(dataset: Dataset, config: TrainConfig) -> Views:
    """The views of the training split that are trained on; only those with a caption if a term reads captions."""
    if config.reads_captions and not dataset.is_captioned:
        raise DatasetError(f'the views of {dataset.name} have no captions; train on them with preset = "arcface"')
    views = read_views(dataset, "train", captioned=config.reads_captions, lines=config.image)
    if config.views == "all":
        return views
    is_front = np.array([name == "front" for name in views.viewpoints]) if config.views == "front" else None
    is_chosen = one_view_of_each_patent(views.patent_ids, is_front, seed=config.seed)
    _LOG.info("trains on one view of each patent, %d of %d views", is_chosen.sum(), len(views))
    return dataclasses.replace(views, table=views.table.filter(pa.array(is_chosen)))


@contextlib.contextmanager
def _locked_by_first(run: RunFolder, processes: Processes) -> Iterator[None]:
    """Lock the run's folder in the first process, until the block ends; the others do nothing."""
    if not processes.is_first:
        yield
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(run.folder):
        yield


@contextlib.contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch and choose its algorithms until the block ends: deterministic ones on the CPU, fast ones on a GPU."""
    memory: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
            torch.backends.cudnn.benchmark = True
        else:
            torch.use_deterministic_algorithms(True, warn_only=True)
            memory.fill_uninitialized_memory = (
                False  # it takes an eighth of a step, and nothing reads uninitialised memory
            )
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            memory.fill_uninitialized_memory = before[2]
            torch.set_float32_matmul_precision(before[3])
            torch.backends.cudnn.benchmark = before[4]


def read_config(path: Path | None) -> TrainConfig:
    """Settings from a JSON file, or from a TOML file or its table [training]; the defaults if `path` is None.

    Raises:
        ConfigError: The file cannot be read, or a setting cannot be used.
    """
    if path is None or path.suffix != ".toml":
        return TrainConfig.from_file(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file of settings ({error})") from error
    return TrainConfig.from_dict(values.get("training", values))


def main(arguments: list[str] | None = None) -> int:
    """Run training as a program, which prints one JSON line a step or log record, then the summary, to stdout.

    If the settings ask for several processes and torchrun has not started them, this process starts them and waits.

    Returns:
        The exit code: 0; 1 if training fails, 2 if the settings cannot be used, each after one sentence on stderr.
    """
    parser = argparse.ArgumentParser(prog="python -m model.training.train", description=train.__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="folder with dataset.json")
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of the run")
    parser.add_argument("--config", type=Path, help="TOML or JSON file of settings; without it, the defaults")
    parser.add_argument("--replace", choices=REPLACE_CHOICES, default="nothing", help="which other run may be replaced")
    options = parser.parse_args(arguments)
    try:
        config = read_config(options.config)
        if world_size() == 1 and num_processes_requested(config) > 1:
            given = {
                "--dataset": options.dataset,
                "--run-dir": options.run_dir,
                "--config": options.config,
                "--replace": options.replace,
            }
            return run_processes(
                num_processes_requested(config), [str(part) for pair in given.items() if pair[1] for part in pair]
            )
        with log_to_stdout(), StopOnSignal() as stop:

            def report(step: int, num_steps: int, values: dict[str, Any]) -> None:
                print(json.dumps(values | {"num_steps": num_steps}), flush=True)

            summary = train(
                options.dataset,
                options.run_dir,
                config,
                replace=options.replace,
                progress=report,
                should_stop=stop.is_requested,
            )
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return _BAD_ARGUMENTS if isinstance(error, ConfigError) else _FAILED
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"summary": summary}), flush=True)
    return 0


def num_processes_requested(config: TrainConfig) -> int:
    """Number of processes that the settings ask for; one a GPU if `num_processes` is 0."""
    return config.num_processes or max(1, torch.cuda.device_count())


def run_processes(num_processes: int, arguments: list[str]) -> int:
    """Run this program in several processes with torchrun, and return 0 or the exit code of those that failed."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        torchrun.main(
            ["--standalone", "--nproc-per-node", str(num_processes), "-m", "model.training.train", *arguments]
        )
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        return _BAD_ARGUMENTS if _BAD_ARGUMENTS in codes else _FAILED
    except SignalException:  # torchrun has passed it on, and the processes have printed what they saved
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
