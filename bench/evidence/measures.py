"""What one trained model makes of each test view: the values of which all estimates are means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.embeddings import embed_images, embed_texts
from model.clip.loading import Clip, load_clip
from model.clip.saved_head import CLASSIFIER_CONFIG, load_classifier
from model.clip.source import ModelSource
from model.dataset.classes import USPC
from model.dataset.images import ImageReader
from model.dataset.views import Views
from model.evaluation.config import PROMPTS
from model.evaluation.measures.metrics import Answers, all_ranks, scores_of_features
from model.evaluation.protocols.classification import ranks_of_truth
from model.evaluation.protocols.ranking import number_texts
from model.evaluation.protocols.zero_shot import prompts_of

VERSION = 1  # to be raised when an equal model would get other values

_BATCH_SIZE = 128
_NEUTRAL_WORDING = "picture: {}"  # a wording around the title that no caption has

ACCURACIES = {
    "zero_shot": "class by the nearest prompt, no caption seen",
    "classifier": "class by the classification head, from the image alone",
}
QUERIES = {
    "title": "the title, as the arm trained on titles knows it",
    "sentence": "viewpoint and title, as the arm trained on shape and function knows them",
    "neutral": "the title in a wording that neither was trained on",
}
SAME_PATENT = "same_patent"
MEASURES = (*ACCURACIES, SAME_PATENT, *(f"text_{name}" for name in QUERIES))
"""Names of the values of a view: right or wrong (1, 0), or an average precision."""


def measure(model_folder: Path | None, views: Views, *, architecture: str, device: torch.device, seed: int) -> Any:
    """Name of a measure → (num_views,) values; None if it is not defined for a view.

    Args:
        model_folder: `model/` of a run; None for the architecture with fresh weights.
        views: The test views.
        architecture: Architecture of the model with fresh weights.
        device: Device on which the model runs.
        seed: Seed of fresh weights.
    """
    name = architecture if model_folder is None else f"local-dir:{model_folder}"
    clip = load_clip(ModelSource(name), device=device, load_weights=model_folder is not None, seed=seed)
    images = embed_images(clip, views, batch_size=_BATCH_SIZE)
    truth = views.class_ids(USPC)
    values: dict[str, np.ndarray] = {"zero_shot": _zero_shot(clip, images, truth)}
    if model_folder is not None and (model_folder / CLASSIFIER_CONFIG).is_file():
        values["classifier"] = _by_classifier(model_folder, clip, views, truth, device)
    values[SAME_PATENT] = average_precision(images, images, views.patent_ids, views.patent_ids, is_self=True)
    titles = [title or "" for title in views.titles]
    queries = {
        "title": titles,
        "sentence": views.texts("shape"),
        "neutral": [_NEUTRAL_WORDING.format(title) for title in titles],
    }
    for kind, texts in queries.items():
        groups = number_texts(texts)
        features = embed_texts(clip, texts, batch_size=_BATCH_SIZE)
        values[f"text_{kind}"] = average_precision(features, images, groups, groups)
    return {name: [None if np.isnan(value) else float(value) for value in row] for name, row in values.items()}


def average_precision(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_groups: np.ndarray,
    gallery_groups: np.ndarray,
    *,
    is_self: bool = False,
) -> np.ndarray:
    """(num_queries,) average precision over the whole ranking; NaN for a query without a right candidate.

    A candidate is right if it is in the query's group. Ties count against the model.

    Args:
        queries: (num_queries, embed_dim) float32, unit length.
        gallery: (num_candidates, embed_dim) float32, unit length.
        query_groups: (num_queries,) int64.
        gallery_groups: (num_candidates,) int64.
        is_self: Whether query i is candidate i, which is then neither right nor wrong.
    """
    answers = Answers.by_group(query_groups, gallery_groups, own=np.arange(len(queries)) if is_self else None)
    ranks = all_ranks(scores_of_features(torch.from_numpy(queries), torch.from_numpy(gallery)), answers, len(gallery))
    return np.where(ranks.num_right > 0, ranks.average_precision, np.nan)


def _zero_shot(clip: Clip, images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(num_views,) whether the nearest class prompt is right (1 or 0)."""
    features = embed_texts(clip, prompts_of(USPC, PROMPTS), batch_size=_BATCH_SIZE)
    means = features.reshape(len(USPC), len(PROMPTS), -1).mean(axis=1)
    return _is_right(images @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T, truth)


@torch.inference_mode()
def _by_classifier(folder: Path, clip: Clip, views: Views, truth: np.ndarray, device: torch.device) -> np.ndarray:
    """(num_views,) whether the classification head is right (1 or 0)."""
    model, _ = load_classifier(folder, clip=clip)
    model.to(device)
    reader = ImageReader(views, clip.preprocess, num_workers=1)
    try:
        logits = [model.classify(reader.read(rows).to(device)).float().cpu().numpy() for rows in _batches(len(views))]
    finally:
        reader.close()
    return _is_right(np.concatenate(logits), truth)


def _is_right(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return (ranks_of_truth(scores, truth) == 1).astype(np.float64)


def _batches(num_rows: int) -> Sequence[range]:
    return [range(first, min(first + _BATCH_SIZE, num_rows)) for first in range(0, num_rows, _BATCH_SIZE)]
