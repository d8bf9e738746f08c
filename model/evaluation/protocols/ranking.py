"""What the retrieval protocols share: choosing queries, recall curves, rows of result tables, and examples to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.evaluation.context import EvaluationContext
from model.evaluation.failures.counting import Failures
from model.evaluation.failures.queries import NOTHING, AnsweredQueries, Pool
from model.evaluation.measures.chance import chance_average_precision, chance_recall_at_k
from model.evaluation.measures.metrics import TIE_RULE, TIE_TOLERANCE, Answers, Ranks, best_wrong, recall_at_k
from model.evaluation.measures.result_table import Row
from model.evaluation.protocols.class_thirds import ClassThirds, add_thirds

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


def precision_by_thirds(
    context: EvaluationContext,
    table: dict[str, Any],
    thirds: ClassThirds | None,
    ranks: Mapping[str, Ranks],
    views: np.ndarray,
    num_candidates: int,
) -> dict[str, Any]:
    """A table with mean average precision, and "any right one among the largest cutoff", by thirds of the classes.

    Args:
        context: The evaluation.
        table: The table.
        thirds: Thirds of the classes of the measured views.
        ranks: Column → ranks of the right candidates of all queries.
        views: (num_queries,) row of the view of each query.
        num_candidates: Size of the gallery without the query itself.
    """
    num_right = next(iter(ranks.values())).num_right
    answered = np.flatnonzero(num_right > 0)

    def rows_of(positions: np.ndarray) -> dict[str, Row]:
        chosen = answered[positions]
        of_part = {column: column_ranks.only(chosen) for column, column_ranks in ranks.items()}
        return precision_rows(of_part, num_right[chosen], num_candidates, context.config.cutoffs[-1:])

    return add_thirds(context, table, thirds, views[answered], rows_of)


def missed_views(
    context: EvaluationContext,
    title: str,
    features: tuple[np.ndarray, np.ndarray],
    answers: Answers,
    best: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    thirds: ClassThirds | None,
) -> Failures:
    """The queries of one view whose right views the model missed, by cause; those without a right view are left out.

    Args:
        context: The evaluation.
        title: Title of the table.
        features: (num_queries, embed_dim) and (num_candidates, embed_dim) float32.
        answers: The right candidates.
        best: (num_queries,) rank of the best right candidate; 0 for a query without any.
        rows: (num_queries,) and (num_candidates,) rows of the views.
        thirds: Thirds of the classes of the measured views.
    """
    answered, k = np.flatnonzero(best > 0), context.config.cutoffs[-1]
    queried, searched = rows
    wrong = best_wrong(context.scores(*features), answers, len(searched), max_chunk_mb=context.config.max_chunk_mb)[
        answered
    ]
    patents, views = context.views.patent_ids, queried[answered]
    return context.failures(
        AnsweredQueries(
            title=title,
            miss=f"none of the first {k} candidates is right",
            pool=Pool((context.views,)),
            views=views,
            is_missed=best[answered] > k,
            notes=lambda query: f"first right view at rank {int(best[answered[query]]):,}",
            thirds=thirds.of_view[views] if thirds else None,
            wrong=np.where(wrong >= 0, searched[wrong], NOTHING),
            is_right=lambda query, view: bool(patents[view] == patents[views[query]]),
        )
    )


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
