"""Settings of training and evaluation, checked when they are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from model.errors import ConfigError
from model.files import read_json, sha256_of_json

CAPTION_COLUMNS = ("text", "shape", "function", "title")
CAPTIONS = (*CAPTION_COLUMNS, "shape_or_function")  # the last draws one of the two at each step
PRECISIONS = ("fp32", "bf16")
TASKS = ("retrieval",)

_RESULT_UNTOUCHED = {"changes_result": False}  # such a setting may differ between a run and its resumption

ConfigT = TypeVar("ConfigT", bound="_Config")


@dataclass(frozen=True)
class _Config:
    """What both kinds of settings can do."""

    @classmethod
    def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """Settings from plain values, such as parsed TOML or JSON; unknown names are refused."""
        known = [setting.name for setting in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {', '.join(unknown)}; {cls.__name__} knows {', '.join(known)}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    @classmethod
    def from_file(cls: type[ConfigT], path: Path | None) -> ConfigT:
        """Settings from a JSON file; the defaults without one. Raises ConfigError."""
        values = {} if path is None else read_json(path)
        if values is None:
            raise ConfigError(f"{path}: no JSON object of settings there")
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the order of the fields."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def result_settings(self) -> dict[str, Any]:
        """The settings that decide the result; those of speed and housekeeping are left out."""
        values = self.to_dict()
        return {
            setting.name: values[setting.name]
            for setting in fields(self)
            if setting.metadata.get("changes_result", True)
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 of `result_settings`, hexadecimal."""
        return sha256_of_json(self.result_settings)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_Config):
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
    num_workers: int = field(default=2, metadata=_RESULT_UNTOUCHED)
    checkpoint_every_steps: int = field(default=500, metadata=_RESULT_UNTOUCHED)
    num_checkpoints: int = field(default=2, metadata=_RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        _require(bool(self.architecture), 'architecture is empty; name an open_clip architecture, such as "ViT-B-32"')
        _require(self.precision in PRECISIONS, f"precision is {self.precision!r}; use one of {', '.join(PRECISIONS)}")
        _require(self.caption in CAPTIONS, f"caption is {self.caption!r}; use one of {', '.join(CAPTIONS)}")
        for name in ("batch_size", "num_epochs", "num_workers", "checkpoint_every_steps", "num_checkpoints"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        _require(self.num_steps is None or self.num_steps >= 1, f"num_steps is {self.num_steps}; use at least 1")
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it must be positive")
        _require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"betas is {self.betas}; use two numbers from 0 to below 1, such as (0.9, 0.98)",
        )
        _require(self.epsilon > 0, f"epsilon is {self.epsilon}; it must be positive")
        _require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it must not be negative")
        _require(self.warmup_steps >= 0, f"warmup_steps is {self.warmup_steps}; it must not be negative")
        _require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            f"max_grad_norm is {self.max_grad_norm}; use a positive number, or None for no clipping",
        )
        _require(self.max_logit_scale >= 1, f"max_logit_scale is {self.max_logit_scale}; use at least 1, such as 100")
        _require(0 < self.min_crop_area <= 1, f"min_crop_area is {self.min_crop_area}; use a share in (0, 1]")
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}; use a whole number from 0")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(_Config):
    """What is measured, and on what.

    Attributes:
        tasks: Names of tasks; "retrieval" is text → image and image → text.
        split: Split of the dataset that is queried and searched.
        caption: Column that is the text of a view; a view without it is asked for by its `text`.
        cutoffs: The k of recall@k, ascending.
        max_queries: At most so many views, drawn with `seed`, serve as queries; the gallery stays whole.
        num_resamples: Bootstrap resamples (over patents) behind each interval.
        num_examples: Queries shown at each end of the report's gallery of best and worst.
        chunk_size: Queries compared at once; memory is chunk_size × gallery size × 4 bytes.
    """

    tasks: tuple[str, ...] = ("retrieval",)
    split: str = "test"
    caption: str = "text"
    cutoffs: tuple[int, ...] = (1, 5, 10)
    max_queries: int | None = None
    num_resamples: int = 1000
    num_examples: int = 5
    seed: int = 0
    device: str = "auto"
    batch_size: int = field(default=128, metadata=_RESULT_UNTOUCHED)
    chunk_size: int = field(default=1024, metadata=_RESULT_UNTOUCHED)
    num_workers: int = field(default=2, metadata=_RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in TASKS]
        _require(bool(self.tasks) and not unknown, f"tasks is {self.tasks}; choose from {', '.join(TASKS)}")
        _require(bool(self.split), 'split is empty; name one of the dataset\'s splits, such as "test"')
        _require(
            self.caption in CAPTION_COLUMNS, f"caption is {self.caption!r}; use one of {', '.join(CAPTION_COLUMNS)}"
        )
        _require(
            bool(self.cutoffs) and min(self.cutoffs) >= 1 and list(self.cutoffs) == sorted(set(self.cutoffs)),
            f"cutoffs is {self.cutoffs}; use ascending numbers from 1, such as (1, 5, 10)",
        )
        _require(self.max_queries is None or self.max_queries >= 1, f"max_queries is {self.max_queries}; use 1 or more")
        for name in ("batch_size", "chunk_size", "num_resamples", "num_workers"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        _require(self.num_examples >= 0, f"num_examples is {self.num_examples}; it must not be negative")
