"""A model as a source of features: found by name, loaded when it is first needed, its features computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.embeddings import (
    ImageFeatures,
    class_logits_of,
    embed_texts,
    embeddings_folder,
    encode_images,
    image_features_of,
    text_features_of,
)
from model.clip.loading import Clip, find_model, fingerprint_clip, load_clip
from model.clip.parallel_encoding import encode_in_processes, num_processes_on
from model.clip.precision import check_precision
from model.clip.source import ModelSource, fingerprint_source
from model.dataset.folder import Dataset
from model.dataset.views import Views
from model.files import sha256_of_json
from model.progress import Progress


@dataclass
class Encoder:
    """A model and the folder where its features are stored.

    Attributes:
        name: Display name; without a path, so that equal models give equal pages.
        source: Where the model comes from.
        fingerprint: Hash of its weights and its architecture.
        device: Where it runs.
        batch_size: Images or texts a forward pass.
        num_workers: Threads that decode images, in each process.
        precision: Number format that features are computed in, one of `model.clip.precision.PRECISIONS`.
        num_processes: Processes that compute image features together, on GPUs one each; 0 starts one a GPU.
        untrained_seed: Seed of fresh weights in the same architecture; None for the model as it is.
        progress: Called after each batch that is embedded.
    """

    name: str
    source: ModelSource
    fingerprint: str
    device: torch.device
    batch_size: int = 128
    num_workers: int = 2
    precision: str = "fp32"
    num_processes: int = 1
    untrained_seed: int | None = None
    progress: Progress | None = None
    _clip: Clip | None = field(default=None, repr=False)

    @property
    def run_dir(self) -> Path | None:
        """Folder of the training run that made the model; None if there is none."""
        return self.source.run_dir

    @property
    def is_untrained(self) -> bool:
        return self.untrained_seed is not None

    def load(self) -> Clip:
        """The model, on its device; loaded at the first call."""
        if self._clip is None:
            self._clip = load_clip(
                self.source, device=self.device, load_weights=not self.is_untrained, seed=self.untrained_seed or 0
            )
        return self._clip

    def untrained(self, seed: int) -> Encoder:
        """The same architecture with fresh weights."""
        return Encoder(
            name=f"{self.name}, untrained",
            source=self.source,
            fingerprint=self.fingerprint,
            device=self.device,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            num_processes=self.num_processes,
            untrained_seed=seed,
            progress=self.progress,
        )

    def image_features(self, dataset: Dataset, views: Views) -> ImageFeatures:
        """Image features of a split, one row a view."""
        return image_features_of(
            self._path(dataset, f"{views.split}{_suffix(views)}-images"),
            views,
            identity={**self._identity, "dataset": dataset.fingerprint, **_identity_of(views)},
            encode=lambda: self._encode(dataset, views),
            progress=self.progress,
        )

    def _encode(self, dataset: Dataset, views: Views) -> Iterator[np.ndarray]:
        """The model's own image features, part by part, in this process or in several."""
        num_processes = num_processes_on(self.device, self.num_processes)
        terms: dict[str, Any] = {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "precision": self.precision,
        }
        if num_processes == 1:
            return encode_images(self.load(), views, **terms)
        return encode_in_processes(
            dataset,
            views,
            source=self.source,
            load_weights=not self.is_untrained,
            seed=self.untrained_seed or 0,
            device=self.device,
            num_processes=num_processes,
            **terms,
        )

    def text_features(self, dataset: Dataset, texts: Sequence[str], *, kind: str) -> np.ndarray:
        """Text features: (num_texts, embed_dim) float32, unit length.

        Args:
            kind: Name of this list of texts, which becomes part of the file name, such as "test-text".
        """
        return text_features_of(
            self._path(dataset, kind),
            texts,
            identity=self._identity,
            load=self.load,
            batch_size=self.batch_size,
            precision=self.precision,
            progress=self.progress,
        )

    def class_logits(
        self, dataset: Dataset, views: Views, classes: Sequence[str], *, classify: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Class logits of a split: (num_views, num_classes) float32.

        Args:
            classes: Codes of the classes, in the order of the columns.
            classify: Computes the logits; called only if they are not stored yet.
        """
        return class_logits_of(
            self._path(dataset, f"{views.split}{_suffix(views)}-classes"),
            views,
            identity={
                **self._identity,
                "dataset": dataset.fingerprint,
                **_identity_of(views),
                "classes": sha256_of_json(list(classes)),
            },
            classify=classify,
        )

    def query_features(self, texts: Sequence[str]) -> np.ndarray:
        """Text features that are not stored, such as those of a search query: (num_texts, embed_dim) float32."""
        return embed_texts(self.load(), texts, batch_size=self.batch_size, precision=self.precision)

    @property
    def _identity(self) -> dict[str, str | int | None]:
        # fp32 is not named, so that features from before the choice fit.
        precision = {} if self.precision == "fp32" else {"precision": self.precision}
        return {"model": self.fingerprint, "untrained_seed": self.untrained_seed, **precision}

    def _path(self, dataset: Dataset, kind: str) -> Path:
        folder = embeddings_folder(dataset, run_dir=self.run_dir, name=self.name, fingerprint=self.fingerprint)
        if self.is_untrained:
            folder = folder / "untrained"
        return folder / f"{dataset.name}-{kind}.parquet"


def _suffix(views: Views) -> str:
    """What is added to the name of a split in a file's name; nothing for all lines."""
    return "" if views.lines == "all" else f"-{views.lines}"


def _identity_of(views: Views) -> dict[str, str]:
    """The split and the lines of views; all lines are not named, so that features from before the choice fit."""
    return {"split": views.split} | ({} if views.lines == "all" else {"lines": views.lines})


def find_encoder(
    model: str | Path,
    device: torch.device,
    *,
    batch_size: int = 128,
    num_workers: int = 2,
    precision: str = "fp32",
    num_processes: int = 1,
    progress: Progress | None = None,
) -> Encoder:
    """Find a model by its name. One that is not a local folder is loaded at once, to compute its fingerprint.

    Args:
        model: A run folder, a model folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        device, batch_size, num_workers, precision, num_processes, progress: See `Encoder`.

    Raises:
        ArchitectureError: No model of that name is known, or its files cannot be loaded.
        ConfigError: The device does not compute in this precision.
        DeviceError: There are fewer GPUs than processes.
    """
    check_precision(precision, device)
    num_processes_on(device, num_processes)
    source = find_model(model)
    fingerprint = fingerprint_source(source) if source.folder is not None else None
    clip = None
    if fingerprint is None:
        clip = load_clip(source, device=device)
        fingerprint = fingerprint_clip(clip)
    return Encoder(
        source.label,
        source,
        fingerprint,
        device,
        batch_size=batch_size,
        num_workers=num_workers,
        precision=precision,
        num_processes=num_processes,
        progress=progress,
        _clip=clip,
    )
