"""Task prior art: given the views of a patent, find the designs that its examiner cited.

Patents are ranked, not views. How the scores of their views become one score is the setting `scoring`; a second table
shows every scoring, for queries of one view, of the front alone and of all views.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.clip.fusion import RULE as FUSION_RULE
from model.clip.fusion import fuse
from model.clip.patent_scores import PatentScores
from model.dataset.bm25 import RULE as BM25_RULE
from model.dataset.bm25 import Bm25
from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.failures.counting import Failures
from model.evaluation.failures.queries import NOTHING, AnsweredQueries, Pool
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.axes import RULE as AXES_RULE
from model.evaluation.measures.axes import project
from model.evaluation.measures.chance import chance_recall_at_k, chance_reciprocal_rank
from model.evaluation.measures.metrics import Answers, Ranks, Scores, all_ranks, best_wrong
from model.evaluation.measures.result_table import FUSED, MODEL, PROJECTED, Row, tabulate
from model.evaluation.protocols.class_thirds import ClassThirds, add_thirds
from model.evaluation.protocols.patent_queries import (
    KINDS_NOTE,
    PatentQueries,
    class_text_axes,
    compared_columns,
    one_view_each,
    scoring_rows,
    view_weights,
)
from model.evaluation.protocols.ranking import best_and_worst, recall_curves, tie_rule

_BM25 = "bm25_title"
_NUM_SHOWN = 4


@dataclass(frozen=True)
class Gallery:
    """The patents that are searched, with all their views except front-page drawings.

    Attributes:
        splits: Splits that the patents are from.
        numbers: Patent numbers, in the order of the splits and of their first view.
        titles: One title a patent; empty if it has none.
        captions: The different captions of each patent's views in one text; empty if it has none.
        viewpoints: (num_views,) viewpoint of each view.
        patents: (num_views,) index in `numbers` of each view's patent.
        views: One pair a view: index of the view's split in `splits`, and row in that split.
    """

    splits: tuple[str, ...]
    numbers: list[str]
    titles: list[str]
    captions: list[str]
    viewpoints: list[str | None]
    patents: np.ndarray
    views: list[tuple[int, int]]

    @cached_property
    def first_views(self) -> np.ndarray:
        """(num_patents,) the first view of each patent, as an index in `views`."""
        return np.unique(self.patents, return_index=True)[1]

    def views_of(self, patents: np.ndarray) -> list[np.ndarray]:
        """The views of each of some patents, as indices in `views`."""
        order = np.argsort(self.patents, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.patents))])
        return [order[starts[patent] : starts[patent + 1]] for patent in patents]


@dataclass(frozen=True)
class Queries:
    """The patents that are searched with.

    Attributes:
        numbers: Their patent numbers.
        indices: (num_queries,) int64, their indices in the gallery.
        answers: The patents of the gallery that their examiners cited.
    """

    numbers: list[str]
    indices: np.ndarray
    answers: Answers


def measure(context: EvaluationContext) -> TaskResult:
    """Every patent of the split is a query; the gallery is every other one, and those of `prior_art_splits`."""
    gallery = _gallery(context)
    queries = _queries(context, gallery)
    num_right = queries.answers.num_right
    if not (num_right > 0).any():
        return TaskResult(
            reason=f"the examiner of none of the {len(queries.numbers):,} patents of the split {context.views.split} "
            f"cited one of the {len(gallery.numbers):,} patents in the gallery"
        )
    ranks = _ranks(context, gallery, queries)
    best = {column: column_ranks.best for column, column_ranks in ranks.items()}
    thirds = ClassThirds.of_split(context)
    return TaskResult(
        tables={
            "examiner_citations": _by_thirds(context, gallery, queries, ranks, thirds),
            "citations_by_scoring": _table_by_scoring(context, gallery, queries),
        },
        curves={"examiner_citations": recall_curves(best, num_right, len(gallery.numbers) - 1)},
        failures={"examiner_citations": _failures(context, gallery, queries, best[MODEL], thirds)},
        examples=_examples(context, gallery, queries, best[MODEL]),
    )


def _gallery(context: EvaluationContext) -> Gallery:
    splits = (context.config.split, *(split for split in context.config.prior_art_splits if context.has(split)))
    index_of: dict[str, int] = {}
    titles: list[str] = []
    captions: list[dict[str, None]] = []
    viewpoints: list[str | None] = []
    patents: list[int] = []
    rows: list[tuple[int, int]] = []
    for split_index, split in enumerate(splits):
        views = context.views_of(split)
        marks = views.column("is_front_page")
        texts = views.texts(context.config.caption) if context.dataset.is_captioned else [""] * len(views)
        for row, patent in enumerate(views.patent_numbers):
            if is_front_page(views.view_ids[row]) or marks[row]:
                continue
            if patent not in index_of:
                index_of[patent] = len(index_of)
                titles.append(views.titles[row] or "")
                captions.append({})
            captions[index_of[patent]][texts[row]] = None
            viewpoints.append(views.viewpoints[row])
            patents.append(index_of[patent])
            rows.append((split_index, row))
    joined = [" ".join(different) for different in captions]
    return Gallery(splits, list(index_of), titles, joined, viewpoints, np.array(patents, dtype=np.int64), rows)


def _queries(context: EvaluationContext, gallery: Gallery) -> Queries:
    index_of = {number: index for index, number in enumerate(gallery.numbers)}
    cited_by: dict[str, set[str]] = {}
    for number, cited in zip(context.views.patent_numbers, context.views.cited_by_examiner, strict=True):
        cited_by.setdefault(number, set()).update(cited or ())
    numbers = [number for number in gallery.numbers if number in cited_by]
    right = [
        sorted(index_of[other] for other in cited_by[number] - {number} if other in index_of) for number in numbers
    ]
    indices = np.array([index_of[number] for number in numbers], dtype=np.int64)
    return Queries(numbers, indices, Answers.listed(right, own=indices))


def _ranks(context: EvaluationContext, gallery: Gallery, queries: Queries) -> dict[str, Ranks]:
    """Column → ranks of the cited patents, for every encoder, and for BM25 on titles if there are titles.

    The settings `fusion` and `projection` each add a column.
    """
    config = context.config

    def rank(scores: Scores) -> Ranks:
        return all_ranks(scores, queries.answers, len(gallery.numbers), max_chunk_mb=context.config.max_chunk_mb)

    views_of_queries = gallery.views_of(queries.indices)

    def scores_of(column: str, features: np.ndarray) -> Scores:
        weights = view_weights(context, column).of(gallery.viewpoints) if config.scoring == "weighted" else None
        return PatentScores(
            context.tensor(features),
            gallery.patents,
            views_of_queries,
            scoring=config.scoring,
            weights=weights,
            max_chunk_mb=config.max_chunk_mb,
        )

    def by_words(texts: list[str]) -> Scores:
        return Bm25(texts).scores([texts[index] for index in queries.indices])

    features = {column: _features(context, column, gallery) for column in context.encoders}
    ranks = {column: rank(scores_of(column, values)) for column, values in features.items()}
    if config.fusion == "rrf":
        texts = [by_words(channel) for channel in (gallery.titles, gallery.captions) if any(channel)]
        ranks[FUSED] = rank(fuse([scores_of(MODEL, features[MODEL]), *texts]))
    if config.projection == "class_texts":
        ranks[PROJECTED] = rank(scores_of(MODEL, project(features[MODEL], class_text_axes(context, MODEL))))
    if any(gallery.titles):
        ranks[_BM25] = rank(by_words(gallery.titles))
    return ranks


def _features(context: EvaluationContext, column: str, gallery: Gallery) -> np.ndarray:
    """(num_views, embed_dim) float32, the features of the gallery's views."""
    parts = []
    for split_index, split in enumerate(gallery.splits):
        rows = [row for view_split, row in gallery.views if view_split == split_index]
        parts.append(context.image_features(column, split).features[rows])
    return np.concatenate(parts)


