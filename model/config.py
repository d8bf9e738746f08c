"""Settings of training, checked when they are built."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.settings import CAPTION_COLUMNS, RESULT_UNTOUCHED, Config, require

CAPTIONS = (*CAPTION_COLUMNS, "shape_or_function")  # the last draws one of the two at each step
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How a model is trained.

    Attributes:
        architecture: An open_clip architecture ("ViT-B-32"), "designclip-tiny", "local-dir:FOLDER" or "hf-hub:NAME".
        pretrained: open_clip tag ("openai") or a weights file to start from; None draws fresh weights.
        precision: "fp32", or "bf16" for autocast (weights and optimiser stay in fp32).
        device: "auto" takes CUDA where there is one; else as torch names it.
        batch_size: Pairs a step; a smaller training split is one batch.
        num_epochs: Passes over the training split; ignored where `num_steps` is given.
        num_steps: Length of the run in optimiser steps.
        learning_rate: Peak, reached after the warm-up; falls to zero along a cosine.
        warmup_steps: Steps of linear warm-up; at most half of the run.
        max_grad_norm: Gradients are scaled down to this norm; None leaves them.
        max_logit_scale: Upper bound of the logit scale itself, not of its logarithm.
        caption: Column that is the text of a view, or "shape_or_function" to draw one of them at each step;
            a view without it is trained on `text`.
        min_crop_area: Least share of the image's area that the random crop keeps; 1 never crops.
        seed: Of the fresh weights, the order of views, crops and captions.
        num_workers: Threads that decode images.
        checkpoint_every_steps: Distance between checkpoints; the last step always writes one.
        num_checkpoints: How many of the latest checkpoints are kept.
    """

    architecture: str = "ViT-B-32"
    pretrained: str | None = None
    precision: str = "fp32"
    device: str = "auto"
    batch_size: int = 128
    num_epochs: int = 10
    num_steps: int | None = None
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    weight_decay: float = 0.2
    warmup_steps: int = 500
    max_grad_norm: float | None = None
    max_logit_scale: float = 100.0
    caption: str = "text"
    min_crop_area: float = 0.9
    seed: int = 0
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)
    checkpoint_every_steps: int = field(default=500, metadata=RESULT_UNTOUCHED)
    num_checkpoints: int = field(default=2, metadata=RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        require(bool(self.architecture), 'architecture is empty; name an open_clip architecture, such as "ViT-B-32"')
        require(self.precision in PRECISIONS, f"precision is {self.precision!r}; use one of {', '.join(PRECISIONS)}")
        require(self.caption in CAPTIONS, f"caption is {self.caption!r}; use one of {', '.join(CAPTIONS)}")
        for name in ("batch_size", "num_epochs", "num_workers", "checkpoint_every_steps", "num_checkpoints"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(self.num_steps is None or self.num_steps >= 1, f"num_steps is {self.num_steps}; use at least 1")
        require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it must be positive")
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"betas is {self.betas}; use two numbers from 0 to below 1, such as (0.9, 0.98)",
        )
        require(self.epsilon > 0, f"epsilon is {self.epsilon}; it must be positive")
        require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it must not be negative")
        require(self.warmup_steps >= 0, f"warmup_steps is {self.warmup_steps}; it must not be negative")
        require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            f"max_grad_norm is {self.max_grad_norm}; use a positive number, or None for no clipping",
        )
        require(self.max_logit_scale >= 1, f"max_logit_scale is {self.max_logit_scale}; use at least 1, such as 100")
        require(0 < self.min_crop_area <= 1, f"min_crop_area is {self.min_crop_area}; use a share in (0, 1]")
        require(0 <= self.seed < 2**63, f"seed is {self.seed}; use a whole number from 0")
