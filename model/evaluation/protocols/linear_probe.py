"""Task linear probe: what a linear classifier learns from frozen image features of the training split.

The result to use is that of L-BFGS logistic regression (scikit-learn) on features of unit length, with the penalty
chosen on the validation split. Five epochs of a linear layer on unnormalised features are measured as well, because the
published systems were measured that way. That result depends on the learning rate and on the scale of the features, and
serves only for the comparison with published values.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from model.errors import NonFiniteError
from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.measures.result_table import MODEL
from model.evaluation.protocols.classification import (
    accuracy,
    accuracy_table,
    missed_classes,
    results_by_class,
    scheme_heading,
)
from model.evaluation.protocols.labelled import LabelledViews, class_indices, label_views
from model.evaluation.protocols.ranking import choose_rows

_MAX_ITERATIONS = 1000
_EPOCHS, _BATCH, _LEARNING_RATE = 5, 128, 1e-3


def measure(context: EvaluationContext) -> TaskResult:
    """Accuracy of both probes, for each classification of the settings."""
    if not context.has("train"):
        return TaskResult(reason="the dataset has no training split to learn from")
    result = TaskResult()
    for scheme in context.config.schemes:
        labelled = label_views(context, scheme)
        if labelled is None or (labelled.training_counts > 0).sum() < 2:
            continue
        result.tables[scheme], scores, result.settings[scheme] = _measure_regression(context, labelled)
        result.by_class[scheme] = results_by_class(labelled, scores[MODEL])
        title = result.tables[scheme]["title"]
        result.failures[scheme] = missed_classes(context, labelled, scores[MODEL], title)
        result.tables[f"{scheme}_five_epochs"] = _measure_five_epochs(context, labelled)
    if not result.tables:
        result.reason = "fewer than two classes occur in the training split, or none in the one that is measured"
    return result


def _measure_regression(
    context: EvaluationContext, labelled: LabelledViews
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """The table of logistic regression, column → (num_labelled, num_classes) scores, and column → what was chosen."""
    scores: dict[str, np.ndarray] = {}
    chosen: dict[str, Any] = {}
    for column in context.encoders:
        features = context.image_features(column).features[labelled.rows]
        scores[column], chosen[column] = _logistic_regression(
            context, column, labelled.scheme, features, len(labelled.table)
        )
    own = chosen[MODEL]
    note = (
        f"C = {own['strength']:g}, chosen by accuracy on {own['chosen_on']}; "
        f"{own['num_training_views']:,} training views"
    )
    table = accuracy_table(
        context,
        labelled,
        scores,
        title=f"Linear probe, {scheme_heading(labelled.scheme)}",
        notes=["L-BFGS logistic regression on frozen features of unit length", note, *own["warnings"]],
    )
    return table, scores, chosen


def _measure_five_epochs(context: EvaluationContext, labelled: LabelledViews) -> dict[str, Any]:
    """The table of a linear layer trained for five epochs."""
    scores: dict[str, np.ndarray] = {}
    for column in context.encoders:
        measured = context.image_features(column)
        unnormalised = (measured.features * measured.norms[:, None])[labelled.rows]
        scores[column] = _five_epochs(context, column, labelled.scheme, unnormalised, len(labelled.table))
    return accuracy_table(
        context,
        labelled,
        scores,
        title=f"Five epochs of a linear layer, {scheme_heading(labelled.scheme)}",
        notes=[
            "for comparison with published figures alone: frozen features as they are, not of unit length; Adam, "
            f"learning rate {_LEARNING_RATE:g}, batch {_BATCH}, {_EPOCHS} epochs, the last one counts"
        ],
    )


def _training_rows(context: EvaluationContext, scheme: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a split that have a class, at most `probe_max_views` of them, and their classes."""
    classes = class_indices(context.views_of(split), scheme)
    rows = np.flatnonzero(classes >= 0)
    rows = rows[choose_rows(len(rows), max_queries=context.config.probe_max_views, seed=context.config.seed)]
    return rows, classes[rows]


