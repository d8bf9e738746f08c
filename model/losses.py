"""Losses: features in, one number out."""

from __future__ import annotations

import torch
from torch.nn import functional


def contrastive_loss(
    image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor
) -> torch.Tensor:
    """CLIP's loss: each image finds its text and each text its image, the mean of the two cross-entropies.

    The other pairs of the batch are the negatives, whatever they say; two views of one patent can share a caption, so
    a batch may hold pairs that this loss pushes apart without cause.

    Args:
        image_features: (batch, embed_dim), unit length.
        text_features: (batch, embed_dim), unit length; row i belongs to image i.
        logit_scale: Scalar, the scale itself and not its logarithm.

    Returns:
        Scalar float32; ln(batch) where the features tell nothing apart.
    """
    logits = logit_scale.float() * image_features.float() @ text_features.float().T  # (num_images, num_texts)
    targets = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2
