"""Which weights of a model learn: all of them, those of one tower, or low-rank additions to them (LoRA)."""

from __future__ import annotations

import re
from typing import Any

from open_clip.modified_resnet import AttentionPool2d
from peft import LoraConfig
from peft.tuners.lora import LoraModel
from torch import nn

from model.errors import TrainingError

TOWERS = ("image", "text")
_COMMON = ("logit_scale", "logit_bias")  # belong to no tower


def freeze_towers(model: nn.Module, towers: tuple[str, ...]) -> None:
    """Let the named towers ("image", "text") learn no more; the logit scale goes on learning."""
    for name, weight in model.named_parameters():
        if name not in _COMMON and _tower_of(name) in towers:
            weight.requires_grad_(False)


def set_frozen_to_eval(model: nn.Module, towers: tuple[str, ...]) -> None:
    """Put frozen towers into evaluation mode, so that their running statistics and dropout rest too."""
    for name, part in model.named_children():
        if _tower_of(f"{name}.") in towers:
            part.eval()


def _tower_of(name: str) -> str:
    return "image" if name.startswith("visual.") else "text"


def add_lora(model: nn.Module, *, rank: int, alpha: int, dropout: float, frozen: tuple[str, ...] = ()) -> LoraModel:
    """Freeze a model and put low-rank additions, which learn in its stead, into the layers of its towers.

    They go into every linear layer and every ungrouped convolution that is called as a layer. In open_clip's
    transformers these are the two layers of each MLP and the patch embedding: their attention reads its weights without
    calling a layer, and what peft offers for it adds to the frozen weights and takes away again at each forward pass,
    which lets them drift by rounding.

    Args:
        model: open_clip model; changed in place.
        rank: Of the additions.
        alpha: The additions are scaled by alpha / rank.
        dropout: Of what goes into the additions.
        frozen: Towers that get none.

    Returns:
        What `merge_lora` takes.

    Raises:
        TrainingError: No layer of the model can take one.
    """
    names = [name for name in _layers_called(model) if _tower_of(name) not in frozen]
    if not names:
        raise TrainingError("no layer of this model takes LoRA; set lora_rank = 0, or freeze fewer towers")
    only_these = "|".join(re.escape(name) for name in names)  # names in a list would match as endings too
    lora = LoraModel(
        model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=only_these), "default"
    )
    for name in _COMMON:
        weight = getattr(model, name, None)
        if weight is not None:
            weight.requires_grad_(True)
    return lora


def _layers_called(model: nn.Module) -> list[str]:
    modules = dict(model.named_modules())
    uncalled = {
        f"{name}.{inner}"
        for name, module in modules.items()
        if isinstance(module, nn.MultiheadAttention | AttentionPool2d)
        for inner, _ in module.named_modules()
    }
    return [name for name, module in modules.items() if name not in uncalled and _takes_lora(module)]


def _takes_lora(module: Any) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def merge_lora(lora: LoraModel) -> None:
    """Add the additions to the weights they belong to; the model is then as it was built, with other weights."""
    lora.merge_and_unload()
