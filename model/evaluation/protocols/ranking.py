"""What the retrieval protocols share: choosing queries, recall curves, rows of result tables, and examples to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model.evaluation.measures.chance import chance_average_precision, chance_recall_at_k
from model.evaluation.measures.metrics import TIE_RULE, TIE_TOLERANCE, Ranks, recall_at_k
from model.evaluation.measures.result_table import Row

CURVE_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


def number_texts(texts: Sequence[str]) -> np.ndarray:
    """(num_texts,) int64: equal texts have equal numbers."""
    return np.unique(np.array(texts, dtype=object), return_inverse=True)[1].astype(np.int64)


def choose_rows(num_views: int, *, max_queries: int | None, seed: int) -> np.ndarray:
    """Ascending rows of the queries: all rows, or `max_queries` drawn without replacement."""
    rows = np.arange(num_views)
    if max_queries is not None and max_queries < num_views:
        rows = np.sort(np.random.default_rng(seed).choice(rows, size=max_queries, replace=False))
    return rows


def tie_rule() -> str:
    """How ties are ranked, for the terms of a table."""
    return f"{TIE_RULE}; scores within {TIE_TOLERANCE:g} are tied"


def precision_rows(
    ranks: Mapping[str, Ranks], num_right: np.ndarray, num_candidates: int, cutoffs: Sequence[int]
) -> dict[str, Row]:
    """Rows of mean average precision, and of "any right candidate among the top k" for each cutoff.

    Args:
        ranks: Column → ranks of the right candidates of all queries.
        num_right: (num_queries,) number of right candidates of each query; queries with 0 are left out.
        num_candidates: Size of the gallery without the query itself.
        cutoffs: The values of k.
    """
    answered = num_right > 0
    rows = {
        "mAP": Row(
            {column: column_ranks.average_precision[answered] for column, column_ranks in ranks.items()},
            {"chance": chance_average_precision(num_right, num_candidates)},
        )
    }
    for k in cutoffs:
        rows[f"top-{k}"] = Row(
            {column: (column_ranks.best[answered] <= k).astype(np.float64) for column, column_ranks in ranks.items()},
            {"chance": chance_recall_at_k(num_right, num_candidates, k)},
        )
    return rows


def recall_curves(
    ranks: Mapping[str, np.ndarray], num_right: np.ndarray, num_candidates: int
) -> dict[str, dict[str, list[float]]]:
    """Share of the queries with a right candidate among their top k, for rising k up to the gallery's size.

    Args:
        ranks: Column → (num_queries,) rank of the best right candidate; 0 for a query without any.
        num_right: (num_queries,) number of right candidates of each query.
        num_candidates: Size of the gallery.

    Returns:
        Line (the columns, and "chance") → {"k": […], "recall": […]}, for plotting.
    """
    cutoffs = [k for k in CURVE_CUTOFFS if k < num_candidates] + [num_candidates]
    lines = {column: [recall_at_k(column_ranks, k) for k in cutoffs] for column, column_ranks in ranks.items()}
    lines["chance"] = [chance_recall_at_k(num_right, num_candidates, k) for k in cutoffs]
    return {column: {"k": [float(k) for k in cutoffs], "recall": recall} for column, recall in lines.items()}


def nearest(
    query: np.ndarray, gallery: np.ndarray, num: int, *, groups: np.ndarray | None = None
) -> list[tuple[int, float]]:
    """The best candidates of one query with their scores, best first; ties in the gallery's order.

    Args:
        query: (embed_dim,) float32.
        gallery: (num_candidates, embed_dim) float32.
        num: At most this many are returned.
        groups: (num_candidates,) group of each candidate; if given, only the best candidate of each group is returned.
    """
    scores = gallery @ query
    best = np.argsort(-scores, kind="stable")
    if groups is not None:
        best = best[np.sort(np.unique(groups[best], return_index=True)[1])]
    return [(int(row), float(scores[row])) for row in best[:num]]


def best_and_worst(ranks: np.ndarray, groups: np.ndarray, num: int) -> dict[str, list[int]]:
    """Indices of the best and the worst queries, at most `num` each, with at most one query of each group.

    The worst are queries that rank a wrong candidate first; there may be none.

    Args:
        ranks: (num_queries,) rank of the best right candidate; 0 for a query without any.
        groups: (num_queries,) int64, group of each query.
        num: Number of queries.
    """
    order = [int(query) for query in np.argsort(ranks, kind="stable") if ranks[query] > 0]
    return {
        "best": _first_of_each(order, groups)[:num],
        "worst": _first_of_each([query for query in reversed(order) if ranks[query] > 1], groups)[:num],
    }


def _first_of_each(queries: list[int], groups: np.ndarray) -> list[int]:
    """The first query of each group, in their order."""
    first: dict[int, int] = {}
    for query in queries:
        first.setdefault(int(groups[query]), query)
    return list(first.values())
