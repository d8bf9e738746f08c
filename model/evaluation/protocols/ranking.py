"""Rankings that the retrieval protocols share: which rows are compared, and how ties count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model.evaluation.measures.chance import chance_recall_at_k
from model.evaluation.measures.metrics import TIE_RULE, TIE_TOLERANCE, recall_at_k

CURVE_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


def number_texts(texts: Sequence[str]) -> np.ndarray:
    """(num_texts,) int64: equal texts have equal numbers."""
    return np.unique(np.array(texts, dtype=object), return_inverse=True)[1].astype(np.int64)


def choose_rows(num_views: int, *, max_queries: int | None, seed: int) -> np.ndarray:
    """Rows that ask: all of them, or `max_queries` drawn without repetition; ascending."""
    rows = np.arange(num_views)
    if max_queries is not None and max_queries < num_views:
        rows = np.sort(np.random.default_rng(seed).choice(rows, size=max_queries, replace=False))
    return rows


def tie_rule() -> str:
    return f"{TIE_RULE}; scores within {TIE_TOLERANCE:g} are tied"


def recall_curves(
    ranks: Mapping[str, np.ndarray], num_right: np.ndarray, num_candidates: int
) -> dict[str, dict[str, list[float]]]:
    """Share of the queries with a right answer among their top k, at rising k up to the gallery's size, for plotting.

    Args:
        ranks: Column → (num_queries,) rank of the best right candidate; 0 for a query that none answers.
        num_right: (num_queries,) right candidates of each query.
        num_candidates: Size of the gallery.
    """
    cutoffs = [k for k in CURVE_CUTOFFS if k < num_candidates] + [num_candidates]
    lines = {column: [recall_at_k(of, k) for k in cutoffs] for column, of in ranks.items()}
    lines["chance"] = [chance_recall_at_k(num_right, num_candidates, k) for k in cutoffs]
    return {column: {"k": [float(k) for k in cutoffs], "recall": recall} for column, recall in lines.items()}


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


def choose_ends(ranks: np.ndarray, groups: np.ndarray, num: int) -> dict[str, list[int]]:
    """Places of the best and the worst queries, each group once.

    The worst are those that something wrong came before; there may be none.
    """
    order = [int(place) for place in np.argsort(ranks, kind="stable") if ranks[place] > 0]
    return {
        "best": _first_of_each(order, groups)[:num],
        "worst": _first_of_each([place for place in reversed(order) if ranks[place] > 1], groups)[:num],
    }


def _first_of_each(places: list[int], groups: np.ndarray) -> list[int]:
    """The places whose group has not come before, in their order."""
    first: dict[int, int] = {}
    for place in places:
        first.setdefault(int(groups[place]), place)
    return list(first.values())
