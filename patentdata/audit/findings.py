"""What an audit finds in a dataset: near-duplicates, doubtful classes, and captions that contradict the grant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from patentdata.audit.contradictions import Contradiction, find_contradictions
from patentdata.audit.neighbours import (
    ClassCheckConfig,
    DoubtfulClass,
    Score,
    doubtful_classes,
    score_by_drawing,
    score_by_features,
)
from patentdata.audit.views import AuditedViews
from patentdata.dataset.near_duplicates.similarity import TURNS, compare, details_of
from patentdata.errors import ConfigError
from patentdata.store.weeks import Progress

_VIEWS_A_BLOCK = 256
_NEAREST_BY_FEATURES = 20  # of each view, that are compared as drawings


@dataclass(frozen=True)
class Features:
    """Image features of the views of a dataset under a model.

    Attributes:
        model: Name of the model.
        view_ids: The views.
        values: (num_views, embed_dim) float32, unit length.
    """

    model: str
    view_ids: Sequence[str]
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Settings of an audit.

    Attributes:
        max_views: At most this many views, drawn by patent with `seed`, are judged by class and, with a model, searched
            for further near-duplicates; each is compared with every other, so that the time grows with the square.
        seed: Seed of that draw.
        min_cosine: With a model, views of different patents whose features are at least this near are candidates.
        min_similarity: Least similarity of the drawings of such candidates.
        max_proportion_gap: Most that their width or height, as a share of the longer side, may differ by.
        class_check: When a class is doubtful.
        num_shown: Entries of each list on the page, at most; the JSON file has all of them.
    """

    max_views: int = 20_000
    seed: int = 0
    min_cosine: float = 0.95
    min_similarity: float = 0.8
    max_proportion_gap: float = 0.04
    class_check: ClassCheckConfig = field(default_factory=ClassCheckConfig)
    num_shown: int = 60

    def __post_init__(self) -> None:
        if self.max_views < 1 or self.num_shown < 1:
            raise ConfigError("max_views and num_shown must be at least 1")


