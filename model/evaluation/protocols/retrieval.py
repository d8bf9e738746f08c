"""Task retrieval: find the drawing that a caption describes, the caption of a drawing, and the patent of a caption.

Every view is a query once in each direction. A candidate is right if it has exactly the caption of the query, so all
views that share a caption count. The gallery is the whole split, or small galleries of one view each of a fixed number
of patents, drawn with a seed. Everything is measured with the captions as they are and with the title of the patent
removed, since a title in a caption can be matched without understanding the drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from model.clip.fusion import RULE as FUSION_RULE
from model.clip.fusion import fuse
from model.clip.patent_scores import PatentPool
from model.dataset.bm25 import RULE as BM25_RULE
from model.dataset.bm25 import Bm25
from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.failures.counting import Failures
from model.evaluation.failures.queries import AnsweredQueries, Pool
from model.evaluation.measures.chance import chance_recall_at_k, chance_reciprocal_rank
from model.evaluation.measures.metrics import Answers, Scores, best_ranks, best_wrong, median_rank, recall_at_k
from model.evaluation.measures.result_table import FUSED, MODEL, Row, tabulate
from model.evaluation.measures.titles import WITHOUT_TITLE_RULE, without_title
from model.evaluation.protocols.class_thirds import ClassThirds, add_thirds
from model.evaluation.protocols.patent_queries import compared_columns
from model.evaluation.protocols.ranking import (
    best_and_worst,
    choose_rows,
    nearest,
    number_texts,
    recall_curves,
    tie_rule,
)

DIRECTIONS = {"text_to_image": "Text → image", "image_to_text": "Image → text"}
POSITIVES_RULE = "a view answers a query where its caption is the query's, letter for letter"
BM25_NOTE = (
    "BM25 on titles: each drawing is its patent's title, so the views of a patent tie and count against each other; "
    f"{BM25_RULE}"
)
_BM25 = "bm25_title"
_MAX_SCORES = 2**24  # of texts with views in memory at a time, when patents are scored
_NUM_SHOWN = 4  # candidates shown with each example


@dataclass(frozen=True)
class Pairing:
    """The views with the captions that one protocol uses.

    Attributes:
        key: Suffix in the names of tables and files; empty for captions as they are.
        heading: Suffix in the titles of tables.
        rule: What was done to the captions; empty if nothing was.
        texts: (num_views,) one caption a view.
        groups: (num_views,) int64, equal for equal captions; the views of a group are right answers to each other.
    """

    key: str
    heading: str
    rule: str
    texts: list[str]
    groups: np.ndarray


def measure(context: EvaluationContext) -> TaskResult:
    """Both directions, on the whole split and on small galleries, with titles and without."""
    views, config = context.views, context.config
    if not context.dataset.is_captioned:
        return TaskResult(reason=f"the views of {context.dataset.name} have no captions")
    result = TaskResult()
    thirds = ClassThirds.of_split(context)
    all_rows = np.arange(len(views))
    rows = choose_rows(len(views), max_queries=config.max_queries, seed=config.seed)
    patents = np.array(views.patent_numbers)[rows]
    galleries = draw_galleries(
        views.patent_numbers, size=config.gallery_size, num=config.num_galleries, seed=config.seed
    )
    for pairing in _pairings(context):
        features = _features(context, pairing)
        num_right = np.bincount(pairing.groups)[pairing.groups[rows]]
        for direction, heading in DIRECTIONS.items():
            name = f"{direction}{pairing.key}"
            # The whole split.
            ranks = _ranks(context, direction, pairing, features, rows, all_rows)
            title = f"{heading}, whole split{pairing.heading}"
            table = _table(context, title, ranks, patents, num_right, pairing, [len(views)])
            result.tables[name] = _by_thirds(context, table, thirds, ranks, rows, num_right, len(views))
            result.curves[name] = recall_curves(ranks, num_right, len(views))
            if not pairing.key:
                result.failures[name] = _failures(
                    context, direction, title, ranks[MODEL], features[MODEL], rows, pairing, thirds
                )
                result.examples += _examples(context, direction, ranks[MODEL], features[MODEL], rows, pairing)
            # Small galleries.
            if galleries:
                table = _table_of_small_galleries(context, direction, pairing, features, galleries, thirds)
                result.tables[f"{name}_of_{config.gallery_size}"] = table
        result.tables[f"text_to_patent{pairing.key}"] = _table_of_patents(context, pairing, features, rows, thirds)
    return result


def _pairings(context: EvaluationContext) -> list[Pairing]:
    views = context.views
    texts = views.texts(context.config.caption)
    bare = [without_title(text, title) for text, title in zip(texts, views.titles, strict=True)]
    pairings = [Pairing("", "", "", texts, number_texts(texts))]
    if bare != texts:
        pairings.append(
            Pairing(
                "_without_title", ", titles taken out of the captions", WITHOUT_TITLE_RULE, bare, number_texts(bare)
            )
        )
    return pairings


def _features(context: EvaluationContext, pairing: Pairing) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Column → (num_views, embed_dim) features of the images and of the captions."""
    kind = f"{context.views.split}-{context.config.caption}{pairing.key}"
    return {
        column: (context.image_features(column).features, context.text_features(column, pairing.texts, kind))
        for column in context.encoders
    }


