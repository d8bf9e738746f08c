"""ArcFace: each patent is a class with a direction of its own, and a view must come nearer to it by a margin.

    −log( e^(s·cos(θ_p + m)) / ( e^(s·cos(θ_p + m)) + Σ_j e^(s·cos θ_j) ) )      over the other patents j

θ_p is the angle between a view's features and the direction of its patent. From arXiv 1801.07698, as DeepPatent has it
(s 30, m 0.5). Directions serve the training alone: what is searched with afterwards are the features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

_FIRST_LENGTH = 0.01  # deviation of fresh weights: short directions turn fast, since a step does not know their length
_NEAREST = 1 - 1e-6  # largest cosine whose angle is taken: at 1 the gradient of the angle has no bound


def build_arcface(*, num_patents: int, embed_dim: int, scale: float, margin: float, seed: int) -> nn.Module:
    """The loss of features under their patents, with its directions as weights.

    Args:
        num_patents: How many classes there are.
        embed_dim: Of the features.
        scale: s.
        margin: m, in radians.
        seed: Of the directions; the caller's random state is left as it was.

    Returns:
        Features (num_views, embed_dim) and patents (num_views,) int64 → scalar, the mean over the views.
    """
    from pytorch_metric_learning.losses import ArcFaceLoss

    class ArcFace(ArcFaceLoss):  # type: ignore[misc]
        def get_angles(self, cosines: Any) -> Any:
            return torch.acos(cosines.clamp(-_NEAREST, _NEAREST))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ArcFace(
            num_classes=num_patents,
            embedding_size=embed_dim,
            margin=math.degrees(margin),
            scale=scale,
            weight_init_func=lambda weights: nn.init.normal_(weights, std=_FIRST_LENGTH),
        )
