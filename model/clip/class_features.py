"""What a model's text tower makes of the classes: one direction for each, from prompts around its title."""

from __future__ import annotations

import numpy as np

from model.clip.embeddings import embed_texts
from model.clip.loading import Clip
from model.dataset.classes import PROMPTS, ClassTable, prompts_of

_BATCH_SIZE = 128


def class_features(clip: Clip, table: ClassTable, prompts: tuple[str, ...] = PROMPTS) -> np.ndarray:
    """The mean of the text features of each class's prompts: (num_classes, embed_dim) float32, unit length.

    Args:
        clip: The model; it is put into evaluation mode.
        table: The classes.
        prompts: Texts with {} for the title of a class.

    Raises:
        NonFiniteError: The features of a prompt are not finite.
    """
    features = embed_texts(clip, prompts_of(table, prompts), batch_size=_BATCH_SIZE)
    means = features.reshape(len(table), len(prompts), -1).mean(axis=1)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
