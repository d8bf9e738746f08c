"""Which weights are trained: frozen towers, LoRA adapters, and the bias of SigLIP."""

from __future__ import annotations

import dataclasses
import json

import open_clip
import pytest
import torch

from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.errors import TrainingError
from model.training.step.lora import add_lora, freeze_towers, merge_lora, set_frozen_to_eval
from model.training.train import train
from tests.model.training.learners import build_learner, take_steps

pytestmark = pytest.mark.slow


def trainable(model: torch.nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(
    ("towers", "image_is_trained", "text_is_trained"),
    [((), True, True), (("image",), False, True), (("text",), True, False), (("image", "text"), False, False)],
)
def test_a_frozen_tower_is_not_trained_and_the_logit_scale_always_is(
    micro_clip, towers, image_is_trained, text_is_trained
):
    model = load_clip(ModelSource(micro_clip)).model
    freeze_towers(model, towers)
    names = trainable(model)

    assert ("visual.conv1.weight" in names, "text_projection" in names) == (image_is_trained, text_is_trained)
    assert "logit_scale" in names


def test_a_frozen_tower_keeps_its_running_statistics():
    model = load_clip(ModelSource("designclip-tiny")).model
    freeze_towers(model, ("image",))
    model.train()
    set_frozen_to_eval(model, ("image",))
    before = model.visual.bn1.running_mean.clone()
    model.encode_image(torch.rand(2, 3, 64, 64))

    assert torch.equal(model.visual.bn1.running_mean, before)
    assert model.transformer.training


@pytest.mark.slow
def test_a_run_does_not_change_the_weights_of_a_frozen_tower(shapes, tmp_path, micro_config):
    train(shapes, tmp_path / "run", dataclasses.replace(micro_config, frozen=("image",)))
    before = load_clip(ModelSource(micro_config.architecture)).model.state_dict()
    after = load_clip(ModelSource(f"local-dir:{tmp_path / 'run' / 'model'}")).model.state_dict()

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("visual.") for name in changed)
    assert "token_embedding.weight" in changed


@pytest.mark.parametrize("architecture", ["micro", "designclip-tiny"])
def test_fresh_adapters_change_nothing_and_merging_restores_the_structure_of_the_model(micro_clip, architecture):
    name = micro_clip if architecture == "micro" else architecture
    model = load_clip(ModelSource(name)).model.eval()
    shapes_before = {key: value.shape for key, value in model.state_dict().items()}
    images = torch.rand(2, 3, *[32 if architecture == "micro" else 64] * 2)
    texts = open_clip.tokenize(["a chair", "a lamp"], model.context_length)
    first = model(images, texts)

    lora = add_lora(model, rank=2, alpha=4, dropout=0.0)
    assert all("lora_" in name or name == "logit_scale" for name in trainable(model))
    assert any(name.startswith("visual.") for name in trainable(model))
    torch.testing.assert_close(model(images, texts), first)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    adapted = model(images, texts)
    merge_lora(lora)

    assert (adapted["image_features"] - first["image_features"]).abs().max() > 1e-4
    torch.testing.assert_close(model(images, texts), adapted, rtol=1e-4, atol=1e-5)
    assert {key: value.shape for key, value in model.state_dict().items()} == shapes_before


def test_every_adapter_gets_a_gradient(shapes, micro_config):
    """The adapter of a layer whose weights are used without calling it would never be trained."""
    result = take_steps(shapes, dataclasses.replace(micro_config, lora_rank=2))

    adapters = {name: gradient for name, gradient in result["gradients"].items() if "lora_B" in name}
    assert len(adapters) == 2 + 2 + 1  # two towers of one block each, and the patch embedding
    assert all(gradient.abs().max() > 0 for gradient in adapters.values())


def test_a_frozen_tower_gets_no_adapters_and_a_model_that_supports_none_is_refused(micro_clip):
    model = load_clip(ModelSource(micro_clip)).model
    add_lora(model, rank=2, alpha=4, dropout=0.0, frozen=("image",))
    assert not any(name.startswith("visual.") for name in trainable(model))

    with pytest.raises(TrainingError, match="no layer of this model supports LoRA; set lora_rank = 0"):
        add_lora(load_clip(ModelSource(micro_clip)).model, rank=2, alpha=4, dropout=0.0, frozen=("image", "text"))


@pytest.mark.slow
def test_stock_open_clip_loads_a_model_trained_with_adapters_and_an_average(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, lora_rank=2, ema_decay=0.5, precision="bf16")
    summary = train(shapes, tmp_path / "run", config)
    model = open_clip.create_model(f"local-dir:{tmp_path / 'run' / 'model'}")
    fresh = load_clip(ModelSource(micro_config.architecture)).model.state_dict()

    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, fresh[name])}
    assert "visual.transformer.resblocks.0.mlp.c_fc.weight" in changed
    assert "visual.transformer.resblocks.0.attn.in_proj_weight" not in changed
    assert summary["num_learning_parameters"] < summary["num_parameters"]


@pytest.mark.slow
def test_siglip_starts_with_its_own_scale_and_bias_and_exports_the_bias(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, loss="siglip")
    learner, _ = build_learner(shapes, config)
    assert learner.clip.model.logit_scale.exp().item() == pytest.approx(10)
    assert learner.clip.model.logit_bias.item() == -10

    train(shapes, tmp_path / "run", config)
    written = json.loads((tmp_path / "run" / "model" / "open_clip_config.json").read_text())
    assert written["model_cfg"]["init_logit_bias"] == -10
    assert open_clip.create_model(f"local-dir:{tmp_path / 'run' / 'model'}").logit_bias.item() != -10
