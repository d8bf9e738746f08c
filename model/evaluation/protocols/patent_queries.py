"""Queries of one view, of the front alone and of all views, and what the scoring of patents makes of them.

A patent is ranked as a whole, so it has to be decided how the scores of its views become one score
(`model.clip.patent_scores`), and with which views one asks. The tables built here show every combination over the same
patents, with the difference to the scoring `max`, so that a default can be chosen by what is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.clip.patent_scores import SCORINGS, PatentScores
from model.clip.view_weights import EQUAL_WEIGHTS, ViewWeights, learn_view_weights
from model.dataset.views import Views, read_views
from model.evaluation.context import EvaluationContext
from model.evaluation.measures.axes import principal_axes
from model.evaluation.measures.chance import chance_recall_at_k, chance_reciprocal_rank
from model.evaluation.measures.metrics import Answers, Ranks, all_ranks
from model.evaluation.measures.result_table import AGAINST, MODEL, Row
from model.evaluation.protocols.ranking import number_texts
from model.evaluation.protocols.zero_shot import class_features

KINDS = {"one_view": "one view", "front": "front view", "all_views": "all views"}
"""Kind of query → its name in tables."""

KINDS_NOTE = "one view: one of each patent, drawn; front view: the first called front, else the patent's first view"
_REFERENCE = "max"
_WEIGHTED = "weighted"
_TRAINING_SPLIT = "train"
_MAX_TRAINING_PATENTS = 400
_MAX_TRAINING_VIEWS = 4_000  # files of the training split are read until they have as many
_LEAST_QUERIES = 30  # a viewpoint with fewer is not shown


@dataclass(frozen=True)
class PatentQueries:
    """The views that patents are searched with.

    Attributes:
        views: Kind → rows of the views of each query; the queries of all kinds are of the same patents.
        answers: Kind → the right patents of each query.
        leave_out_own: Whether the views of a query do not count as views of its patent.
    """

    views: Mapping[str, Sequence[np.ndarray]]
    answers: Answers
    leave_out_own: bool


def one_view_each(
    views_of_patents: Sequence[np.ndarray], viewpoints: Sequence[str | None], seed: int
) -> dict[str, list[np.ndarray]]:
    """Queries of one drawn view and of the front view: kind → rows of each query, one row each.

    Args:
        views_of_patents: Rows of the views of each patent, at least one.
        viewpoints: (num_views,) viewpoint of each row.
        seed: Seed of the drawn views.
    """
    generator = np.random.default_rng(seed)
    drawn = [views[generator.integers(len(views), size=1)] for views in views_of_patents]
    front = [
        np.array([next((row for row in views if viewpoints[row] == "front"), views[0])]) for views in views_of_patents
    ]
    return {"one_view": drawn, "front": front}


def scoring_rows(
    context: EvaluationContext,
    features: Mapping[str, np.ndarray],
    patents: np.ndarray,
    viewpoints: Sequence[str | None],
    queries: PatentQueries,
) -> dict[str, Row]:
    """Rows of a table: mean reciprocal rank and recall for each kind of query and each scoring.

    A query of one view scores alike under max, maxsim and weighted, so it is shown under max and mean. The rows
    "… minus max" hold the differences of the reciprocal ranks, query by query.

    Args:
        features: Column → (num_views, embed_dim) float32.
        patents: (num_views,) int64, the patent of each view, from 0 without gaps.
        viewpoints: (num_views,) viewpoint of each view.
        queries: What is searched with.
    """
    num_candidates = int(patents.max()) + 1 - (0 if queries.leave_out_own else 1)
    num_right, k = queries.answers.num_right, context.config.cutoffs[-1]
    answered = num_right > 0
    chance = {
        "MRR": chance_reciprocal_rank(num_right, num_candidates),
        f"R@{k}": chance_recall_at_k(num_right, num_candidates, k) if (num_right <= 1).all() else k / num_candidates,
    }
    rows: dict[str, Row] = {}
    weights = {column: view_weights(context, column) for column in features}
    for kind, views in queries.views.items():
        reciprocal: dict[str, dict[str, np.ndarray]] = {}
        for scoring in _scorings(kind, weights):
            ranks = {
                column: _ranks(context, values, patents, views, queries, scoring, weights[column].of(viewpoints))
                for column, values in features.items()
            }
            reciprocal[scoring] = {column: 1 / found.best[answered] for column, found in ranks.items()}
            found = {column: found.share_found(k)[answered] for column, found in ranks.items()}
            rows[f"MRR, {KINDS[kind]}, {scoring}"] = Row(reciprocal[scoring], {"chance": chance["MRR"]})
            rows[f"R@{k}, {KINDS[kind]}, {scoring}"] = Row(found, {"chance": min(1.0, chance[f"R@{k}"])})
        for scoring, values in reciprocal.items():
            if scoring != _REFERENCE:
                difference = {column: value - reciprocal[_REFERENCE][column] for column, value in values.items()}
                rows[f"MRR, {KINDS[kind]}, {scoring} minus {_REFERENCE}"] = Row(difference, {})
    return rows


def _scorings(kind: str, weights: Mapping[str, ViewWeights]) -> list[str]:
    """The scorings that differ for a kind of query."""
    if kind != "all_views":
        return ["max", "mean"]
    is_learned = all(learned.num_views for learned in weights.values())
    return [scoring for scoring in SCORINGS if scoring != _WEIGHTED or is_learned]


def _ranks(
    context: EvaluationContext,
    features: np.ndarray,
    patents: np.ndarray,
    views: Sequence[np.ndarray],
    queries: PatentQueries,
    scoring: str,
    weights: np.ndarray,
) -> Ranks:
    scores = PatentScores(
        context.tensor(features),
        patents,
        views,
        scoring=scoring,
        weights=weights,
        leave_out_own=queries.leave_out_own,
        max_chunk_mb=context.config.max_chunk_mb,
    )
    return all_ranks(scores, queries.answers, int(patents.max()) + 1, max_chunk_mb=context.config.max_chunk_mb)


def compared_columns(context: EvaluationContext) -> list[str]:
    """The columns that scorings are compared for: the model, and the second model if there is one."""
    return [column for column in (MODEL, AGAINST) if column in context.encoders]


def view_weights(context: EvaluationContext, column: str) -> ViewWeights:
    """Weights of viewpoints under the encoder of a column, from a sample of the training split; equal without one."""
    if not context.has(_TRAINING_SPLIT) or context.config.split == _TRAINING_SPLIT:
        return EQUAL_WEIGHTS
    sample = training_sample(context)
    features = context.encoders[column].image_features(context.dataset, sample).features
    return learn_view_weights(features, number_texts(sample.patent_numbers), sample.viewpoints)


def training_sample(context: EvaluationContext) -> Views:
    """The views of at most `_MAX_TRAINING_PATENTS` patents of the training split, drawn with the seed of the settings.

    Only as many files of the split are read as are needed, so that the size of the split does not matter.
    """
    generator = np.random.default_rng(context.config.seed)
    files = [file for file in context.dataset.files if file.split == _TRAINING_SPLIT and file.num_rows]
    chosen, num_views = [], 0
    for index in generator.permutation(len(files)):
        if num_views >= _MAX_TRAINING_VIEWS:
            break
        chosen.append(files[index])
        num_views += files[index].num_rows
    subset = replace(context.dataset, files=tuple(chosen))
    # Never a mapped copy: its name would be that of the whole split.
    views = read_views(
        subset, _TRAINING_SPLIT, captioned=False, lines=context.config.lines, mapped_from_bytes=sys.maxsize
    )
    patents = generator.permutation(int(views.patent_ids.max()) + 1)[:_MAX_TRAINING_PATENTS]
    rows = np.flatnonzero(np.isin(views.patent_ids, patents))
    return replace(views, split=f"{_TRAINING_SPLIT}-sample-{context.config.seed}", table=views.table.take(rows))


def class_text_axes(context: EvaluationContext, column: str) -> np.ndarray:
    """(embed_dim, num_axes) principal axes of the texts of all classes, under the encoder of a column."""
    return principal_axes(
        np.concatenate([class_features(context, column, scheme) for scheme in context.config.schemes])
    )


def viewpoint_rows(
    context: EvaluationContext,
    ranks: Mapping[str, Ranks],
    patents: np.ndarray,
    queried: Sequence[str | None],
    searched: Sequence[str | None],
) -> dict[str, tuple[Row, np.ndarray]]:
    """Recall by the viewpoint of the query, and by the viewpoints of query and answer together.

    Args:
        ranks: Column → ranks of the other views of the query's patent.
        patents: (num_queries,) patent of each query.
        queried: (num_queries,) viewpoint of each query.
        searched: (num_candidates,) viewpoint of each candidate.

    Returns:
        Name of a row → the row, and the patents of its queries. Only rows of at least `_LEAST_QUERIES` queries.
    """
    k = context.config.cutoffs[-1]
    asked, found = (np.array([name or "none" for name in names]) for names in (queried, searched))
    columns = compared_columns(context)
    first = ranks[columns[0]]
    rows: dict[str, tuple[Row, np.ndarray]] = {}
    for own in np.unique(asked):
        for other in ("", *np.unique(found)):
            among = np.ones(len(found), bool) if not other else found == other
            # Queries from this viewpoint whose patent has another view from that one.
            kept = (asked == own) & (first.sums(among[first.columns].astype(np.float64)) > 0)
            if kept.sum() >= _LEAST_QUERIES:
                values = {column: ranks[column].share_found(k, among)[kept] for column in columns}
                name = f"R@{k}, {own} to {other or 'any'}"
                rows[name] = Row(values, {}), patents[kept]
    return rows
