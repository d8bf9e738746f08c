"""Training: a dataset and a config in, a run folder with a model out.

Also a program, so that a run can be a child process: `python -m model.train --dataset D --run R --config C.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch

from model.batchnorm import has_batch_norm, settle_batch_norm
from model.checkpoint import load_checkpoint, save_checkpoint
from model.clip import Clip, choose_device, load_clip
from model.config import TrainConfig
from model.data import ImageReader, Views, read_views
from model.dataset import Dataset, open_dataset
from model.done import training_identity
from model.errors import ModelError, TrainingError, TrainingStoppedError
from model.export import export_model
from model.files import held_alone, write_json
from model.losses import symmetric_contrastive_loss
from model.optimisation import build_optimizer, learning_rate_at, set_learning_rate
from model.run import MetricsLog, RunFolder, read_metrics
from model.sampling import batch_draws, batch_rows, num_steps_per_epoch
from model.source import ModelSource

__all__ = ["TrainConfig", "train"]

_NUM_SETTLING_BATCHES = 100  # more would move the averages by less than the batches of training differ
_ENDED_BY_SIGNAL = 128  # plus the signal, as shells have it

Progress = Callable[[int, int, dict[str, Any]], None]


def train(
    dataset_dir: str | Path,
    run_dir: str | Path,
    config: TrainConfig,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train a model, or go on where an earlier call stopped; a finished run is given back at once.

    On the CPU, equal dataset, config, torch and number of threads give equal bytes, interrupted or not.

    Args:
        dataset_dir: Folder with `dataset.json` and its Parquet files.
        run_dir: Folder of the run. Outputs of another dataset or config in it are removed first.
        config: How to train.
        progress: Called after each step with the steps done, the steps in all, and the step's metrics.
        should_stop: Asked after each step; where it says so, a checkpoint is written and the run is left there.

    Returns:
        The summary that `training.json` holds.

    Raises:
        ModelError: The dataset, the model or the device cannot be used, or the loss is no longer a number.
        TrainingStoppedError: `should_stop` said so before the last step.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("a run is one process as yet; start it without torchrun, or with --nproc-per-node 1")
    dataset = open_dataset(dataset_dir)
    identity = training_identity(dataset, config)
    run = RunFolder(Path(run_dir))
    run.folder.mkdir(parents=True, exist_ok=True)
    with held_alone(run.folder):
        summary = run.finished_summary(identity)
        if summary is None:
            device = choose_device(config.device)
            views = read_views(dataset, "train")
            with reproducible(config.seed):
                source = ModelSource(config.architecture, config.pretrained)
                clip = load_clip(source, device=device, seed=config.seed)
                if has_convolutions(clip.model):
                    clip.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                num_steps = _run_steps(clip, views, run, identity, config, progress, should_stop)
                if has_batch_norm(clip.model):
                    with contextlib.closing(_image_reader(clip, views, config)) as images:
                        settle_batch_norm(clip.model, whole_image_batches(images, len(views), config, device))
                summary = _summarise(clip, dataset, views, run, config, num_steps) | {"identity": identity}
                summary["model_files"] = export_model(clip, run.model, summary=summary)
            write_json(run.summary, summary)
    return summary


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed torch and ask it for deterministic algorithms; both are as before when the block ends."""
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    was_filling = memory.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # Some CUDA kernels have no deterministic form: there the wish is a wish.
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # an eighth of a step, and nothing here reads it
        try:
            yield
        finally:
            memory.fill_uninitialized_memory = was_filling
            torch.use_deterministic_algorithms(was_deterministic, warn_only=was_warn_only)


def has_convolutions(model: torch.nn.Module) -> bool:
    """True for image towers that are convolutional throughout; a ViT's one patch embedding does not count."""
    return sum(isinstance(module, torch.nn.Conv2d) for module in model.modules()) > 1


def run_length(config: TrainConfig, num_views: int) -> int:
    """Number of steps of a run over so many views."""
    return config.num_steps or config.num_epochs * num_steps_per_epoch(num_views, config.batch_size)