def draw_galleries(patent_numbers: Sequence[str], *, size: int, num: int, seed: int) -> list[np.ndarray]:
    """Rows of small galleries: `size` patents drawn at random, with one view of each, also drawn.

    Returns:
        `num` arrays of ascending rows; none if there are fewer than `size` patents.
    """
    patents = number_texts(patent_numbers)
    if patents.max(initial=-1) + 1 < size:
        return []
    generator = np.random.default_rng(seed)
    galleries = []
    for _ in range(num):
        order = generator.permutation(len(patents))
        firsts = order[np.sort(np.unique(patents[order], return_index=True)[1])]  # one view of each patent, shuffled
        galleries.append(np.sort(firsts[:size]))
    return galleries


def _ranks(
    context: EvaluationContext,
    direction: str,
    pairing: Pairing,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    rows: np.ndarray,
    gallery: np.ndarray,
) -> dict[str, np.ndarray]:
    """Column → (num_queries,) rank of the best right candidate.

    Args:
        rows: (num_queries,) rows of the queries.
        gallery: (num_candidates,) rows of the candidates.
    """
    answers = Answers.by_group(pairing.groups[rows], pairing.groups[gallery])

    def ranks_by(scores: Scores) -> np.ndarray:
        return best_ranks(scores, answers, len(gallery), max_chunk_mb=context.config.max_chunk_mb)

    ranks = {}
    for column, (images, texts) in features.items():
        queries, candidates = (texts, images) if direction == "text_to_image" else (images, texts)
        ranks[column] = ranks_by(context.scores(queries[rows], candidates[gallery]))
    if any(context.views.titles):
        titles = [title or "" for title in context.views.titles]
        # A drawing is represented by the title of its patent.
        sought, documents = (pairing.texts, titles) if direction == "text_to_image" else (titles, pairing.texts)
        by_words = Bm25([documents[row] for row in gallery]).scores([sought[row] for row in rows])
        ranks[_BM25] = ranks_by(by_words)
        if context.config.fusion == "rrf":
            images, texts = features[MODEL]
            queries, candidates = (texts, images) if direction == "text_to_image" else (images, texts)
            ranks[FUSED] = ranks_by(fuse([context.scores(queries[rows], candidates[gallery]), by_words]))
    return ranks


