"""The exponential moving average of weights."""

from __future__ import annotations

import torch

from model.training.step.ema import WeightAverage


def layer_of(value: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(value)
        layer.bias.fill_(0.0)
    return layer


def test_the_average_decays_faster_in_the_first_steps():
    layer = layer_of(0.0)
    late, early = WeightAverage(layer, decay=0.9), WeightAverage(layer, decay=0.9)
    with torch.no_grad():
        layer.weight.fill_(1.0)

    late.update(num_steps_done=1000)
    early.update(num_steps_done=1)

    assert late.state_dict()["weight"].item() == torch.tensor(0.1).item()
    assert abs(early.state_dict()["weight"].item() - 9 / 11) < 1e-6  # keeps 2/11


def test_frozen_weights_are_left_out_and_the_others_are_replaced():
    layer = layer_of(0.0)
    layer.bias.requires_grad_(False)
    average = WeightAverage(layer, decay=0.5)
    with torch.no_grad():
        layer.weight.fill_(4.0)
        layer.bias.fill_(7.0)
    average.update(num_steps_done=1000)
    average.copy_to_model()

    assert list(average.state_dict()) == ["weight"]
    assert (layer.weight.item(), layer.bias.item()) == (2.0, 7.0)


def test_an_average_is_restored_from_its_state():
    average, again = (WeightAverage(layer_of(0.0), decay=0.5) for _ in range(2))
    average.load_state_dict({"weight": torch.tensor([[3.0]]), "bias": torch.tensor([1.0])})
    again.load_state_dict(average.state_dict())

    assert again.state_dict()["weight"].item() == 3.0
