"""Task DeepPatent: given one drawing of a patent, find its other drawings in a database, as in DeepPatent's lists.

A drawing of the database is right if it is of the query's patent. The official protocol treats the front-page drawing
D00000 like any other, although it is a copy of a figure, often of D00001, and so is found by any model. The same is
therefore measured again without front-page drawings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.dataset.deep_patent_lists import DATABASE, QUERY
from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.metrics import Answers, Ranks, all_ranks
from model.evaluation.measures.result_table import MODEL, tabulate
from model.evaluation.protocols.class_thirds import ClassThirds
from model.evaluation.protocols.ranking import (
    best_and_worst,
    choose_rows,
    missed_views,
    nearest,
    precision_rows,
    recall_curves,
    tie_rule,
)
from model.files import read_json

OFFICIAL, WITHOUT_FRONT_PAGES = "official", "without_front_pages"
_TITLES = {
    OFFICIAL: "The other drawings of a patent, official lists",
    WITHOUT_FRONT_PAGES: "The other drawings of a patent, front pages (D00000) left out of both lists",
}
_NUM_SHOWN = 4


@dataclass(frozen=True)
class Lists:
    """Rows of the queries and of the database that is searched.

    Attributes:
        queries: (num_queries,) rows, ascending.
        database: (num_candidates,) rows, ascending.
    """

    queries: np.ndarray
    database: np.ndarray

    def without(self, left_out: np.ndarray) -> Lists:
        """The lists without some views: `left_out` is (num_views,) bool."""
        return Lists(self.queries[~left_out[self.queries]], self.database[~left_out[self.database]])


def measure(context: EvaluationContext) -> TaskResult:
    """The official protocol, and the same without front-page drawings."""
    views = context.views
    roles = np.array(views.column("role"), dtype=object)
    lists = Lists(np.flatnonzero(roles == QUERY), np.flatnonzero(roles == DATABASE))
    if not len(lists.queries) or not len(lists.database):
        return TaskResult(
            reason=f"the split {views.split} of {context.dataset.name} has no queries and database of DeepPatent; "
            "make such a dataset with designclip deep-patent"
        )
    front_pages = np.array([is_front_page(name) for name in views.view_ids])
    result = TaskResult()
    for name, measured in ((OFFICIAL, lists), (WITHOUT_FRONT_PAGES, lists.without(front_pages))):
        database = measured.database
        chosen = choose_rows(len(measured.queries), max_queries=context.config.max_queries, seed=context.config.seed)
        queries = measured.queries[chosen]
        answers = Answers.by_group(views.patent_ids[queries], views.patent_ids[database])
        if not (answers.num_right > 0).any():
            continue
        ranks = {column: _ranks(context, column, queries, database, answers) for column in context.encoders}
        best = {column: column_ranks.best for column, column_ranks in ranks.items()}
        result.tables[name] = _table(context, name, queries, database, answers.num_right, ranks)
        result.curves[name] = recall_curves(best, answers.num_right, len(database))
        result.failures[name] = missed_views(
            context,
            _TITLES[name],
            (context.image_features(MODEL).features[queries], context.image_features(MODEL).features[database]),
            answers,
            best[MODEL],
            (queries, database),
            ClassThirds.of_split(context),
        )
        result.examples += _examples(context, name, queries, database, best[MODEL])
    if not result.tables:
        result.reason = f"no query of the split {views.split} has a drawing of its patent in the database"
    return result


def _ranks(
    context: EvaluationContext, column: str, queries: np.ndarray, database: np.ndarray, answers: Answers
) -> Ranks:
    features = context.image_features(column).features
    scores = context.scores(features[queries], features[database])
    return all_ranks(scores, answers, len(database), max_chunk_mb=context.config.max_chunk_mb)


def _table(
    context: EvaluationContext,
    name: str,
    queries: np.ndarray,
    database: np.ndarray,
    num_right: np.ndarray,
    ranks: dict[str, Ranks],
) -> dict[str, Any]:
    """The result table of one protocol; `num_right` is (num_queries,)."""
    views = context.views
    answered = num_right > 0
    terms = {
        "split": views.split,
        "gallery_size": len(database),
        "num_queries": len(queries),
        "num_patents": len(np.unique(views.patent_ids[queries])),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": "the drawings of the query's patent in the database",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": _notes(context, name, queries, database),
    }
    rows = precision_rows(ranks, num_right, len(database), context.config.cutoffs)
    bootstrap = context.bootstrap(views.patent_ids[queries][answered])
    return tabulate(title=_TITLES[name], terms=terms, rows=rows, bootstrap=bootstrap)


def _notes(context: EvaluationContext, name: str, queries: np.ndarray, database: np.ndarray) -> list[str]:
    notes = [
        "cosine; mAP: average precision over the whole database, mean over queries; top-k: any right drawing among the "
        "first k",
        *_notes_on_lists(context),
    ]
    if name == OFFICIAL:
        query_ids, database_ids = ([context.views.view_id(int(row)) for row in rows] for rows in (queries, database))
        num_copies = len(copies_in_database(query_ids, set(database_ids)))
        notes.append(
            f"{num_copies:,} of {len(queries):,} queries ({num_copies / len(queries):.1%}) are D00000 or D00001 with "
            "the other one in the database: often one and the same figure"
        )
        notes.append("DesignCLIP with ArcFace is reported 0.04 above CLIP here; absolute values are not published")
    return notes


def copies_in_database(queries: list[str], database: set[str]) -> list[str]:
    """Queries that are sheet 0 or 1 of a patent if the other one of these two sheets is in the database.

    >>> copies_in_database(["D1-0", "D2-1", "D3-2"], {"D1-1", "D2-3", "D3-0"})
    ['D1-0']
    """
    found = []
    for query in queries:
        patent, _, sheet = query.rpartition("-")
        if sheet in ("0", "1") and f"{patent}-{1 - int(sheet)}" in database:
            found.append(query)
    return found


def _notes_on_lists(context: EvaluationContext) -> list[str]:
    """For each list: how many of its images are measured, and why the others are not."""
    lists = (read_json(context.dataset.folder / "dataset.json") or {}).get("lists", {}).get(context.config.split, {})
    notes = []
    for role, entry in lists.items():
        reasons = ", ".join(f"{num:,} {reason.replace('_', ' ')}" for reason, num in entry["dropped"].items())
        left_out = f", left out: {reasons}" if reasons else ""
        notes.append(f"{role} list {entry['file']}: {entry['num_out']:,} of {entry['num_in']:,} images{left_out}")
    return notes


def _examples(
    context: EvaluationContext, name: str, queries: np.ndarray, database: np.ndarray, best: np.ndarray
) -> list[Example]:
    """The best and the worst queries with the drawings nearest to them."""
    features, patents = context.image_features(MODEL).features, context.views.patent_ids
    gallery = features[database]
    examples = []
    for end, chosen in best_and_worst(best, patents[queries], context.config.num_examples).items():
        for query in chosen:
            own = int(queries[query])
            cards = tuple(
                _card(context, int(database[other]), score, bool(patents[database[other]] == patents[own]))
                for other, score in nearest(features[own], gallery, min(_NUM_SHOWN, len(database)))
            )
            heading = f"{_TITLES[name]}: the {end} queries"
            note = f"first right drawing at rank {int(best[query]):,}"
            examples.append(Example(heading, _card(context, own), note, cards))
    return examples


def _card(context: EvaluationContext, row: int, score: float | None = None, is_right: bool | None = None) -> Card:
    name = context.views.view_id(row)
    sheet = "front page" if is_front_page(name) else f"sheet {name.rpartition('-')[2]}"
    return Card(name, sheet, context.views.images[row], score, is_right)
