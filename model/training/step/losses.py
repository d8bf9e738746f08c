"""Losses: functions of features that return a scalar.

Every loss is a sum of terms, one a query or item, divided by the number of queries and not by the sum of their weights.
Therefore a batch can be divided: the mean over equal parts, each compared with the candidates of the whole batch, is
the loss of the whole batch, whether the parts are on several processes or computed one after the other.

Notation of the docstrings: f_c is the number of items of class c in the training split, β the strength of the
correction, w_c ∝ f_c^-β the weight of the class.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from model.dataset.classes import UNKNOWN


def contrastive_loss(
    query_features: torch.Tensor,
    candidate_features: torch.Tensor,
    logit_scale: torch.Tensor,
    positives: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """One direction of CLIP's loss, weighted: each query is to find its positives among the candidates.

        L = 1/n · Σ_i  w_i · 1/|P_i| · Σ_{p in P_i}  −log( exp(s·q_i·k_p) / Σ_j exp(s·q_i·k_j) )

    The target probability of a query is divided equally among its positives P_i, so its term is the mean of their
    negative log-probabilities. If every query has one positive, this is DesignCLIP's L_CACL with w_i = w_c(i), and
    CLIP's own loss with w = 1. A query with several positives costs at least ln |P_i|. A query without any costs
    nothing but still counts in n.

    Args:
        query_features: (num_queries, embed_dim), unit length.
        candidate_features: (num_candidates, embed_dim), unit length.
        logit_scale: Scalar, the scale s itself and not its logarithm.
        positives: (num_queries, num_candidates) bool; None if candidate i is the only positive of query i.
        weights: (num_queries,), of mean 1 over the training data; None for 1 each.

    Returns:
        Scalar float32.
    """
    logits = _scaled_similarity(query_features, candidate_features, logit_scale)
    if positives is None:
        targets = torch.arange(len(logits), device=logits.device)
        terms = functional.cross_entropy(logits, targets, reduction="none")  # (num_queries,)
    else:
        log_shares = functional.log_softmax(logits, dim=1).masked_fill(~positives, 0.0)
        terms = -log_shares.sum(dim=1) / positives.sum(dim=1).clamp(min=1)
    return terms.mean() if weights is None else (weights * terms).mean()


def _scaled_similarity(queries: torch.Tensor, candidates: torch.Tensor, logit_scale: torch.Tensor) -> torch.Tensor:
    """(num_queries, num_candidates) in at least float32, even under autocast: at scale 100, bfloat16 is off by 0.4."""
    with torch.autocast(queries.device.type, enabled=False):
        return _at_least_float32(logit_scale) * _at_least_float32(queries) @ _at_least_float32(candidates).T


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def symmetric_contrastive_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    positives: torch.Tensor | None = None,
    image_weights: torch.Tensor | None = None,
    text_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of both directions of `contrastive_loss`: images find their texts, and texts find their images.

    It is also the multi-view loss, with views and other views of the same patents as images and texts.

    Args:
        image_features: (num_images, embed_dim), unit length.
        text_features: (num_texts, embed_dim), unit length.
        logit_scale: Scalar, the scale itself and not its logarithm.
        positives: (num_images, num_texts) bool; None if text i is the only positive of image i.
        image_weights: (num_images,); None for 1 each.
        text_weights: (num_texts,); None for 1 each.
    """
    reverse = None if positives is None else positives.T
    return (
        contrastive_loss(image_features, text_features, logit_scale, positives, image_weights)
        + contrastive_loss(text_features, image_features, logit_scale, reverse, text_weights)
    ) / 2


def siglip_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor,
    positives: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """SigLIP's loss: every pair of an image and a text is classified on its own as positive or negative.

        L = 1/n · Σ_i  w_i · Σ_j  −log σ( z_ij · (s·v_i·t_j + b) ),  z_ij = 1 for positives, else −1

    Args:
        image_features: (num_images, embed_dim), unit length.
        text_features: (num_texts, embed_dim), unit length.
        logit_scale: Scalar, the scale s itself and not its logarithm.
        logit_bias: Scalar, the bias b.
        positives: (num_images, num_texts) bool; None if text i is the only positive of image i.
        weights: (num_images,), of mean 1 over the training data; None for 1 each.

    Returns:
        Scalar float32.
    """
    logits = _scaled_similarity(image_features, text_features, logit_scale) + logit_bias
    if positives is None:
        positives = torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)
    terms = -functional.logsigmoid(torch.where(positives, logits, -logits)).sum(dim=1)  # (num_images,)
    return terms.mean() if weights is None else (weights * terms).mean()


