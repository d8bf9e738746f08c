"""Task retrieval: find the drawing that a caption describes, and the caption of a drawing.

Every view asks once in each direction. A candidate is right where its caption is the query's, letter for letter, so
views that share a caption all count. The gallery is the whole split, or small galleries of one view each of so many
patents, drawn with a seed; the captions stand as they are, or with the title of the patent taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.measures.bm25 import RULE as BM25_RULE
from model.evaluation.measures.bm25 import Bm25
from model.evaluation.measures.chance import chance_recall_at_k, chance_reciprocal_rank
from model.evaluation.measures.metrics import (
    Answers,
    Scores,
    best_ranks,
    median_rank,
    recall_at_k,
)
from model.evaluation.measures.result_table import MODEL, Row, tabulate
from model.evaluation.measures.titles import WITHOUT_TITLE_RULE, without_title
from model.evaluation.protocols.ranking import choose_ends, choose_rows, nearest, number_texts, recall_curves, tie_rule

DIRECTIONS = {"text_to_image": "Text → image", "image_to_text": "Image → text"}
POSITIVES_RULE = "a view answers a query where its caption is the query's, letter for letter"
BM25_NOTE = (
    "BM25 on titles: each drawing is its patent's title, so the views of a patent tie and count against each other; "
    f"{BM25_RULE}"
)
_BM25 = "bm25_title"
_NUM_SHOWN = 4  # candidates beside each example


@dataclass(frozen=True)
class Pairing:
    """Views and their captions, as one protocol has them.

    Attributes:
        key: In the names of tables and files; empty for captions as they are.
        heading: In the titles of tables.
        rule: What was done to the captions; empty for nothing.
        texts: (num_views,) one caption a view.
        groups: (num_views,) number of each view's caption; views of one group answer each other.
    """

    key: str
    heading: str
    rule: str
    texts: list[str]
    groups: np.ndarray


def measure(trial: EvaluationContext) -> TaskResult:
    """Both directions, on the whole split and on small galleries, with titles and without."""
    views = trial.views
    if not trial.dataset.is_captioned:
        return TaskResult(reason=f"the views of {trial.dataset.name} have no captions")
    result = TaskResult()
    for pairing in _pairings(trial):
        rows = choose_rows(len(views), max_queries=trial.config.max_queries, seed=trial.config.seed)
        patents = np.array(views.patent_numbers)[rows]
        features = {
            entrant: (
                trial.image_features(entrant).features,
                trial.text_features(entrant, pairing.texts, f"{views.split}-{trial.config.caption}{pairing.key}"),
            )
            for entrant in trial.entrants
        }
        everything = np.arange(len(views))
        for direction, heading in DIRECTIONS.items():
            ranks = _ranks(trial, direction, pairing, features, rows, everything)
            name = f"{direction}{pairing.key}"
            num_right = np.bincount(pairing.groups)[pairing.groups[rows]]
            result.tables[name] = _table(
                trial, f"{heading}, whole split{pairing.heading}", ranks, patents, num_right, pairing, [len(views)]
            )
            result.curves[name] = recall_curves(ranks, num_right, len(views))
            if not pairing.key:
                result.examples += _examples(trial, direction, ranks[MODEL], features[MODEL], rows, pairing)
            drawn = draw_galleries(
                views.patent_numbers,
                size=trial.config.gallery_size,
                num=trial.config.num_galleries,
                seed=trial.config.seed,
            )
            if drawn:
                small = f"{name}_of_{trial.config.gallery_size}"
                result.tables[small] = _on_small_galleries(trial, direction, pairing, features, drawn)
    return result


def _pairings(trial: EvaluationContext) -> list[Pairing]:
    views = trial.views
    texts = views.texts(trial.config.caption)
    bare = [without_title(text, title) for text, title in zip(texts, views.titles, strict=True)]
    pairings = [Pairing("", "", "", texts, number_texts(texts))]
    if bare != texts:
        pairings.append(
            Pairing(
                "_without_title", ", titles taken out of the captions", WITHOUT_TITLE_RULE, bare, number_texts(bare)
            )
        )
    return pairings


def draw_galleries(patent_numbers: Sequence[str], *, size: int, num: int, seed: int) -> list[np.ndarray]:
    """Rows of small galleries: one view each of `size` patents, both drawn; none where there are fewer patents.

    Returns:
        `num` arrays of ascending rows.
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
    trial: EvaluationContext,
    direction: str,
    pairing: Pairing,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    rows: np.ndarray,
    gallery: np.ndarray,
) -> dict[str, np.ndarray]:
    """Column → (num_queries,) ranks of the best right candidate, where `rows` ask and `gallery` answers."""
    answers = Answers.by_group(pairing.groups[rows], pairing.groups[gallery])

    def ranks_by(scores: Scores) -> np.ndarray:
        return best_ranks(scores, answers, len(gallery), max_chunk_mb=trial.config.max_chunk_mb)

    ranks = {}
    for entrant, (images, texts) in features.items():
        asking, answering = (texts, images) if direction == "text_to_image" else (images, texts)
        ranks[entrant] = ranks_by(trial.scores(asking[rows], answering[gallery]))
    if any(trial.views.titles):
        titles = [title or "" for title in trial.views.titles]
        words, documents = (pairing.texts, titles) if direction == "text_to_image" else (titles, pairing.texts)
        ranks[_BM25] = ranks_by(Bm25([documents[row] for row in gallery]).scores([words[row] for row in rows]))
    return ranks


