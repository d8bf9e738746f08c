"""Settings of training, checked when they are created."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from model.dataset.classes import SCHEMES
from model.dataset.folder import CAPTION_COLUMNS, LINES
from model.settings import ADDED_LATER, RESULT_UNTOUCHED, Config, require
from model.training.presets import PRESETS

CAPTIONS = (*CAPTION_COLUMNS, "shape_or_function")  # the last one draws one of two columns for each view and step
IMAGES = (*LINES, "both")  # the last one draws one of the two for each view and step
PRECISIONS = ("fp32", "bf16")
LOSSES = ("clip", "siglip")
SAMPLERS = ("uniform", "class", "item")
HEADS, HEAD_INITS = ("fusion", "cosine"), ("random", "text")
TOWERS = ("image", "text")
VIEWS = ("all", "front", "one")
TRACKERS = ("none", "tensorboard", "wandb", "mlflow")

UNRECORDED: dict[str, Any] = {
    "head": "fusion",
    "head_init": "random",
    "logit_adjustment": 0.0,
    "classify_all_views": False,
    "refit_head": False,
    "refit_l2": 1.0,
    "image": "all",
    "views": "all",
}
"""Settings that some runs did not record, with the values that describe what those runs did."""

_BY_PRESET: Any = None  # the default of settings that the preset fills in

_AT_LEAST_ONE = (
    "batch_size",
    "num_epochs",
    "num_workers",
    "num_batches_ahead",
    "checkpoint_every_steps",
    "num_checkpoints",
    "divergence_steps",
)
_NOT_NEGATIVE = (
    "beta",
    "logit_adjustment",
    "refit_l2",
    "contrastive_weight",
    "classification_weight",
    "multi_view_weight",
    "arcface_weight",
    "weight_decay",
    "warmup_steps",
    "lora_rank",
    "num_processes",
)
_POSITIVE = ("learning_rate", "epsilon", "lora_alpha", "arcface_scale")
_SHARES = ("text_dropout", "lora_dropout")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How a model is trained.

    Settings of the method that are not given have the values of the preset. These values, not the name of the preset,
    are recorded and decide whether two runs are the same.

    Attributes:
        preset: "clip", "patentclip", "designclip", "designclip-balanced", "designclip-as-published",
            "designclip-as-released", "lift" or "arcface".
        architecture: An open_clip architecture ("ViT-B-32"), "designclip-tiny", "local-dir:FOLDER" or "hf-hub:NAME".
        pretrained: Initial weights: an open_clip tag ("openai") or a weights file; "" for random weights.
        loss: "clip", or "siglip" for SigLIP's form of the contrastive term.
        sampler: "uniform", or by class: "class" draws a class by f^-β and then a view of it, "item" draws views by the
            f^-β of their class.
        beta: Strength β of the correction for class imbalance, in sampling and in weights; 0 corrects nothing.
        class_scheme: "uspc" (33 classes) or "locarno" (32 classes).
        contrastive_weight: Weight of the term between views and captions.
        classification_weight: Weight of the term that predicts classes from view and caption; 0 builds no head.
        multi_view_weight: Weight of the term between views of one patent; 0 reads no second view, unless
            `classify_all_views` does.
        arcface_weight: Weight of the ArcFace term, which classifies views with each patent as a class.
        arcface_scale: The s of ArcFace.
        arcface_margin: The m of ArcFace, in radians.
        weigh_contrastive: Whether the contrastive and multi-view terms weight each item by the f^-β of its class.
        weigh_classification: Whether the classification term weights each item by the f^-β of its class.
        head: "fusion" for a head that attends to the tokens of view and caption, "cosine" for one that compares the
            features of the view with a direction for each class, and reads no captions.
        head_init: "random", or "text" for a cosine head that starts from the text features of the titles of the
            classes, and with it from the model's own zero-shot classification.
        logit_adjustment: The τ of logit adjustment: the classification term adds τ times the logarithm of each class's
            share of the draws to the logits, so that the head learns less of the classes' frequencies; 0 adds nothing.
        classify_all_views: Whether the other view of each pair is classified as well, from the image alone.
        refit_head: Whether the last layer of the head is refitted at the end of the run, on whole training views, by
            balanced softmax regression.
        refit_l2: Strength of the penalty on the weights of the refitted layer, for standardised inputs.
        multi_positive: Whether items of a batch with the same caption or patent are positives rather than negatives.
        text_dropout: Share of the items that are classified from the view alone, without the caption.
        caption: Column with the text of a view, "shape_or_function" to draw one of the two at each step, or a table of
            columns and weights, {"shape": 0.4, "function": 0.4, "title": 0.2}, to draw one of these by its weight;
            `text` is used for views without it.
        views: Which views of a patent are trained on: "all"; "front", its first front view, or its first view if it has
            none; or "one", drawn once with `seed`. With the last two there are no other views to compare with, and the
            images of the chosen views are in memory.
        image: Which lines of a view its image shows: "all"; "claimed", without what the grant does not claim, such as
            surroundings; or "both", to draw one of the two for each view and step. Views in which nothing is unclaimed
            are the same in each case. A head is refitted on the same images, with "both" on all lines.
        min_crop_area: Smallest share of the image's area that a random crop keeps; 1 never crops.
        frozen: Towers that are not trained, of "image" and "text". "text" is frozen anyway if no term reads captions.
        lora_rank: Rank of LoRA adapters, which are then trained instead of the towers; 0 trains the towers themselves.
        lora_alpha: LoRA adapters are scaled by lora_alpha / lora_rank.
        lora_dropout: Dropout on the input of the LoRA adapters.
        precision: "fp32", or "bf16" for autocast (weights and optimiser stay in fp32).
        device: "auto" is CUDA if it is available, else the CPU; or any device name of torch.
        compile: Whether to compile the towers with torch.compile.
        gradient_checkpointing: Whether transformer towers keep the inputs of their layers alone for the backward pass,
            and compute the rest again: less memory, at the cost of a second forward pass.
        shard_optimizer: Whether each of several processes keeps a share of the optimiser's state, which is twice the
            size of the weights, instead of all of it.
        batch_size: Pairs a step, over all processes; a smaller training split is one batch.
        micro_batch_size: Largest number of pairs that a process passes through the model at once. The step is still
            that of the whole batch, at the cost of a second forward pass. None passes all at once.
        num_epochs: Passes over the training split; ignored if `num_steps` is given.
        num_steps: Length of the run in optimiser steps.
        learning_rate: Peak learning rate, reached after the warm-up; it falls to zero along a cosine.
        betas: The two betas of AdamW.
        epsilon: The epsilon of AdamW.
        weight_decay: The weight decay of AdamW.
        warmup_steps: Steps of linear warm-up; at most half of the run.
        max_grad_norm: Gradients are scaled down to this norm; None never scales them.
        max_logit_scale: Upper bound of the logit scale itself, not of its logarithm.
        ema_decay: Decay of the moving average of the weights, which is then exported; None averages nothing.
        divergence_factor: A run is stopped if its loss stays above this multiple of its median; None never stops it.
        divergence_steps: Number of consecutive steps above that multiple before a run is stopped.
        seed: Seed of fresh weights, of the draws of views, crops and captions, and of dropout.
        num_workers: Threads that decode images, in each process.
        num_batches_ahead: Batches that are read ahead while one is trained on.
        num_processes: Number of processes that train together; 0 is one a GPU. Changes the result only by rounding.
        checkpoint_every_steps: Steps between checkpoints; the last step always writes one.
        num_checkpoints: Number of latest checkpoints that are kept.
        tracker: Where metrics go in addition to the run's own files: "none", "tensorboard", "wandb" or "mlflow".
    """

    preset: str = field(default="designclip-balanced", metadata=RESULT_UNTOUCHED)
    architecture: str = "ViT-B-32"
    pretrained: str | None = _BY_PRESET
    loss: str = _BY_PRESET
    sampler: str = _BY_PRESET
    beta: float = _BY_PRESET
    class_scheme: str = _BY_PRESET
    contrastive_weight: float = _BY_PRESET
    classification_weight: float = _BY_PRESET
    multi_view_weight: float = _BY_PRESET
    arcface_weight: float = _BY_PRESET
    arcface_scale: float = 30.0
    arcface_margin: float = 0.5
    weigh_contrastive: bool = _BY_PRESET
    weigh_classification: bool = _BY_PRESET
    head: str = _BY_PRESET
    head_init: str = _BY_PRESET
    logit_adjustment: float = _BY_PRESET
    classify_all_views: bool = _BY_PRESET
    refit_head: bool = _BY_PRESET
    refit_l2: float = 1.0
    multi_positive: bool = _BY_PRESET
    text_dropout: float = _BY_PRESET
    caption: str | dict[str, float] = _BY_PRESET
    views: str = field(default="all", metadata=ADDED_LATER)
    image: str = field(default="all", metadata=ADDED_LATER)
    min_crop_area: float = 0.9
    frozen: tuple[str, ...] = ()
    lora_rank: int = _BY_PRESET
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    precision: str = "fp32"
    device: str = "auto"
    compile: bool = False
    gradient_checkpointing: bool = field(default=False, metadata=RESULT_UNTOUCHED)
    shard_optimizer: bool = field(default=False, metadata=RESULT_UNTOUCHED)
    batch_size: int = 128
    micro_batch_size: int | None = None
    num_epochs: int = 10
    num_steps: int | None = None
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    weight_decay: float = 0.2
    warmup_steps: int = 500
    max_grad_norm: float | None = None
    max_logit_scale: float = 100.0
    ema_decay: float | None = None
    divergence_factor: float | None = 10.0
    divergence_steps: int = 50
    seed: int = 0
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)
    num_batches_ahead: int = field(default=2, metadata=RESULT_UNTOUCHED)
    num_processes: int = field(default=1, metadata=RESULT_UNTOUCHED)
    checkpoint_every_steps: int = field(default=500, metadata=RESULT_UNTOUCHED)
    num_checkpoints: int = field(default=2, metadata=RESULT_UNTOUCHED)
    tracker: str = field(default="none", metadata=RESULT_UNTOUCHED)

    @property
    def reads_captions(self) -> bool:
        """Whether any term reads captions; if none does, the text tower is frozen and views need no caption."""
        return self.contrastive_weight > 0 or (self.classification_weight > 0 and self.head == "fusion")

    @property
    def classifies_other_views(self) -> bool:
        """Whether the other view of each pair is classified as well."""
        return self.classify_all_views and self.classification_weight > 0

    @property
    def reads_other_views(self) -> bool:
        """Whether any term reads a second view of each patent."""
        return self.multi_view_weight > 0 or self.classifies_other_views

    @property
    def frozen_towers(self) -> tuple[str, ...]:
        """Towers that are not trained: the ones in `frozen`, and "text" if no term reads captions."""
        return self.frozen if self.reads_captions else tuple(dict.fromkeys((*self.frozen, "text")))

    def __post_init__(self) -> None:
        require(bool(self.architecture), 'architecture is empty; name an open_clip architecture, such as "ViT-B-32"')
        self._fill_from_preset()
        self._check_method()
        self._check_numbers()
        self._check_adaptation()

    def _fill_from_preset(self) -> None:
        _require_one_of("preset", self.preset, tuple(PRESETS))
        for name, value in PRESETS[self.preset].items():
            has_own_weights = name == "pretrained" and ":" in self.architecture
            if getattr(self, name) is None and not has_own_weights:
                object.__setattr__(self, name, value)

    def _check_method(self) -> None:
        _require_one_of("precision", self.precision, PRECISIONS)
        _check_caption(self.caption)
        _require_one_of("image", self.image, IMAGES)
        _require_one_of("views", self.views, VIEWS)
        require(
            self.views == "all" or not self.reads_other_views,
            f'views = "{self.views}" leaves one view of each patent, but a term compares views; '
            "set multi_view_weight = 0 and classify_all_views = false",
        )
        _require_one_of("loss", self.loss, LOSSES)
        _require_one_of("sampler", self.sampler, SAMPLERS)
        _require_one_of("class_scheme", self.class_scheme, SCHEMES)
        _require_one_of("head", self.head, HEADS)
        _require_one_of("head_init", self.head_init, HEAD_INITS)
        require(
            self.head_init == "random" or self.head == "cosine",
            'head_init = "text" needs head = "cosine": a fusion head has no directions that text features could be',
        )
        _require_one_of("tracker", self.tracker, TRACKERS)
        weights = (self.contrastive_weight, self.classification_weight, self.multi_view_weight, self.arcface_weight)
        require(
            not self.refit_head or self.classification_weight > 0,
            "refit_head is set, but there is no head; set classification_weight above 0, or refit_head = false",
        )
        require(any(weights), "all terms have the weight 0; set one of them above 0, such as contrastive_weight = 1")

    def _check_numbers(self) -> None:
        # Settings that share a range.
        for name in _AT_LEAST_ONE:
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in _NOT_NEGATIVE:
            require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must not be negative")
        for name in _POSITIVE:
            require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; it must be positive")
        for name in _SHARES:
            require(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; use a share from 0 to 1")
        for name in ("num_steps", "micro_batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} is {value}; use at least 1")
        # Settings with a range of their own.
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"betas is {self.betas}; use two numbers from 0 to below 1, such as (0.9, 0.98)",
        )
        require(
            self.max_grad_norm is None or self.max_grad_norm > 0,
            f"max_grad_norm is {self.max_grad_norm}; use a positive number, or None for no clipping",
        )
        require(
            self.ema_decay is None or 0 < self.ema_decay < 1,
            f"ema_decay is {self.ema_decay}; use a number between 0 and 1, such as 0.999, or None for no average",
        )
        require(
            self.divergence_factor is None or self.divergence_factor > 1,
            f"divergence_factor is {self.divergence_factor}; use more than 1, such as 10, or None to never stop",
        )
        require(
            0 <= self.arcface_margin < math.pi / 2,
            f"arcface_margin is {self.arcface_margin}; use radians from 0 to below π/2, such as 0.5",
        )
        require(self.max_logit_scale >= 1, f"max_logit_scale is {self.max_logit_scale}; use at least 1, such as 100")
        require(0 < self.min_crop_area <= 1, f"min_crop_area is {self.min_crop_area}; use a share in (0, 1]")
        require(0 <= self.seed < 2**63, f"seed is {self.seed}; use a whole number of at least 0")

    def _check_adaptation(self) -> None:
        unknown = [tower for tower in self.frozen if tower not in TOWERS]
        require(not unknown, f"frozen is {self.frozen}; choose from {', '.join(TOWERS)}")
        are_all_frozen = set(self.frozen_towers) == set(TOWERS)
        require(
            not are_all_frozen or self.classification_weight > 0,
            "all towers are frozen and there is no head; remove a tower from frozen, or set classification_weight",
        )
        require(
            not (are_all_frozen and self.lora_rank),
            "lora_rank is set, but all towers are frozen; remove one of them from frozen",
        )


def _check_caption(caption: str | dict[str, float]) -> None:
    """Raise ConfigError unless `caption` names a column, or columns with weights."""
    if isinstance(caption, str):
        _require_one_of("caption", caption, CAPTIONS)
        return
    unknown = sorted(caption.keys() - set(CAPTION_COLUMNS))
    require(not unknown, f"caption mixes {', '.join(unknown)}; choose from {', '.join(CAPTION_COLUMNS)}")
    for name, weight in caption.items():
        require(
            math.isfinite(weight) and weight >= 0,
            f"caption gives {name} the weight {weight}; use a number of at least 0",
        )
    require(sum(caption.values()) > 0, "caption has no column with a weight above 0; give one to at least one column")


def _require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    require(value in choices, f"{name} is {value!r}; use one of {', '.join(choices)}")
