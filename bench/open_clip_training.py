"""open_clip's own training, with which the project's training is compared.

The loop is `train_one_epoch` of `open_clip_train` itself, with the loss, optimizer and settings that its `main` passes
to it. It reads from memory, or from image files as with `--dataset-type csv`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import torch
from open_clip_train.precision import get_autocast
from open_clip_train.train import train_one_epoch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

Pairs = tuple[torch.Tensor, torch.Tensor]
"""(num_pairs, channels, height_px, width_px) float32 and (num_pairs, context_length) int64."""


@dataclass
class OpenClipTraining:
    """A model under open_clip's own training.

    Attributes:
        model: An open_clip model whose forward pass returns a dict.
        is_fused: Whether to use the fused AdamW; if not, torch decides, as in `open_clip_train`; on a CPU it does not.
        precision: "fp32" or "bf16".
        optimizer: The optimizer.
    """

    model: nn.Module
    is_fused: bool
    precision: str = "bf16"
    optimizer: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.model, is_fused=self.is_fused)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        weight: Any = next(self.model.parameters())
        return torch.device(weight.device)

    def take_steps(self, batches: Iterable[Pairs], *, num_steps: int, batch_size: int) -> float:
        """Seconds of `num_steps` steps of `train_one_epoch`, including any loading of batches.

        Args:
            batches: At least `num_steps` batches of `batch_size` pairs each.
            num_steps: Number of steps.
            batch_size: Pairs per step.
        """
        loader: Any = _Loader(iter(batches), num_steps, batch_size)
        data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda _epoch: None)}
        loss = open_clip.ClipLoss(cache_labels=True)
        settings = SimpleNamespace(
            device=str(self.device),
            precision="amp_bf16" if self.precision == "bf16" else "fp32",
            batch_size=batch_size,
            accum_freq=1,
            world_size=1,
            rank=0,
            log_every_n_steps=100,
            skip_scheduler=True,
            distill=False,
            horovod=False,
            grad_clip_norm=None,
            wandb=False,
        )
        _wait_for(self.device)
        started = time.perf_counter()
        train_one_epoch(self.model, data, loss, 0, self.optimizer, None, None, None, settings)
        _wait_for(self.device)
        return time.perf_counter() - started

    def take_unequal_step(self, images: torch.Tensor, tokens: torch.Tensor) -> float:
        """Seconds of a step that encodes more images than texts, and compares only the first images with the texts.

        The arithmetic is that of `take_steps`, which cannot do this: the cost of towers, loss and optimizer alone.
        """
        model: Any = self.model
        _wait_for(self.device)
        started = time.perf_counter()
        model.train()
        self.optimizer.zero_grad()
        with get_autocast("amp_bf16" if self.precision == "bf16" else "fp32", self.device.type)():
            image_features = model.encode_image(images, normalize=True)
            text_features = model.encode_text(tokens, normalize=True)
            loss = open_clip.ClipLoss()(image_features[: len(tokens)], text_features, model.logit_scale.exp())
        (loss + 0.0 * image_features.sum()).backward()
        self.optimizer.step()
        _wait_for(self.device)
        return time.perf_counter() - started


def build_optimizer(model: nn.Module, *, is_fused: bool) -> torch.optim.AdamW:
    """AdamW with the parameter groups and hyperparameters that `open_clip_train` uses for a ViT."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    undecayed = {
        name
        for name, weight in named
        if weight.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
    }
    groups: list[dict[str, Any]] = [
        {"params": [weight for name, weight in named if name in undecayed], "weight_decay": 0.0},
        {"params": [weight for name, weight in named if name not in undecayed], "weight_decay": 0.2},
    ]
    return torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.98), eps=1e-6, fused=True if is_fused else None)


class _Loader:
    """A loader for `train_one_epoch`: the next batches of a stream, which continues after them."""

    def __init__(self, batches: Iterator[Pairs], num_batches: int, batch_size: int) -> None:
        self._batches = batches
        self.num_batches = num_batches
        self.num_samples = num_batches * batch_size

    def __iter__(self) -> Iterator[Pairs]:
        for _ in range(self.num_batches):
            yield next(self._batches)


class ImageFiles(Dataset[Pairs]):
    """Image files and captions, read as the `CsvDataset` of `open_clip_train` reads them."""

    def __init__(
        self,
        paths: list[Path],
        captions: list[str],
        transform: Callable[[Any], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
    ) -> None:
        self._paths = paths
        self._captions = captions
        self._transform = transform
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Pairs:
        image = self._transform(Image.open(str(self._paths[index])))
        return image, self._tokenizer([self._captions[index]])[0]


def read_files(files: ImageFiles, *, batch_size: int, num_workers: int) -> Iterator[Pairs]:
    """Endless shuffled batches, from a loader like the one that `open_clip_train` builds for such files."""
    loader = DataLoader(
        files, batch_size, shuffle=True, num_workers=num_workers, drop_last=True, persistent_workers=num_workers > 0
    )
    while True:
        yield from loader


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
