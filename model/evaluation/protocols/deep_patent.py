"""Task DeepPatent: with one drawing of a patent, find its others in a database, as DeepPatent's lists have it.

Every query asks once; right are the database's drawings of its patent. The official protocol takes the front-page
drawing D00000, a copy of a figure that is often D00001, for a drawing like the others; so the same is measured
without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.dataset.deep_patent_lists import DATABASE, QUERY
from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.chance import chance_average_precision, chance_recall_at_k
from model.evaluation.measures.metrics import Answers, Ranks, all_ranks
from model.evaluation.measures.result_table import MODEL, Row, tabulate
from model.evaluation.protocols.ranking import choose_ends, choose_rows, nearest, recall_curves, tie_rule
from model.files import read_json

OFFICIAL, WITHOUT_FRONT_PAGES = "official", "without_front_pages"
_TITLES = {
    OFFICIAL: "The other drawings of a patent, official lists",
    WITHOUT_FRONT_PAGES: "The other drawings of a patent, front pages (D00000) left out of both lists",
}
_NUM_SHOWN = 4


@dataclass(frozen=True)
class Lists:
    """Rows of the views that ask and that are searched.

    Attributes:
        queries: (num_queries,) ascending.
        database: (num_candidates,) ascending.
    """

    queries: np.ndarray
    database: np.ndarray

    def without(self, left_out: np.ndarray) -> Lists:
        """The same without some views: `left_out` is (num_views,) bool."""
        return Lists(self.queries[~left_out[self.queries]], self.database[~left_out[self.database]])


def measure(trial: EvaluationContext) -> TaskResult:
    """The official protocol, and the same without front-page drawings."""
    views = trial.views
    roles = np.array(views.column("role"), dtype=object)
    lists = Lists(np.flatnonzero(roles == QUERY), np.flatnonzero(roles == DATABASE))
    if not len(lists.queries) or not len(lists.database):
        return TaskResult(
            reason=f"the split {views.split} of {trial.dataset.name} has no queries and database of DeepPatent; "
            "make such a dataset with designclip deep-patent"
        )
    front = np.array([is_front_page(name) for name in views.view_ids])
    result = TaskResult()
    for name, of in ((OFFICIAL, lists), (WITHOUT_FRONT_PAGES, lists.without(front))):
        asking = of.queries[choose_rows(len(of.queries), max_queries=trial.config.max_queries, seed=trial.config.seed)]
        answers = Answers.by_group(views.patent_ids[asking], views.patent_ids[of.database])
        if not (answers.num_right > 0).any():
            continue
        ranks = {entrant: _ranks(trial, entrant, asking, of.database, answers) for entrant in trial.entrants}
        result.tables[name] = _table(trial, name, asking, of.database, answers, ranks)
        best = {entrant: of.best for entrant, of in ranks.items()}
        result.curves[name] = recall_curves(best, answers.num_right, len(of.database))
        result.examples += _examples(trial, name, asking, of.database, ranks[MODEL].best)
    if not result.tables:
        result.reason = f"no query of the split {views.split} has a drawing of its patent in the database"
    return result


def _ranks(trial: EvaluationContext, entrant: str, asking: np.ndarray, database: np.ndarray, answers: Answers) -> Ranks:
    features = trial.image_features(entrant).features
    scores = trial.scores(features[asking], features[database])
    return all_ranks(scores, answers, len(database), max_chunk_mb=trial.config.max_chunk_mb)


def _table(
    trial: EvaluationContext,
    name: str,
    asking: np.ndarray,
    database: np.ndarray,
    answers: Answers,
    ranks: dict[str, Ranks],
) -> dict[str, Any]:
    views, num_right = trial.views, answers.num_right
    answered = num_right > 0
    rows = {
        "mAP": Row(
            {column: of.average_precision[answered] for column, of in ranks.items()},
            {"chance": chance_average_precision(num_right, len(database))},
        )
    }
    for k in trial.config.cutoffs:
        rows[f"top-{k}"] = Row(
            {column: (of.best[answered] <= k).astype(np.float64) for column, of in ranks.items()},
            {"chance": chance_recall_at_k(num_right, len(database), k)},
        )
    num_copies = len(copies_in_database([views.view_id(int(row)) for row in asking], _names(trial, database)))
    notes = [
        "cosine; mAP: average precision over the whole database, mean over queries; top-k: any right drawing among the "
        "first k",
        *_what_was_left_out(trial),
    ]
    if name == OFFICIAL:
        notes.append(
            f"{num_copies:,} of {len(asking):,} queries ({num_copies / len(asking):.1%}) are D00000 or D00001 with the "
            "other one in the database: often one and the same figure"
        )
        notes.append("DesignCLIP with ArcFace is reported 0.04 above CLIP here; absolute values are not published")
    terms = {
        "split": views.split,
        "gallery_size": len(database),
        "num_queries": len(asking),
        "num_patents": len(np.unique(views.patent_ids[asking])),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": "the drawings of the query's patent in the database",
        "tie_rule": tie_rule(),
        "interval": trial.interval_rule,
        "notes": notes,
    }
    bootstrap = trial.bootstrap(views.patent_ids[asking][answered])
    return tabulate(title=_TITLES[name], terms=terms, rows=rows, bootstrap=bootstrap)


def _names(trial: EvaluationContext, rows: np.ndarray) -> set[str]:
    return {trial.views.view_id(int(row)) for row in rows}


def copies_in_database(queries: list[str], database: set[str]) -> list[str]:
    """Queries that are sheet 0 or 1 of a patent whose other one of the two is in the database.

    >>> copies_in_database(["D1-0", "D2-1", "D3-2"], {"D1-1", "D2-3", "D3-0"})
    ['D1-0']
    """
    found = []
    for query in queries:
        patent, _, sheet = query.rpartition("-")
        if sheet in ("0", "1") and f"{patent}-{1 - int(sheet)}" in database:
            found.append(query)
    return found


def _what_was_left_out(trial: EvaluationContext) -> list[str]:
    """For each list how many of its images are measured, and why the others are not."""
    lists = (read_json(trial.dataset.folder / "dataset.json") or {}).get("lists", {}).get(trial.config.split, {})
    notes = []
    for role, entry in lists.items():
        reasons = ", ".join(f"{num:,} {reason.replace('_', ' ')}" for reason, num in entry["dropped"].items())
        left_out = f", left out: {reasons}" if reasons else ""
        notes.append(f"{role} list {entry['file']}: {entry['num_out']:,} of {entry['num_in']:,} images{left_out}")
    return notes


def _examples(
    trial: EvaluationContext, name: str, asking: np.ndarray, database: np.ndarray, best: np.ndarray
) -> list[Example]:
    features, patents = trial.image_features(MODEL).features, trial.views.patent_ids
    gallery = features[database]
    examples = []
    for end, places in choose_ends(best, patents[asking], trial.config.num_examples).items():
        for place in places:
            own = int(asking[place])
            cards = tuple(
                _card(trial, int(database[other]), score, bool(patents[database[other]] == patents[own]))
                for other, score in nearest(features[own], gallery, min(_NUM_SHOWN, len(database)))
            )
            heading = f"{_TITLES[name]}: the {end} queries"
            note = f"first right drawing at rank {int(best[place]):,}"
            examples.append(Example(heading, _card(trial, own), note, cards))
    return examples


def _card(trial: EvaluationContext, row: int, score: float | None = None, is_right: bool | None = None) -> Card:
    name = trial.views.view_id(row)
    sheet = "front page" if is_front_page(name) else f"sheet {name.rpartition('-')[2]}"
    return Card(name, sheet, trial.views.images[row], score, is_right)