def _table(
    context: EvaluationContext,
    title: str,
    ranks: Mapping[str, np.ndarray],
    patents: np.ndarray,
    num_right: np.ndarray,
    pairing: Pairing,
    gallery_sizes: list[int],
) -> dict[str, Any]:
    """The result table of one direction and protocol; queries without a right candidate are counted and left out.

    Args:
        ranks: Column → (num_queries,) rank of the best right candidate.
        patents: (num_queries,) patent numbers.
        num_right: (num_queries,) number of right candidates.
        gallery_sizes: Size of each gallery; all are equal.
    """
    answered = ranks[MODEL] > 0
    size = gallery_sizes[0]
    rows = _rows({column: best[answered] for column, best in ranks.items()}, num_right, size, context.config.cutoffs)
    if FUSED in ranks:
        k = context.config.cutoffs[-1]
        fused, plain = ((ranks[column][answered] <= k).astype(np.float64) for column in (FUSED, MODEL))
        rows[f"R@{k}, rank fusion minus this model"] = Row({FUSED: fused - plain}, {})
    terms = {  # what they hold for
        "split": context.views.split,
        "gallery_size": size,
        "num_galleries": len(gallery_sizes),
        "num_queries": len(answered),
        "num_patents": len(set(patents.tolist())),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": POSITIVES_RULE,
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": _notes(pairing, ranks),
    }
    medians = {column: median_rank(best) for column, best in ranks.items()}
    return tabulate(
        title=title,
        terms=terms,
        rows=rows,
        bootstrap=context.bootstrap(patents[answered]),
        ranks={"median rank": medians},
    )


def _rows(
    ranks: Mapping[str, np.ndarray], num_right: np.ndarray, gallery_size: int, cutoffs: Sequence[int]
) -> dict[str, Row]:
    """Recall at each cutoff, and the mean reciprocal rank.

    Args:
        ranks: Column → (num_answered,) rank of the best right candidate, of the queries that have one.
        num_right: Numbers of right candidates, for chance; those of queries without any are left out.
        gallery_size: Number of candidates.
        cutoffs: The values of k.
    """
    rows = {
        f"R@{k}": Row(
            values={column: (best <= k).astype(np.float64) for column, best in ranks.items()},
            constants={"chance": chance_recall_at_k(num_right, gallery_size, k)},
        )
        for k in cutoffs
    }
    rows["MRR"] = Row(
        values={column: 1 / best for column, best in ranks.items()},
        constants={"chance": chance_reciprocal_rank(num_right, gallery_size)},
    )
    return rows


def _by_thirds(
    context: EvaluationContext,
    table: dict[str, Any],
    thirds: ClassThirds | None,
    ranks: Mapping[str, np.ndarray],
    rows: np.ndarray,
    num_right: np.ndarray,
    gallery_size: int,
) -> dict[str, Any]:
    """A table with recall at the largest cutoff and the mean reciprocal rank by thirds of the classes.

    Args:
        ranks: Column → (num_queries,) rank of the best right candidate.
        rows: (num_queries,) rows of the queries.
        num_right: (num_queries,) number of right candidates.
        gallery_size: Number of candidates.
    """
    answered = np.flatnonzero(ranks[MODEL] > 0)

    def rows_of(positions: np.ndarray) -> dict[str, Row]:
        chosen = answered[positions]
        best = {column: column_ranks[chosen] for column, column_ranks in ranks.items()}
        return _rows(best, num_right[chosen], gallery_size, context.config.cutoffs[-1:])

    return add_thirds(context, table, thirds, rows[answered], rows_of)


def _failures(
    context: EvaluationContext,
    direction: str,
    title: str,
    ranks: np.ndarray,
    features: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    pairing: Pairing,
    thirds: ClassThirds | None,
) -> Failures:
    """The misses of one direction by cause; the arguments are those of `_examples`, and the thirds of the classes."""
    images, texts = features
    queries, candidates = (texts, images) if direction == "text_to_image" else (images, texts)
    wrong = best_wrong(
        context.scores(queries[rows], candidates),
        Answers.by_group(pairing.groups[rows], pairing.groups),
        len(candidates),
        max_chunk_mb=context.config.max_chunk_mb,
    )
    k = context.config.cutoffs[-1]
    return context.failures(
        AnsweredQueries(
            title=title,
            miss=f"none of the first {k} candidates is right",
            pool=Pool((context.views,)),
            views=rows,
            is_missed=ranks > k,
            notes=lambda query: f"rank {int(ranks[query]):,}: {pairing.texts[rows[query]]}",
            thirds=thirds.of_view[rows] if thirds else None,
            wrong=wrong,
            is_right=lambda query, view: bool(pairing.groups[view] == pairing.groups[rows[query]]),
            captions=[pairing.texts[row] for row in rows],
        )
    )


