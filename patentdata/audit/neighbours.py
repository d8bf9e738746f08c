"""Patents whose class disagrees with those of all their nearest neighbours.

A class belongs to a patent, and one view of it can look like something else: the bottom of a mug is a circle, as is
that of a pan. So all of its views are asked together: a patent is doubtful if hardly any of the nearest views of other
families, over all of its views, has its class, and most of them have one and the same other class.

Near is what the features of a model say, if there is one, and else how much the drawings themselves resemble each
other, turned and mirrored. The latter knows no articles, so only drawings that are really alike have a vote, and a
patent that few others are drawn like is not judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from patentdata.dataset.near_duplicates.similarity import TURNS, details_of, turned

_QUERIES_A_BLOCK = 128
_LEAST_ALIKE = 0.4  # of drawings that have a vote; unrelated ones reach 0.25 on average
_PROPORTION_WEIGHT = 0.5  # of the difference of two drawings' proportions, against the correlation of their details

Score = Callable[[np.ndarray], np.ndarray]
"""Rows of views → (num_rows, num_views) float32, how near every view is to each, higher is nearer, -inf is no vote."""


@dataclass(frozen=True)
class DoubtfulClass:
    """A patent whose class disagrees with its neighbours'.

    Attributes:
        patent_number: The patent.
        own_class: Its class.
        other_class: Class of most of its neighbours.
        share: Share of the neighbours that have that class.
        num_neighbours: Number of neighbours, over all of its views.
        row: The view with the most and nearest neighbours.
        neighbours: The nearest views of that view, nearest first.
    """

    patent_number: str
    own_class: str
    other_class: str
    share: float
    num_neighbours: int
    row: int
    neighbours: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ClassCheckConfig:
    """When a class is doubtful.

    Attributes:
        num_neighbours: Nearest views of other families that are looked at for each view.
        max_own_share: Most that may share the class of the patent.
        min_other_share: Least share that must have one other class.
        min_votes: Least number of neighbours over all views of a patent; with fewer it is not judged.
    """

    num_neighbours: int = 8
    max_own_share: float = 0.2
    min_other_share: float = 0.5
    min_votes: int = 10


def score_by_features(features: np.ndarray) -> Score:
    """Nearness by the features of a model: (num_views, embed_dim) float32, unit length."""
    return lambda rows: features[rows] @ features.T


def score_by_drawing(signatures: np.ndarray) -> Score:
    """Nearness by the drawings: correlation of their details in the best turn, less a share of the proportions' gap.

    Args:
        signatures: (num_views, NUM_BYTES) uint8.
    """
    details = details_of(signatures)
    grids = details.grids.astype(np.float32)
    grids /= np.maximum(np.sqrt((grids**2).sum(axis=(1, 2), keepdims=True)), 1.0)
    gallery = grids.reshape(len(grids), -1)
    proportions = details.proportions.astype(np.float32)

    def score(rows: np.ndarray) -> np.ndarray:
        best = np.full((len(rows), len(gallery)), -np.inf, np.float32)
        for turn in range(len(TURNS)):
            own = proportions[rows][:, ::-1] if turn % 2 else proportions[rows]
            gap = np.abs(own[:, None] - proportions).max(axis=2)
            alike = turned(grids[rows], turn).reshape(len(rows), -1) @ gallery.T
            np.maximum(best, alike - _PROPORTION_WEIGHT * gap, out=best)
        best[best < _LEAST_ALIKE] = -np.inf
        return best

    return score


def doubtful_classes(
    classes: Sequence[str | None],
    patents: Sequence[str],
    families: Sequence[str],
    score: Score,
    config: ClassCheckConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[DoubtfulClass]:
    """The patents whose class disagrees with their neighbours', the clearest first.

    Args:
        classes: One class a view; views without a class are neither judged nor asked.
        patents: One patent number a view.
        families: One family a view; a patent is not judged by its own family.
        score: How near views are to each other.
        config: When a class is doubtful.
        progress: Called with the number of views judged and of all.
    """
    has_class = np.array([name is not None for name in classes], bool)
    of_family = np.unique(np.asarray(families), return_inverse=True)[1]
    views = np.flatnonzero(has_class)
    neighbours: dict[int, np.ndarray] = {}
    nearness: dict[int, float] = {}
    for first in range(0, len(views), _QUERIES_A_BLOCK):
        rows = views[first : first + _QUERIES_A_BLOCK]
        scores = score(rows)
        scores[:, ~has_class] = -np.inf
        scores[of_family[rows][:, None] == of_family[None]] = -np.inf
        num_kept = min(config.num_neighbours, scores.shape[1])
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :num_kept]
        for row, found, own_scores in zip(rows.tolist(), nearest, scores, strict=True):
            neighbours[row] = found[np.isfinite(own_scores[found])]
            nearness[row] = float(own_scores[neighbours[row]].sum())
        if progress:
            progress(first + len(rows), len(views))
    by_patent: defaultdict[str, list[int]] = defaultdict(list)
    for row in views.tolist():
        by_patent[patents[row]].append(row)
    judged = (_judge(number, rows, classes, neighbours, nearness, config) for number, rows in by_patent.items())
    return sorted(
        (doubt for doubt in judged if doubt is not None),
        key=lambda doubt: (-doubt.share, -doubt.num_neighbours, doubt.patent_number),
    )


def _judge(
    number: str,
    rows: list[int],
    classes: Sequence[str | None],
    neighbours: dict[int, np.ndarray],
    nearness: dict[int, float],
    config: ClassCheckConfig,
) -> DoubtfulClass | None:
    """Whether the class of a patent is doubtful by the votes of its views' neighbours; None if it is not."""
    votes = Counter(classes[other] for row in rows for other in neighbours[row].tolist())
    num_votes, own = votes.total(), classes[rows[0]]
    if num_votes < config.min_votes:
        return None
    other, num_other = max(
        ((name, num) for name, num in votes.items() if name != own), key=lambda vote: vote[1], default=(None, 0)
    )
    if other is None or votes[own] > config.max_own_share * num_votes:
        return None
    if num_other < config.min_other_share * num_votes:
        return None
    shown = max(rows, key=lambda row: (nearness[row], -row))
    assert own is not None
    return DoubtfulClass(number, own, other, num_other / num_votes, num_votes, shown, tuple(neighbours[shown].tolist()))
