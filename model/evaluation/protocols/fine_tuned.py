"""Task fine-tuned classification: the classes as the model's own head tells them, from the images alone.

The head was trained with the towers and saw captions there; here it sees none, since a caption holds its title.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from model.clip.encoder import Encoder
from model.clip.heads import ClipWithHead
from model.clip.saved_head import load_classifier, read_class_table
from model.dataset.classes import ClassTable
from model.dataset.images import ImageReader
from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.measures.result_table import MODEL
from model.evaluation.protocols.classification import COLUMNS, TABLES, by_class, heading_of, label_views, table_of


def measure(trial: EvaluationContext) -> TaskResult:
    """Accuracy of the head that the training run left beside its model, of the second model's, and of a fresh one."""
    table = class_table_of(trial.entrants[MODEL])
    if table is None:
        return TaskResult(reason="the model has no classification head; train with classification_weight above 0")
    if table.codes != TABLES[table.scheme].codes:
        return TaskResult(reason="the classes of the model's head are not those of this version's table")
    labelled = label_views(trial, table.scheme)
    if labelled is None:
        return TaskResult(reason=f"no view of the split {trial.views.split} has a {COLUMNS[table.scheme]}")
    scores = {
        name: class_logits(trial, entrant, table)[labelled.rows]
        for name, entrant in trial.entrants.items()
        if entrant.is_untrained or class_table_of(entrant) == table
    }
    title = f"The model's own head, {heading_of(table.scheme)}"
    notes = [
        "trained with the towers; by the images alone, without captions",
        "untrained: a fresh head on fresh towers",
    ]
    figures = table_of(trial, labelled, scores, title=title, notes=notes)
    return TaskResult(tables={table.scheme: figures}, by_class={table.scheme: by_class(labelled, scores[MODEL])})


def class_table_of(entrant: Encoder) -> ClassTable | None:
    """The classes that a model's own head tells; None for a model without one."""
    return read_class_table(entrant.source.folder) if entrant.source.folder is not None else None


def class_logits(trial: EvaluationContext, entrant: Encoder, table: ClassTable) -> np.ndarray:
    """(num_views, num_classes) float32 of the measured split, computed once a model and dataset."""
    return entrant.class_logits(
        trial.dataset, trial.views, table.codes, classify=lambda: _classify(trial, entrant, table)
    )


@torch.inference_mode()
def _classify(trial: EvaluationContext, entrant: Encoder, table: ClassTable) -> np.ndarray:
    clip, config, num_views = entrant.load(), trial.config, len(trial.views)
    if entrant.is_untrained:
        model = ClipWithHead(clip.model, num_classes=len(table), seed=entrant.untrained_seed or 0).eval()
    else:
        model, _ = load_classifier(entrant.source.folder or "", clip=clip)
    parts = []
    with contextlib.closing(ImageReader(trial.views, clip.preprocess, num_workers=config.num_workers)) as reader:
        for first in range(0, num_views, config.batch_size):
            images = reader.read(range(first, min(first + config.batch_size, num_views)))
            parts.append(model.classify(images.to(trial.device)).float().cpu().numpy())
            if trial.progress is not None:
                trial.progress(min(first + config.batch_size, num_views), num_views, {"doing": "classes of images"})
    return np.concatenate(parts)
