"""Named training methods."""

from __future__ import annotations

import dataclasses

import pytest

from model.training.config import TrainConfig
from model.training.presets import PRESETS

TERMS = ("contrastive_weight", "classification_weight", "multi_view_weight")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_consists_of_valid_settings(name):
    known = {setting.name for setting in dataclasses.fields(TrainConfig)}

    assert set(PRESETS[name]) <= known
    config = TrainConfig(preset=name)
    assert {setting: getattr(config, setting) for setting in PRESETS[name]} == PRESETS[name]


@pytest.mark.parametrize(
    ("name", "weights", "sampler", "is_weighed"),
    [
        ("clip", (1.0, 0.0, 0.0), "uniform", False),
        ("patentclip", (1.0, 0.0, 0.0), "uniform", False),
        ("designclip", (1.0, 0.1, 0.2), "item", True),
        ("designclip-balanced", (1.0, 2.0, 1.0), "class", False),
        ("lift", (1.0, 1.0, 0.0), "uniform", False),
        ("designclip-as-published", (0.1, 1.0, 0.2), "class", True),
        ("designclip-as-released", (1.0, 0.2, 0.0), "uniform", False),
    ],
)
def test_the_presets_differ_in_their_terms_sampler_and_weights(name, weights, sampler, is_weighed):
    preset = PRESETS[name]

    assert tuple(preset[term] for term in TERMS) == weights
    assert preset["sampler"] == sampler
    assert preset["weigh_contrastive"] is preset["weigh_classification"] is is_weighed


def test_a_given_setting_overrides_the_preset():
    config = TrainConfig(preset="designclip", multi_view_weight=0.5, beta=0.3)

    assert (config.multi_view_weight, config.beta, config.sampler) == (0.5, 0.3, "item")
