"""Training: a dataset and a config in, a run folder with a model out.

Also a program, so that a run can be a child process, and several processes one run:

    python -m model.training.train --dataset D --run-dir R --config C.toml
    torchrun --nproc-per-node 4 -m model.training.train --dataset D --run-dir R --config C.toml
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from model.clip.loading import choose_device
from model.dataset.folder import Dataset, open_dataset
from model.dataset.views import Views, read_views
from model.errors import ConfigError, DatasetError, ModelError
from model.files import exclusive_lock, write_json
from model.progress import Progress
from model.training.batches import BatchStream
from model.training.config import TrainConfig
from model.training.distributed import Processes, joined, local_device, num_processes_here
from model.training.done import training_identity
from model.training.loop import TrainingLoop
from model.training.run.folder import RunFolder
from model.training.run.page import write_training_page
from model.training.stop_signal import StopOnSignal

__all__ = ["TrainConfig", "train"]

_FAILED, _BAD_ARGUMENTS = 1, 2


def train(
    dataset_dir: str | Path,
    run_dir: str | Path,
    config: TrainConfig,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train a model, or go on where an earlier call stopped; a finished run is given back at once.

    On the CPU, equal dataset, config, torch, number of threads and of processes give equal bytes, interrupted or not.
    Under torchrun every process calls this with the same arguments; the first alone writes.

    Args:
        dataset_dir: Folder with `dataset.json` and its Parquet files.
        run_dir: Folder of the run. Outputs of another dataset or config in it are removed first.
        config: How to train.
        progress: Called after each step with the steps done, the steps in all, and the step's metrics.
        should_stop: Asked after each step; where it says so, a checkpoint is written and the run is left there.

    Returns:
        The summary that `training.json` holds.

    Raises:
        ModelError: The dataset, the model or the device cannot be used, or the loss is no number or diverges.
        TrainingStoppedError: `should_stop` said so before the last step.
    """
    dataset = open_dataset(dataset_dir)
    identity = training_identity(dataset, config)
    run = RunFolder(Path(run_dir))
    device = local_device(choose_device(config.device))
    with joined(device) as processes, _held_by_first(run, processes):
        summary = processes.from_first(run.finished_summary(identity) if processes.is_first else None)
        if summary is None:
            views = _training_views(dataset, config)
            with reproducible(config.seed, device):
                session = TrainingLoop(run, BatchStream(views, config, processes), device)
                summary = session.train(identity, progress, should_stop)
                summary |= {"dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, **summary["dataset"]}}
                if processes.is_first:
                    summary["model_files"] = session.export(summary)
                    write_json(run.summary, summary)
        if processes.is_first and not run.page.is_file():
            write_training_page(run, summary)
        processes.wait_for_all()
    return summary


def _training_views(dataset: Dataset, config: TrainConfig) -> Views:
    """The training split; with terms that read captions its captioned views alone."""
    if config.reads_captions and not dataset.is_captioned:
        raise DatasetError(f'the views of {dataset.name} have no captions; train on them with preset = "arcface"')
    return read_views(dataset, "train", captioned=config.reads_captions)


@contextlib.contextmanager
def _held_by_first(run: RunFolder, processes: Processes) -> Iterator[None]:
    if not processes.is_first:
        yield
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(run.folder):
        yield


@contextlib.contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch and choose its algorithms: on the CPU deterministic, on a GPU fast; as before when the block ends."""
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
            memory.fill_uninitialized_memory = False  # an eighth of a step, and nothing here reads it
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            memory.fill_uninitialized_memory = before[2]
            torch.set_float32_matmul_precision(before[3])
            torch.backends.cudnn.benchmark = before[4]


def read_config(path: Path | None) -> TrainConfig:
    """Settings from a JSON file, or from a TOML file or its table [training]; the defaults without one."""
    if path is None or path.suffix != ".toml":
        return TrainConfig.from_file(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: no TOML file of settings there ({error})") from error
    return TrainConfig.from_dict(values.get("training", values))


def main(arguments: list[str] | None = None) -> int:
    """Train as a program: one JSON line a step on stdout, then the summary.

    Where the settings ask for several processes and nobody has started them, this one starts them and waits.

    Returns:
        0; 1 after one sentence on stderr where it fails, 2 where the settings cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m model.training.train", description=train.__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="folder with dataset.json")
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of the run")
    parser.add_argument("--config", type=Path, help="TOML or JSON file of settings; without it, the defaults")
    options = parser.parse_args(arguments)
    try:
        config = read_config(options.config)
        if num_processes_here() == 1 and num_processes_wanted(config) > 1:
            named = {"--dataset": options.dataset, "--run-dir": options.run_dir, "--config": options.config}
            return run_processes(
                num_processes_wanted(config), [str(part) for pair in named.items() if pair[1] for part in pair]
            )
        with StopOnSignal() as stop:

            def report(step: int, num_steps: int, values: dict[str, Any]) -> None:
                print(json.dumps(values | {"num_steps": num_steps}), flush=True)

            summary = train(options.dataset, options.run_dir, config, progress=report, should_stop=stop.is_wanted)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return _BAD_ARGUMENTS if isinstance(error, ConfigError) else _FAILED
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"summary": summary}), flush=True)
    return 0


def num_processes_wanted(config: TrainConfig) -> int:
    """How many processes a run asks for; one a GPU where the setting is 0."""
    return config.num_processes or max(1, torch.cuda.device_count())


def run_processes(num_processes: int, arguments: list[str]) -> int:
    """Have torchrun start so many processes of this program, and wait: their exit code, which torchrun's own is not."""
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
    except SignalException:  # torchrun has handed it on, and the processes have said what they left
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
