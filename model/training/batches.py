"""The batches of a run: what each step trains on, read ahead of time.

The plan of a step (`BatchPlan`) is a pure function of the settings, the seed and the step, and covers all processes:
each process knows the classes, patents and captions of the whole batch, but reads only the images of its own part. No
process has to send plans to the others, and a resumed run continues with the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from model.clip.tokenizer import Tokenizer
from model.dataset.ahead import read_ahead
from model.dataset.classes import ClassTable, class_table
from model.dataset.images import ImageReader
from model.dataset.views import Views
from model.errors import ConfigError
from model.training.config import TrainConfig
from model.training.distributed import SINGLE_PROCESS, Processes
from model.training.sampling import Sampler, batch_draws, lines_draws

_NUM_DRAWS = 8  # a view: crop (3), crop of the other view (3), choice of the caption, whether the head sees the caption


class Targets(NamedTuple):
    """What is known about the pairs of a step, over all processes.

    Attributes:
        classes: (num_pairs,) int64 index of each pair's class; -1 if unknown.
        patents: (num_pairs,) int64 number of the patent.
        texts: (num_pairs,) int64 number of the caption; equal captions have equal numbers.
        has_other_view: (num_pairs,) bool; if False, the other view is the view itself.
    """

    classes: torch.Tensor
    patents: torch.Tensor
    texts: torch.Tensor
    has_other_view: torch.Tensor

    def to(self, device: torch.device) -> Targets:
        """The targets on a device."""
        return Targets(*(values.to(device, non_blocking=True) for values in self))


@dataclass(frozen=True)
class BatchPlan:
    """What a step trains on, over all processes.

    Attributes:
        rows: (num_pairs,) rows of the views.
        other_rows: (num_pairs,) rows of other views of the same patents; None if no term uses them.
        texts: The caption drawn for each view.
        draws: (num_pairs, 8) random numbers in [0, 1).
        shows_claimed: (num_pairs, 2) bool, whether the images of view and other view show the claimed lines alone; None
            if all images show the same lines.
        targets: Classes, patents and captions of the pairs, on the CPU.
    """

    rows: np.ndarray
    other_rows: np.ndarray | None
    texts: list[str]
    draws: np.ndarray
    shows_claimed: np.ndarray | None
    targets: Targets


@dataclass(frozen=True)
class Batch:
    """The part of a step that one process reads.

    Attributes:
        plan: Plan of the whole step.
        images: (num_images, height_px, width_px) uint8: the views, then their other views, if there are any.
        tokens: (num_pairs, context_length) int64.
        sees_text: (num_pairs,) bool, False for pairs that are classified from the view alone.
    """

    plan: BatchPlan
    images: torch.Tensor
    tokens: torch.Tensor
    sees_text: torch.Tensor

    @property
    def num_pairs(self) -> int:
        """Pairs of this process."""
        return len(self.tokens)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; the copy is asynchronous if the batch is in pinned memory."""
        moved = (values.to(device, non_blocking=True) for values in (self.images, self.tokens, self.sees_text))
        return Batch(self.plan, *moved)

    def part(self, pairs: slice) -> Batch:
        """A slice of the pairs, with their other views."""
        views, others = self.images[: self.num_pairs], self.images[self.num_pairs :]
        images = torch.cat([views[pairs], others[pairs]]) if len(others) else views[pairs]
        return Batch(self.plan, images, self.tokens[pairs], self.sees_text[pairs])


