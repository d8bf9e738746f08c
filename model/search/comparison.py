"""Two patents side by side: each view of one with its most similar view of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model.clip.patent_scores import DEFAULT_SCORING, pool_query
from model.dataset.query_image import QueryError
from model.search.gallery import Gallery, GalleryView
from model.search.query import canonical_number
from model.search.search import Search
from model.search.verdicts import VerdictScale


@dataclass(frozen=True)
class ViewPair:
    """A view of the first patent and the view of the second that is most similar to it.

    Attributes:
        one: The view of the first patent.
        other: The view of the second.
        score: The cosine of their features.
    """

    one: GalleryView
    other: GalleryView
    score: float


@dataclass(frozen=True)
class PatentComparison:
    """Two patents, compared.

    Attributes:
        one: Views of the first patent.
        other: Views of the second.
        pairs: One pair for each view of the first, in its order.
        unmatched: Views of the second that are in no pair.
        score: What a search with the first patent's views gives the second, under the default scoring.
        verdict: "similar", "maybe" or "unlike"; None if the gallery is too small to say.
        scale: What the score means; None if the gallery is too small to say.
    """

    one: list[GalleryView]
    other: list[GalleryView]
    pairs: list[ViewPair]
    unmatched: list[GalleryView]
    score: float
    verdict: str | None
    scale: VerdictScale | None


def compare_patents(search: Search, one: str, other: str) -> PatentComparison:
    """Compare two patents of the gallery by their numbers.

    Raises:
        QueryError: A number is missing, or the gallery does not have the patent.
    """
    gallery = search.gallery
    rows, other_rows = (_rows_of(gallery, number) for number in (one, other))
    similarity = (
        np.stack([search.nearest.row(row) for row in rows])
        @ np.stack([search.nearest.row(row) for row in other_rows]).T
    )
    views, other_views = ([gallery.view(row) for row in found] for found in (rows, other_rows))
    nearest = similarity.argmax(axis=1)
    by_view = torch.from_numpy(similarity.max(axis=1)).unsqueeze(1)  # (num_views, 1 patent)
    score = float(pool_query(by_view, [len(rows)], DEFAULT_SCORING, None))
    scale = search.scale(DEFAULT_SCORING, len(rows))
    return PatentComparison(
        one=views,
        other=other_views,
        pairs=[
            ViewPair(view, other_views[index], float(similarity[row, index]))
            for row, (view, index) in enumerate(zip(views, nearest, strict=True))
        ],
        unmatched=[view for index, view in enumerate(other_views) if index not in nearest],
        score=score,
        verdict=scale.verdict(score) if scale is not None else None,
        scale=scale,
    )


def _rows_of(gallery: Gallery, number: str) -> list[int]:
    if not number.strip():
        raise QueryError("two patents are compared; give both numbers")
    rows = gallery.rows_of(canonical_number(number))
    if not rows:
        raise QueryError(f"there is no patent {number[:40]!r} in this dataset")
    return rows
