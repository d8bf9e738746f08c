"""ArcFace: each patent is a class with its own direction, which its views must be closest to by a margin.

    −log( e^(s·cos(θ_p + m)) / ( e^(s·cos(θ_p + m)) + Σ_j e^(s·cos θ_j) ) )      over the other patents j

θ_p is the angle between the features of a view and the direction of its patent. From arXiv 1801.07698, with the values
of DeepPatent (s 30, m 0.5). The directions are only needed in training: retrieval compares the features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

_INITIAL_STD = 0.01  # of fresh weights: a step of fixed size turns short directions further, so they learn quickly
_MAX_COSINE = 1 - 1e-6  # cosines are clamped to this: at 1 the gradient of the angle is unbounded


def build_arcface(*, num_patents: int, embed_dim: int, scale: float, margin: float, seed: int) -> nn.Module:
    """The ArcFace loss as a module whose weights are the directions.

    Args:
        num_patents: Number of classes.
        embed_dim: Width of the features.
        scale: The s of the formula.
        margin: The m of the formula, in radians.
        seed: Seed of the directions; the caller's random state does not change.

    Returns:
        Features (num_views, embed_dim) and patents (num_views,) int64 → scalar, the mean over the views.
    """
    from pytorch_metric_learning.losses import ArcFaceLoss

    class ArcFace(ArcFaceLoss):  # type: ignore[misc]
        def get_angles(self, cosines: Any) -> Any:
            return torch.acos(cosines.clamp(-_MAX_COSINE, _MAX_COSINE))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ArcFace(
            num_classes=num_patents,
            embedding_size=embed_dim,
            margin=math.degrees(margin),
            scale=scale,
            weight_init_func=lambda weights: nn.init.normal_(weights, std=_INITIAL_STD),
        )