def _table(context: EvaluationContext, gallery: Gallery, queries: Queries, ranks: dict[str, Ranks]) -> dict[str, Any]:
    num_candidates, num_right = len(gallery.numbers) - 1, queries.answers.num_right
    answered = num_right > 0
    terms = {
        "split": context.views.split,
        "gallery_size": num_candidates,
        "num_queries": len(queries.numbers),
        "num_patents": len(queries.numbers),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right[answered].mean()), 4),
        "positives_rule": "US designs in the gallery that the examiner cited against the query; what the applicant "
        "cited, and relatives that nobody cited, count as wrong",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": [
            f"gallery: patents of {', '.join(gallery.splits)}, but the query; scoring of two patents from their views: "
            f"{context.config.scoring}",
            "R@k: share of the cited patents among the first k; hit@k: at least one of them",
            *([f"BM25 on titles: the query's title against the others'; {BM25_RULE}"] if _BM25 in ranks else []),
            *([f"rank fusion: {FUSION_RULE}; channels: images, titles, captions"] if FUSED in ranks else []),
            *([f"class-text axes: {AXES_RULE}"] if PROJECTED in ranks else []),
        ],
    }
    return tabulate(
        title="What the examiner cited",
        terms=terms,
        rows=_rows(ranks, num_right, num_candidates, context.config.cutoffs),
        bootstrap=context.bootstrap(np.array(queries.numbers)[answered]),
    )


