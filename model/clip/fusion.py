"""Fusion of several rankings into one by reciprocal ranks (Cormack, Clarke and Büttcher, 2009).

Scores of a model and of BM25 are on different scales; their ranks are not. A candidate scores the sum over the channels
of k / (k + rank), so that a channel which ranks it badly does little harm and one which ranks it first helps much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

RRF_K = 60
RULE = (
    f"reciprocal rank fusion, the sum over the channels of k / (k + rank) with k = {RRF_K}; tied candidates rank last"
)


Scores = Callable[[int, int], torch.Tensor]
"""Called with a range of queries (first, last), last excluded → (num_queries, num_candidates) float32."""


def fuse(channels: Sequence[Scores], k: int = RRF_K) -> Scores:
    """Scores of the fused ranking; every channel scores the same candidates for the same queries.

    Args:
        channels: The rankings, as scores.
        k: How little the first ranks differ; the larger, the less.
    """

    def score_range(first: int, last: int) -> torch.Tensor:
        fused: torch.Tensor | None = None
        for channel in channels:
            part = k / (k + ranks_of(channel(first, last)).float())
            fused = part if fused is None else fused.add_(part.to(fused.device))
        assert fused is not None, "no channel"
        return fused

    return score_range


def ranks_of(scores: torch.Tensor) -> torch.Tensor:
    """The rank of each candidate in its row, from 1; tied candidates all have the last rank of their group.

    >>> ranks_of(torch.tensor([[0.3, 0.9, 0.3]]))
    tensor([[3, 1, 3]])
    """
    ascending = scores.sort(dim=1).values
    return scores.shape[1] - torch.searchsorted(ascending, scores.contiguous())
