"""Statistics of batch normalisation, taken anew from the weights that a run ends with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(model: torch.nn.Module) -> bool:
    """True where some layer keeps running statistics of its inputs."""
    return any(_keeps_statistics(module) for module in model.modules())


def _keeps_statistics(module: torch.nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.track_running_stats


@torch.no_grad()
def recalibrate_batch_norm(model: torch.nn.Module, image_batches: Iterable[torch.Tensor]) -> None:
    """Set running means and variances to their average over `image_batches` under the weights as they are.

    While a model trains, they trail behind its weights by some tens of steps; after a short run they still hold much of
    their initial values, and a model that fits well in training mode finds little in evaluation mode.

    Args:
        model: open_clip model; its weights are left as they are.
        image_batches: Each (batch, channels, height_px, width_px); at least one, of more than one image.
    """
    layers: list[Any] = [module for module in model.modules() if _keeps_statistics(module)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for the plain average over all batches
    model.train()
    try:
        for images in image_batches:
            model.encode_image(images)  # type: ignore[operator]
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
