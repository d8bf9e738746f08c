"""Sizes of the evidence: patents and images, and length, architecture and seeds of the runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.dataset.classes import USPC
from model.training.config import TrainConfig

_ARCHITECTURES = Path(__file__).parent / "architectures"


@dataclass(frozen=True, kw_only=True)
class Data:
    """How many patents are drawn; every number is a multiple of 33, so that every class can occur.

    Attributes:
        num_training_patents: Patents to train on, long-tailed over the 33 classes.
        num_validation_patents: Patents that everything is chosen on, about equally many of each class.
        num_test_patents: Patents that are measured when all is chosen, about equally many of each class.
        tail_ratio: Number of training patents of the most frequent class, divided by that of the rarest.
        max_figures: Largest number of views of a patent.
        image_px: Side of the training images.
        seed: Seed of the drawings.
    """

    num_training_patents: int
    num_validation_patents: int
    num_test_patents: int
    tail_ratio: float = 60.0
    max_figures: int = 4
    image_px: int = 64
    seed: int = 20261128

    def __post_init__(self) -> None:
        for name in ("num_training_patents", "num_validation_patents", "num_test_patents"):
            num = getattr(self, name)
            if num < 1 or num % len(USPC):
                raise ValueError(f"{name} is {num}; use a multiple of {len(USPC)}, so that every class can occur")


@dataclass(frozen=True, kw_only=True)
class Length:
    """What the runs of one study have in common.

    Attributes:
        architecture: Architecture of the model, as in `TrainConfig`.
        batch_size: Pairs per step.
        num_steps: Steps of every run.
        learning_rate: Peak learning rate.
        warmup_steps: Steps of warm-up of every run.
        checkpoint_every_steps: Steps between checkpoints, the most that an interrupted run can lose.
    """

    architecture: str = f"local-dir:{_ARCHITECTURES / 'resnet'}"
    batch_size: int = 64
    num_steps: int = 200
    learning_rate: float = 2e-3
    warmup_steps: int = 30
    checkpoint_every_steps: int = 100

    def training(self, *, seed: int, **method: Any) -> TrainConfig:
        """Settings of one run: those of the study with those of `method`."""
        return TrainConfig(
            **{
                "architecture": self.architecture,
                "batch_size": self.batch_size,
                "num_steps": self.num_steps,
                "learning_rate": self.learning_rate,
                "warmup_steps": self.warmup_steps,
                "checkpoint_every_steps": self.checkpoint_every_steps,
                "seed": seed,
                "num_workers": 1,
                "num_checkpoints": 1,
                **method,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of the whole evidence.

    Attributes:
        data: What is drawn.
        short: Length of the runs that the recipe is chosen with, and of the main verdict.
        long: Length of the runs that show what more steps change.
        vit: The same for another architecture.
        tuning_seeds: Seeds of the runs that are measured on the validation part only.
        verdict_seeds: Seeds of the runs that are measured on the test part; none is a tuning seed.
        long_seeds: Those of the longer runs and of the other architecture.
        num_resamples: Number of bootstrap resamples of the measured patents.
    """

    data: Data
    short: Length
    long: Length
    vit: Length
    tuning_seeds: tuple[int, ...] = (0, 1, 2)
    verdict_seeds: tuple[int, ...] = (10, 11, 12, 13, 14)
    long_seeds: tuple[int, ...] = (10, 11, 12)
    num_resamples: int = 2000

    def __post_init__(self) -> None:
        if common := set(self.tuning_seeds) & {*self.verdict_seeds, *self.long_seeds}:
            raise ValueError(f"seed {min(common)} is used for tuning and for the verdict; use different seeds")


_SHORT = Length()
_LARGE = Length(
    architecture="ViT-B-32",
    batch_size=256,
    num_steps=2000,
    learning_rate=5e-4,
    warmup_steps=200,
    checkpoint_every_steps=500,
)

SCALES = {
    "small": Scale(
        data=Data(num_training_patents=1980, num_validation_patents=594, num_test_patents=792),
        short=_SHORT,
        long=replace(_SHORT, num_steps=600),
        vit=replace(_SHORT, architecture=f"local-dir:{_ARCHITECTURES / 'vit'}", num_steps=300, learning_rate=1e-3),
    ),
    "large": Scale(
        data=Data(
            num_training_patents=8250, num_validation_patents=990, num_test_patents=990, max_figures=7, image_px=224
        ),
        short=_LARGE,
        long=replace(_LARGE, num_steps=6000),
        vit=_LARGE,
        verdict_seeds=(10, 11),
        long_seeds=(10, 11),
    ),
}
"""Name of a scale → its settings."""