def _notes(pairing: Pairing, ranks: Mapping[str, np.ndarray]) -> list[str]:
    """What was done to the captions, and how columns that are not the model's came about."""
    return [
        *([f"captions: {pairing.rule}"] if pairing.rule else []),
        *([BM25_NOTE] if _BM25 in ranks else []),
        *([f"rank fusion: {FUSION_RULE}; channels: this model, BM25 on titles"] if FUSED in ranks else []),
    ]


def _table_of_patents(
    context: EvaluationContext,
    pairing: Pairing,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    rows: np.ndarray,
    thirds: ClassThirds | None,
) -> dict[str, Any]:
    """Whole patents as candidates for a caption, scored by their nearest view (max) or by the mean of their views.

    Args:
        features: Column → (num_views, embed_dim) features of the images and of the captions.
        rows: (num_queries,) rows of the views whose captions are the queries.
        thirds: Thirds of the classes.
    """
    config, views = context.config, context.views
    answers = _patents_with_caption(pairing.groups, views.patent_ids, rows)
    pool = PatentPool(views.patent_ids)
    k, num_patents = config.cutoffs[-1], len(pool)
    table_rows: dict[str, Row] = {}
    reciprocal: dict[str, dict[str, np.ndarray]] = {}
    for scoring in ("max", "mean"):
        best = {}
        for column in compared_columns(context):
            images, texts = (context.tensor(values) for values in features[column])
            scores = partial(_scores_of_patents, texts[rows], images, pool, scoring == "mean")
            best[column] = best_ranks(scores, answers, num_patents, max_chunk_mb=config.max_chunk_mb)
        reciprocal[scoring] = {column: 1 / ranks for column, ranks in best.items()}
        found = {column: (ranks <= k).astype(np.float64) for column, ranks in best.items()}
        chance = chance_recall_at_k(answers.num_right, num_patents, k)
        table_rows[f"R@{k}, {scoring}"] = Row(found, {"chance": chance})
        chance = chance_reciprocal_rank(answers.num_right, num_patents)
        table_rows[f"MRR, {scoring}"] = Row(reciprocal[scoring], {"chance": chance})
    difference = {column: values - reciprocal["max"][column] for column, values in reciprocal["mean"].items()}
    table_rows["MRR, mean minus max"] = Row(difference, {})
    patents = np.array(views.patent_numbers)[rows]
    table = tabulate(
        title=f"Text → patent{pairing.heading}",
        terms=_terms_of_patents(context, pairing, answers, num_patents, patents),
        rows=table_rows,
        bootstrap=context.bootstrap(patents),
    )

    def rows_of(positions: np.ndarray) -> dict[str, Row]:
        return {
            f"MRR, {scoring}": Row(
                {column: values[positions] for column, values in of_scoring.items()},
                {"chance": chance_reciprocal_rank(answers.num_right[positions], num_patents)},
            )
            for scoring, of_scoring in reciprocal.items()
        }

    return add_thirds(context, table, thirds, rows, rows_of)


def _terms_of_patents(
    context: EvaluationContext, pairing: Pairing, answers: Answers, num_patents: int, patents: np.ndarray
) -> dict[str, Any]:
    """The terms under which patents are found by captions.

    Args:
        answers: Which patents are right for each query.
        num_patents: Number of candidates.
        patents: (num_queries,) patent numbers of the queries.
    """
    return {
        "split": context.views.split,
        "gallery_size": num_patents,
        "num_queries": len(patents),
        "num_patents": len(set(patents.tolist())),
        "num_queries_without_positive": 0,
        "mean_positives": round(float(answers.num_right.mean()), 4),
        "positives_rule": "a patent answers a query if one of its views has the query's caption, letter for letter",
        "tie_rule": tie_rule(),
        "interval": context.interval_rule,
        "notes": [f"captions: {pairing.rule}"] if pairing.rule else [],
    }


