"""open_clip's own training, which the project's is compared with.

The loop is `train_one_epoch` of `open_clip_train` itself, with the loss, the optimiser and the settings that its
`main` gives it; it reads from memory, or from a table of image files as its `--dataset-type csv` does.
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
        model: open_clip model whose forward gives a dict.
        is_fused: Whether AdamW goes through the weights in one pass; `open_clip_train` leaves that to torch, which does
            not do so on a CPU.
        precision: "fp32" or "bf16".
    """

    model: nn.Module
    is_fused: bool
    precision: str = "bf16"
    optimizer: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.model, is_fused=self.is_fused)

    @property
    def device(self) -> torch.device:
        weight: Any = next(self.model.parameters())
        return torch.device(weight.device)

    def take_steps(self, batches: Iterable[Pairs], *, num_steps: int, batch_size: int) -> float:
        """Seconds of so many steps of `train_one_epoch`, loading, if there is any, included.

        Args:
            batches: At least `num_steps`, each of `batch_size` pairs.
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
        begun = time.perf_counter()
        train_one_epoch(self.model, data, loss, 0, self.optimizer, None, None, None, settings)
        _wait_for(self.device)
        return time.perf_counter() - begun

    def take_unequal_step(self, images: torch.Tensor, tokens: torch.Tensor) -> float:
        """Seconds of a step that encodes more images than texts, and compares the first images with the texts.

        The same arithmetic as `take_steps`, which cannot do this: what towers, loss and optimiser cost by themselves.
        """
        model: Any = self.model
        _wait_for(self.device)
        begun = time.perf_counter()
        model.train()
        self.optimizer.zero_grad()
        with get_autocast("amp_bf16" if self.precision == "bf16" else "fp32", self.device.type)():
            image_features = model.encode_image(images, normalize=True)
            text_features = model.encode_text(tokens, normalize=True)
            loss = open_clip.ClipLoss()(image_features[: len(tokens)], text_features, model.logit_scale.exp())
        (loss + 0.0 * image_features.sum()).backward()
        self.optimizer.step()
        _wait_for(self.device)
        return time.perf_counter() - begun


def build_optimizer(model: nn.Module, *, is_fused: bool) -> torch.optim.AdamW:
    """AdamW with the groups and the numbers that `open_clip_train` has for a ViT."""
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
    """What `train_one_epoch` takes for a loader: some batches of a stream that goes on behind them."""

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

    def __getitem__(self, place: int) -> Pairs:
        image = self._transform(Image.open(str(self._paths[place])))
        return image, self._tokenizer([self._captions[place]])[0]


def read_files(files: ImageFiles, *, batch_size: int, num_workers: int) -> Iterator[Pairs]:
    """Shuffled batches without end, by the loader that `open_clip_train` builds for such files."""
    loader = DataLoader(
        files, batch_size, shuffle=True, num_workers=num_workers, drop_last=True, persistent_workers=num_workers > 0
    )
    while True:
        yield from loader


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
