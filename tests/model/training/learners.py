"""Learners of small models, and the results of a few steps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.dataset.views import read_views
from model.training.batches import BatchStream
from model.training.config import TrainConfig
from model.training.distributed import SINGLE_PROCESS, Processes
from model.training.step.learner import Learner
from model.training.step.losses import class_weights


def build_learner(
    dataset: Path, config: TrainConfig, processes: Processes = SINGLE_PROCESS
) -> tuple[Learner, BatchStream]:
    """A learner and its batches."""
    stream = BatchStream(read_views(open_dataset(dataset), "train"), config, processes)
    torch.manual_seed(config.seed)
    clip = load_clip(ModelSource(config.architecture), seed=config.seed)
    weights = class_weights(torch.from_numpy(stream.sampler.counts), config.beta)
    num_patents = int(stream.views.patent_ids.max()) + 1
    learner = Learner(
        clip,
        config,
        num_classes=len(stream.classes),
        class_weights=weights,
        class_shares=torch.from_numpy(stream.sampler.known_shares),
        num_patents=num_patents,
        processes=processes,
    )
    return learner, stream


def take_steps(
    dataset: Path, config: TrainConfig, processes: Processes = SINGLE_PROCESS, *, num_steps: int = 2
) -> dict[str, Any]:
    """Take steps: metrics of each, gradients of the first, weights after the last, rows of each, and moments kept."""
    learner, stream = build_learner(dataset, config, processes)
    metrics, gradients, rows = [], {}, []
    with contextlib.closing(ImageReader(stream.views, learner.clip.preprocess, num_workers=1)) as images:
        for step in range(num_steps):
            batch = stream.read(step, images, learner.clip.tokenizer)
            rows.append(torch.from_numpy(batch.plan.rows[processes.part_of(stream.num_pairs)]))
            scalars = learner.step(batch, step=step, learning_rate=1e-3)
            metrics.append({name: value.item() for name, value in scalars.items()})
            if step == 0:
                named = learner.towers.named_parameters()
                gradients = {name: weight.grad.clone() for name, weight in named if weight.grad is not None}
    return {
        "metrics": metrics,
        "gradients": gradients,
        "weights": learner.towers.state_dict(),
        "rows": rows,
        "num_moments": _num_moments(learner),
    }


def _num_moments(learner: Learner) -> int:
    """Numbers that this process keeps of the optimiser's first moments."""
    optimizer: Any = getattr(learner.optimizer, "optim", learner.optimizer)
    return sum(state["exp_avg"].numel() for state in optimizer.state.values())