def _rows(
    ranks: dict[str, Ranks], num_right: np.ndarray, num_candidates: int, cutoffs: tuple[int, ...]
) -> dict[str, Row]:
    """The share of cited patents found (R@k), whether any was found (hit@k), and the mean reciprocal rank."""
    answered = num_right > 0
    rows = {}
    for k in cutoffs:
        rows[f"R@{k}"] = Row(
            {column: column_ranks.share_found(k)[answered] for column, column_ranks in ranks.items()},
            {"chance": min(1.0, k / num_candidates)},
        )
    for k in cutoffs:
        rows[f"hit@{k}"] = Row(
            {column: (column_ranks.best[answered] <= k).astype(np.float64) for column, column_ranks in ranks.items()},
            {"chance": chance_recall_at_k(num_right, num_candidates, k)},
        )
    rows["MRR"] = Row(
        {column: 1 / column_ranks.best[answered] for column, column_ranks in ranks.items()},
        {"chance": chance_reciprocal_rank(num_right, num_candidates)},
    )
    for column, name in ((FUSED, "rank fusion"), (PROJECTED, "class-text axes")):
        if column in ranks:
            k = cutoffs[-1]
            difference = ranks[column].share_found(k)[answered] - ranks[MODEL].share_found(k)[answered]
            rows[f"R@{k}, {name} minus this model"] = Row({column: difference}, {})
    return rows


def _by_thirds(
    context: EvaluationContext,
    gallery: Gallery,
    queries: Queries,
    ranks: dict[str, Ranks],
    thirds: ClassThirds | None,
) -> dict[str, Any]:
    """The main table, with the values of the largest cutoff by thirds of the classes."""
    num_right = queries.answers.num_right
    answered = np.flatnonzero(num_right > 0)
    rows_of_views = np.array([row for _, row in gallery.views])[gallery.first_views[queries.indices]]

    def rows_of(positions: np.ndarray) -> dict[str, Row]:
        chosen = answered[positions]
        of_part = {column: column_ranks.only(chosen) for column, column_ranks in ranks.items()}
        rows = _rows(of_part, num_right[chosen], len(gallery.numbers) - 1, context.config.cutoffs[-1:])
        return {name: row for name, row in rows.items() if MODEL in row.values}

    return add_thirds(context, _table(context, gallery, queries, ranks), thirds, rows_of_views[answered], rows_of)