@dataclass(frozen=True)
class NearPair:
    """Two views of different patents that are nearly the same drawing.

    Attributes:
        view_id, split: One view.
        other_view_id, other_split: The other.
        similarity: Correlation of the drawings' details.
        turn: What makes the first look like the other.
        found_by: "drawing" or "features".
        cosine: Cosine of their features; None without a model, or if one view is not in the dataset.
        is_same_family: Whether their patents are of one family.
        is_left_out: Whether one was left out of the dataset because of the other.
    """

    view_id: str
    split: str
    other_view_id: str
    other_split: str
    similarity: float
    turn: str
    found_by: str
    cosine: float | None
    is_same_family: bool
    is_left_out: bool


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        neighbours_by: What neighbours are told by: "drawing", or the name of a model.
        pairs: Near-duplicates, across splits first, then the most similar.
        doubtful: Patents whose class disagrees with their neighbours'.
        contradictions: Captions that contradict the grant.
        num_judged: Views whose class was judged.
    """

    neighbours_by: str
    pairs: list[NearPair]
    doubtful: list[DoubtfulClass]
    contradictions: list[Contradiction]
    num_judged: int


def find_all(
    views: AuditedViews, config: AuditConfig, *, features: Features | None = None, progress: Progress | None = None
) -> Findings:
    """Audit the views of a dataset.

    Args:
        views: The views.
        config: Settings.
        features: Image features, if a model is at hand: neighbours are then told by them.
        progress: Called with the number of views judged and of all.
    """
    index = {row["view_id"]: number for number, row in enumerate(views.rows)}
    matrix = None if features is None else _in_order(features, views, index)
    judged = _drawn(views, config)
    score = score_by_drawing(views.signatures[judged]) if matrix is None else score_by_features(matrix[judged])
    rows = [views.rows[row] for row in judged]
    doubtful = doubtful_classes(
        [row["uspc_class"] for row in rows],
        [row["patent_number"] for row in rows],
        [row["family"] for row in rows],
        score,
        config.class_check,
        progress=progress,
    )
    pairs = _listed_pairs(views, index, matrix)
    if matrix is not None:
        pairs += _pairs_by_features(views, judged, score, pairs, config)
    return Findings(
        neighbours_by="drawing" if features is None else features.model,
        pairs=sorted(pairs, key=lambda pair: (pair.split == pair.other_split, pair.is_same_family, -pair.similarity)),
        doubtful=[_renumbered(doubt, judged) for doubt in doubtful],
        contradictions=[found for row, view in views.with_grants() for found in find_contradictions(row, view)],
        num_judged=len(judged),
    )


def _in_order(features: Features, views: AuditedViews, index: dict[str, int]) -> np.ndarray:
    """(num_views, embed_dim), the features in the order of the views; zeros for a view without features."""
    matrix = np.zeros((len(views.rows), features.values.shape[1]), np.float32)
    known = [(index[view_id], row) for row, view_id in enumerate(features.view_ids) if view_id in index]
    if known:
        own, given = np.array(known).T
        matrix[own] = features.values[given]
    return matrix


def _drawn(views: AuditedViews, config: AuditConfig) -> np.ndarray:
    """Views that are judged, in order: whole patents, drawn at random until there are enough."""
    patents = np.unique([row["patent_number"] for row in views.rows], return_inverse=True)[1]
    if len(patents) <= config.max_views:
        return np.arange(len(patents))
    order = np.random.default_rng(config.seed).permutation(patents.max() + 1)
    rank = np.argsort(order)[patents]
    first = max(int(np.sort(rank)[config.max_views]), 1)  # at least one patent
    return np.flatnonzero(rank < first)


def _renumbered(doubt: DoubtfulClass, judged: np.ndarray) -> DoubtfulClass:
    """The finding with indices of all views instead of indices of the judged ones."""
    neighbours = tuple(judged[list(doubt.neighbours)].tolist())
    return replace(doubt, row=int(judged[doubt.row]), neighbours=neighbours)


def _listed_pairs(views: AuditedViews, index: dict[str, int], matrix: np.ndarray | None) -> list[NearPair]:
    """The pairs that the dataset lists, with the cosine of their features."""
    pairs = []
    for listed in views.near_duplicates():
        own, other = index.get(listed["view_id"]), index.get(listed["other_view_id"])
        has_both = matrix is not None and own is not None and other is not None
        cosine = float(matrix[own] @ matrix[other]) if matrix is not None and has_both else None
        pairs.append(NearPair(**listed, found_by="drawing", cosine=cosine))
    return pairs


def _pairs_by_features(
    views: AuditedViews, judged: np.ndarray, score: Score, known: list[NearPair], config: AuditConfig
) -> list[NearPair]:
    """Pairs that the list lacks: near by their features, and drawn alike by a looser measure than the list's."""
    num_kept = min(_NEAREST_BY_FEATURES + 1, len(judged))  # one of them is the view itself
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(judged), _VIEWS_A_BLOCK):
        rows = np.arange(start, min(start + _VIEWS_A_BLOCK, len(judged)))
        scores = score(rows)
        nearest = np.argpartition(-scores, num_kept - 1, axis=1)[:, :num_kept]
        for row, others in zip(rows, nearest, strict=True):
            for other in others[scores[row - start, others] >= config.min_cosine].tolist():
                if other != row:
                    pair = int(judged[min(row, other)]), int(judged[max(row, other)])
                    found[pair] = float(scores[row - start, other])
    known_pairs = {frozenset((pair.view_id, pair.other_view_id)) for pair in known}
    one, two = (np.array([pair[side] for pair in found], np.int64) for side in (0, 1))
    cosine = list(found.values())
    compared, indices = np.unique(np.concatenate([one, two]), return_inverse=True)
    details = details_of(views.signatures[compared])
    similarities, turns = compare(details, *np.split(indices, 2), max_proportion_gap=config.max_proportion_gap)
    pairs = []
    for index in np.flatnonzero(similarities >= config.min_similarity).tolist():
        row, other_row = views.rows[one[index]], views.rows[two[index]]
        is_known = frozenset((row["view_id"], other_row["view_id"])) in known_pairs
        if is_known or row["patent_number"] == other_row["patent_number"]:
            continue
        pairs.append(
            NearPair(
                row["view_id"],
                row["split"],
                other_row["view_id"],
                other_row["split"],
                round(float(similarities[index]), 4),
                TURNS[turns[index]],
                "features",
                cosine[index],
                row["family"] == other_row["family"],
                False,
            )
        )
    return pairs


def to_dict(views: AuditedViews, findings: Findings) -> dict[str, Any]:
    """Everything that was found, as the JSON file has it."""
    names = [row["view_id"] for row in views.rows]
    return {
        "dataset": views.name,
        "fingerprint": views.manifest["fingerprint"],
        "num_views": len(names),
        "num_judged": findings.num_judged,
        "neighbours_by": findings.neighbours_by,
        "near_duplicates": [asdict(pair) for pair in findings.pairs],
        "doubtful_classes": [
            {
                "patent_number": doubt.patent_number,
                "uspc_class": doubt.own_class,
                "neighbours_class": doubt.other_class,
                "share_of_neighbours": round(doubt.share, 3),
                "num_neighbours": doubt.num_neighbours,
                "view_id": names[doubt.row],
                "neighbours": [names[row] for row in doubt.neighbours],
            }
            for doubt in findings.doubtful
        ],
        "contradictions": [
            {"view_id": names[found.row], "kind": found.kind, "words": found.words, "declared": found.declared}
            for found in findings.contradictions
        ],
    }
