"""Task image retrieval: given one view of a patent, find its other views; given some of its views, find the patent.

Front-page drawings are neither queries nor candidates: each is a copy of another drawing of its patent, which would be
found by any model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.axes import RULE as AXES_RULE
from model.evaluation.measures.axes import project
from model.evaluation.measures.metrics import Answers, Ranks, all_ranks
from model.evaluation.measures.result_table import MODEL, PROJECTED, Row, tabulate, tabulate_each
from model.evaluation.protocols.class_thirds import ClassThirds
from model.evaluation.protocols.patent_queries import (
    KINDS_NOTE,
    PatentQueries,
    class_text_axes,
    compared_columns,
    one_view_each,
    scoring_rows,
    viewpoint_rows,
)
from model.evaluation.protocols.ranking import (
    best_and_worst,
    choose_rows,
    missed_views,
    nearest,
    number_texts,
    precision_by_thirds,
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
    features = {column: context.image_features(column).features[kept] for column in context.encoders}
    if context.config.projection == "class_texts":
        features[PROJECTED] = project(features[MODEL], class_text_axes(context, MODEL))
    ranks: dict[str, Ranks] = {}
    for column, values in features.items():
        scores = context.scores(values[queries], values)
        ranks[column] = all_ranks(scores, answers, len(kept), max_chunk_mb=context.config.max_chunk_mb)
    best = {column: column_ranks.best for column, column_ranks in ranks.items()}
    viewpoints = [views.viewpoints[row] for row in kept]
    thirds = ClassThirds.of_split(context)
    table = _table(context, len(kept), patents[queries], answers.num_right, ranks)
    tables = {"same_patent": precision_by_thirds(context, table, thirds, ranks, kept[queries], len(kept) - 1)}
    by_viewpoint = viewpoint_rows(
        context, ranks, patents[queries], [viewpoints[query] for query in queries], viewpoints
    )
    if by_viewpoint:
        tables["by_viewpoint"] = _table_by_viewpoint(context, tables["same_patent"]["terms"], by_viewpoint)
    tables["patents_by_scoring"] = _table_of_patents(context, features, groups, viewpoints)
    return TaskResult(
        tables=tables,
        curves={"same_patent": recall_curves(best, answers.num_right, len(kept) - 1)},
        failures={
            "same_patent": missed_views(
                context,
                "The other views of a patent",
                (features[MODEL][queries], features[MODEL]),
                answers,
                best[MODEL],
                (kept[queries], kept),
                thirds,
            )
        },
        examples=_examples(context, kept, queries, groups, best[MODEL]),
    )


def _table(
    context: EvaluationContext, num_kept: int, patents: np.ndarray, num_right: np.ndarray, ranks: dict[str, Ranks]
) -> dict[str, Any]:
    """The result table; `patents` and `num_right` are (num_queries,)."""
    answered = num_right > 0
    notes = [
        "mAP: average precision over the whole ranking, mean over queries; top-k: any right view among the first k",
        f"{len(context.views) - num_kept:,} front-page drawings left out",
    ]
    terms: dict[str, Any] = {
        "split": context.views.split,
        "gallery_size": num_kept - 1,
        "num_queries": len(patents),
        "num_patents": len(np.unique(patents)),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": "the other views of the query's patent",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": notes,
    }
    rows = precision_rows(ranks, num_right, num_kept - 1, context.config.cutoffs)
    if PROJECTED in ranks:
        plain, projected = (ranks[column].average_precision[answered] for column in (MODEL, PROJECTED))
        rows["mAP, class-text axes minus plain"] = Row({PROJECTED: projected - plain}, {})
        terms["notes"] = [*notes, f"class-text axes: {AXES_RULE}"]
    return tabulate(
        title="The other views of a patent",
        terms=terms,
        rows=rows,
        bootstrap=context.bootstrap(patents[answered]),
    )


def _table_by_viewpoint(
    context: EvaluationContext, terms: dict[str, Any], rows: dict[str, tuple[Row, np.ndarray]]
) -> dict[str, Any]:
    """Recall by the viewpoint of the query and of the answer; `terms` are those of the table over all viewpoints."""
    counts = ", ".join(f"{name.partition(', ')[2]} {len(patents):,}" for name, (_, patents) in rows.items())
    notes = [
        "queries seen from the first viewpoint: share of the answers seen from the second that are among the first k",
        f"queries: {counts}",
    ]
    return tabulate_each(
        title="The other views of a patent, by viewpoint",
        terms={**terms, "notes": notes},
        rows={name: (row, context.bootstrap(patents)) for name, (row, patents) in rows.items()},
    )


def _table_of_patents(
    context: EvaluationContext, features: dict[str, np.ndarray], groups: np.ndarray, viewpoints: list[str | None]
) -> dict[str, Any]:
    """Whole patents as candidates: with some views of a patent, find the patent by its other views.

    Args:
        features: Column → (num_views, embed_dim) float32.
        groups: (num_views,) patent of each view, from 0.
        viewpoints: (num_views,) viewpoint of each view.
    """
    order = np.argsort(groups, kind="stable")
    views_of_patents = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    several = np.array([patent for patent, rows in enumerate(views_of_patents) if len(rows) >= 2])
    asked = several[choose_rows(len(several), max_queries=context.config.max_queries, seed=context.config.seed)]
    chosen = [views_of_patents[patent] for patent in asked]
    queries = PatentQueries(
        {**one_view_each(chosen, viewpoints, context.config.seed), "all_views": [rows[::2] for rows in chosen]},
        Answers.by_group(asked, np.arange(len(views_of_patents))),
        leave_out_own=True,
    )
    compared = {column: features[column] for column in compared_columns(context)}
    terms = {
        "split": context.views.split,
        "gallery_size": len(views_of_patents),
        "num_queries": len(asked),
        "num_patents": len(asked),
        "num_queries_without_positive": 0,
        "positives_rule": "the query's patent, by its views that are not in the query",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": [
            f"{KINDS_NOTE}; all views: every other view, and the rest are searched for",
            "patents of one view are candidates and not queries",
        ],
    }
    return tabulate(
        title="The patent of some views",
        terms=terms,
        rows=scoring_rows(context, compared, groups, viewpoints, queries),
        bootstrap=context.bootstrap(asked),
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
