"""Learning rate and weight decay."""

from __future__ import annotations

import itertools

import pytest
import torch

from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.training.config import TrainConfig
from model.training.step.optimizer import build_optimizer, learning_rate_at, set_learning_rate


def rates(num_steps: int, warmup_steps: int) -> list[float]:
    return [
        learning_rate_at(step, num_steps=num_steps, warmup_steps=warmup_steps, peak=1.0) for step in range(num_steps)
    ]


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    values = rates(110, 10)

    assert values[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert values[10] == 1.0
    assert values[60] == pytest.approx(0.5)
    assert 0 < values[-1] < 0.001
    assert all(before > after for before, after in itertools.pairwise(values[10:]))


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_a_run_shorter_than_its_warm_up_still_reaches_the_peak(num_steps):
    assert max(rates(num_steps, 500)) == 1.0


def test_gains_biases_and_the_logit_scale_are_not_decayed(micro_clip):
    model = load_clip(ModelSource(micro_clip)).model
    optimizer = build_optimizer(model, TrainConfig(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    by_name = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}

    assert by_name["logit_scale"] == by_name["ln_final.weight"] == by_name["visual.ln_post.bias"] == 0.0
    assert by_name["token_embedding.weight"] == by_name["visual.conv1.weight"] == 0.3
    assert len(by_name) == len(decay) == len(list(model.parameters()))


def test_the_learning_rate_is_set_in_every_group():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([{"params": [weight]}, {"params": [torch.nn.Parameter(torch.zeros(1))]}], lr=1.0)

    set_learning_rate(optimizer, 0.25)

    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
