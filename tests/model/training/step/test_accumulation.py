"""A batch in parts gives the gradients of the whole batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.training.step.accumulation import backward_in_parts
from tests.model.training.learners import take_steps

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"loss": "siglip"},
        {"weigh_contrastive": False, "class_scheme": "locarno"},
        {"lora_rank": 2, "ema_decay": 0.9},
        {"frozen": ("image",)},
    ],
)
def test_every_term_has_the_gradients_of_the_whole_batch(shapes, micro_config, size, variant):
    whole = dataclasses.replace(micro_config, **variant)
    expected = take_steps(shapes, whole)
    found = take_steps(shapes, dataclasses.replace(whole, micro_batch_size=size))

    for metrics, values in zip(found["metrics"], expected["metrics"], strict=True):
        assert metrics == pytest.approx(values, rel=1e-4)
        assert {"loss", "contrastive", "classification", "multi_view"} <= set(metrics)
    assert any("head" in name for name in expected["gradients"])
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        torch.testing.assert_close(found["gradients"][name], gradient, rtol=1e-3, atol=2e-5, msg=name)


def test_both_passes_draw_the_same_dropout(shapes, micro_config):
    """With new dropout the cached gradients would belong to other features."""
    layer = torch.nn.Linear(4, 3)
    scale = torch.nn.Parameter(torch.tensor(2.0))
    rows = torch.randn(6, 4)

    def forward(part: int) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(part)
        return (torch.nn.functional.dropout(layer(rows[2 * part : 2 * part + 2]), 0.5),)

    def loss(outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        (features,) = outputs
        return scale * (features @ features.T).logsumexp(1).mean()

    backward_in_parts(forward, 3, loss, [scale])
    found = [layer.weight.grad, layer.bias.grad, scale.grad]
    layer.weight.grad = layer.bias.grad = scale.grad = None
    loss((torch.cat([forward(part)[0] for part in range(3)]),)).backward()

    for gradient, expected in zip(found, [layer.weight.grad, layer.bias.grad, scale.grad], strict=True):
        torch.testing.assert_close(gradient, expected)
