"""Recalibrated statistics of batch normalisation."""

from __future__ import annotations

import torch

from model.training.step.batchnorm import has_batch_norm, recalibrate_batch_norm


class Tower(torch.nn.Module):
    """One normalised channel, with the interface of an open_clip model."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(images)


def test_the_statistics_become_the_average_over_the_batches():
    tower = Tower()
    tower.norm.running_mean.fill_(99)  # type: ignore[union-attr]
    before = {name: weight.clone() for name, weight in tower.named_parameters()}

    recalibrate_batch_norm(tower, [torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[4.0, 8.0]]]])])

    assert tower.norm.running_mean.tolist() == [3.5]  # type: ignore[union-attr]
    assert tower.norm.running_var.tolist() == [5.0]  # type: ignore[union-attr] # the mean of 2 and 8
    assert tower.norm.momentum == 0.1
    assert all(torch.equal(weight, before[name]) for name, weight in tower.named_parameters())


def test_only_layers_with_running_statistics_count():
    assert has_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(1)))
    assert not has_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(1, track_running_stats=False)))
    assert not has_batch_norm(torch.nn.LayerNorm(2))
