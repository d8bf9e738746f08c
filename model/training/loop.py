"""One run from its first or latest step to its last, and what is left of it: summary and model."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.clip.tokenizer import fast_tokenizer
from model.dataset.images import ImageReader
from model.errors import TrainingStoppedError
from model.files import sha256_of_json
from model.progress import Progress
from model.training.batches import Batch, BatchStream
from model.training.export import export_model
from model.training.run.checkpoints import load_checkpoint, save_checkpoint
from model.training.run.divergence import LossWatch
from model.training.run.folder import RunFolder
from model.training.run.metrics import MetricsLog, Readings, Timings, check_step, read_metrics
from model.training.run.trackers import Tracker, open_tracker
from model.training.sampling import batch_rows
from model.training.step.batchnorm import has_batch_norm, recalibrate_batch_norm
from model.training.step.learner import Learner
from model.training.step.losses import class_weights
from model.training.step.optimizer import learning_rate_at

_NUM_SETTLING_BATCHES = 100  # more would move the averages by less than the batches of training differ


@dataclass
class _Taken:
    """A step that has been taken and not yet reported.

    Attributes:
        step: Counted from 1.
    """

    step: int
    learning_rate: float
    batch: Batch
    readings: Readings


class TrainingLoop:
    """A run in the making.

    Args:
        run: Its folder.
        stream: Its batches.
        device: Of this process.
    """

    def __init__(self, run: RunFolder, stream: BatchStream, device: torch.device) -> None:
        self.run = run
        self.stream = stream
        self.config = stream.config
        self.processes = stream.processes
        config = self.config
        source = ModelSource(config.architecture, config.pretrained or None)
        self.clip = load_clip(source, device=device, seed=config.seed)
        self.learner = Learner(
            self.clip,
            config,
            num_classes=len(stream.classes),
            class_weights=class_weights(torch.from_numpy(stream.sampler.counts), config.beta),
            num_patents=int(stream.views.patent_ids.max()) + 1,
            processes=self.processes,
        )
        self._num_parameters = sum(weight.numel() for weight in self.clip.model.parameters())
        self._num_learning = sum(weight.numel() for weight in self.learner.towers.parameters() if weight.requires_grad)
        self._images = ImageReader(stream.views, self.clip.preprocess, num_workers=config.num_workers)

    def train(
        self, identity: dict[str, Any], progress: Progress | None, should_stop: Callable[[], bool]
    ) -> dict[str, Any]:
        """Take the steps that are left, bring the model to what is exported, and sum up.

        Raises:
            TrainingError: The run goes wrong; see `model.training.run.divergence.check_step`.
            TrainingStoppedError: `should_stop` said so before the last step.
        """
        with contextlib.closing(self._images):
            first_step = self.processes.from_first(self.run.make_ready(identity) if self.processes.is_first else 0)
            if first_step:
                self.learner.load_state_dict(load_checkpoint(self.run.checkpoints, num_steps_done=first_step))
            with _Records.open(self, first_step, identity, progress) as records:
                self._take_steps(first_step, records, should_stop)
            self.learner.finish()
            if has_batch_norm(self.clip.model) and "image" not in self.config.frozen:
                recalibrate_batch_norm(self.clip.model, self._whole_image_batches())
        return self.processes.from_first(self._summarise(identity) if self.processes.is_first else {})

    def _take_steps(self, first_step: int, records: _Records, should_stop: Callable[[], bool]) -> None:
        num_steps, on_gpu = self.stream.num_steps, self.learner.device.type == "cuda"
        tokenizer = fast_tokenizer(self.clip.tokenizer)
        batches = self.stream.read_ahead(first_step, self._images, tokenizer, pin_memory=on_gpu)
        for num_done, batch in enumerate(_timed(batches, records), start=first_step + 1):
            rate = self._learning_rate(num_done - 1)
            scalars = self.learner.step(batch, step=num_done - 1, learning_rate=rate)
            # On a GPU a step is reported while the next one runs, so that neither waits for the other.
            records.take(_Taken(num_done, rate, batch, Readings(scalars)), num_kept_back=1 if on_gpu else 0)
            is_last = num_done == num_steps
            is_stopped = not is_last and self.processes.any(should_stop())
            if is_last or is_stopped or num_done % self.config.checkpoint_every_steps == 0:
                records.report_all()
                self._save(num_done, records)
            records.tell()
            if is_stopped:
                raise TrainingStoppedError(
                    f"stopped after step {num_done} of {num_steps}; run again to go on from there"
                )

    def _learning_rate(self, step: int) -> float:
        config = self.config
        return learning_rate_at(
            step, num_steps=self.stream.num_steps, warmup_steps=config.warmup_steps, peak=config.learning_rate
        )

    def _save(self, num_done: int, records: _Records) -> None:
        if records.metrics is not None:
            records.metrics.sync()  # the metrics of a checkpoint's steps are on the disk before it is
            save_checkpoint(
                self.run.checkpoints,
                {"num_steps_done": num_done, "classes": self.stream.classes.to_dict(), **self.learner.state_dict()},
                num_steps_done=num_done,
                num_kept=self.config.num_checkpoints,
                metrics_sha256=self.run.metrics_sha256() or "",
            )

    def _whole_image_batches(self) -> Iterator[torch.Tensor]:
        """Batches of the training views, uncropped and each view as often as any other, as at evaluation."""
        num_views, config = len(self.stream.views), self.config
        num_batches = min(self.stream.sampler.num_steps_per_epoch, _NUM_SETTLING_BATCHES)
        with contextlib.closing(
            ImageReader(self.stream.views, self.clip.preprocess, num_workers=config.num_workers)
        ) as images:
            for step in range(num_batches):
                rows = batch_rows(step, num_views=num_views, batch_size=config.batch_size, seed=config.seed)
                yield self.learner.towers.normalise(images.read_grey(rows.tolist()).to(self.learner.device))

    def _summarise(self, identity: dict[str, Any]) -> dict[str, Any]:
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
            "metrics_sha256": self.run.metrics_sha256(),
            "config": config.result_settings,
            "identity": identity,
        }

    def _class_shares(self) -> list[dict[str, Any]]:
        """For each class that occurs: its share of the training views, of the draws asked for, and of those drawn."""
        sampler, table = self.stream.sampler, self.stream.classes
        drawn = sampler.shares_drawn(self.stream.num_steps)
        counts = [*sampler.counts.tolist(), int((sampler.classes < 0).sum())]
        names = [*zip(table.codes, table.titles, strict=True), ("unknown", "")]
        return [
            {
                "class": code,
                "title": title,
                "num_views": count,
                "asked": round(float(sampler.shares_asked[place]), 6),
                "drawn": round(float(drawn[place]), 6),
            }
            for place, ((code, title), count) in enumerate(zip(names, counts, strict=True))
            if count
        ]

    def export(self, summary: dict[str, Any]) -> dict[str, str]:
        """Write the model folder: file name → SHA-256."""
        head = self.learner.towers.head
        return export_model(self.clip, self.run.model, summary=summary, head=head, classes=self.stream.classes)


@dataclass
class _Records:
    """What is made of each step: it is checked by every process, and written down by the first."""

    session: TrainingLoop
    watch: LossWatch
    metrics: MetricsLog | None
    timings: Timings | None
    tracker: Tracker | None
    progress: Progress | None
    kept_back: collections.deque[_Taken] = field(default_factory=collections.deque)
    untold: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, session: TrainingLoop, first_step: int, identity: dict[str, Any], progress: Progress | None
    ) -> Iterator[_Records]:
        run, config = session.run, session.config
        losses = [row["loss"] for row in read_metrics(run.metrics)]
        watch = LossWatch(factor=config.divergence_factor, num_steps=config.divergence_steps, losses=losses)
        session.processes.wait_for_all()  # nobody reads the metrics while they are written
        if not session.processes.is_first:
            yield cls(session, watch, None, None, None, None)
            return
        with contextlib.ExitStack() as closing:
            metrics = closing.enter_context(MetricsLog(run.metrics))
            timings = Timings(run, num_steps_done=first_step, device=session.learner.device)
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
            yield cls(session, watch, metrics, timings, tracker, progress)

    def take(self, taken: _Taken, *, num_kept_back: int) -> None:
        """Report a step, at the latest when so many others have followed it."""
        self.kept_back.append(taken)
        while len(self.kept_back) > num_kept_back:
            self._report(self.kept_back.popleft())

    def report_all(self) -> None:
        """Report what was kept back."""
        while self.kept_back:
            self._report(self.kept_back.popleft())

    def _report(self, taken: _Taken) -> None:
        session, plan = self.session, taken.batch.plan
        numbers = taken.readings.values()
        check_step(
            numbers,
            step=taken.step,
            plan=plan,
            views=session.stream.views,
            watch=self.watch,
            run=session.run,
            writes=session.processes.is_first,
        )
        if self.metrics is None or self.timings is None:
            return
        epoch = (taken.step - 1) // session.stream.sampler.num_steps_per_epoch + 1
        values = {"step": taken.step, "epoch": epoch, "learning_rate": taken.learning_rate, **numbers}
        self.metrics.append(values)
        speed = self.timings.append(taken.step, num_pairs=len(plan.rows))
        if self.tracker is not None:
            self.tracker.log(taken.step, {**numbers, "learning_rate": taken.learning_rate, **speed})
        self.untold.append(values | speed)

    def tell(self) -> None:
        """Tell the caller of the steps that were reported; what is due for them, such as a checkpoint, is done."""
        untold, self.untold = self.untold, []
        for values in untold:
            if self.progress is not None:
                self.progress(values["step"], self.session.stream.num_steps, values)


def _timed(batches: Iterable[Batch], records: _Records) -> Iterator[Batch]:
    """The batches; how long each had to be waited for goes to the timings."""
    iterator = iter(batches)
    while True:
        started = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        if records.timings is not None:
            records.timings.waited(time.perf_counter() - started)
        yield batch
