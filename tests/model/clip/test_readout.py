"""A head's logits under other class priors than its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from model.clip.heads import FusionHead
from model.clip.readout import BALANCED, NATURAL, NEVER, ClassPriors
from model.clip.saved_head import CLASSIFIER_CONFIG, read_class_priors, save_classifier
from model.dataset.classes import LOCARNO
from model.errors import ArchitectureError

LIKELIHOODS = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])  # of two images under each of three classes


def posteriors(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


@pytest.mark.parametrize("fitted", [[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.3, 0.6]])
@pytest.mark.parametrize("tau", [NATURAL, 0.5, BALANCED, 1.25])
def test_a_read_out_follows_bayes_rule_whatever_prior_the_head_was_fitted_under(fitted, tau):
    natural = np.array([0.6, 0.3, 0.1])
    logits = np.log(LIKELIHOODS * np.array(fitted)) + np.array([[3.0], [-1.0]])  # of a perfect head; offsets are free

    adjusted = ClassPriors(fitted=np.array(fitted), natural=natural).adjusted(logits, tau)

    weighed = LIKELIHOODS * natural ** (1 - tau)
    assert posteriors(adjusted) == pytest.approx(weighed / weighed.sum(axis=1, keepdims=True), abs=1e-6)


@pytest.mark.parametrize("fitted_of_unseen", [0.0, 1 / 3])
@pytest.mark.parametrize("tau", [NATURAL, BALANCED, 1.25])
def test_a_class_without_training_views_is_never_predicted_and_no_logit_is_infinite(fitted_of_unseen, tau):
    fitted = np.array([1 - fitted_of_unseen - 0.2, 0.2, fitted_of_unseen])
    priors = ClassPriors(fitted=fitted, natural=np.array([0.9, 0.1, 0.0]))

    adjusted = priors.adjusted(np.array([[0.0, 1.0, 50.0]]), tau)

    assert np.isfinite(adjusted).all() and adjusted[0, 2] == NEVER
    assert posteriors(adjusted)[0, 2] == 0


def test_all_read_outs_are_the_logits_themselves_if_the_priors_are_unknown():
    assert not ClassPriors().are_known
    assert ClassPriors().adjusted(LIKELIHOODS, BALANCED) is LIKELIHOODS


def test_priors_are_saved_with_the_head(tmp_path):
    natural = np.arange(32) / np.arange(32).sum()
    head = FusionHead(image_width=8, text_width=8, num_classes=32, width=64)
    save_classifier(head, LOCARNO, tmp_path, priors=ClassPriors(fitted=np.full(32, 1 / 32), natural=natural))

    priors = read_class_priors(tmp_path)

    assert priors.are_known
    assert priors.fitted.tolist() == [1 / 32] * 32 and priors.natural.tolist() == natural.tolist()


def test_the_priors_of_a_head_from_an_earlier_version_are_unknown(tmp_path):
    save_classifier(FusionHead(image_width=8, text_width=8, num_classes=32, width=64), LOCARNO, tmp_path)

    assert not read_class_priors(tmp_path).are_known
    assert not read_class_priors(tmp_path / "without a head").are_known


@pytest.mark.parametrize("prior", [[0.5, 0.5], [1.0] * 32, [-1.0, 2.0, *[0.0] * 30]])
def test_priors_that_are_not_shares_of_the_classes_are_refused(tmp_path, prior):
    natural = np.full(32, 1 / 32)
    head = FusionHead(image_width=8, text_width=8, num_classes=32, width=64)
    save_classifier(head, LOCARNO, tmp_path, priors=ClassPriors(natural, natural))
    values = json.loads((tmp_path / CLASSIFIER_CONFIG).read_text())
    (tmp_path / CLASSIFIER_CONFIG).write_text(json.dumps(values | {"fitted_prior": prior}))

    with pytest.raises(ArchitectureError, match="not one share for each of the 32 classes"):
        read_class_priors(tmp_path)