def _logistic_regression(
    context: EvaluationContext, column: str, scheme: str, test_features: np.ndarray, num_classes: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """(num_labelled, num_classes) scores of `test_features`, and what was chosen."""
    strengths = context.config.probe_strengths
    train, (held_features, held_truth), chosen_on = _fit_and_held_out(context, column, scheme)
    # Fit one model for each strength, and measure it on the held-out views.
    accuracies, models, warned = [], [], []
    for strength in strengths:
        model, has_converged = fit(*train, strength)
        models.append(model)
        warned.append(
            [] if has_converged else [f"C = {strength:g} had not converged after {_MAX_ITERATIONS} iterations"]
        )
        scores = scores_over(model, held_features, num_classes)
        accuracies.append(accuracy(scores, held_truth) if len(held_truth) else 0.0)
    # Take the best; its warnings become notes of the table.
    best = int(np.argmax(accuracies))
    remarks = list(warned[best])
    if best in (0, len(models) - 1) and len(models) > 1:
        remarks.append("the chosen C is at an end of those tried; widen probe_strengths")
    return scores_over(models[best], test_features, num_classes), {
        "strength": strengths[best],
        "chosen_on": chosen_on,
        "accuracy_by_strength": dict(zip(map(str, strengths), accuracies, strict=True)),
        "num_training_views": len(train[1]),
        "warnings": remarks,
    }


def _fit_and_held_out(
    context: EvaluationContext, column: str, scheme: str
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], str]:
    """Features and classes to fit on, features and classes to choose the strength on, and the name of the latter.

    The strength is chosen on the validation split. If that has no labelled view, it is chosen on every fifth patent of
    the training split, so that the measured split does not influence the choice. Nothing is held out if fewer than two
    classes would be left to fit on.
    """
    rows, truth = _training_rows(context, scheme, "train")
    features = context.image_features(column, "train").features[rows]
    if context.has("validation"):
        held_rows, held_truth = _training_rows(context, scheme, "validation")
        if len(held_rows):
            held_features = context.image_features(column, "validation").features[held_rows]
            return (features, truth), (held_features, held_truth), "the validation split"
    patents = np.unique(np.array(context.views_of("train").patent_numbers)[rows], return_inverse=True)[1]
    is_held = patents % 5 == 4
    if len(np.unique(truth[~is_held])) < 2:
        is_held[:] = False
    return (
        (features[~is_held], truth[~is_held]),
        (features[is_held], truth[is_held]),
        "a fifth of the training patents",
    )


def fit(features: np.ndarray, truth: np.ndarray, strength: float) -> tuple[LogisticRegression, bool]:
    """Multinomial logistic regression by L-BFGS, and whether it converged.

    Raises:
        NonFiniteError: A feature is NaN or infinite.
    """
    if not np.isfinite(features).all():
        raise NonFiniteError("the linear probe has features that are not finite to learn from; check the model")
    model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features.astype(np.float64), truth)
    return model, bool(model.n_iter_.max() < _MAX_ITERATIONS)


def scores_over(model: LogisticRegression, features: np.ndarray, num_classes: int) -> np.ndarray:
    """(num_views, num_classes) logarithms of probabilities; -inf for a class that did not occur in training."""
    scores = np.full((len(features), num_classes), -np.inf)
    if len(features):
        scores[:, model.classes_] = model.predict_log_proba(features.astype(np.float64))
    return scores


def _five_epochs(
    context: EvaluationContext, column: str, scheme: str, test_features: np.ndarray, num_classes: int
) -> np.ndarray:
    """(num_labelled, num_classes) scores of `test_features` under a linear layer trained for five epochs."""
    rows, truth = _training_rows(context, scheme, "train")
    training = context.image_features(column, "train")
    features = context.tensor(training.features[rows] * training.norms[rows, None])
    targets = context.tensor(truth)
    generator = torch.Generator().manual_seed(context.config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.config.seed)
        layer = torch.nn.Linear(features.shape[1], num_classes).to(context.device)
    optimizer = torch.optim.Adam(layer.parameters(), lr=_LEARNING_RATE)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(targets), generator=generator).to(context.device).split(_BATCH):
            loss = torch.nn.functional.cross_entropy(layer(features[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        return layer(context.tensor(test_features)).cpu().numpy()