class Batch(NamedTuple):
    """What one step trains on."""

    rows: list[int]
    images: torch.Tensor  # (batch, channels, height_px, width_px) float32
    tokens: torch.Tensor  # (batch, context_length) int64


@dataclass(frozen=True)
class BatchReader:
    """Makes the batch of any step."""

    views: Views
    images: ImageReader
    clip: Clip
    config: TrainConfig

    def read(self, step: int) -> Batch:
        """The batch of step `step`, counted from 0."""
        config = self.config
        rows = batch_rows(step, num_views=len(self.views), batch_size=config.batch_size, seed=config.seed).tolist()
        draws = batch_draws(step, num_rows=len(rows), num_draws=4, seed=config.seed)
        crops = draws[:, :3] if config.min_crop_area < 1 else None
        images = self.images.read(rows, crops, min_area=config.min_crop_area)
        texts = [self._text(row, draw) for row, draw in zip(rows, draws[:, 3], strict=True)]
        return Batch(rows, images, self.clip.tokenizer(texts))

    def _text(self, row: int, draw: float) -> str:
        captions = self.views.captions
        column = self.config.caption
        if column == "shape_or_function":
            column = "shape" if draw < 0.5 else "function"
        return captions[column][row] or captions["text"][row] or ""

    def read_ahead(self, first_step: int, num_steps: int) -> Iterator[Batch]:
        """The batches of the steps from `first_step` to before `num_steps`, the next one read while one is used."""
        with ThreadPoolExecutor(1, thread_name_prefix="batch") as ahead:
            following = ahead.submit(self.read, first_step)
            for step in range(first_step, num_steps):
                batch = following.result()
                if step + 1 < num_steps:
                    following = ahead.submit(self.read, step + 1)
                yield batch


def train_step(
    clip: Clip, optimizer: torch.optim.Optimizer, batch: Batch, *, learning_rate: float, config: TrainConfig
) -> dict[str, float]:
    """Take one step.

    Returns:
        Loss before the step, learning rate, norm of the gradient before clipping, logit scale after the step.
    """
    model: Any = clip.model
    device = model.logit_scale.device
    model.train()
    set_learning_rate(optimizer, learning_rate)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        output = model(batch.images.to(device, non_blocking=True), batch.tokens.to(device, non_blocking=True))
    loss = symmetric_contrastive_loss(output["image_features"], output["text_features"], output["logit_scale"])
    loss.backward()
    # An infinite bound measures without clipping.
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm or math.inf)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(config.max_logit_scale))
    return {
        "loss": loss.item(),
        "learning_rate": learning_rate,
        "grad_norm": norm.item(),
        "logit_scale": model.logit_scale.exp().item(),
    }