def _scores_of_patents(
    texts: torch.Tensor, images: torch.Tensor, pool: PatentPool, mean: bool, first: int, last: int
) -> torch.Tensor:
    """(num_queries, num_patents) scores of a range of texts; bounded by taking few texts at a time."""
    step = max(1, _MAX_SCORES // max(1, len(images)))
    parts = [
        pool.pool(texts[start : min(start + step, last)] @ images.T, mean=mean) for start in range(first, last, step)
    ]
    return torch.cat(parts)


def _patents_with_caption(groups: np.ndarray, patents: np.ndarray, rows: np.ndarray) -> Answers:
    """The patents that have a view with the caption of each query.

    Args:
        groups: (num_views,) number of each view's caption.
        patents: (num_views,) patent of each view.
        rows: (num_queries,) rows of the queries.
    """
    pairs = np.unique(np.stack([groups, patents], axis=1), axis=0)  # ordered by caption
    starts = np.searchsorted(pairs[:, 0], groups[rows], side="left")
    ends = np.searchsorted(pairs[:, 0], groups[rows], side="right")
    return Answers(starts, ends, pairs[:, 1])


def _table_of_small_galleries(
    context: EvaluationContext,
    direction: str,
    pairing: Pairing,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    galleries: list[np.ndarray],
    thirds: ClassThirds | None,
) -> dict[str, Any]:
    """The result table of all small galleries together.

    The mean over all queries is the mean over the galleries, since the galleries have the same size.
    """
    parts = [_ranks(context, direction, pairing, features, gallery, gallery) for gallery in galleries]
    ranks = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    groups_of_galleries = [pairing.groups[gallery] for gallery in galleries]
    num_right = np.concatenate([np.bincount(groups)[groups] for groups in groups_of_galleries])
    patents = np.array(context.views.patent_numbers)[np.concatenate(galleries)]
    size = len(galleries[0])
    title = f"{DIRECTIONS[direction]}, galleries of {size:,}{pairing.heading}"
    table = _table(context, title, ranks, patents, num_right, pairing, [size] * len(galleries))
    means = [recall_at_k(part[MODEL], context.config.cutoffs[0]) for part in parts]
    table["terms"]["notes"].append(
        f"{len(galleries)} galleries, each one view of {size:,} patents, drawn with seed {context.config.seed}; all "
        f"of a gallery ask; R@{context.config.cutoffs[0]} of this model from {100 * min(means):.2f} to "
        f"{100 * max(means):.2f} %"
    )
    return _by_thirds(context, table, thirds, ranks, np.concatenate(galleries), num_right, size)


def _examples(
    context: EvaluationContext,
    direction: str,
    ranks: np.ndarray,
    features: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    pairing: Pairing,
) -> list[Example]:
    """The best and the worst queries of one direction with what was found for them, each caption once."""
    views, groups = context.views, pairing.groups
    images, texts = features
    is_text = direction == "text_to_image"
    queries, candidates = (texts, images) if is_text else (images, texts)
    examples = []
    for end, chosen in best_and_worst(ranks, groups[rows], context.config.num_examples).items():
        for query in chosen:
            row = int(rows[query])
            # A caption is shown once, however many views have it.
            found = nearest(queries[row], candidates, _NUM_SHOWN, groups=None if is_text else groups)
            cards = tuple(
                Card(
                    views.view_ids[other],
                    pairing.texts[other],
                    views.images[other] if is_text else None,
                    score,
                    bool(groups[other] == groups[row]),
                )
                for other, score in found
            )
            card = Card(views.view_ids[row], pairing.texts[row], views.images[row])
            heading = f"{DIRECTIONS[direction]}: the {end} queries"
            examples.append(Example(heading, card, f"rank {int(ranks[query]):,}", cards))
    return examples
