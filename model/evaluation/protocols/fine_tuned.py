"""Task fine-tuned classification: the classes that the model's own head predicts, from the images alone.

The head was trained together with the towers, on images and captions. Here it gets no captions, since a caption may
contain the title of the patent, which gives the class away. The setting `readout_tau` says under which class prior the
head is read out; the natural and the balanced read-out are always reported (`protocols.readouts`).
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from model.clip.embeddings import require_finite
from model.clip.encoder import Encoder
from model.clip.heads import FUSION, ClipWithHead
from model.clip.readout import ClassPriors
from model.clip.saved_head import load_classifier, read_class_priors, read_class_table, read_head_kind
from model.dataset.classes import ClassTable
from model.dataset.images import ImageReader
from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.measures.result_table import MODEL
from model.evaluation.protocols.classification import accuracy_table, missed_classes, results_by_class, scheme_heading
from model.evaluation.protocols.labelled import COLUMNS, TABLES, label_views
from model.evaluation.protocols.readouts import HeadLogits, readout_curve, readout_note, readout_table


def measure(context: EvaluationContext) -> TaskResult:
    """Accuracy of the head that was trained with the model, of the second model's head, and of a fresh one."""
    table = class_table_of(context.encoders[MODEL])
    if table is None:
        return TaskResult(reason="the model has no classification head; train with classification_weight above 0")
    if table.codes != TABLES[table.scheme].codes:
        return TaskResult(reason="the classes of the model's head are not those of this version's table")
    labelled = label_views(context, table.scheme)
    if labelled is None:
        return TaskResult(reason=f"no view of the split {context.views.split} has a {COLUMNS[table.scheme]}")
    heads = {
        column: HeadLogits(class_logits(context, encoder, table)[labelled.rows], class_priors_of(encoder))
        for column, encoder in context.encoders.items()
        if encoder.is_untrained or class_table_of(encoder) == table
    }
    tau = context.config.readout_tau
    scores = {column: head.scores(tau) for column, head in heads.items()}
    title = f"The model's own head, {scheme_heading(table.scheme)}"
    notes = [
        "trained with the towers; by the images alone, without captions",
        "untrained: a fresh head on fresh towers",
        readout_note(heads[MODEL], tau),
    ]
    result = TaskResult(
        tables={table.scheme: accuracy_table(context, labelled, scores, title=title, notes=notes)},
        by_class={table.scheme: results_by_class(labelled, scores[MODEL])},
        failures={table.scheme: missed_classes(context, labelled, scores[MODEL], title)},
    )
    if heads[MODEL].priors.are_known:
        name = f"{table.scheme}_readouts"
        result.tables[name] = readout_table(context, labelled, heads)
        result.readouts[name] = readout_curve(labelled, heads[MODEL], tau)
    return result


def class_table_of(encoder: Encoder) -> ClassTable | None:
    """The classes that a model's own head predicts; None for a model without a head."""
    return read_class_table(encoder.source.folder) if encoder.source.folder is not None else None


def class_priors_of(encoder: Encoder) -> ClassPriors:
    """The class priors of a model's own head; unknown for a fresh head and for models of earlier versions."""
    if encoder.is_untrained or encoder.source.folder is None:
        return ClassPriors()
    return read_class_priors(encoder.source.folder)


def class_logits(context: EvaluationContext, encoder: Encoder, table: ClassTable) -> np.ndarray:
    """(num_views, num_classes) float32 of the measured split, computed once for each model and dataset."""
    return encoder.class_logits(
        context.dataset, context.views, table.codes, classify=lambda: _classify(context, encoder, table)
    )


@torch.inference_mode()
def _classify(context: EvaluationContext, encoder: Encoder, table: ClassTable) -> np.ndarray:
    """The logits of a model's own head, or of a fresh head for an untrained model."""
    clip, config, num_views = encoder.load(), context.config, len(context.views)
    if encoder.is_untrained:
        kind = read_head_kind(encoder.source.folder) if encoder.source.folder is not None else FUSION
        model = ClipWithHead(clip.model, num_classes=len(table), kind=kind, seed=encoder.untrained_seed or 0).eval()
    else:
        model, _ = load_classifier(encoder.source.folder or "", clip=clip)
    parts = []
    with contextlib.closing(ImageReader(context.views, clip.preprocess, num_workers=config.num_workers)) as reader:
        for first in range(0, num_views, config.batch_size):
            rows = range(first, min(first + config.batch_size, num_views))
            logits = model.classify(reader.read(rows).to(context.device)).float().cpu().numpy()
            names = [f"view {context.views.view_id(row)}" for row in rows]
            require_finite(logits, model=f"{encoder.name}, its classification head", things=names)
            parts.append(logits)
            if context.progress is not None:
                context.progress(min(first + config.batch_size, num_views), num_views, {"doing": "classes of images"})
    return np.concatenate(parts)
