"""The project's own training steps, one at a time, so that they can take turns with those of another library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from model.clip.loading import Clip
from model.clip.tokenizer import fast_tokenizer
from model.dataset.images import ImageReader
from model.dataset.views import Views
from model.training.batches import Batch, BatchStream
from model.training.config import TrainConfig
from model.training.run.metrics import PendingMetrics
from model.training.step.learner import Learner
from model.training.step.losses import class_weights
from model.training.train import reproducible


class OwnTraining:
    """What `model.training.loop.TrainingLoop` does at each step, from the dataset's files to the weights.

    Attributes:
        stream: The batches.
        learner: What the steps change.

    Args:
        clip: The model; it may be shared with other instances.
        views: Training views.
        config: Settings of the training.
    """

    def __init__(self, clip: Clip, views: Views, config: TrainConfig) -> None:
        self.stream = stream = BatchStream(views, config)
        self.learner = Learner(
            clip,
            config,
            num_classes=len(stream.classes),
            class_weights=class_weights(torch.from_numpy(stream.sampler.counts), config.beta),
            class_shares=torch.from_numpy(stream.sampler.known_shares),
        )
        self._images = ImageReader(views, clip.preprocess, num_workers=config.num_workers)
        self._batches: Iterator[Batch] = stream.read_ahead(0, self._images, fast_tokenizer(clip.tokenizer))
        self._num_done = 0

    def take_step(self) -> float:
        """Take one step; returns its seconds, including the wait for the batch."""
        started = time.perf_counter()
        batch = next(self._batches)
        with reproducible(self._num_done, self.learner.device):
            scalars = self.learner.step(batch, step=self._num_done, learning_rate=1e-4)
            PendingMetrics(scalars).values()
        self._num_done += 1
        return time.perf_counter() - started

    def close(self) -> None:
        """Stop the reading threads."""
        batches: Any = self._batches
        batches.close()
        self._images.close()