@dataclass(frozen=True)
class BatchStream:
    """The batches of all steps of a run.

    Attributes:
        views: The training views.
        config: Settings of sampler, classes, captions and crops.
        processes: The processes that share each batch.

    Raises:
        ConfigError: The batch cannot be divided equally among the processes.
    """

    views: Views
    config: TrainConfig
    processes: Processes = SINGLE_PROCESS

    def __post_init__(self) -> None:
        if self.num_pairs % self.processes.num:
            raise ConfigError(
                f"a batch of {self.num_pairs} cannot be divided among {self.processes.num} processes; set "
                f"batch_size to a multiple of {self.processes.num}"
            )

    @property
    def num_pairs(self) -> int:
        """Pairs a step, over all processes."""
        return self.sampler.num_rows

    @property
    def num_steps(self) -> int:
        """Steps of the run."""
        return self.config.num_steps or self.config.num_epochs * self.sampler.num_steps_per_epoch

    @cached_property
    def classes(self) -> ClassTable:
        """The class table of the run."""
        return class_table(self.config.class_scheme)

    @cached_property
    def sampler(self) -> Sampler:
        """Draws the views of each step."""
        config = self.config
        return Sampler(
            classes=self.views.class_ids(self.classes),
            patents=self.views.patent_ids,
            num_classes=len(self.classes),
            sampler=config.sampler,
            beta=config.beta,
            batch_size=config.batch_size,
            seed=config.seed,
        )

    def plan(self, step: int) -> BatchPlan:
        """The plan of step `step`, counted from 0."""
        rows = self.sampler.rows(step)
        draws = batch_draws(step, num_rows=len(rows), num_draws=_NUM_DRAWS, seed=self.config.seed)
        texts = self.views.texts_of(rows.tolist(), self.config.caption, draws[:, 6].tolist())
        other_rows, has_other = self._other_rows(rows, step)
        targets = Targets(
            classes=torch.from_numpy(self.sampler.classes[rows].astype(np.int64)),
            patents=torch.from_numpy(self.sampler.patents[rows].astype(np.int64)),
            texts=torch.from_numpy(np.unique(np.asarray(texts), return_inverse=True)[1]),
            has_other_view=torch.from_numpy(has_other),
        )
        shows_claimed = None
        if self.config.image == "both":
            shows_claimed = lines_draws(step, num_rows=len(rows), seed=self.config.seed)
        return BatchPlan(rows, other_rows, texts, draws, shows_claimed, targets)

    def _other_rows(self, rows: np.ndarray, step: int) -> tuple[np.ndarray | None, np.ndarray]:
        if not self.config.reads_other_views:
            return None, np.zeros(len(rows), bool)
        return self.sampler.other_views(rows, step)

    def read(self, step: int, images: ImageReader, tokenizer: Tokenizer, *, pin_memory: bool = False) -> Batch:
        """Read this process's part of a step.

        Args:
            step: Counted from 0.
            images: Reads the images of `views`.
            tokenizer: Tokenizes the captions.
            pin_memory: Put images and tokens into pinned memory, for asynchronous copies to a GPU.
        """
        plan = self.plan(step)
        part = self.processes.part_of(len(plan.rows))
        rows, crops = plan.rows[part], plan.draws[part, :3]
        is_claimed = plan.shows_claimed[part, 0] if plan.shows_claimed is not None else None
        if plan.other_rows is not None:
            rows = np.concatenate([rows, plan.other_rows[part]])
            crops = np.concatenate([crops, plan.draws[part, 3:6]])
            is_claimed = plan.shows_claimed[part].T.ravel() if plan.shows_claimed is not None else None
        area = self.config.min_crop_area
        grey = images.read_grey(
            rows.tolist(), crops if area < 1 else None, min_area=area, is_claimed=is_claimed, pin_memory=pin_memory
        )  # (num_images, height, width)
        tokens = tokenizer(plan.texts[part])
        sees_text = torch.from_numpy(plan.draws[part, 7] >= self.config.text_dropout)
        return Batch(plan, grey, tokens.pin_memory() if pin_memory else tokens, sees_text)

    def read_ahead(
        self, first_step: int, images: ImageReader, tokenizer: Tokenizer, *, pin_memory: bool = False
    ) -> Iterator[Batch]:
        """Yield the batches from `first_step` to the last one, reading some of them ahead in another thread."""

        def read(step: int) -> Batch:
            return self.read(step, images, tokenizer, pin_memory=pin_memory)

        return read_ahead(read, range(first_step, self.num_steps), num_ahead=self.config.num_batches_ahead)
