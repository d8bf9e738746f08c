"""Task fine-tuned classification: the classes as the model's own head tells them, from the images alone.

The head was trained with the towers and saw captions there; here it sees none, since a caption holds its title.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from model.classification import COLUMNS, by_class, heading_of, label_views, table_of
from model.classifier import CLASSIFIER_CONFIG, load_classifier
from model.data import ImageReader
from model.entrant import Entrant
from model.figures import MODEL, UNTRAINED
from model.heads import ClipWithHead
from model.trial import TaskResult, Trial


def has_head(entrant: Entrant) -> bool:
    """True for a model that was trained with a head."""
    return entrant.source.folder is not None and (entrant.source.folder / CLASSIFIER_CONFIG).is_file()


def measure(trial: Trial) -> TaskResult:
    """Accuracy of the head that the training run left beside its model, and of the second model's."""
    if not has_head(trial.entrants[MODEL]):
        return TaskResult(reason="the model has no classification head; train with classification_weight above 0")
    headed = {name: entrant for name, entrant in trial.entrants.items() if name != UNTRAINED and has_head(entrant)}
    models = {
        name: load_classifier(entrant.source.folder or "", clip=entrant.load()) for name, entrant in headed.items()
    }
    scheme = models[MODEL][1].scheme
    labelled = label_views(trial, scheme)
    if labelled is None:
        return TaskResult(reason=f"no view of the split {trial.views.split} has a {COLUMNS[scheme]}")
    scores = {
        name: classify(trial, model, headed[name], labelled.rows)
        for name, (model, table) in models.items()
        if table.codes == labelled.table.codes
    }
    if MODEL not in scores:
        return TaskResult(reason="the classes of the model's head are not those of this version's table")
    title = f"The model's own head, {heading_of(scheme)}"
    notes = ["trained with the towers; by the images alone, without captions"]
    table = table_of(trial, labelled, scores, title=title, notes=notes)
    return TaskResult(tables={scheme: table}, by_class={scheme: by_class(labelled, scores[MODEL])})


@torch.inference_mode()
def classify(trial: Trial, model: ClipWithHead, entrant: Entrant, rows: np.ndarray) -> np.ndarray:
    """(num_rows, num_classes) logits of some views of the measured split."""
    parts = []
    config = trial.config
    with contextlib.closing(
        ImageReader(trial.views, entrant.load().preprocess, num_workers=config.num_workers)
    ) as reader:
        for first in range(0, len(rows), config.batch_size):
            images = reader.read(rows[first : first + config.batch_size].tolist())
            parts.append(model.classify(images.to(trial.device)).float().cpu().numpy())
            if trial.advance is not None:
                trial.advance(min(first + config.batch_size, len(rows)), len(rows), "classes of images")
    return np.concatenate(parts)
