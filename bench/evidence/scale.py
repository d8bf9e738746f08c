"""Size of the evidence: patents, images, steps, seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model.dataset.classes import USPC
from model.training.config import TrainConfig

_SMALL_RESNET = f"local-dir:{Path(__file__).parent / 'architecture'}"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What all runs of the evidence have in common.

    Attributes:
        num_training_patents: Patents to train on, long-tailed over the 33 classes; a multiple of 33.
        num_test_patents: Patents to test on, about equally many of each class, so that every third of the classes is
            measured equally well; a multiple of 33.
        tail_ratio: Number of training patents of the most frequent class, divided by that of the rarest.
        max_figures: Largest number of views of a patent.
        image_px: Side of the training images.
        architecture: Architecture of the model, as in `TrainConfig`.
        batch_size: Pairs per step.
        num_steps: Steps of every run.
        learning_rate: Peak learning rate.
        warmup_steps: Steps of warm-up of every run.
        checkpoint_every_steps: Steps between checkpoints, the most that an interrupted run can lose.
        seeds: Seeds with which each arm is run.
        betas: Strengths of the sampling on the curve; 0 and `beta` must be among them.
        beta: Strength of sampling and loss in the claims.
        multi_view_weights: Weights of the multi-view term in the claims, in addition to sampling and loss.
        plain_multi_view_weights: Weights of the multi-view term without any correction; no claim is made about them.
        num_resamples: Number of bootstrap resamples of the test patents.
    """

    num_training_patents: int
    num_test_patents: int
    tail_ratio: float = 60.0
    max_figures: int = 4
    image_px: int = 64
    architecture: str = _SMALL_RESNET
    batch_size: int = 64
    num_steps: int = 200
    learning_rate: float = 2e-3
    warmup_steps: int = 30
    checkpoint_every_steps: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)
    betas: tuple[float, ...] = (0.0, 0.6, 1.2, 2.0)
    beta: float = 1.2
    multi_view_weights: tuple[float, ...] = (0.2,)
    plain_multi_view_weights: tuple[float, ...] = (0.2, 1.0)
    num_resamples: int = 2000

    def __post_init__(self) -> None:
        for name in ("num_training_patents", "num_test_patents"):
            num = getattr(self, name)
            if num < 1 or num % len(USPC):
                raise ValueError(f"{name} is {num}; use a multiple of {len(USPC)}, so that every class can occur")
        if not {0.0, self.beta} <= set(self.betas):
            raise ValueError(f"betas is {self.betas}; include 0 and {self.beta:g}")

    def training(self, *, seed: int, **method: object) -> TrainConfig:
        """Settings of one run: the preset `designclip` with those of the scale and of `method`."""
        return TrainConfig(
            architecture=self.architecture,
            batch_size=self.batch_size,
            num_steps=self.num_steps,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            seed=seed,
            num_workers=1,
            checkpoint_every_steps=self.checkpoint_every_steps,
            num_checkpoints=1,
            **method,  # type: ignore[arg-type]
        )


_SMALL = Scale(num_training_patents=1980, num_test_patents=660)

SCALES = {
    "small": _SMALL,
    "longer": replace(_SMALL, num_steps=600),
    "large": Scale(
        num_training_patents=8250,
        num_test_patents=990,
        max_figures=7,
        image_px=224,
        architecture="ViT-B-32",
        batch_size=256,
        num_steps=2000,
        learning_rate=5e-4,
        warmup_steps=200,
        checkpoint_every_steps=500,
        seeds=(0, 1, 2, 3, 4),
        betas=(0.0, 0.4, 0.8, 1.2, 1.6, 2.0),
        multi_view_weights=(0.2, 1.0),
    ),
}
"""Name of a scale → its settings."""
