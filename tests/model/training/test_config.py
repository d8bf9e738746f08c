"""Settings that cannot be used are refused, and the message says what can be used."""

from __future__ import annotations

import dataclasses

import pytest

from model.clip import heads
from model.errors import ConfigError
from model.evaluation.config import EvaluationConfig
from model.training.config import HEADS, TrainConfig
from model.training.presets import PRESETS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"precision": "fp16"}, "precision is 'fp16'; use one of fp32, bf16"),
        ({"betas": (0.9, 1.0)}, "use two numbers from 0 to below 1"),
        ({"caption": "poem"}, "use one of text, shape, function, title, shape_or_function"),
        ({"caption": {"poem": 1}}, "caption mixes poem; choose from text, shape, function, title"),
        ({"caption": {"shape": -1, "text": 2}}, "caption gives shape the weight -1; use a number of at least 0"),
        ({"caption": {"shape": float("nan")}}, "caption gives shape the weight nan"),
        ({"caption": {"shape": 0}}, "caption has no column with a weight above 0"),
        ({"caption": {}}, "caption has no column with a weight above 0"),
        ({"num_steps": 0}, "num_steps is 0; use at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be positive"),
        ({"min_crop_area": 0}, "use a share in"),
        ({"max_grad_norm": 0}, "or None for no clipping"),
        ({"architecture": ""}, "name an open_clip architecture"),
        ({"seed": -1}, "use a whole number of at least 0"),
        ({"preset": "patentclop"}, "preset is 'patentclop'; use one of clip, patentclip, designclip"),
        ({"sampler": "rare"}, "sampler is 'rare'; use one of uniform, class, item"),
        ({"loss": "triplet"}, "loss is 'triplet'; use one of clip, siglip"),
        ({"class_scheme": "cpc"}, "class_scheme is 'cpc'; use one of uspc, locarno"),
        ({"tracker": "paper"}, "use one of none, tensorboard, wandb, mlflow"),
        ({"logit_adjustment": -1}, "logit_adjustment is -1; it must not be negative"),
        ({"head": "linear"}, "head is 'linear'; use one of fusion, cosine"),
        ({"head_init": "text"}, 'head_init = "text" needs head = "cosine"'),
        ({"refit_l2": -1}, "refit_l2 is -1; it must not be negative"),
        ({"preset": "clip", "refit_head": True}, "refit_head is set, but there is no head; set classification_weight"),
        ({"beta": -0.1}, "beta is -0.1; it must not be negative"),
        ({"text_dropout": 1.5}, "text_dropout is 1.5; use a share from 0 to 1"),
        ({"preset": "clip", "contrastive_weight": 0}, "all terms have the weight 0"),
        ({"micro_batch_size": 0}, "micro_batch_size is 0; use at least 1"),
        ({"ema_decay": 1}, "use a number between 0 and 1, such as 0.999"),
        ({"divergence_factor": 1}, "use more than 1, such as 10, or None to never stop"),
        ({"frozen": ("vision",)}, "choose from image, text"),
        ({"preset": "clip", "frozen": ("image", "text")}, "all towers are frozen and there is no head"),
        ({"frozen": ("image", "text"), "lora_rank": 4}, "lora_rank is set, but all towers are frozen"),
    ],
)
def test_the_error_names_a_training_setting_that_is_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ("poetry",)}, "choose from retrieval"),
        ({"tasks": ()}, "choose from retrieval"),
        ({"cutoffs": (5, 1)}, "use ascending numbers of at least 1"),
        ({"cutoffs": ()}, "use ascending numbers of at least 1"),
        ({"caption": "shape_or_function"}, "use one of text, shape, function, title"),
        ({"max_queries": 0}, "use 1 or more"),
        ({"split": ""}, "name one of the dataset's splits"),
    ],
)
def test_the_error_names_an_evaluation_setting_that_is_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**settings)


def test_the_heads_of_the_settings_are_those_that_can_be_built():
    assert HEADS == heads.HEADS


def test_settings_survive_a_round_trip_through_plain_values():
    config = TrainConfig(betas=(0.8, 0.9), num_steps=3)

    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["betas"] == [0.8, 0.9]
    with pytest.raises(ConfigError, match="unknown setting learnign_rate; TrainConfig knows preset, architecture, "):
        TrainConfig.from_dict({"learnign_rate": 1})


