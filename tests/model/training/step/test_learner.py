"""One step: which parts run, which weights change, and by how much."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch

from model.clip.readout import NEVER
from model.dataset.images import ImageReader
from model.training.step.learner import Towers
from tests.model.training.learners import build_learner, take_steps

pytestmark = pytest.mark.slow


def step_of(dataset, config, *, num_steps=1, learning_rate=1e-3):
    """A learner after some steps, its weights before them, and the metrics of the last."""
    learner, stream = build_learner(dataset, config)
    before = {name: weight.clone() for name, weight in learner.towers.state_dict().items()}
    with contextlib.closing(ImageReader(stream.views, learner.clip.preprocess, num_workers=1)) as images:
        for step in range(num_steps):
            batch = stream.read(step, images, learner.clip.tokenizer)
            metrics = learner.step(batch, step=step, learning_rate=learning_rate)
    return learner, before, {name: value.item() for name, value in metrics.items()}


def gradient_norm(learner):
    return torch.nn.utils.get_total_norm(
        [weight.grad for weight in learner.towers.parameters() if weight.grad is not None]
    ).item()


@pytest.mark.parametrize("preset", ["clip", "designclip", "designclip-balanced", "designclip-as-released"])
def test_a_step_changes_every_weight_of_towers_and_head(shapes, micro_config, preset):
    config = type(micro_config)(preset=preset, architecture=micro_config.architecture, batch_size=8, device="cpu")
    learner, before, _ = step_of(shapes, config)

    after = learner.towers.state_dict()
    unchanged = {name for name, weight in before.items() if torch.equal(weight, after[name])}
    is_without_text = preset in ("designclip-as-released", "designclip-balanced")  # the head sees only the image
    assert {name for name in unchanged if "head.text" not in name} == set()
    assert (unchanged != set()) == is_without_text
    assert any("head" in name for name in after) == (preset != "clip")


def test_the_loss_is_the_weighted_sum_of_the_terms(shapes, micro_config):
    config = dataclasses.replace(
        micro_config, contrastive_weight=0.7, classification_weight=0.11, multi_view_weight=0.3
    )
    *_, metrics = step_of(shapes, config)

    terms = 0.7 * metrics["contrastive"] + 0.11 * metrics["classification"] + 0.3 * metrics["multi_view"]
    assert metrics["loss"] == pytest.approx(terms, rel=1e-5)


@pytest.mark.parametrize(
    ("setting", "terms"),
    [
        ({"weigh_contrastive": False}, {"contrastive", "multi_view"}),
        ({"weigh_classification": False}, {"classification"}),
        ({"multi_positive": False}, {"contrastive", "multi_view"}),
        ({"logit_adjustment": 1.0}, {"classification"}),
        ({"classify_all_views": True}, {"classification"}),
        ({"loss": "siglip"}, {"contrastive", "multi_view"}),  # the logit scale, which all terms use, starts elsewhere
    ],
)
def test_each_switch_changes_only_its_own_terms(shapes, micro_config, setting, terms):
    plain = dataclasses.replace(micro_config, sampler="uniform", batch_size=32)
    *_, before = step_of(shapes, plain)
    *_, after = step_of(shapes, dataclasses.replace(plain, **setting))

    names = {"contrastive", "classification", "multi_view"}
    assert {name for name in names if after[name] != pytest.approx(before[name], rel=1e-5)} == terms


def test_the_other_views_are_classified_from_the_image_alone(shapes, micro_config):
    config = dataclasses.replace(
        micro_config, classify_all_views=True, multi_view_weight=0.0, weigh_classification=False, text_dropout=0.0
    )
    learner, stream = build_learner(shapes, config)
    with contextlib.closing(ImageReader(stream.views, learner.clip.preprocess, num_workers=1)) as images:
        batch = stream.read(0, images, learner.clip.tokenizer)
    pixels, towers = learner.towers.normalise(batch.images), learner.towers
    with torch.no_grad():
        with_text = towers.net(pixels[:8], batch.tokens, torch.ones(8, dtype=torch.bool))["class_logits"]
        logits = torch.cat([with_text, towers.net.classify(pixels[8:])])
    expected = torch.nn.functional.cross_entropy(logits, batch.plan.targets.classes.repeat(2)).item()

    metrics = learner.step(batch, step=0, learning_rate=1e-3)

    assert metrics["classification"].item() == pytest.approx(expected, rel=1e-5)
    assert "multi_view" not in metrics  # the views were read for the classes alone


@pytest.mark.parametrize("preset", ["clip", "designclip"])
def test_each_tower_runs_once_a_step(shapes, micro_config, preset):
    config = type(micro_config)(preset=preset, architecture=micro_config.architecture, batch_size=8, device="cpu")
    learner, stream = build_learner(shapes, config)
    calls = []
    model = learner.clip.model
    model.visual.transformer.register_forward_pre_hook(lambda _, inputs: calls.append(("image", len(inputs[0]))))
    model.ln_final.register_forward_pre_hook(lambda _, inputs: calls.append(("text", len(inputs[0]))))
    layer = model.visual.transformer.resblocks[0]
    layer.register_forward_pre_hook(lambda _, inputs: calls.append(("layer", len(inputs[0]))))
    with contextlib.closing(ImageReader(stream.views, learner.clip.preprocess, num_workers=1)) as images:
        learner.step(stream.read(0, images, learner.clip.tokenizer), step=0, learning_rate=1e-3)

    num_images = 16 if preset == "designclip" else 8
    assert calls.count(("layer", num_images)) == 1 and calls.count(("text", 8)) == 1
    assert not [entry for entry in calls if entry[1] not in (8, num_images)]


def test_an_adjusted_head_never_predicts_a_class_that_it_was_not_trained_on(shapes, micro_config):
    learner, stream = build_learner(shapes, dataclasses.replace(micro_config, logit_adjustment=1.0))
    trained = learner.towers.head.out.bias.detach().clone()

    learner.finish()

    occurs, bias = torch.from_numpy(stream.sampler.counts > 0), learner.towers.head.out.bias
    assert torch.equal(bias[occurs], trained[occurs]) and (bias[~occurs] == NEVER).all() and not occurs.all()


def test_gradients_are_clipped_and_the_norm_before_is_reported(shapes, micro_config):
    free, _, metrics = step_of(shapes, micro_config)
    bound, _, metrics_of_bound = step_of(shapes, dataclasses.replace(micro_config, max_grad_norm=0.01))

    assert metrics_of_bound["grad_norm"] == metrics["grad_norm"] == pytest.approx(gradient_norm(free))
    assert metrics["grad_norm"] > 0.01
    assert gradient_norm(bound) == pytest.approx(0.01, rel=1e-3)


def test_a_gradient_below_the_bound_does_not_change(shapes, micro_config):
    bound, _, metrics = step_of(shapes, dataclasses.replace(micro_config, max_grad_norm=1e6))

    assert gradient_norm(bound) == pytest.approx(metrics["grad_norm"])


def test_only_convolutional_towers_run_with_channels_last(shapes, micro_config):
    towers = {
        name: build_learner(shapes, dataclasses.replace(micro_config, architecture=name))[0].towers
        for name in (micro_config.architecture, "designclip-tiny")
    }
    is_last = {
        name: one.normalise(torch.zeros(2, 64, 64, dtype=torch.uint8)).is_contiguous(memory_format=torch.channels_last)
        for name, one in towers.items()
    }

    assert is_last == {micro_config.architecture: False, "designclip-tiny": True}
    weights = towers["designclip-tiny"].net.clip.visual.conv2.weight
    assert weights.is_contiguous(memory_format=torch.channels_last)


def test_with_bfloat16_the_loss_differs_only_by_rounding(shapes, micro_config):
    *_, whole = step_of(shapes, micro_config)
    *_, half = step_of(shapes, dataclasses.replace(micro_config, precision="bf16"))

    assert half["loss"] == pytest.approx(whole["loss"], rel=0.02)
    assert half["loss"] != whole["loss"]


@pytest.mark.slow
def test_compiled_towers_train_like_uncompiled_ones(shapes, micro_config, monkeypatch):
    """With a backend that captures graphs but generates no code; the default one takes minutes on two cores."""
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(Towers, "compile", lambda towers: compile_module(towers, backend="eager"))
    plain, _, expected = step_of(shapes, micro_config, num_steps=2)
    compiled, _, metrics = step_of(shapes, dataclasses.replace(micro_config, compile=True), num_steps=2)

    assert metrics == pytest.approx(expected, rel=1e-3)
    assert compiled.towers.state_dict().keys() == plain.towers.state_dict().keys()
    assert compiled.towers._compiled_call_impl is not None


def test_with_gradient_checkpointing_a_step_keeps_less_and_gives_the_same_gradients(shapes, micro_config):
    kept, gradients = [], []
    for is_checkpointed in (False, True):
        num_bytes = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal num_bytes
            num_bytes += tensor.numel() * tensor.element_size()
            return tensor

        config = dataclasses.replace(micro_config, gradient_checkpointing=is_checkpointed)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            gradients.append(take_steps(shapes, config, num_steps=1)["gradients"])
        kept.append(num_bytes)
    assert kept[1] < 0.8 * kept[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
