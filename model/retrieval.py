"""Text → image and image → text retrieval over the views of a split.

Every view asks once in each direction, and the gallery is every view of the split (or its caption). A candidate is
right where its caption is the query's, letter for letter, so views that share a caption all count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from model.embed import Features
from model.metrics import (
    bootstrap_interval,
    chance_recall_at_k,
    mean_reciprocal_rank,
    median_rank,
    rank_queries,
    recall_at_k,
)

DIRECTIONS = ("text_to_image", "image_to_text")
CURVE_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True)
class Queries:
    """Who asks, and what answers.

    Attributes:
        rows: (num_queries,) rows of the views that serve as queries, ascending.
        groups: (num_views,) number of each view's caption; views of one group answer each other.
        patents: (num_queries,) patent of each query.
    """

    rows: np.ndarray
    groups: np.ndarray
    patents: np.ndarray

    @property
    def num_right(self) -> np.ndarray:
        """(num_queries,) right candidates of each query."""
        return np.bincount(self.groups)[self.groups[self.rows]]


def choose_queries(
    texts: Sequence[str], patent_numbers: Sequence[str], *, max_queries: int | None, seed: int
) -> Queries:
    """All views as queries, or `max_queries` of them drawn without repetition."""
    groups = np.unique(np.array(texts, dtype=object), return_inverse=True)[1].astype(np.int64)
    rows = np.arange(len(texts))
    if max_queries is not None and max_queries < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, size=max_queries, replace=False))
    return Queries(rows=rows, groups=groups, patents=np.array(patent_numbers)[rows])


def rank_both_ways(
    features: Features, queries: Queries, *, device: torch.device, chunk_size: int
) -> dict[str, np.ndarray]:
    """Direction → (num_queries,) ranks of the best right candidate."""
    images = torch.from_numpy(features.images).to(device)
    texts = torch.from_numpy(features.texts).to(device)
    rows = torch.from_numpy(queries.rows).to(device)
    asking = queries.groups[queries.rows]
    return {
        "text_to_image": rank_queries(texts[rows], images, asking, queries.groups, chunk_size=chunk_size),
        "image_to_text": rank_queries(images[rows], texts, asking, queries.groups, chunk_size=chunk_size),
    }


def nearest(
    query: np.ndarray, gallery: np.ndarray, num: int, *, groups: np.ndarray | None = None
) -> list[tuple[int, float]]:
    """The best candidates of one query with their scores, best first; ties in the gallery's order.

    Args:
        query: (embed_dim,) float32.
        gallery: (num_candidates, embed_dim) float32.
        num: At most so many.
        groups: (num_candidates,); where given, only the best of each group.
    """
    scores = gallery @ query
    best = np.argsort(-scores, kind="stable")
    if groups is not None:
        best = best[np.sort(np.unique(groups[best], return_index=True)[1])]
    return [(int(row), float(scores[row])) for row in best[:num]]


def measure(
    ranks: np.ndarray, patents: np.ndarray, *, cutoffs: Sequence[int], num_resamples: int, seed: int
) -> dict[str, Any]:
    """The figures of one direction, as plain values."""
    answered = ranks > 0
    recalls = {}
    for k in cutoffs:
        hits = (ranks[answered] <= k).astype(np.float64)
        low, high = bootstrap_interval(hits, patents[answered], num_resamples=num_resamples, seed=seed)
        recalls[str(k)] = {"value": recall_at_k(ranks, k), "low": low, "high": high}
    return {
        "recall": recalls,
        "mean_reciprocal_rank": mean_reciprocal_rank(ranks),
        "median_rank": median_rank(ranks),
    }


def curve(ranks: np.ndarray, num_candidates: int) -> dict[str, list[float]]:
    """Recall at rising k up to the gallery's size, for plotting."""
    cutoffs = [k for k in CURVE_CUTOFFS if k < num_candidates] + [num_candidates]
    return {"k": [float(k) for k in cutoffs], "recall": [recall_at_k(ranks, k) for k in cutoffs]}


def chance(num_right: np.ndarray, num_candidates: int, cutoffs: Sequence[int]) -> dict[str, float]:
    """Expected recall at each cut-off for candidates in random order."""
    return {str(k): chance_recall_at_k(num_right, num_candidates, k) for k in cutoffs}
