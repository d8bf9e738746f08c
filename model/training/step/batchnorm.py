"""Recalibrating the statistics of batch normalisation for the final weights of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(model: torch.nn.Module) -> bool:
    """True if any layer has running statistics of its inputs."""
    return any(_keeps_statistics(module) for module in model.modules())


def _keeps_statistics(module: torch.nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.track_running_stats


@torch.no_grad()
def recalibrate_batch_norm(model: torch.nn.Module, image_batches: Iterable[torch.Tensor]) -> None:
    """Set running means and variances to their average over `image_batches` under the current weights.

    While a model trains, they lag behind its weights by tens of steps. After a short run they still contain much of
    their initial values, and a model that is accurate in training mode is not in evaluation mode.

    Args:
        model: open_clip model; its weights do not change.
        image_batches: Each (batch, channels, height_px, width_px); at least one, of more than one image.
    """
    layers: list[Any] = [module for module in model.modules() if _keeps_statistics(module)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None makes torch take the plain average over all batches
    model.train()
    try:
        for images in image_batches:
            model.encode_image(images)  # type: ignore[operator]
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
