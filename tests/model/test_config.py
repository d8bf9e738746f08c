"""Settings that cannot be used are refused with a sentence that says what can."""

from __future__ import annotations

import pytest

from model.config import TrainConfig
from model.errors import ConfigError
from model.evaluation_config import EvaluationConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"precision": "fp16"}, "precision is 'fp16'; use one of fp32, bf16"),
        ({"betas": (0.9, 1.0)}, "use two numbers from 0 to below 1"),
        ({"caption": "poem"}, "use one of text, shape, function, title, shape_or_function"),
        ({"num_steps": 0}, "num_steps is 0; use at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be positive"),
        ({"min_crop_area": 0}, "use a share in"),
        ({"max_grad_norm": 0}, "or None for no clipping"),
        ({"architecture": ""}, "name an open_clip architecture"),
        ({"seed": -1}, "use a whole number from 0"),
    ],
)
def test_a_training_setting_out_of_range_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ("poetry",)}, "choose from retrieval"),
        ({"tasks": ()}, "choose from retrieval"),
        ({"cutoffs": (5, 1)}, "use ascending numbers from 1"),
        ({"cutoffs": ()}, "use ascending numbers from 1"),
        ({"caption": "shape_or_function"}, "use one of text, shape, function, title"),
        ({"max_queries": 0}, "use 1 or more"),
        ({"split": ""}, "name one of the dataset's splits"),
    ],
)
def test_an_evaluation_setting_out_of_range_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**settings)


def test_settings_travel_as_plain_values_and_back():
    config = TrainConfig(betas=(0.8, 0.9), num_steps=3)

    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["betas"] == [0.8, 0.9]
    with pytest.raises(ConfigError, match="unknown setting learnign_rate; TrainConfig knows architecture, "):
        TrainConfig.from_dict({"learnign_rate": 1})


def test_the_hash_follows_what_decides_the_result_and_nothing_else():
    config = TrainConfig()

    assert config.config_hash == TrainConfig(num_workers=7, checkpoint_every_steps=3, num_checkpoints=9).config_hash
    assert config.config_hash != TrainConfig(learning_rate=1e-3).config_hash
    assert EvaluationConfig().config_hash == EvaluationConfig(chunk_size=3).config_hash
    assert EvaluationConfig().config_hash != EvaluationConfig(max_queries=3).config_hash
