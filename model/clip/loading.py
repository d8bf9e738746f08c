"""CLIP models of open_clip: found by name, built, and described well enough to be built again."""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import get_model_config
from open_clip.pretrained import get_pretrained_cfg

from model.clip.source import ARCHITECTURES_DIR, ModelSource, find_prefixed_or_local, require_config
from model.dataset.images import Preprocess
from model.errors import ArchitectureError, DeviceError


@dataclass(frozen=True)
class Clip:
    """A model with its tokenizer and its image settings.

    Attributes:
        model: open_clip model; its forward gives a dict of image_features, text_features and logit_scale.
        tokenizer: Texts → (num_texts, context_length) int64.
        model_cfg: open_clip's description of the architecture.
        preprocess: How an image becomes the model's input.
        name: Display name, for messages; without a path.
    """

    model: torch.nn.Module
    tokenizer: Callable[[list[str]], torch.Tensor]
    model_cfg: dict[str, Any]
    preprocess: Preprocess
    name: str


@functools.cache
def register_architectures() -> None:
    """Make the project's own architectures known to open_clip, once."""
    open_clip.add_model_config(ARCHITECTURES_DIR)


def choose_device(name: str) -> torch.device:
    """The torch device called `name`; "auto" is CUDA if it is available, else the CPU. Raises DeviceError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f'unknown device {name!r}; use "auto", "cpu" or "cuda"') from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f'device {name!r} is not available: torch finds no CUDA device; use "cpu" or "auto"')
    return device


def find_model(model: str | Path) -> ModelSource:
    """The source of the model that a user names.

    Args:
        model: A run folder, a model folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".

    Raises:
        ArchitectureError: No model of that name is known.
    """
    source = find_prefixed_or_local(model)
    if source is not None:
        return source
    name = str(model)
    architecture, _, tag = name.rpartition("/")
    if not architecture:
        check_architecture(name)
        raise ArchitectureError(f'{name} has no weights tag; add one, such as "{name}/openai"')
    check_architecture(architecture)
    return ModelSource(architecture, tag)


def check_architecture(name: str) -> None:
    """Raise ArchitectureError unless open_clip knows an architecture of that name."""
    register_architectures()
    known = open_clip.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(near)}?" if near else "open_clip.list_models() lists them all"
        raise ArchitectureError(f"open_clip knows no architecture {name!r}; {hint}")


def _check_source(source: ModelSource) -> None:
    """Raise ArchitectureError, with similar names, unless open_clip knows the architecture and the weights."""
    if source.folder is not None:
        require_config(source.folder)
    elif not source.is_on_hub:
        check_architecture(source.name)
        tags = open_clip.list_pretrained_tags_by_model(source.name)
        if source.pretrained and source.pretrained not in tags and not Path(source.pretrained).is_file():
            near = difflib.get_close_matches(source.pretrained, tags, n=3, cutoff=0.0)
            hint = f"it knows {', '.join(near)}" if near else "it has none; start from fresh weights"
            raise ArchitectureError(f"open_clip has no weights {source.pretrained!r} for {source.name}; {hint}")


def load_clip(
    source: ModelSource, *, device: torch.device | None = None, load_weights: bool = True, seed: int = 0
) -> Clip:
    """Build a model, with its own weights or with fresh ones.

    Args:
        source: What to build.
        device: Device of the model; the CPU if None.
        load_weights: False draws fresh weights even if the source has weights.
        seed: Seed of fresh weights. The caller's random state does not change.

    Raises:
        ArchitectureError: The model is unknown, or its files cannot be loaded.
    """
    register_architectures()
    _check_source(source)
    model_cfg = _model_cfg(source)
    try:
        with torch.random.fork_rng(devices=[]), _without_fresh_weights_warning():
            torch.manual_seed(seed)
            model = open_clip.create_model(
                source.name,
                pretrained=source.pretrained if load_weights else None,
                load_weights=load_weights,
                pretrained_text=False,
                force_quick_gelu=bool(model_cfg.get("quick_gelu")),
                device=device or torch.device("cpu"),
                output_dict=True,
            )
        tokenizer = open_clip.get_tokenizer(source.name)
    except (RuntimeError, OSError, ValueError) as error:
        raise ArchitectureError(f"{source.name}: open_clip cannot load it: {_first_line(error)}") from error
    return Clip(model=model, tokenizer=tokenizer, model_cfg=model_cfg, preprocess=_preprocess(model), name=source.label)


@contextlib.contextmanager
def _without_fresh_weights_warning() -> Iterator[None]:
    """Suppress open_clip's warning that a model has random weights, since the caller asked for them."""

    def is_other(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("No pretrained weights loaded")

    logging.getLogger().addFilter(is_other)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(is_other)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _model_cfg(source: ModelSource) -> dict[str, Any]:
    try:
        model_cfg = get_model_config(source.name)
    except (RuntimeError, OSError, ValueError) as error:
        raise ArchitectureError(f"{source.name}: its configuration cannot be read: {_first_line(error)}") from error
    # OpenAI's weights need QuickGELU even with an architecture name that does not include it.
    tag = get_pretrained_cfg(source.name, source.pretrained) if source.pretrained else None
    if tag and tag.get("quick_gelu"):
        model_cfg["quick_gelu"] = True
    return model_cfg


def _preprocess(model: torch.nn.Module) -> Preprocess:
    values: dict[str, Any] = model.visual.preprocess_cfg  # type: ignore[union-attr, assignment]
    size = values["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return Preprocess(
        size_px=(int(height), int(width)),
        mean=tuple(float(value) for value in values["mean"]),
        std=tuple(float(value) for value in values["std"]),
        interpolation=values["interpolation"],
        resize_mode=values["resize_mode"],
    )


def fingerprint_clip(clip: Clip) -> str:
    """SHA-256 over architecture and weights of a loaded model, hexadecimal."""
    digest = hashlib.sha256(json.dumps(clip.model_cfg, sort_keys=True).encode())
    for name, tensor in sorted(clip.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
