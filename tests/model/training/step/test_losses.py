"""The losses compared with float64 references in NumPy, with open_clip's losses, and with values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional

from model.training.step.losses import (
    class_weights,
    classification_loss,
    contrastive_loss,
    item_weights,
    log_prior,
    positive_pairs,
    siglip_loss,
    symmetric_contrastive_loss,
)

# References, written from the formulas, one query at a time.


def reference_contrastive(queries, candidates, scale, positives, weights):
    """Value, and gradients with respect to queries, candidates and scale."""
    num = len(queries)
    value, by_query, by_candidate, by_scale = 0.0, np.zeros_like(queries), np.zeros_like(candidates), 0.0
    for i in range(num):
        similarity = candidates @ queries[i]
        logits = scale * similarity
        softmax = np.exp(logits - logits.max())
        softmax /= softmax.sum()
        right = np.flatnonzero(positives[i])
        if len(right) == 0:
            continue
        target = np.zeros(len(candidates))
        target[right] = 1 / len(right)
        value += weights[i] / num * -sum(target[j] * math.log(softmax[j]) for j in right)
        by_logits = weights[i] / num * (softmax - target)
        by_query[i] = scale * by_logits @ candidates
        by_candidate += scale * np.outer(by_logits, queries[i])
        by_scale += by_logits @ similarity
    return value, (by_query, by_candidate, by_scale)


def reference_siglip(images, texts, scale, bias, positives, weights):
    num = len(images)
    value, by_image, by_text, by_scale, by_bias = 0.0, np.zeros_like(images), np.zeros_like(texts), 0.0, 0.0
    for i in range(num):
        for j in range(len(texts)):
            similarity = images[i] @ texts[j]
            sign = 1.0 if positives[i, j] else -1.0
            logit = sign * (scale * similarity + bias)
            value += weights[i] / num * math.log1p(math.exp(-logit))
            slope = weights[i] / num * -sign / (1 + math.exp(logit))
            by_image[i] += slope * scale * texts[j]
            by_text[j] += slope * scale * images[i]
            by_scale += slope * similarity
            by_bias += slope
    return value, (by_image, by_text, by_scale, by_bias)


def reference_classification(logits, classes, weights):
    known = [i for i in range(len(classes)) if classes[i] >= 0]
    value, by_logits = 0.0, np.zeros_like(logits)
    for i in known:
        softmax = np.exp(logits[i] - logits[i].max())
        softmax /= softmax.sum()
        share = weights[classes[i]] / len(known)
        value += share * -math.log(softmax[classes[i]])
        by_logits[i] = share * softmax
        by_logits[i, classes[i]] -= share
    return value, (by_logits,)


def unit_rows(num: int, *, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num, 8))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def evaluate(loss: Callable[..., torch.Tensor], *inputs: np.ndarray | float, **others: object):
    """A loss and its gradients with respect to the inputs, in float64."""
    tensors = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in inputs]
    value = loss(*tensors, **others)
    value.backward()
    return value.item(), tuple(tensor.grad.numpy() for tensor in tensors)


def assert_equal(ours, reference):
    assert ours[0] == pytest.approx(reference[0], rel=1e-12)
    for gradient, expected in zip(ours[1], reference[1], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


CASES = pytest.mark.parametrize(
    ("num_queries", "num_candidates", "density", "seed"),
    [(1, 1, 1.0, 0), (5, 5, 0.0, 1), (6, 9, 0.3, 2), (12, 4, 0.5, 3), (7, 7, 1.0, 4)],
)


def draw_case(num_queries, num_candidates, density, seed):
    rng = np.random.default_rng(seed + 100)
    positives = rng.random((num_queries, num_candidates)) < density
    positives[np.arange(num_queries), np.arange(num_queries) % num_candidates] = True
    if density == 0.3:
        positives[2] = False  # a query without positives
    weights = rng.uniform(0.1, 5, num_queries)
    return unit_rows(num_queries, seed=seed), unit_rows(num_candidates, seed=seed + 50), positives, weights


@CASES
def test_the_contrastive_loss_and_its_gradient_equal_the_reference(num_queries, num_candidates, density, seed):
    queries, candidates, positives, weights = draw_case(num_queries, num_candidates, density, seed)

    ours = evaluate(
        contrastive_loss, queries, candidates, 7.0, positives=torch.tensor(positives), weights=torch.tensor(weights)
    )

    assert_equal(ours, reference_contrastive(queries, candidates, 7.0, positives, weights))


@CASES
def test_the_symmetric_loss_is_the_mean_of_both_directions(num_queries, num_candidates, density, seed):
    images, texts, positives, weights = draw_case(num_queries, num_candidates, density, seed)
    text_weights = np.linspace(0.5, 2, num_candidates)

    ours = evaluate(
        symmetric_contrastive_loss,
        images,
        texts,
        7.0,
        positives=torch.tensor(positives),
        image_weights=torch.tensor(weights),
        text_weights=torch.tensor(text_weights),
    )

    one, (image_a, text_a, scale_a) = reference_contrastive(images, texts, 7.0, positives, weights)
    other, (text_b, image_b, scale_b) = reference_contrastive(texts, images, 7.0, positives.T, text_weights)
    gradients = ((image_a + image_b) / 2, (text_a + text_b) / 2, (scale_a + scale_b) / 2)
    assert_equal(ours, ((one + other) / 2, gradients))


@CASES
def test_siglips_loss_and_its_gradient_equal_the_reference(num_queries, num_candidates, density, seed):
    images, texts, positives, weights = draw_case(num_queries, num_candidates, density, seed)

    ours = evaluate(
        siglip_loss, images, texts, 4.0, -3.0, positives=torch.tensor(positives), weights=torch.tensor(weights)
    )

    assert_equal(ours, reference_siglip(images, texts, 4.0, -3.0, positives, weights))


@pytest.mark.parametrize("classes", [[0, 2, 1, 1], [2, -1, -1, 0], [1], [-1, 0]])
def test_the_classification_loss_and_its_gradient_equal_the_reference(classes):
    logits = np.random.default_rng(len(classes)).normal(size=(len(classes), 3)) * 3
    weights = np.array([0.2, 1.0, 6.0])

    ours = evaluate(classification_loss, logits, classes=torch.tensor(classes), class_weights=torch.tensor(weights))

    assert_equal(ours, reference_classification(logits, classes, weights))


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_unweighted_losses_and_their_gradients_equal_those_of_open_clip(batch):
    texts, scale, bias = torch.tensor(unit_rows(batch, seed=1)).float(), torch.tensor(14.0), torch.tensor(-6.0)
    for ours, theirs, inputs in (
        (symmetric_contrastive_loss, open_clip.loss.ClipLoss(), (texts, scale)),
        (siglip_loss, open_clip.loss.SigLipLoss(), (texts, scale, bias)),
    ):
        images = [torch.tensor(unit_rows(batch, seed=0)).float().requires_grad_() for _ in range(2)]

        loss, expected = ours(images[0], *inputs), theirs(images[1], *inputs)
        loss.backward()
        expected.backward()

        assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-7)
        torch.testing.assert_close(images[0].grad, images[1].grad)


# Computed by hand. Two orthogonal features a and b; at scale 2 a query a has logits (2, 0): ln Z = ln(e² + 1) = 2.1269.
LN_Z = math.log(math.exp(2) + 1)
BY_HAND = [
    ("each finds its own", [[1, 0], [0, 1]], None, None, LN_Z - 2),
    ("each finds the other's", [[0, 1], [1, 0]], None, None, LN_Z),
    ("both are positives of both: half the target probability each", [[1, 1], [1, 1]], None, None, LN_Z - 1),
    ("the first has the weight 3, the second 0", [[1, 0], [0, 1]], [3.0, 0.0], None, 1.5 * (LN_Z - 2)),
    ("the second has no positive, and n stays 2", [[1, 0], [0, 0]], None, None, (LN_Z - 2) / 2),
    ("all similarities are equal", [[1, 0], [0, 1]], None, 0.0, math.log(2)),
]


@pytest.mark.parametrize(("positives", "weights", "scale", "expected"), [case[1:] for case in BY_HAND])
def test_the_loss_of_two_orthogonal_pairs_is_that_computed_by_hand(positives, weights, scale, expected):
    pairs = torch.eye(2)

    loss = contrastive_loss(
        pairs,
        pairs,
        torch.tensor(2.0 if scale is None else scale),
        torch.tensor(positives).bool(),
        None if weights is None else torch.tensor(weights),
    )

    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_siglips_loss_of_two_pairs_is_that_computed_by_hand():
    # Logits: 2 - 1 for the pair, 0 - 1 for the other, so -ln σ(1) twice a row.
    loss = siglip_loss(torch.eye(2), torch.eye(2), torch.tensor(2.0), torch.tensor(-1.0))

    assert loss.item() == pytest.approx(2 * math.log(1 + math.exp(-1)))


@pytest.mark.parametrize(
    ("classes", "weights", "expected"),
    [
        ([0, 1], [1.0, 1.0], math.log(2)),
        ([0, 0], [0.5, 1.5], 0.5 * math.log(2)),  # divided by the sum of weights, this would be ln 2
        ([1, -1], [0.5, 1.5], 1.5 * math.log(2)),
        ([-1, -1], [0.5, 1.5], 0.0),
    ],
)
def test_the_loss_of_equal_class_logits_is_that_computed_by_hand(classes, weights, expected):
    loss = classification_loss(torch.zeros(2, 2), torch.tensor(classes), torch.tensor(weights))

    assert loss.item() == pytest.approx(expected)


def test_a_batch_of_unknown_classes_has_no_loss_and_a_gradient_of_zero():
    logits = torch.randn(3, 4, requires_grad=True)

    classification_loss(logits, torch.full((3,), -1), torch.ones(4)).backward()

    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_adjusted_logits_compete_with_the_prior_of_the_stream_added():
    # Class 0 is drawn three times as often as class 1, and class 2 never.
    prior = log_prior(torch.tensor([0.75, 0.25, 0.0]), 1.0)
    logits = torch.tensor([[0.0, 0.0, 9.0], [0.0, math.log(3), 9.0], [1.0, 2.0, 3.0]], requires_grad=True)

    loss = classification_loss(logits, torch.tensor([1, 1, -1]), log_prior=prior)
    loss.backward()

    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 2)  # shares of 1/4 and 1/2 for the right class
    assert torch.equal(logits.grad[:, 2], torch.zeros(3))  # a class that is never drawn is not trained
    assert torch.equal(logits.grad[2], torch.zeros(3))


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.25])
def test_a_stronger_adjustment_adds_a_multiple_of_the_logarithms(strength):
    shares = torch.tensor([0.6, 0.3, 0.1])

    assert log_prior(shares, strength).tolist() == pytest.approx((strength * shares.log()).tolist())


def test_nothing_is_adjusted_if_no_class_is_known():
    logits = torch.randn(3, 4)
    prior = log_prior(torch.zeros(4), 1.0)

    assert classification_loss(logits, torch.full((3,), -1), log_prior=prior) == 0
    assert torch.isfinite(prior).all()


def test_a_query_without_a_positive_gets_no_gradient():
    queries = torch.tensor(unit_rows(3, seed=0), requires_grad=True)
    positives = torch.tensor([[True, False], [False, False], [False, True]])

    contrastive_loss(queries, torch.tensor(unit_rows(2, seed=1)), torch.tensor(9.0), positives).backward()

    assert (queries.grad[1] == 0).all() and (queries.grad[[0, 2]] != 0).any()


def test_the_mean_over_parts_against_all_candidates_is_the_loss_of_the_whole():
    queries, candidates, positives, weights = (torch.tensor(values) for values in draw_case(12, 12, 0.3, 2))
    scale, bias = torch.tensor(7.0), torch.tensor(-1.0)
    parts = [slice(0, 4), slice(4, 8), slice(8, 12)]

    for loss in (
        lambda part: contrastive_loss(queries[part], candidates, scale, positives[part], weights[part]),
        lambda part: siglip_loss(queries[part], candidates, scale, bias, positives[part], weights[part]),
    ):
        assert sum(loss(part) for part in parts).item() / 3 == pytest.approx(loss(slice(0, 12)).item())


def test_bfloat16_features_are_compared_in_float32_even_under_autocast():
    images, texts = (functional.normalize(torch.randn(8, 16), dim=-1).bfloat16() for _ in range(2))
    scale = torch.tensor(50.0)
    expected = symmetric_contrastive_loss(images.float(), texts.float(), scale).item()

    with torch.autocast("cpu", torch.bfloat16):
        loss = symmetric_contrastive_loss(images, texts, scale)

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_large_scales_stay_finite():
    pairs = torch.eye(4, requires_grad=True)

    loss = symmetric_contrastive_loss(pairs, -pairs.detach(), torch.tensor(1e4))
    loss.backward()

    assert math.isfinite(loss.item()) and torch.isfinite(pairs.grad).all()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 1.2, 2.0])
def test_class_weights_have_the_mean_one_over_all_items(beta):
    counts = torch.tensor([41_007, 642, 1, 9_000, 0])

    weights = class_weights(counts, beta)

    assert torch.isfinite(weights).all()
    assert (counts * weights).sum().item() == pytest.approx(counts.sum().item(), rel=1e-6)
    assert weights[1].item() / weights[0].item() == pytest.approx((41_007 / 642) ** beta, rel=1e-5)


@pytest.mark.parametrize(
    ("counts", "beta", "expected"),
    [
        ([3, 1], 1.0, [2 / 3, 2.0]),  # 1/3 and 1, times 4/2
        ([4, 4], 1.2, [1.0, 1.0]),
        ([4, 1], 0.5, [5 / 6, 5 / 3]),  # 1/2 and 1, times 5/3
        ([5, 0, 5], 1.2, [1.0, 1.0, 1.0]),
        ([0, 0], 1.2, [1.0, 1.0]),
        ([7, 2], 0.0, [1.0, 1.0]),
    ],
)
def test_class_weights_are_those_computed_by_hand(counts, beta, expected):
    assert class_weights(torch.tensor(counts), beta).tolist() == pytest.approx(expected)


def test_an_item_of_unknown_class_has_the_mean_weight():
    weights = item_weights(torch.tensor([1, -1, 0]), torch.tensor([0.25, 4.0]))

    assert weights.tolist() == [4.0, 1.0, 0.25]


def test_items_with_the_same_patent_or_caption_are_positives():
    patents, texts = torch.tensor([7, 7, 8, 9]), torch.tensor([0, 1, 1, 2])

    pairs = positive_pairs(patents, patents[:3], texts, texts[:3])

    assert pairs.int().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 0, 0]]
