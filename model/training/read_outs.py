"""The read-outs of a head on the validation split at the end of a run, for the page of the run.

Which read-out to use is a question that comes up as soon as a run is finished: how much of the rare classes is found if
a little of the frequent ones is given up. A sample of the validation split answers it without an evaluation.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch

from model.clip.heads import ClipWithHead
from model.clip.readout import ClassPriors
from model.dataset.classes import UNKNOWN, ClassTable
from model.dataset.folder import Dataset
from model.dataset.images import ImageReader
from model.dataset.thirds import THIRDS, accuracy_by_third, third_of_class
from model.dataset.views import Views, read_views
from model.training.step.learner import Learner

TAUS = tuple(number / 20 for number in range(26))
"""The points of the curve: τ from 0 to 1.25."""

MOST_VIEWS = 1024
_SPLIT = "validation"
_TIE_TOLERANCE = 1e-6


def validation_read_outs(
    learner: Learner, dataset: Dataset, classes: ClassTable, training_counts: np.ndarray, priors: ClassPriors
) -> dict[str, Any] | None:
    """Accuracy over τ, from the natural read-out to beyond the balanced one, on at most `MOST_VIEWS` validation views.

    Args:
        learner: The model with its final weights.
        dataset: The dataset that it was trained on.
        classes: The classes of its head.
        training_counts: (num_classes,) number of training views of each class.
        priors: The class priors of its head.

    Returns:
        Lists over "tau": "tail", "middle" and "head" if they occur, "classes" and "views"; the number of views
        ("num_views") and the codes of each third ("thirds"). None without a head, without known priors, and without
        validation views of known class.
    """
    if learner.towers.head is None or not priors.are_known or not dataset.num_views.get(_SPLIT):
        return None
    config = learner.config
    views = read_views(dataset, _SPLIT, captioned=False, lines="claimed" if config.image == "claimed" else "all")
    labels = views.class_ids(classes)
    rows = np.flatnonzero(labels != UNKNOWN)
    if not len(rows):
        return None
    rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[:MOST_VIEWS])
    logits, truth = _logits(learner, views, rows), labels[rows]
    hits = np.stack([_hits(priors.adjusted(logits, tau), truth) for tau in TAUS], axis=1)
    third = third_of_class(training_counts)
    return {
        "num_views": len(rows),
        "tau": list(TAUS),
        **accuracy_by_third(hits, truth, third),
        "thirds": {
            name: [code for code, member in zip(classes.codes, third, strict=True) if member == number]
            for number, name in enumerate(THIRDS)
        },
    }


def _hits(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(num_views,) 1.0 for each view whose own class alone has the highest score; a tie is wrong."""
    own = scores[np.arange(len(truth)), truth]
    return ((scores >= (own - _TIE_TOLERANCE)[:, None]).sum(axis=1) == 1).astype(np.float64)


@torch.inference_mode()
def _logits(learner: Learner, views: Views, rows: np.ndarray) -> np.ndarray:
    """(num_rows, num_classes) float32, from the images alone."""
    config, towers = learner.config, learner.towers.eval()
    assert isinstance(towers.net, ClipWithHead)
    size, parts = config.micro_batch_size or config.batch_size, []
    with contextlib.closing(ImageReader(views, learner.clip.preprocess, num_workers=config.num_workers)) as reader:
        for first in range(0, len(rows), size):
            grey = reader.read_grey(rows[first : first + size].tolist()).to(learner.device)
            parts.append(towers.net.classify(towers.normalise(grey)).float().cpu().numpy())
    return np.concatenate(parts)
