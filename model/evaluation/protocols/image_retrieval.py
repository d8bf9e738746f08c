"""Task image retrieval: given one view of a patent, find its other views.

Front-page drawings are neither queries nor candidates: each is a copy of another drawing of its patent, which would be
found by any model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.metrics import Answers, Ranks, all_ranks
from model.evaluation.measures.result_table import MODEL, tabulate
from model.evaluation.protocols.ranking import (
    best_and_worst,
    choose_rows,
    nearest,
    number_texts,
    precision_rows,
    recall_curves,
    tie_rule,
)

_NUM_SHOWN = 4


def measure(context: EvaluationContext) -> TaskResult:
    """Every view is a query; the gallery is every other view of the split, without front-page drawings."""
    views = context.views
    marks = views.column("is_front_page")
    kept = np.array(
        [row for row, name in enumerate(views.view_ids) if not is_front_page(name) and not marks[row]], dtype=np.int64
    )
    # From here on, queries and candidates are numbered by their index in `kept`.
    patents = np.array(views.patent_numbers)[kept]
    groups = number_texts([str(number) for number in patents])
    queries = choose_rows(len(kept), max_queries=context.config.max_queries, seed=context.config.seed)
    answers = Answers.by_group(groups[queries], groups, own=queries)
    if not (answers.num_right > 0).any():
        return TaskResult(reason=f"no patent of the split {views.split} has a second view")
    ranks: dict[str, Ranks] = {}
    for column in context.encoders:
        features = context.image_features(column).features[kept]
        scores = context.scores(features[queries], features)
        ranks[column] = all_ranks(scores, answers, len(kept), max_chunk_mb=context.config.max_chunk_mb)
    best = {column: column_ranks.best for column, column_ranks in ranks.items()}
    return TaskResult(
        tables={"same_patent": _table(context, len(kept), patents[queries], answers.num_right, ranks)},
        curves={"same_patent": recall_curves(best, answers.num_right, len(kept) - 1)},
        examples=_examples(context, kept, queries, groups, best[MODEL]),
    )


def _table(
    context: EvaluationContext, num_kept: int, patents: np.ndarray, num_right: np.ndarray, ranks: dict[str, Ranks]
) -> dict[str, Any]:
    """The result table; `patents` and `num_right` are (num_queries,)."""
    answered = num_right > 0
    terms = {
        "split": context.views.split,
        "gallery_size": num_kept - 1,
        "num_queries": len(patents),
        "num_patents": len(np.unique(patents)),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": "the other views of the query's patent",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": [
            "mAP: average precision over the whole ranking, mean over queries; top-k: any right view among the first k",
            f"{len(context.views) - num_kept:,} front-page drawings left out",
        ],
    }
    return tabulate(
        title="The other views of a patent",
        terms=terms,
        rows=precision_rows(ranks, num_right, num_kept - 1, context.config.cutoffs),
        bootstrap=context.bootstrap(patents[answered]),
    )


def _examples(
    context: EvaluationContext, kept: np.ndarray, queries: np.ndarray, groups: np.ndarray, best: np.ndarray
) -> list[Example]:
    """The best and the worst queries with the views nearest to them."""
    views = context.views
    features = context.image_features(MODEL).features[kept]
    examples = []
    for end, chosen in best_and_worst(best, groups[queries], context.config.num_examples).items():
        for query in chosen:
            own = int(queries[query])
            found = [pair for pair in nearest(features[own], features, _NUM_SHOWN + 1) if pair[0] != own][:_NUM_SHOWN]
            cards = tuple(
                Card(
                    views.view_ids[kept[other]],
                    views.titles[kept[other]] or "",
                    views.images[int(kept[other])],
                    score,
                    bool(groups[other] == groups[own]),
                )
                for other, score in found
            )
            row = int(kept[own])
            card = Card(views.view_ids[row], views.titles[row] or "", views.images[row])
            heading = f"The other views of a patent: the {end} queries"
            examples.append(Example(heading, card, f"first right view at rank {int(best[query]):,}", cards))
    return examples