def classification_loss(
    class_logits: torch.Tensor,
    classes: torch.Tensor,
    class_weights: torch.Tensor | None = None,
    log_prior: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of the classes, weighted by class; items of unknown class are ignored.

        L = 1/n_known · Σ_{i known}  w_c(i) · −log softmax(z_i + log_prior)[c(i)]

    Unlike `torch.nn.CrossEntropyLoss(weight=…)`, this does not divide by the sum of the weights: in a batch of a single
    class the weight would cancel out, and rare classes would have more influence only next to frequent ones.

    Args:
        class_logits: (num_items, num_classes).
        classes: (num_items,) int64; -1 if unknown.
        class_weights: (num_classes,) as returned by `class_weights`; None for 1 each.
        log_prior: (num_classes,) as returned by `log_prior`, for logits that are adjusted (arXiv 2007.07314); None for
            plain logits.

    Returns:
        Scalar float32; zero if no class is known.
    """
    known = classes >= 0
    logits = _at_least_float32(class_logits)
    if log_prior is not None:
        logits = logits + log_prior
    terms = functional.cross_entropy(logits, classes, reduction="none", ignore_index=UNKNOWN)  # (num_items,)
    if class_weights is not None:
        terms = terms * class_weights[classes.clamp(min=0)]
    return (terms * known).sum() / known.sum().clamp(min=1)


def log_prior(shares: torch.Tensor, strength: float) -> torch.Tensor:
    """What logit adjustment adds to the logits of a head in training: strength · log share.

    The head then learns what distinguishes the classes beyond their frequency. A class that is never drawn gets minus
    infinity: it has no part in the loss, and its logit is not trained.

    Args:
        shares: (num_classes,) share of each class in the draws.
        strength: The τ of logit adjustment; 1 is balanced softmax.

    Returns:
        (num_classes,) float32; all zero if no class is ever drawn.

    >>> log_prior(torch.tensor([0.5, 0.5, 0.0]), 1.0)
    tensor([-0.6931, -0.6931,    -inf])
    """
    is_drawn = shares > 0
    if not is_drawn.any():
        return torch.zeros_like(shares, dtype=torch.float32)
    logs = strength * torch.where(is_drawn, shares, 1.0).double().log()
    return torch.where(is_drawn, logs, -torch.inf).float()


def class_weights(counts: torch.Tensor, beta: float) -> torch.Tensor:
    """Weight of each class, f_c^-β, scaled so that its mean over the items counted is 1.

    Without the scaling, f^-β of 41,007 items is 3e-6 at β = 1.2, and the loss vanishes. A class without items has the
    weight 1, that of an average item, and does not affect the scale.

    Args:
        counts: (num_classes,) number of items of each class in the training split.
        beta: 0 weights all items equally, 1 gives all classes the same total weight, more favours rare classes.

    Returns:
        (num_classes,) float32, all finite; Σ_c counts_c · w_c = Σ_c counts_c.

    >>> class_weights(torch.tensor([3, 1, 0]), 1.0)
    tensor([0.6667, 2.0000, 1.0000])
    """
    counts = counts.double()
    raw = torch.where(counts > 0, counts.clamp(min=1) ** -beta, 0.0)
    scale = counts.sum() / (counts * raw).sum()
    return torch.where(counts > 0, raw * scale, 1.0).float()


def item_weights(classes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weight of each item by its class; 1, the mean, if the class is unknown.

    Args:
        classes: (num_items,) int64; -1 if unknown.
        weights: (num_classes,) as returned by `class_weights`.

    Returns:
        (num_items,) float32.
    """
    return torch.where(classes >= 0, weights[classes.clamp(min=0)], 1.0)


def positive_pairs(
    patents_a: torch.Tensor, patents_b: torch.Tensor, texts_a: torch.Tensor, texts_b: torch.Tensor
) -> torch.Tensor:
    """Which items are positives of each other: those with the same patent or the same caption.

    Args:
        patents_a, texts_a: (num_a,) numbers of patent and caption.
        patents_b, texts_b: (num_b,) numbers of patent and caption.

    Returns:
        (num_a, num_b) bool.
    """
    return (patents_a[:, None] == patents_b[None, :]) | (texts_a[:, None] == texts_b[None, :])