def _table(
    trial: EvaluationContext,
    title: str,
    ranks: Mapping[str, np.ndarray],
    patents: np.ndarray,
    num_right: np.ndarray,
    pairing: Pairing,
    gallery_sizes: list[int],
) -> dict[str, Any]:
    """The figures of one direction and protocol; queries that nothing answers are counted and left out."""
    answered = ranks[MODEL] > 0
    size = gallery_sizes[0]
    rows = {
        f"R@{k}": Row(
            values={column: (of[answered] <= k).astype(np.float64) for column, of in ranks.items()},
            constants={"chance": chance_recall_at_k(num_right, size, k)},
        )
        for k in trial.config.cutoffs
    }
    rows["MRR"] = Row(
        values={column: 1 / of[answered] for column, of in ranks.items()},
        constants={"chance": chance_reciprocal_rank(num_right, size)},
    )
    terms = {
        "split": trial.views.split,
        "gallery_size": size,
        "num_galleries": len(gallery_sizes),
        "num_queries": len(answered),
        "num_patents": len(set(patents.tolist())),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": POSITIVES_RULE,
        "tie_rule": tie_rule(),
        "interval": trial.interval_rule,
        "notes": [
            *([f"captions: {pairing.rule}"] if pairing.rule else []),
            *([BM25_NOTE] if _BM25 in ranks else []),
        ],
    }
    median = {column: median_rank(of) for column, of in ranks.items()}
    return tabulate(
        title=title,
        terms=terms,
        rows=rows,
        bootstrap=trial.bootstrap(patents[answered]),
        plain={"median rank": median},
    )


def _on_small_galleries(
    trial: EvaluationContext,
    direction: str,
    pairing: Pairing,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    galleries: list[np.ndarray],
) -> dict[str, Any]:
    """The queries of all galleries together: their mean is the mean over galleries, since all are of one size."""
    parts = [_ranks(trial, direction, pairing, features, gallery, gallery) for gallery in galleries]
    ranks = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    of_galleries = [pairing.groups[gallery] for gallery in galleries]
    num_right = np.concatenate([np.bincount(groups)[groups] for groups in of_galleries])
    patents = np.array(trial.views.patent_numbers)[np.concatenate(galleries)]
    size = len(galleries[0])
    title = f"{DIRECTIONS[direction]}, galleries of {size:,}{pairing.heading}"
    table = _table(trial, title, ranks, patents, num_right, pairing, [size] * len(galleries))
    means = [recall_at_k(part[MODEL], trial.config.cutoffs[0]) for part in parts]
    table["terms"]["notes"].append(
        f"{len(galleries)} galleries, each one view of {size:,} patents, drawn with seed {trial.config.seed}; all "
        f"of a gallery ask; R@{trial.config.cutoffs[0]} of this model from {100 * min(means):.2f} to "
        f"{100 * max(means):.2f} %"
    )
    return table


def _examples(
    trial: EvaluationContext,
    direction: str,
    ranks: np.ndarray,
    features: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    pairing: Pairing,
) -> list[Example]:
    """The best and the worst queries of one direction, each caption once, with what was found for them."""
    views, groups = trial.views, pairing.groups
    images, texts = features
    is_text = direction == "text_to_image"
    asking, answering = (texts, images) if is_text else (images, texts)
    examples = []
    for end, places in choose_ends(ranks, groups[rows], trial.config.num_examples).items():
        for place in places:
            row = int(rows[place])
            # A caption is shown once, however many views have it.
            found = nearest(asking[row], answering, _NUM_SHOWN, groups=None if is_text else groups)
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
            query = Card(views.view_ids[row], pairing.texts[row], views.images[row])
            heading = f"{DIRECTIONS[direction]}: the {end} queries"
            examples.append(Example(heading, query, f"rank {int(ranks[place]):,}", cards))
    return examples
