"""What is compared: arms, which are settings of training, and studies, which say how long they run and how often.

Every arm is named after what it changes. All have the classification head and the same captions. `EVEN` corrects
nothing and is the baseline of every comparison. The rivals are what the method and its variants do about rare classes.
The candidates are what `RECIPE` was chosen from, on the validation part alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.evidence.scale import Length, Scale
from model.training.config import TrainConfig

EVEN, RECIPE = "even", "recipe"
BETAS = (0.6, 1.2, 2.0)

PRESET = "designclip-balanced"
"""The preset that the arm `RECIPE` is trained with: the candidate `every-view-alike-weight-2` with its last layer
refitted. It was frozen, like the two values below, before the test part was measured."""

READOUT_TAU = 1.45
"""The read-out of the recipe that the bar is measured at: the largest τ, in steps of 0.05, that keeps the head of the
candidate one point above that of the uncorrected arm on validation, over the tuning seeds."""

REFIT_L2 = 1.0
"""Strength of the penalty of all refitted last layers; the best of 0.1, 1, 10, 30 and 100 on validation."""

FINALISTS = ("every-view-alike", "every-view-alike-weight-2", "every-view-item-0.5")
"""Candidates that were tried in longer runs as well before one was chosen."""

Method = dict[str, Any]

_EVEN: Method = {
    "preset": "designclip",
    "multi_view_weight": 0.0,
    "weigh_contrastive": False,
    "weigh_classification": False,
    "sampler": "uniform",
    "beta": 0.0,
}
_STRONG_HEAD: Method = _EVEN | {"classification_weight": 1.0, "text_dropout": 1.0}
_WITH_VIEWS: Method = _STRONG_HEAD | {"multi_view_weight": 1.0}


def rivals() -> dict[str, Method]:
    """Name → settings: sampling by item and by class, weighted losses, and both, at three strengths each."""
    weighted = {"weigh_contrastive": True, "weigh_classification": True}
    named: dict[str, Method] = {}
    for beta in BETAS:
        named[f"item-{beta:g}"] = _EVEN | {"sampler": "item", "beta": beta}
        named[f"class-{beta:g}"] = _EVEN | {"sampler": "class", "beta": beta}
        named[f"loss-{beta:g}"] = _EVEN | weighted | {"beta": beta}
        named[f"both-{beta:g}"] = _EVEN | weighted | {"sampler": "item", "beta": beta}
    return named


def candidates() -> dict[str, Method]:
    """Name → settings of what the recipe was chosen from."""
    sampled = {"sampler": "item", "beta": 0.5}
    alike = {"sampler": "class", "beta": 0.0}
    every_view = {"classify_all_views": True}
    adjusted = {"logit_adjustment": 1.0}
    return {
        "strong-head": _STRONG_HEAD,
        "views": _WITH_VIEWS,
        "views-item-0.5": _WITH_VIEWS | sampled,
        "views-alike": _WITH_VIEWS | alike,
        "every-view": _WITH_VIEWS | every_view,
        "every-view-adjusted": _WITH_VIEWS | every_view | adjusted,
        "every-view-item-0.5": _WITH_VIEWS | every_view | sampled,
        "every-view-item-0.5-adjusted": _WITH_VIEWS | every_view | sampled | adjusted,
        "every-view-alike": _WITH_VIEWS | every_view | alike,
        "every-view-weight-2": _WITH_VIEWS | every_view | {"classification_weight": 2.0},
        "every-view-alike-weight-2": _WITH_VIEWS | every_view | alike | {"classification_weight": 2.0},
        "every-view-alike-weight-4": _WITH_VIEWS | every_view | alike | {"classification_weight": 4.0},
        "every-view-alike-view-weight-2": _WITH_VIEWS | every_view | alike | {"multi_view_weight": 2.0},
        "every-view-alike-text-head": _WITH_VIEWS | every_view | alike | {"head": "cosine", "head_init": "text"},
    }


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        study: Name of the study that it belongs to.
        arm: Name of the arm.
        seed: Seed of the training.
        config: How it is trained.
        dataset: Name of the dataset that it is trained and measured on.
        splits: Splits that it is measured on.
        starts_from: Name of the run whose model it starts from; None for fresh weights.
        keeps_model: Whether its model is kept, for runs that start from it.
    """

    study: str
    arm: str
    seed: int
    config: TrainConfig
    dataset: str
    splits: tuple[str, ...]
    starts_from: str | None = None
    keeps_model: bool = False

    @property
    def name(self) -> str:
        """Name of its folder and of its files."""
        return f"{self.study}-{self.arm}-seed-{self.seed}"


def plan(scale: Scale) -> list[Run]:
    """All runs, the most telling first, and seed by seed, so that what is interrupted has all arms with some seeds."""
    recipe = {"preset": PRESET}
    both = {EVEN: _EVEN, RECIPE: recipe}
    finalists = {EVEN: _EVEN, **{arm: candidates()[arm] for arm in FINALISTS}}
    measured = ("all", ("validation", "test"))
    return [
        *_study("tuning", {EVEN: _EVEN, **candidates()}, scale.short, scale.tuning_seeds, "choice", ("validation",)),
        *_study("tuning-longer", finalists, scale.long, scale.tuning_seeds[:1], "choice", ("validation",)),
        *_study("verdict", {**both, **rivals()}, scale.short, scale.verdict_seeds, *measured),
        *_study("longer", {**both, "class-0.6": rivals()["class-0.6"]}, scale.long, scale.long_seeds, *measured),
        *_study("vit", {**both, "both-1.2": rivals()["both-1.2"]}, scale.vit, scale.long_seeds, *measured),
        *_transfer(scale),
    ]


def _study(
    name: str,
    arms: dict[str, Method],
    length: Length,
    seeds: tuple[int, ...],
    dataset: str,
    splits: tuple[str, ...],
) -> Iterator[Run]:
    for seed in seeds:
        for arm, method in arms.items():
            yield Run(name, arm, seed, length.training(seed=seed, **method), dataset, splits)


def transfer_arms() -> dict[str, Method]:
    """Name → settings of tuning that starts from towers trained on other kinds of article.

    All have a strong head and no sampling by class. They differ in what is trained (all weights, or low-rank adapters),
    in whether the head is trained with adjusted logits, and in the learning rate, which is chosen on validation.
    """
    lora = {"lora_rank": 8}
    adjusted = {"logit_adjustment": 1.0}
    return {
        f"{name}@{rate:g}": _STRONG_HEAD | method | {"learning_rate": rate}
        for name, method, rates in (
            ("full", {}, (3e-4, 1e-3)),
            ("full-adjusted", adjusted, (3e-4, 1e-3)),
            ("lora", lora, (1e-3, 3e-3)),
            ("lora-adjusted", lora | adjusted, (1e-3, 3e-3)),
        )
        for rate in rates
    }


def _transfer(scale: Scale) -> Iterator[Run]:
    """For each seed, towers trained on the first half of the kinds of article, and all arms tuned on the second."""
    for seed in scale.long_seeds:
        pretraining = scale.long.training(seed=seed, **_EVEN)
        towers = Run("towers", EVEN, seed, pretraining, "first-half", ("validation",), keeps_model=True)
        yield towers
        for arm, method in transfer_arms().items():
            config = scale.short.training(seed=seed, **method)
            yield Run("transfer", arm, seed, config, "second-half", ("validation", "test"), starts_from=towers.name)
