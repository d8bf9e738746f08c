"""Features of the views under a model, as the formats for vector search have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.clip.encoder import Encoder
from model.dataset.folder import Dataset
from model.dataset.views import read_views

WITHOUT_VECTOR = "no_caption"  # views without a caption are not searched, and have no vector


@dataclass(frozen=True, eq=False)
class SplitVectors:
    """The features of one split.

    Attributes:
        features: (num_views, embed_dim) float32, unit length.
        index_of: view_id → its row in `features`; without the views that have no caption.
    """

    features: np.ndarray
    index_of: Mapping[str, int]

    def of(self, view_ids: Sequence[str]) -> np.ndarray:
        """(num_views, embed_dim) float32 of some views, each of which is in `index_of`."""
        return self.features[[self.index_of[view_id] for view_id in view_ids]]


class Vectors:
    """Features of a dataset under a model: the ones that a search has stored, or computed and stored for it.

    Args:
        encoder: The model.
        dataset: The dataset.
    """

    def __init__(self, encoder: Encoder, dataset: Dataset) -> None:
        self._encoder = encoder
        self._dataset = dataset

    @property
    def identity(self) -> dict[str, str]:
        """The model, as the note of an export has it."""
        return {"name": self._encoder.name, "fingerprint": self._encoder.fingerprint}

    def of_split(self, split: str) -> SplitVectors:
        """The features of the views of a split, which are held in memory as long as the result is."""
        views = read_views(self._dataset, split)
        features = self._encoder.image_features(self._dataset, views).features
        return SplitVectors(features, {view_id: index for index, view_id in enumerate(views.view_ids)})
