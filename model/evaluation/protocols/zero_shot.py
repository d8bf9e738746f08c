"""Task zero-shot classification: a view is of the class whose prompts it is nearest to; nothing is learned."""

from __future__ import annotations

import numpy as np

from model.dataset.classes import ClassTable
from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.measures.result_table import MODEL
from model.evaluation.protocols.classification import TABLES, by_class, heading_of, label_views, table_of


def measure(trial: EvaluationContext) -> TaskResult:
    """Accuracy by the titles of the classes, for each classification of the settings."""
    result = TaskResult()
    for scheme in trial.config.schemes:
        labelled = label_views(trial, scheme)
        if labelled is None:
            continue
        scores = {
            entrant: trial.image_features(entrant).features[labelled.rows] @ class_features(trial, entrant, scheme).T
            for entrant in trial.entrants
        }
        title = f"Zero-shot, {heading_of(scheme)}"
        prompts = f"prompts, averaged: {'; '.join(trial.config.prompts)}"
        result.tables[scheme] = table_of(trial, labelled, scores, title=title, notes=[prompts])
        result.by_class[scheme] = by_class(labelled, scores[MODEL])
    if not result.tables:
        result.reason = f"no view of the split {trial.config.split} has a class of {' or '.join(trial.config.schemes)}"
    return result


def class_features(trial: EvaluationContext, entrant: str, scheme: str) -> np.ndarray:
    """(num_classes, embed_dim) float32, unit length: the mean of the features of a class's prompts."""
    texts = prompts_of(TABLES[scheme], trial.config.prompts)
    features = trial.text_features(entrant, texts, f"prompts-{scheme}")
    means = features.reshape(len(TABLES[scheme]), len(trial.config.prompts), -1).mean(axis=1)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def prompts_of(table: ClassTable, prompts: tuple[str, ...]) -> list[str]:
    """The texts of all classes: those of the first class, then those of the second, and so on."""
    return [prompt.replace("{}", title.lower()) for title in table.titles for prompt in prompts]