def test_the_hash_depends_only_on_settings_that_decide_the_result():
    config = TrainConfig()

    assert config.config_hash == TrainConfig(num_workers=7, checkpoint_every_steps=3, num_checkpoints=9).config_hash
    assert config.config_hash != TrainConfig(learning_rate=1e-3).config_hash
    assert EvaluationConfig().config_hash == EvaluationConfig(num_workers=3).config_hash
    assert EvaluationConfig().config_hash != EvaluationConfig(max_queries=3).config_hash


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": "many"}, "batch_size is 'many'; use a whole number"),
        ({"batch_size": 8.5}, "batch_size is 8.5; use a whole number"),
        ({"learning_rate": True}, "learning_rate is True; use a number"),
        ({"compile": 1}, "compile is 1; use true or false"),
        ({"betas": 3}, "betas is 3; use a list"),
        ({"frozen": [1]}, r"frozen is \[1\]; use a list"),
        ({"max_grad_norm": "none"}, "max_grad_norm is 'none'; use a number or none"),
        ({"precision": None}, "precision is None; use a string"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_when_settings_are_read(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(settings)


def test_whole_numbers_are_accepted_as_numbers_and_none_means_the_value_of_the_preset():
    config = TrainConfig.from_dict(
        {"preset": "designclip", "learning_rate": 1, "beta": None, "max_grad_norm": 2, "betas": [0, 0.5]}
    )

    assert (config.learning_rate, config.beta, config.max_grad_norm, config.betas) == (1, 1.2, 2, (0, 0.5))


def test_a_preset_fills_in_what_is_not_given_and_given_settings_override_it():
    config = TrainConfig(preset="designclip", beta=0.5, weigh_contrastive=False)

    assert (config.sampler, config.beta, config.weigh_contrastive) == ("item", 0.5, False)
    assert TrainConfig().preset == "designclip-balanced"
    assert TrainConfig(preset="clip").multi_view_weight == 0
    assert TrainConfig(preset="patentclip").pretrained == "openai"


def test_a_preset_with_weights_can_train_fresh_ones_and_a_model_folder_has_its_own():
    assert TrainConfig(preset="patentclip", pretrained="").pretrained == ""
    assert TrainConfig(preset="patentclip", architecture="local-dir:model").pretrained is None


def test_the_values_decide_the_hash_and_not_the_name_of_the_preset():
    plain = TrainConfig(preset="clip")
    spelled_out = TrainConfig(preset="designclip", **PRESETS["clip"])

    assert plain.config_hash == spelled_out.config_hash
    assert "preset" not in plain.result_settings
    assert plain.result_settings["sampler"] == "uniform"


def test_a_mixture_of_captions_is_read_from_plain_values_and_is_part_of_the_identity():
    mixture = {"shape": 0.4, "function": 0.4, "title": 0.2}
    config = TrainConfig.from_dict({"preset": "clip", "caption": mixture})
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["caption"] == mixture
    hashes = {TrainConfig(preset="clip", caption=of).config_hash for of in (mixture, mixture | {"title": 0.3}, "text")}
    assert len(hashes) == 3
    with pytest.raises(ConfigError, match=r"caption is \{'shape': 'much'\}; use a string or a table of numbers"):
        TrainConfig.from_dict({"caption": {"shape": "much"}})


def test_which_lines_images_show_is_recorded_only_if_it_is_chosen():
    plain = TrainConfig()
    assert "image" not in plain.result_settings
    assert dataclasses.replace(plain, image="both").result_settings["image"] == "both"
    with pytest.raises(ConfigError, match="image is 'dashed'; use one of all, claimed, both"):
        TrainConfig(image="dashed")


def test_views_of_a_patent_can_be_left_out_only_if_no_term_compares_them():
    assert "views" not in TrainConfig().result_settings
    assert TrainConfig(preset="clip", views="front").result_settings["views"] == "front"
    with pytest.raises(ConfigError, match="views is 'side'; use one of all, front, one"):
        TrainConfig(views="side")
    for comparing in ({"preset": "designclip"}, {"multi_view_weight": 0.0}):  # the default classifies all views
        with pytest.raises(
            ConfigError, match=r"a term compares views; set multi_view_weight = 0 and classify_all_views"
        ):
            TrainConfig(views="one", **comparing)
