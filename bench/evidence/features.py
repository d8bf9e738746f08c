"""What is kept of a finished run: enough for every read-out and every refit of its last layer, without its weights.

A run's model is measured once, when it is trained. Of each split it leaves, view by view, the inputs of the head's last
layer and the values that need the whole model; of the training split the inputs alone. The weights are removed. All
later work (class priors, refits, comparisons) takes these files, so that the summary can be made again in minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.class_features import class_features
from model.clip.embeddings import embed_images, embed_texts
from model.clip.heads import ClipWithHead
from model.clip.loading import Clip, load_clip
from model.clip.readout import ClassPriors
from model.clip.saved_head import load_classifier, read_class_priors
from model.clip.source import ModelSource
from model.dataset.classes import USPC
from model.dataset.images import ImageReader
from model.dataset.views import Views
from model.evaluation.measures.metrics import Answers, all_ranks, scores_of_features
from model.evaluation.protocols.classification import ranks_of_truth
from model.evaluation.protocols.ranking import number_texts
from model.evaluation.protocols.readouts import HeadLogits
from model.files import atomic_write
from model.training.refit import fit_last_layer

VERSION = 1  # to be raised when an equal model would leave other files

_BATCH_SIZE = 128
_NEUTRAL_WORDING = "picture: {}"  # a wording around the title that no caption has

ZERO_SHOT, SAME_PATENT = "zero_shot", "same_patent"
QUERIES = {
    "text_title": "the bare title, which no caption is",
    "text_sentence": "viewpoint and title, as in the captions",
    "text_neutral": "the title in a wording that no arm was trained on",
}
VALUES = (ZERO_SHOT, SAME_PATENT, *QUERIES)
"""Names of the stored values of a view: right or wrong (1, 0), or an average precision, NaN if it is not defined."""


@dataclass(frozen=True)
class RunFeatures:
    """The stored results of one run.

    Attributes:
        path: The file that `write_features` wrote.
    """

    path: Path

    @cached_property
    def _arrays(self) -> Any:
        return np.load(self.path)

    @property
    def priors(self) -> ClassPriors:
        """The priors of the head as it was trained."""
        return ClassPriors(self._arrays["prior.fitted"], self._arrays["prior.natural"])

    def values(self, split: str, name: str) -> np.ndarray:
        """(num_views,) one of `VALUES` for each view of a split."""
        return self._arrays[f"{split}.{name}"].astype(np.float64)

    def head(self, split: str) -> HeadLogits:
        """The head as it was trained (or refitted by the run itself), on the views of a split."""
        inputs = self._arrays[f"{split}.inputs"].astype(np.float32)
        return HeadLogits(inputs @ self._arrays["head.weight"].T + self._arrays["head.bias"], self.priors)

    def refitted(self, split: str, training_classes: np.ndarray, l2: float) -> HeadLogits:
        """The head with its last layer refitted on the training views; the fit is stored next to the run's file.

        Args:
            split: Split of the views.
            training_classes: (num_training_views,) index of each training view's class.
            l2: Strength of the penalty, as in `TrainConfig.refit_l2`.
        """
        path = self.path.with_name(f"{self.path.stem}-refit-{l2:g}.npz")
        if not path.is_file():
            layer = fit_last_layer(
                [self._arrays["train.inputs"].astype(np.float32)],
                training_classes,
                num_classes=len(USPC),
                l2=l2,
                device=torch.device("cpu"),
            )
            _write(path, {"weight": layer.weight, "bias": layer.bias})
        stored = np.load(path)
        inputs = self._arrays[f"{split}.inputs"].astype(np.float32)
        natural = self._arrays["prior.natural"]
        balanced = (natural > 0) / (natural > 0).sum()
        return HeadLogits(inputs @ stored["weight"].T + stored["bias"], ClassPriors(balanced, natural))


def write_features(path: Path, model_folder: Path, training: Views, measured: Sequence[Views]) -> None:
    """Measure a trained model on whole views, and write what it leaves.

    Args:
        path: Becomes the file.
        model_folder: `model/` of a run with a head.
        training: The training views, of which the inputs of the last layer are stored.
        measured: The views of each split that is measured.
    """
    clip = load_clip(ModelSource(f"local-dir:{model_folder}"))
    model, _ = load_classifier(model_folder, clip=clip)
    priors = read_class_priors(model_folder)
    arrays: dict[str, Any] = {
        "head.weight": model.head.out.weight.detach().numpy(),
        "head.bias": model.head.out.bias.detach().numpy(),
        "prior.fitted": priors.fitted,
        "prior.natural": priors.natural,
        "train.inputs": _head_inputs(model, clip, training).astype(np.float16),
    }
    for views in measured:
        arrays[f"{views.split}.inputs"] = _head_inputs(model, clip, views)
        for name, values in _values(clip, views).items():
            arrays[f"{views.split}.{name}"] = values.astype(np.float32)
    _write(path, arrays)


def _write(path: Path, arrays: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


@torch.inference_mode()
def _head_inputs(model: ClipWithHead, clip: Clip, views: Views) -> np.ndarray:
    """(num_views, width) float32: what the last layer of the head gets from each whole view."""
    reader = ImageReader(views, clip.preprocess, num_workers=1)
    try:
        return np.concatenate([model.head_inputs(reader.read(rows)).numpy() for rows in _batches(len(views))])
    finally:
        reader.close()


def _values(clip: Clip, views: Views) -> dict[str, np.ndarray]:
    """Name of each of `VALUES` → (num_views,)."""
    images = embed_images(clip, views, batch_size=_BATCH_SIZE)
    values = {
        ZERO_SHOT: _zero_shot(clip, images, views.class_ids(USPC)),
        SAME_PATENT: average_precision(images, images, views.patent_ids, views.patent_ids, is_self=True),
    }
    titles = [title or "" for title in views.titles]
    texts = {
        "text_title": titles,
        "text_sentence": views.texts("shape"),
        "text_neutral": [_NEUTRAL_WORDING.format(title) for title in titles],
    }
    for name, queries in texts.items():
        # Equal texts have equal results, so each is ranked once.
        groups = number_texts(queries)
        _, first, text_of_view = np.unique(groups, return_index=True, return_inverse=True)
        features = embed_texts(clip, [queries[row] for row in first], batch_size=_BATCH_SIZE)
        values[name] = average_precision(features, images, groups[first], groups)[text_of_view]
    return values


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
    return (ranks_of_truth(images @ class_features(clip, USPC).T, truth) == 1).astype(np.float64)


def _batches(num_rows: int) -> Iterator[range]:
    return (range(first, min(first + _BATCH_SIZE, num_rows)) for first in range(0, num_rows, _BATCH_SIZE))