def _failures(
    context: EvaluationContext, gallery: Gallery, queries: Queries, best: np.ndarray, thirds: ClassThirds | None
) -> Failures:
    """The patents none of whose cited patents is among the first ones, by cause."""
    config = context.config
    views_of_queries = gallery.views_of(queries.indices)
    weights = view_weights(context, MODEL).of(gallery.viewpoints) if config.scoring == "weighted" else None
    scores = PatentScores(
        context.tensor(_features(context, MODEL, gallery)),
        gallery.patents,
        views_of_queries,
        scoring=config.scoring,
        weights=weights,
        max_chunk_mb=config.max_chunk_mb,
    )
    answered, k = np.flatnonzero(best > 0), config.cutoffs[-1]
    wrong = best_wrong(scores, queries.answers, len(gallery.numbers), max_chunk_mb=config.max_chunk_mb)[answered]
    pool = Pool(tuple(context.views_of(split) for split in gallery.splits))
    numbers = np.array([pool.starts[split] + row for split, row in gallery.views])  # of the gallery's views in the pool
    patent_of = dict(zip(numbers.tolist(), gallery.patents.tolist(), strict=True))
    first = numbers[gallery.first_views]

    def is_right(query: int, view: int) -> bool:
        right = queries.answers.pairs(int(answered[query]), int(answered[query]) + 1)[1]
        return patent_of.get(view, NOTHING) in right

    return context.failures(
        AnsweredQueries(
            title="What the examiner cited",
            miss=f"none of the first {k} patents was cited; a patent is described by its first view",
            pool=pool,
            views=first[queries.indices[answered]],
            is_missed=best[answered] > k,
            notes=lambda query: f"first cited patent at rank {int(best[answered[query]]):,}",
            thirds=thirds.of_view[first[queries.indices[answered]]] if thirds else None,
            wrong=np.where(wrong >= 0, first[wrong], NOTHING),
            is_right=is_right,
            is_of_patents=True,
        )
    )


def _table_by_scoring(context: EvaluationContext, gallery: Gallery, queries: Queries) -> dict[str, Any]:
    """Every scoring, for queries of one view, of the front alone and of all views."""
    views = gallery.views_of(queries.indices)
    answered = queries.answers.num_right > 0
    kinds = {**one_view_each(views, gallery.viewpoints, context.config.seed), "all_views": views}
    features = {column: _features(context, column, gallery) for column in compared_columns(context)}
    terms = {
        "split": context.views.split,
        "gallery_size": len(gallery.numbers) - 1,
        "num_queries": len(queries.numbers),
        "num_patents": len(queries.numbers),
        "num_queries_without_positive": int((~answered).sum()),
        "positives_rule": "US designs in the gallery that the examiner cited against the query",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": [KINDS_NOTE, "R@k: share of the cited patents among the first k"],
    }
    return tabulate(
        title="What the examiner cited, by views of the query and scoring",
        terms=terms,
        rows=scoring_rows(
            context,
            features,
            gallery.patents,
            gallery.viewpoints,
            PatentQueries(kinds, queries.answers, leave_out_own=False),
        ),
        bootstrap=context.bootstrap(np.array(queries.numbers)[answered]),
    )


def _examples(context: EvaluationContext, gallery: Gallery, queries: Queries, best: np.ndarray) -> list[Example]:
    """The best and the worst queries with the patents nearest to them."""
    features, indices = context.tensor(_features(context, MODEL, gallery)), queries.indices
    weights = view_weights(context, MODEL).of(gallery.viewpoints) if context.config.scoring == "weighted" else None
    first_view = {int(patent): view for view, patent in reversed(list(enumerate(gallery.patents)))}
    examples = []
    for end, chosen in best_and_worst(best, np.arange(len(indices)), context.config.num_examples).items():
        for query in chosen:
            one = indices[query : query + 1]
            patent_scores = PatentScores(
                features, gallery.patents, gallery.views_of(one), scoring=context.config.scoring, weights=weights
            )
            scores = patent_scores(0, 1)[0].cpu().numpy()
            scores[indices[query]] = -np.inf
            right = set(queries.answers.pairs(query, query + 1)[1].tolist())
            cards = tuple(
                _card(context, gallery, first_view, int(other), float(scores[other]), int(other) in right)
                for other in np.argsort(-scores, kind="stable")[: min(_NUM_SHOWN, len(scores) - 1)]
            )
            note = f"first cited patent at rank {int(best[query]):,}; {len(right)} cited in the gallery"
            card = _card(context, gallery, first_view, int(indices[query]))
            examples.append(Example(f"What the examiner cited: the {end} queries", card, note, cards))
    return examples


def _card(
    context: EvaluationContext,
    gallery: Gallery,
    first_view: dict[int, int],
    patent: int,
    score: float | None = None,
    is_right: bool | None = None,
) -> Card:
    """A patent shown by its first view."""
    split, row = gallery.views[first_view[patent]]
    jpeg = context.views_of(gallery.splits[split]).images[row]
    return Card(gallery.numbers[patent], gallery.titles[patent], jpeg, score, is_right)