def _run_steps(
    clip: Clip,
    views: Views,
    run: RunFolder,
    identity: dict[str, Any],
    config: TrainConfig,
    progress: Progress | None,
    should_stop: Callable[[], bool],
) -> int:
    num_steps = run_length(config, len(views))
    steps_per_epoch = num_steps_per_epoch(len(views), config.batch_size)
    optimizer = build_optimizer(clip.model, config)
    first_step = run.make_ready(identity)
    if first_step:
        load_checkpoint(run.checkpoints, clip.model, optimizer, num_steps_done=first_step)
    images = _image_reader(clip, views, config)
    reader = BatchReader(views, images, clip, config)
    with contextlib.closing(images), MetricsLog(run.metrics) as log:
        started = time.perf_counter()
        for num_done, batch in enumerate(reader.read_ahead(first_step, num_steps), start=first_step + 1):
            rate = learning_rate_at(
                num_done - 1, num_steps=num_steps, warmup_steps=config.warmup_steps, peak=config.learning_rate
            )
            values = train_step(clip, optimizer, batch, learning_rate=rate, config=config)
            _check_finite(values, num_done, batch, views)
            values = {"step": num_done, "epoch": (num_done - 1) // steps_per_epoch + 1, **values}
            log.append(values)
            is_stopped = num_done < num_steps and should_stop()
            if num_done % config.checkpoint_every_steps == 0 or num_done == num_steps or is_stopped:
                log.sync()  # the metrics of a checkpoint's steps are on the disk before it is
                save_checkpoint(
                    run.checkpoints,
                    clip.model,
                    optimizer,
                    num_steps_done=num_done,
                    num_kept=config.num_checkpoints,
                    metrics_sha256=run.metrics_sha256() or "",
                )
            if progress is not None:
                num_views = (num_done - first_step) * len(batch.rows)
                progress(num_done, num_steps, values | {"views_per_s": num_views / (time.perf_counter() - started)})
            if is_stopped:
                raise TrainingStoppedError(
                    f"stopped after step {num_done} of {num_steps}; run again to go on from there"
                )
    return num_steps


def _image_reader(clip: Clip, views: Views, config: TrainConfig) -> ImageReader:
    return ImageReader(views, clip.preprocess, num_workers=config.num_workers)


def whole_image_batches(
    images: ImageReader, num_views: int, config: TrainConfig, device: torch.device
) -> Iterator[torch.Tensor]:
    """Batches of a first epoch's views, uncropped as at evaluation; at most `_NUM_SETTLING_BATCHES` of them."""
    for step in range(min(num_steps_per_epoch(num_views, config.batch_size), _NUM_SETTLING_BATCHES)):
        rows = batch_rows(step, num_views=num_views, batch_size=config.batch_size, seed=config.seed)
        yield images.read(rows.tolist()).to(device)


def _check_finite(values: dict[str, float], step: int, batch: Batch, views: Views) -> None:
    if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
        ids = ", ".join(views.view_ids[row] for row in batch.rows[:8])
        raise TrainingError(
            f"step {step}: loss {values['loss']}, gradient norm {values['grad_norm']} on the views {ids}, …; "
            "lower learning_rate, or set max_grad_norm"
        )


def _summarise(
    clip: Clip, dataset: Dataset, views: Views, run: RunFolder, config: TrainConfig, num_steps: int
) -> dict[str, Any]:
    losses = [row["loss"] for row in read_metrics(run.metrics)]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "stage": "training",
        "run": run.folder.name,
        "dataset": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "num_views": len(views),
            "num_patents": len(set(views.patent_numbers)),
            "num_captions": len(set(views.texts("text"))),
            "num_without_caption": views.num_without_caption,
        },
        "num_parameters": sum(parameter.numel() for parameter in clip.model.parameters()),
        "num_steps": num_steps,
        "batch_size": min(config.batch_size, len(views)),
        "first_loss": losses[0],
        "last_loss": sum(tail) / len(tail),  # mean of the last tenth of the steps
        "metrics_sha256": run.metrics_sha256(),
        "config": config.result_settings,
    }


class StopOnSignal:
    """Makes SIGTERM and SIGINT a wish that training hears between two steps; before the first they end the program."""

    def __init__(self) -> None:
        self.is_training = False
        self.is_wanted = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        self._handlers = {number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: object) -> None:
        if not self.is_training:  # nothing is lost, and a wait for the folder would not hear a wish
            print("error: stopped before the first step; run again to start", file=sys.stderr, flush=True)
            raise SystemExit(_ENDED_BY_SIGNAL + number)
        self.is_wanted = True

    def progress(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        """Print a step's metrics as one JSON line."""
        self.is_training = True
        print(json.dumps(values | {"num_steps": num_steps}), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Train as a program: one JSON line a step on stdout, then the summary; 1 and one sentence where it fails."""
    parser = argparse.ArgumentParser(prog="python -m model.train", description=train.__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="folder with dataset.json")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--config", type=Path, help="JSON file of settings; without it, the defaults")
    options = parser.parse_args(arguments)
    try:
        config = TrainConfig.from_file(options.config)
        with StopOnSignal() as stop:
            summary = train(
                options.dataset, options.run, config, progress=stop.progress, should_stop=lambda: stop.is_wanted
            )
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"summary": summary}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
