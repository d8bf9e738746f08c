"""Task zero-shot classification: a view is assigned to the class whose prompts it is nearest to; nothing is learned."""

from __future__ import annotations

import numpy as np

from model.dataset.classes import prompts_of
from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.measures.result_table import MODEL
from model.evaluation.protocols.classification import accuracy_table, missed_classes, results_by_class, scheme_heading
from model.evaluation.protocols.labelled import TABLES, label_views


def measure(context: EvaluationContext) -> TaskResult:
    """Accuracy by the titles of the classes, for each classification of the settings."""
    result = TaskResult()
    for scheme in context.config.schemes:
        labelled = label_views(context, scheme)
        if labelled is None:
            continue
        scores = {
            column: context.image_features(column).features[labelled.rows] @ class_features(context, column, scheme).T
            for column in context.encoders
        }
        title = f"Zero-shot, {scheme_heading(scheme)}"
        prompts = f"prompts, averaged: {'; '.join(context.config.prompts)}"
        result.tables[scheme] = accuracy_table(context, labelled, scores, title=title, notes=[prompts])
        result.by_class[scheme] = results_by_class(labelled, scores[MODEL])
        result.failures[scheme] = missed_classes(context, labelled, scores[MODEL], title)
    if not result.tables:
        config = context.config
        result.reason = f"no view of the split {config.split} has a class of {' or '.join(config.schemes)}"
    return result


def class_features(context: EvaluationContext, column: str, scheme: str) -> np.ndarray:
    """(num_classes, embed_dim) float32, unit length: the mean of the features of each class's prompts."""
    texts = prompts_of(TABLES[scheme], context.config.prompts)
    features = context.text_features(column, texts, f"prompts-{scheme}")
    means = features.reshape(len(TABLES[scheme]), len(context.config.prompts), -1).mean(axis=1)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
