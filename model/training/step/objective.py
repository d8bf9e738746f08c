"""The objective of a step: DesignCLIP's three terms and ArcFace, over the features of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from model.training.batches import Targets
from model.training.config import TrainConfig
from model.training.step.losses import (
    classification_loss,
    item_weights,
    positive_pairs,
    siglip_loss,
    symmetric_contrastive_loss,
)

TERMS = ("contrastive", "classification", "multi_view", "arcface")


class Features(NamedTuple):
    """The outputs of a model for pairs of views and captions.

    Attributes:
        views: (num_pairs, embed_dim), unit length.
        texts: (num_pairs, embed_dim), unit length; None without a term that reads captions.
        other_views: (num_pairs, embed_dim), other views of the same patents; None without the multi-view term.
        class_logits: (num_pairs, num_classes); None without the classification term.
        other_class_logits: (num_pairs, num_classes) of the other views; None unless they are classified too.
    """

    views: torch.Tensor
    texts: torch.Tensor | None = None
    other_views: torch.Tensor | None = None
    class_logits: torch.Tensor | None = None
    other_class_logits: torch.Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """The weighted sum of the terms that the settings ask for.

    Attributes:
        config: Terms and weights.
        class_weights: (num_classes,) weights with the mean 1 over the training views.
        log_prior: (num_classes,) what is added to class logits; None for plain logits.
        arcface: Features and patents → scalar; None without that term.
    """

    config: TrainConfig
    class_weights: torch.Tensor
    log_prior: torch.Tensor | None = None
    arcface: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None

    def __call__(
        self, features: Features, targets: Targets, logit_scale: torch.Tensor, logit_bias: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The active terms, unweighted, and under "loss" their weighted sum.

        Args:
            features: Features of the whole batch.
            targets: Targets of the same pairs.
            logit_scale: The scale itself, not its logarithm.
            logit_bias: The bias of SigLIP's loss; None for a model without one.
        """
        config = self.config
        weights = item_weights(targets.classes, self.class_weights) if config.weigh_contrastive else None
        terms: dict[str, torch.Tensor] = {}
        if features.texts is not None and config.contrastive_weight > 0:
            terms["contrastive"] = self._contrastive(
                features.views, features.texts, targets, logit_scale, logit_bias, weights
            )
        if features.class_logits is not None:
            terms["classification"] = self._classification(
                features.class_logits, features.other_class_logits, targets.classes
            )
        if features.other_views is not None and config.multi_view_weight > 0:
            terms["multi_view"] = self._multi_view(features.views, features.other_views, targets, logit_scale, weights)
        if self.arcface is not None:
            terms["arcface"] = self.arcface(features.views, targets.patents)
        total = sum(getattr(config, f"{name}_weight") * term for name, term in terms.items())
        return {"loss": total, **terms}  # type: ignore[dict-item]

    def _contrastive(
        self,
        views: torch.Tensor,
        texts: torch.Tensor,
        targets: Targets,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        positives = None
        if self.config.multi_positive:
            positives = positive_pairs(targets.patents, targets.patents, targets.texts, targets.texts)
        if self.config.loss == "siglip":
            bias = logit_bias if logit_bias is not None else torch.zeros_like(logit_scale)
            return siglip_loss(views, texts, logit_scale, bias, positives, weights)
        return symmetric_contrastive_loss(views, texts, logit_scale, positives, weights, weights)

    def _classification(
        self, class_logits: torch.Tensor, other_class_logits: torch.Tensor | None, classes: torch.Tensor
    ) -> torch.Tensor:
        """The mean over the views and, if they are classified, their other views, which have the same classes.

        A view that is its own other view counts twice, as every pair does: classes keep the shares that were drawn.
        """
        if other_class_logits is not None:
            class_logits, classes = torch.cat([class_logits, other_class_logits]), classes.repeat(2)
        by_class = self.class_weights if self.config.weigh_classification else None
        return classification_loss(class_logits, classes, by_class, self.log_prior)

    def _multi_view(
        self,
        views: torch.Tensor,
        other_views: torch.Tensor,
        targets: Targets,
        logit_scale: torch.Tensor,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Views are to find the other views of their patents; a patent with a single view has no query.

        This term has CLIP's form even with SigLIP's loss, whose bias is learned for pairs of images and texts.
        """
        positives = targets.patents[:, None] == targets.patents[None, :] if self.config.multi_positive else None
        query_weights = targets.has_other_view.float()
        query_weights = query_weights if weights is None else weights * query_weights
        return symmetric_contrastive_loss(views, other_views, logit_scale, positives, query_weights, query_weights)
