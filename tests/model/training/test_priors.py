"""The prior that a head is said to be fitted under is the one that its loss makes it learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from model.training.priors import class_priors
from model.training.step.losses import class_weights, classification_loss, log_prior

COUNTS = np.array([70, 21, 9, 0])  # training views of four classes
LIKELIHOODS = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]])  # of three kinds of image, by class


def fit(shares: np.ndarray, weights: torch.Tensor | None, strength: float) -> np.ndarray:
    """(3 images, 4 classes) logits that minimise the classification loss of a stream."""
    draws = np.rint(1000 * LIKELIHOODS * shares[:3]).astype(int)  # how often an image of a class is drawn
    images, classes = (torch.from_numpy(np.repeat(index, draws.ravel())) for index in np.indices((3, 3)).reshape(2, -1))
    logits = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    prior = log_prior(torch.from_numpy(shares), strength).double() if strength else None
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = classification_loss(logits[images], classes, weights, prior)
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach().numpy()


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.25])
def test_the_balanced_read_out_of_a_fitted_head_shows_the_likelihoods(micro_config, is_weighted, strength):
    shares = np.array([0.5, 0.3, 0.2, 0.0])  # the stream is not the natural one
    weights = class_weights(torch.from_numpy(COUNTS), 0.5)
    config = dataclasses.replace(micro_config, weigh_classification=is_weighted, logit_adjustment=strength)
    logits = fit(shares, weights.double() if is_weighted else None, strength)

    priors = class_priors(COUNTS, shares, weights.numpy(), config)

    posteriors = torch.from_numpy(priors.adjusted(logits, 1.0)).double().softmax(dim=1).numpy()
    expected = LIKELIHOODS / LIKELIHOODS.sum(axis=1, keepdims=True)
    assert posteriors[:, :3] == pytest.approx(expected, abs=2e-3) and (posteriors[:, 3] == 0).all()
    natural = torch.from_numpy(priors.adjusted(logits, 0.0)).double().softmax(dim=1).numpy()
    weighed = LIKELIHOODS * COUNTS[:3]
    assert natural[:, :3] == pytest.approx(weighed / weighed.sum(axis=1, keepdims=True), abs=2e-3)


def test_both_priors_are_shares_and_a_class_without_views_has_none(micro_config):
    priors = class_priors(COUNTS, COUNTS / COUNTS.sum(), np.ones(4), micro_config)

    for shares in (priors.fitted, priors.natural):
        assert shares.sum() == pytest.approx(1) and shares[3] == 0
    assert priors.natural.tolist() == [0.7, 0.21, 0.09, 0.0]


def test_the_priors_are_unknown_if_no_view_has_a_class(micro_config):
    assert not class_priors(np.zeros(4, int), np.zeros(4), np.ones(4), micro_config).are_known


def test_a_refitted_head_has_a_uniform_prior_over_the_classes_with_views(micro_config):
    config = dataclasses.replace(micro_config, refit_head=True, logit_adjustment=0.5)
    priors = class_priors(COUNTS, COUNTS / COUNTS.sum(), np.array([0.1, 2.0, 3.0, 1.0]), config)

    assert priors.fitted.tolist() == [1 / 3, 1 / 3, 1 / 3, 0.0]
