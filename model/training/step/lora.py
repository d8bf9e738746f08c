"""Which weights of a model are trained: all, those of one tower, or low-rank adapters (LoRA).

peft is imported when adapters are added: it takes as long as torch, and most runs have none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from open_clip.modified_resnet import AttentionPool2d
from torch import nn

from model.errors import TrainingError

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel

_TEXT_PROJECTION = "text_projection"  # a parameter, or a layer in text towers with `proj_bias`, such as SigLIP's
_COMMON = ("logit_scale", "logit_bias")  # weights that belong to neither tower


def freeze_towers(model: nn.Module, towers: tuple[str, ...]) -> None:
    """Freeze the named towers ("image", "text"); logit scale and bias stay trainable."""
    for name, weight in model.named_parameters():
        if name not in _COMMON and _tower_of(name) in towers:
            weight.requires_grad_(False)


def set_frozen_to_eval(model: nn.Module, towers: tuple[str, ...]) -> None:
    """Put frozen towers into evaluation mode, which also freezes running statistics and disables dropout."""
    for name, part in model.named_children():
        if _tower_of(f"{name}.") in towers:
            part.eval()


def _tower_of(name: str) -> str:
    return "image" if name.startswith("visual.") else "text"


def add_lora(model: nn.Module, *, rank: int, alpha: int, dropout: float, frozen: tuple[str, ...] = ()) -> LoraModel:
    """Freeze a model and add low-rank adapters, which are trained instead, to the layers of its towers.

    Adapters are added to every linear layer and every ungrouped convolution that is called as a layer. In open_clip's
    transformers these are the two layers of each MLP and the patch embedding. Attention uses its weights without
    calling a layer, and peft's adapters for it add to the frozen weights and subtract again in each forward pass, so
    that rounding would make them drift. The projection of the text tower has no adapter: open_clip calls it only if
    its type is exactly a linear layer, and multiplies by it otherwise.

    Args:
        model: open_clip model; changed in place.
        rank: Rank of the adapters.
        alpha: The adapters are scaled by alpha / rank.
        dropout: Dropout on the input of the adapters.
        frozen: Towers without adapters.

    Returns:
        The wrapped model, for `merge_lora`.

    Raises:
        TrainingError: No layer of the model can have an adapter.
    """
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    names = [name for name in _layers_called(model) if _tower_of(name) not in frozen]
    if not names:
        raise TrainingError("no layer of this model supports LoRA; set lora_rank = 0, or freeze fewer towers")
    targets = "|".join(re.escape(name) for name in names)  # in a list, names would also match as suffixes
    lora = LoraModel(
        model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets), "default"
    )
    for name in _COMMON:
        weight = getattr(model, name, None)
        if weight is not None:
            weight.requires_grad_(True)
    return lora


def _layers_called(model: nn.Module) -> list[str]:
    """Names of the layers that can have adapters, without those whose weights are used without calling the layer."""
    modules = dict(model.named_modules())
    uncalled = {
        f"{name}.{inner}"
        for name, module in modules.items()
        if isinstance(module, nn.MultiheadAttention | AttentionPool2d)
        for inner, _ in module.named_modules()
    }
    return [
        name
        for name, module in modules.items()
        if name not in uncalled and name.rpartition(".")[2] != _TEXT_PROJECTION and _supports_lora(module)
    ]


def _supports_lora(module: Any) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def merge_lora(lora: LoraModel) -> None:
    """Merge the adapters into the weights of their layers; the model then has its original structure again."""
    lora.merge_and_unload()
