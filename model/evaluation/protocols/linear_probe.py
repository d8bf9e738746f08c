"""Task linear probe: what a linear classifier learns from frozen image features of the training split.

The figure to read is L-BFGS logistic regression (scikit-learn) on features of unit length, its penalty chosen on the
validation split. The five epochs of a linear layer on unnormalised features stand beside it because the published
systems measured so; they depend on learning rate and scale of the features, and are for that comparison alone.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.measures.result_table import MODEL
from model.evaluation.protocols.classification import (
    by_class,
    classes_of,
    fraction_right,
    heading_of,
    label_views,
    table_of,
)
from model.evaluation.protocols.ranking import choose_rows

_MAX_ITERATIONS = 1000
_EPOCHS, _BATCH, _LEARNING_RATE = 5, 128, 1e-3


def measure(trial: EvaluationContext) -> TaskResult:
    """Accuracy of both probes, for each classification of the settings."""
    if not trial.has("train"):
        return TaskResult(reason="the dataset has no training split to learn from")
    result = TaskResult()
    for scheme in trial.config.schemes:
        labelled = label_views(trial, scheme)
        if labelled is None or (labelled.training_counts > 0).sum() < 2:
            continue
        scores: dict[str, np.ndarray] = {}
        quick: dict[str, np.ndarray] = {}
        chosen: dict[str, Any] = {}
        for entrant in trial.entrants:
            asked = trial.image_features(entrant)
            scores[entrant], chosen[entrant] = _logistic_regression(
                trial, entrant, scheme, asked.features[labelled.rows], len(labelled.table)
            )
            unnormalised = (asked.features * asked.norms[:, None])[labelled.rows]
            quick[entrant] = _five_epochs(trial, entrant, scheme, unnormalised, len(labelled.table))
        result.settings[scheme] = chosen
        own = chosen[MODEL]
        note = (
            f"C = {own['strength']:g}, chosen by accuracy on {own['chosen_on']}; {own['num_training_views']:,} "
            "training views"
        )
        result.tables[scheme] = table_of(
            trial,
            labelled,
            scores,
            title=f"Linear probe, {heading_of(scheme)}",
            notes=["L-BFGS logistic regression on frozen features of unit length", note, *own["warnings"]],
        )
        result.by_class[scheme] = by_class(labelled, scores[MODEL])
        result.tables[f"{scheme}_five_epochs"] = table_of(
            trial,
            labelled,
            quick,
            title=f"Five epochs of a linear layer, {heading_of(scheme)}",
            notes=[
                "for comparison with published figures alone: frozen features as they are, not of unit length; Adam, "
                f"learning rate {_LEARNING_RATE:g}, batch {_BATCH}, {_EPOCHS} epochs, the last one counts"
            ],
        )
    if not result.tables:
        result.reason = "fewer than two classes occur in the training split, or none in the one that is measured"
    return result


def _training_rows(trial: EvaluationContext, scheme: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Labelled rows of a split, at most so many as the settings say, and their classes."""
    places = classes_of(trial.views_of(split), scheme)
    rows = np.flatnonzero(places >= 0)
    rows = rows[choose_rows(len(rows), max_queries=trial.config.probe_max_views, seed=trial.config.seed)]
    return rows, places[rows]


def _logistic_regression(
    trial: EvaluationContext, entrant: str, scheme: str, asked: np.ndarray, num_classes: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """(num_labelled, num_classes) scores, and what was chosen."""
    rows, truth = _training_rows(trial, scheme, "train")
    features = trial.image_features(entrant, "train").features[rows]
    held_rows, held_truth = (np.zeros(0, np.int64),) * 2
    if trial.has("validation"):
        held_rows, held_truth = _training_rows(trial, scheme, "validation")
    if len(held_rows):
        held, chosen_on = trial.image_features(entrant, "validation").features[held_rows], "the validation split"
    else:  # every fifth patent of training, so that the measured split is never looked at
        patents = np.unique(np.array(trial.views_of("train").patent_numbers)[rows], return_inverse=True)[1]
        is_held = patents % 5 == 4
        if len(np.unique(truth[~is_held])) < 2:
            is_held[:] = False
        held, held_truth, chosen_on = features[is_held], truth[is_held], "a fifth of the training patents"
        features, truth = features[~is_held], truth[~is_held]
    accuracies, models, warned = [], [], []
    for strength in trial.config.probe_strengths:
        model, has_converged = fit(features, truth, strength)
        models.append(model)
        warned.append(
            [] if has_converged else [f"C = {strength:g} had not converged after {_MAX_ITERATIONS} iterations"]
        )
        accuracies.append(fraction_right(scores_over(model, held, num_classes), held_truth) if len(held_truth) else 0.0)
    best = int(np.argmax(accuracies))
    remarks = list(warned[best])
    if best in (0, len(models) - 1) and len(models) > 1:
        remarks.append("the chosen C is at an end of those tried; widen probe_strengths")
    return scores_over(models[best], asked, num_classes), {
        "strength": trial.config.probe_strengths[best],
        "chosen_on": chosen_on,
        "accuracy_by_strength": dict(zip(map(str, trial.config.probe_strengths), accuracies, strict=True)),
        "num_training_views": len(truth),
        "warnings": remarks,
    }


def fit(features: np.ndarray, truth: np.ndarray, strength: float) -> tuple[LogisticRegression, bool]:
    """Multinomial logistic regression by L-BFGS, and whether it converged."""
    model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features.astype(np.float64), truth)
    return model, bool(model.n_iter_.max() < _MAX_ITERATIONS)


def scores_over(model: LogisticRegression, features: np.ndarray, num_classes: int) -> np.ndarray:
    """(num_views, num_classes) logarithms of probabilities; a class that training did not show has none."""
    scores = np.full((len(features), num_classes), -np.inf)
    if len(features):
        scores[:, model.classes_] = model.predict_log_proba(features.astype(np.float64))
    return scores


def _five_epochs(
    trial: EvaluationContext, entrant: str, scheme: str, asked: np.ndarray, num_classes: int
) -> np.ndarray:
    """(num_labelled, num_classes) scores of a linear layer after five epochs."""
    rows, truth = _training_rows(trial, scheme, "train")
    made = trial.image_features(entrant, "train")
    features = torch.from_numpy(made.features[rows] * made.norms[rows, None])
    targets = torch.from_numpy(truth)
    generator = torch.Generator().manual_seed(trial.config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.config.seed)
        layer = torch.nn.Linear(features.shape[1], num_classes)
    optimizer = torch.optim.Adam(layer.parameters(), lr=_LEARNING_RATE)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(targets), generator=generator).split(_BATCH):
            loss = torch.nn.functional.cross_entropy(layer(features[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        return layer(torch.from_numpy(asked)).numpy()
