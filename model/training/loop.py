"""The loop of a training run, from its first step or latest checkpoint to the summary and the exported model.

`TrainingLoop` takes the steps; `_StepRecorder` checks, records and reports them. On a GPU a step is recorded while the
next one runs, so that neither waits for the other.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from model.clip.class_features import class_features
from model.clip.loading import load_clip
from model.clip.readout import ClassPriors
from model.clip.source import ModelSource
from model.clip.tokenizer import fast_tokenizer
from model.dataset.folder import Dataset
from model.dataset.images import ImageReader
from model.errors import TrainingStoppedError
from model.files import read_json, sha256_of_json
from model.progress import Progress
from model.training.batches import Batch, BatchStream
from model.training.export import export_model
from model.training.priors import class_priors
from model.training.read_outs import validation_read_outs
from model.training.refit import refit_head
from model.training.run.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from model.training.run.divergence import LossWatch
from model.training.run.folder import RunFolder
from model.training.run.metrics import MetricsLog, PendingMetrics, Timings, check_step, read_metrics
from model.training.run.trackers import Tracker, open_tracker
from model.training.sampling import batch_rows
from model.training.step.batchnorm import has_batch_norm, recalibrate_batch_norm
from model.training.step.learner import Learner
from model.training.step.losses import class_weights
from model.training.step.optimizer import learning_rate_at

_NUM_BATCH_NORM_BATCHES = 100  # more would change the averages by less than the difference between batches


@dataclass
class _CompletedStep:
    """A completed step that is not recorded yet.

    Attributes:
        step: Number of the step, counted from 1.
        learning_rate: Learning rate of the step.
        batch: What this process trained on.
        metrics: Metrics of the step, being copied from the device.
    """

    step: int
    learning_rate: float
    batch: Batch
    metrics: PendingMetrics


class TrainingLoop:
    """A training run: its model, its batches, and the steps between checkpoints.

    Args:
        run: Folder of the run.
        stream: Batches of the run.
        device: Device of this process.
    """

    def __init__(self, run: RunFolder, stream: BatchStream, device: torch.device) -> None:
        self.run = run
        self.stream = stream
        self.config = stream.config
        self.processes = stream.processes
        config = self.config
        source = ModelSource(config.architecture, config.pretrained or None)
        self.clip = load_clip(source, device=device, seed=config.seed)
        self._class_weights = class_weights(torch.from_numpy(stream.sampler.counts), config.beta)
        self.learner = Learner(
            self.clip,
            config,
            num_classes=len(stream.classes),
            class_weights=self._class_weights,
            class_shares=torch.from_numpy(stream.sampler.known_shares),
            class_features=self._class_features(),
            num_patents=int(stream.views.patent_ids.max()) + 1,
            processes=self.processes,
        )
        self._num_parameters = sum(weight.numel() for weight in self.clip.model.parameters())
        self._num_learning = sum(weight.numel() for weight in self.learner.towers.parameters() if weight.requires_grad)
        self._images = ImageReader(stream.views, self.clip.preprocess, num_workers=config.num_workers)

    def _class_features(self) -> torch.Tensor | None:
        """(num_classes, embed_dim) text features that the head starts from; None if it starts from random weights."""
        if self.config.classification_weight == 0 or self.config.head_init == "random":
            return None
        return torch.from_numpy(class_features(self.clip, self.stream.classes))

    def train(
        self, identity: dict[str, Any], progress: Progress | None, should_stop: Callable[[], bool]
    ) -> dict[str, Any]:
        """Take the remaining steps, finish the weights for export, and return the summary.

        Args:
            identity: What the run depends on; see `model.training.done.training_identity`.
            progress: Called after each step with the steps done, the steps in all, and the step's metrics.
            should_stop: Called after each step.

        Returns:
            The summary, in every process.

        Raises:
            TrainingError: The run fails; see `model.training.run.metrics.check_step`.
            TrainingStoppedError: `should_stop` returned True before the last step.
        """
        with contextlib.closing(self._images):
            first_step = self.processes.broadcast(self.run.make_ready(identity) if self.processes.is_first else 0)
            if first_step:
                self.learner.load_state_dict(load_checkpoint(self.run.checkpoints, num_steps_done=first_step))
            with _StepRecorder.open(self, first_step, identity, progress) as recorder:
                self._take_steps(first_step, recorder, should_stop)
            self.learner.finish()
            if has_batch_norm(self.clip.model) and "image" not in self.config.frozen:
                recalibrate_batch_norm(self.clip.model, self._whole_image_batches())
            refit = self._refit_head(should_stop) if self.config.refit_head else None
        return self.processes.broadcast(self._summarise(identity, refit) if self.processes.is_first else {})

    def _take_steps(self, first_step: int, recorder: _StepRecorder, should_stop: Callable[[], bool]) -> None:
        num_steps, on_gpu = self.stream.num_steps, self.learner.device.type == "cuda"
        tokenizer = fast_tokenizer(self.clip.tokenizer)
        batches = self.stream.read_ahead(first_step, self._images, tokenizer, pin_memory=on_gpu)
        for num_done, batch in enumerate(_timed(batches, recorder), start=first_step + 1):
            rate = self._learning_rate(num_done - 1)
            scalars = self.learner.step(batch, step=num_done - 1, learning_rate=rate)
            # On a GPU a step is recorded while the next one runs, so that neither waits for the other.
            recorder.add(_CompletedStep(num_done, rate, batch, PendingMetrics(scalars)), max_pending=1 if on_gpu else 0)
            is_last = num_done == num_steps
            is_stopped = not is_last and self.processes.any(should_stop())
            if is_last or is_stopped or num_done % self.config.checkpoint_every_steps == 0:
                recorder.record_all()
                self._save(num_done, recorder)
            recorder.report()
            if is_stopped:
                raise TrainingStoppedError(
                    f"stopped after step {num_done} of {num_steps}; run again to resume from there"
                )

    def _learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        config = self.config
        return learning_rate_at(
            step, num_steps=self.stream.num_steps, warmup_steps=config.warmup_steps, peak=config.learning_rate
        )

    def _save(self, num_done: int, recorder: _StepRecorder) -> None:
        """Write a checkpoint, in the first process; every process calls this."""
        self.learner.gather_state()
        if recorder.metrics is not None:
            recorder.metrics.sync()  # the metrics must be on the disk before the checkpoint that refers to them
            save_checkpoint(
                self.run.checkpoints,
                {"num_steps_done": num_done, "classes": self.stream.classes.to_dict(), **self.learner.state_dict()},
                num_steps_done=num_done,
                num_kept=self.config.num_checkpoints,
                metrics_sha256=self.run.metrics_sha256() or "",
            )

    def _refit_head(self, should_stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Refit the last layer of the head in the first process, which exports it, while the others wait.

        Returns:
            What the summary says about it; None if no view has a class, and the head stays as it is.
        """
        refit, is_stopped = None, False
        if self.processes.is_first and self.stream.sampler.counts.any():
            latest = checkpoint_path(self.run.checkpoints, self.stream.num_steps)
            weights_id = (read_json(latest.with_suffix(".json")) or {}).get("sha256", "")
            refit = refit_head(
                self.learner, self.stream, self.run.refit, weights_id=weights_id, should_stop=should_stop
            )
            is_stopped = refit is None
        if self.processes.broadcast(is_stopped):
            raise TrainingStoppedError("stopped while the head was refitted; run again to resume from there")
        return refit

    def _whole_image_batches(self) -> Iterator[torch.Tensor]:
        """Yield batches of uncropped training views, each view equally often, as in evaluation."""
        num_views, config = len(self.stream.views), self.config
        num_batches = min(self.stream.sampler.num_steps_per_epoch, _NUM_BATCH_NORM_BATCHES)
        with contextlib.closing(
            ImageReader(self.stream.views, self.clip.preprocess, num_workers=config.num_workers)
        ) as images:
            for step in range(num_batches):
                rows = batch_rows(step, num_views=num_views, batch_size=config.batch_size, seed=config.seed)
                yield self.learner.towers.normalise(images.read_grey(rows.tolist()).to(self.learner.device))

    def _summarise(self, identity: dict[str, Any], refit: dict[str, Any] | None) -> dict[str, Any]:
        """The summary of the finished run, without the name of the dataset and the hashes of the model."""
        views, config = self.stream.views, self.config
        metrics = read_metrics(self.run.metrics)
        losses = [row["loss"] for row in metrics]
        tail = losses[-max(1, len(losses) // 10) :]
        return {
            "stage": "training",
            "run": self.run.folder.name,
            "dataset": {
                "num_views": len(views),
                "num_patents": int(views.patent_ids.max()) + 1,
                "num_captions": views.num_distinct("text"),
                "num_without_caption": views.num_without_caption,
                "num_of_unknown_class": int((self.stream.sampler.classes < 0).sum()),
            },
            "num_parameters": self._num_parameters,
            "num_learning_parameters": self._num_learning,
            "num_steps": self.stream.num_steps,
            "batch_size": self.stream.num_pairs,
            "first_loss": losses[0],
            "last_loss": sum(tail) / len(tail),  # mean of the last tenth of the steps
            "class_shares": self._class_shares(),
            "refit": refit,
            "metrics_sha256": self.run.metrics_sha256(),
            "config": config.result_settings,
            "identity": identity,
        }

    def _class_shares(self) -> list[dict[str, Any]]:
        """For each class that occurs: its views, what it was drawn, and what it was weighed by.

        "asked" is its share of the expected draws, "drawn" that of the actual ones, "weight" the factor of its items in
        the terms that are weighted, and "counted" the share of the draws that it then counts as.
        """
        sampler, table = self.stream.sampler, self.stream.classes
        drawn = sampler.drawn_shares(self.stream.num_steps)
        counts = [*sampler.counts.tolist(), int((sampler.classes < 0).sum())]
        names = [*zip(table.codes, table.titles, strict=True), ("unknown", "")]
        is_weighted = self.config.weigh_contrastive or self.config.weigh_classification
        weights = np.append(self._class_weights.numpy() if is_weighted else np.ones(len(table)), 1.0)
        counted = sampler.target_shares * weights / (sampler.target_shares * weights).sum()
        return [
            {
                "class": code,
                "title": title,
                "num_views": count,
                "asked": round(float(sampler.target_shares[index]), 6),
                "drawn": round(float(drawn[index]), 6),
                "weight": round(float(weights[index]), 6),
                "counted": round(float(counted[index]), 6),
            }
            for index, ((code, title), count) in enumerate(zip(names, counts, strict=True))
            if count
        ]

    def export(self, summary: dict[str, Any]) -> dict[str, str]:
        """Write the model folder and return file name → SHA-256."""
        return export_model(
            self.clip,
            self.run.model,
            summary=summary,
            head=self.learner.towers.head,
            classes=self.stream.classes,
            priors=self._class_priors,
        )

    def read_outs(self, dataset: Dataset) -> dict[str, Any] | None:
        """Accuracy of the head's read-outs on the validation split; None if there is nothing to read out."""
        counts = self.stream.sampler.counts
        return validation_read_outs(self.learner, dataset, self.stream.classes, counts, self._class_priors)

    @property
    def _class_priors(self) -> ClassPriors:
        sampler = self.stream.sampler
        return class_priors(sampler.counts, sampler.known_shares, self._class_weights.numpy(), self.config)


@dataclass
class _StepRecorder:
    """Checks each step in every process, and in the first one records it in the run's folder and in the tracker.

    Attributes:
        loop: The run.
        watch: Detects divergence.
        metrics: `metrics.jsonl`; None in all processes but the first, as are the next three.
        timings: `timings.jsonl`.
        tracker: The experiment tracker, if the settings name one.
        progress: Called for each recorded step.
        pending: Completed steps that are not recorded yet, in order.
        unreported: Values of the recorded steps that `progress` was not called for yet, in order.
    """

    loop: TrainingLoop
    watch: LossWatch
    metrics: MetricsLog | None = None
    timings: Timings | None = None
    tracker: Tracker | None = None
    progress: Progress | None = None
    pending: collections.deque[_CompletedStep] = field(default_factory=collections.deque)
    unreported: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, loop: TrainingLoop, first_step: int, identity: dict[str, Any], progress: Progress | None
    ) -> Iterator[_StepRecorder]:
        """Open files and tracker after `first_step` steps; they are closed when the block ends."""
        run, config = loop.run, loop.config
        losses = [row["loss"] for row in read_metrics(run.metrics)]
        watch = LossWatch(factor=config.divergence_factor, num_steps=config.divergence_steps, losses=losses)
        loop.processes.wait_for_all()  # no process reads the metrics while the first one writes them
        if not loop.processes.is_first:
            yield cls(loop, watch)
            return
        with contextlib.ExitStack() as closing:
            metrics = closing.enter_context(MetricsLog(run.metrics))
            timings = Timings(run, num_steps_done=first_step, device=loop.learner.device)
            closing.callback(timings.close)
            tracker = open_tracker(
                config.tracker,
                run.tracking,
                run_name=run.folder.name,
                run_id=sha256_of_json([run.folder.name, identity])[:16],
                num_steps_done=first_step,
                settings=config.result_settings,
            )
            if tracker is not None:
                closing.callback(tracker.close)
            yield cls(loop, watch, metrics, timings, tracker, progress)

    def add(self, step: _CompletedStep, *, max_pending: int) -> None:
        """Add a step, and record the oldest steps until at most `max_pending` are pending."""
        self.pending.append(step)
        while len(self.pending) > max_pending:
            self._record(self.pending.popleft())

    def record_all(self) -> None:
        """Record all pending steps."""
        while self.pending:
            self._record(self.pending.popleft())

    def _record(self, completed: _CompletedStep) -> None:
        loop, plan = self.loop, completed.batch.plan
        metrics = completed.metrics.values()
        check_step(
            metrics,
            step=completed.step,
            plan=plan,
            views=loop.stream.views,
            watch=self.watch,
            run=loop.run,
            writes=loop.processes.is_first,
        )
        if self.metrics is None or self.timings is None:
            return
        epoch = (completed.step - 1) // loop.stream.sampler.num_steps_per_epoch + 1
        values = {"step": completed.step, "epoch": epoch, "learning_rate": completed.learning_rate, **metrics}
        self.metrics.append(values)
        speed = self.timings.append(completed.step, num_pairs=len(plan.rows))
        if self.tracker is not None:
            self.tracker.log(completed.step, {**metrics, "learning_rate": completed.learning_rate, **speed})
        self.unreported.append(values | speed)

    def report(self) -> None:
        """Call `progress` for the recorded steps. Whatever they entail, such as a checkpoint, is done by then."""
        unreported, self.unreported = self.unreported, []
        for values in unreported:
            if self.progress is not None:
                self.progress(values["step"], self.loop.stream.num_steps, values)


def _timed(batches: Iterable[Batch], recorder: _StepRecorder) -> Iterator[Batch]:
    """Yield the batches, and add the time each of them was waited for to the timings."""
    iterator = iter(batches)
    while True:
        started = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        if recorder.timings is not None:
            recorder.timings.add_wait(time.perf_counter() - started)
        yield batch
