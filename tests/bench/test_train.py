"""The benchmark of training steps runs up to its result."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from bench import refit, train
from bench.open_clip_training import OpenClipTraining, build_optimizer
from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.training.config import TrainConfig
from model.training.step.optimizer import build_optimizer as our_optimizer
from tests.model.conftest import MICRO_CLIP


@pytest.fixture
def micro(tmp_path) -> str:
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro" / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    return f"local-dir:{tmp_path / 'micro'}"


@pytest.mark.slow
def test_all_contestants_take_steps_and_ratios_are_reported(micro, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    options = ["--architecture", micro, "--batch-size", "8", "--seconds", "0", "--num-views", "64"]
    monkeypatch.setattr(sys, "argv", ["bench.train", *options])
    train.main()

    result = json.loads(capsys.readouterr().out)
    assert result["num_rounds"] == 1
    assert set(result["step_s"]) == {
        *("designclip", "balanced", "open_clip_2B", "same_inputs", "clip", "open_clip_train", "open_clip_B")
    }
    assert result["balanced_to_designclip"] == pytest.approx(
        result["step_s"]["balanced"] / result["step_s"]["designclip"], rel=0.2
    )
    assert result["designclip_ratio"] > 0 and result["clip_ratio"] > 0


@pytest.mark.slow
def test_the_refit_is_timed_against_the_steps_of_a_run(micro, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(refit, "MOST_VIEWS_OF_A_CLASS", 4)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    options = ["--architecture", micro, "--batch-size", "8", "--num-views", "64", "--num-steps", "1"]
    monkeypatch.setattr(sys, "argv", ["bench.refit", *options])
    refit.main()

    result = json.loads(capsys.readouterr().out)
    assert result["num_steps"] == 80  # ten epochs of eight batches
    assert result["refit_s"] > 0 and 0 < result["share_of_run"] < 1


def test_open_clips_optimizer_has_the_same_settings_as_ours(micro):
    model = load_clip(ModelSource(micro)).model
    ours, theirs = our_optimizer(model, TrainConfig()), build_optimizer(model, is_fused=True)

    for our_group, their_group in zip(ours.param_groups, theirs.param_groups, strict=True):
        assert {id(weight) for weight in our_group["params"]} == {id(weight) for weight in their_group["params"]}
        for name in ("lr", "betas", "eps", "weight_decay", "fused"):
            assert our_group[name] == their_group[name]


def test_a_step_for_unequal_numbers_equals_a_step_of_the_loop_if_the_numbers_are_equal(micro):
    torch.manual_seed(0)
    images, tokens = torch.rand(4, 3, 32, 32), torch.randint(1, 100, (4, 16))
    weights = []
    for take in ("take_steps", "take_unequal_step"):
        model = load_clip(ModelSource(micro)).model
        training = OpenClipTraining(model, is_fused=True, precision="fp32")
        if take == "take_steps":
            training.take_steps([(images, tokens)], num_steps=1, batch_size=4)
        else:
            training.take_unequal_step(images, tokens)
        weights.append(model.state_dict())

    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, msg=name)
