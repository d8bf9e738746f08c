"""Task prior art: with the views of a patent, find the designs that its examiner cited.

Patents are ranked, not views: two patents are as near as their two nearest views.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.bm25 import RULE as BM25_RULE
from model.evaluation.measures.bm25 import Bm25
from model.evaluation.measures.chance import chance_recall_at_k, chance_reciprocal_rank
from model.evaluation.measures.metrics import Answers, Ranks, Scores, all_ranks
from model.evaluation.measures.result_table import MODEL, Row, tabulate
from model.evaluation.protocols.ranking import choose_ends, recall_curves, tie_rule

_BM25 = "bm25_title"
_NUM_SHOWN = 4


@dataclass(frozen=True)
class Gallery:
    """The patents that are searched, with all their views.

    Attributes:
        numbers: Patent numbers, in the order of the splits and of their first view.
        titles: One a patent.
        patents: (num_views,) place in `numbers` of each view's patent.
        views: (num_views,) where each view lies: place of its split in `splits`, and row.
    """

    splits: tuple[str, ...]
    numbers: list[str]
    titles: list[str]
    patents: np.ndarray
    views: list[tuple[int, int]]


def measure(trial: EvaluationContext) -> TaskResult:
    """Every patent of the split asks; the gallery is every other one, and those of further splits in the settings."""
    gallery = _gallery(trial)
    place = {number: index for index, number in enumerate(gallery.numbers)}
    cited_by: dict[str, set[str]] = {}
    for number, cited in zip(trial.views.patent_numbers, trial.views.cited_by_examiner, strict=True):
        cited_by.setdefault(number, set()).update(cited or ())
    asking = [number for number in gallery.numbers if number in cited_by]
    right = [sorted(place[other] for other in cited_by[number] - {number} if other in place) for number in asking]
    own = np.array([place[number] for number in asking], dtype=np.int64)
    answers = Answers.listed(right, own=own)
    answered = answers.num_right > 0
    if not answered.any():
        return TaskResult(
            reason=f"the examiner of none of the {len(asking):,} patents of the split {trial.views.split} cited one of "
            f"the {len(gallery.numbers):,} patents in the gallery"
        )
    ranks: dict[str, Ranks] = {}
    for entrant in trial.entrants:
        ranks[entrant] = _ranks(patent_scores(*_features(trial, entrant, gallery, own)), answers, gallery, trial)
    if any(gallery.titles):
        scores = Bm25(gallery.titles).scores([gallery.titles[index] for index in own])
        ranks[_BM25] = _ranks(scores, answers, gallery, trial)
    num_candidates, num_right = len(gallery.numbers) - 1, answers.num_right
    rows = {}
    for k in trial.config.cutoffs:
        rows[f"R@{k}"] = Row(
            {column: of.share_found(k)[answered] for column, of in ranks.items()},
            {"chance": min(1.0, k / num_candidates)},
        )
    for k in trial.config.cutoffs:
        rows[f"hit@{k}"] = Row(
            {column: (of.best[answered] <= k).astype(np.float64) for column, of in ranks.items()},
            {"chance": chance_recall_at_k(num_right, num_candidates, k)},
        )
    rows["MRR"] = Row(
        {column: 1 / of.best[answered] for column, of in ranks.items()},
        {"chance": chance_reciprocal_rank(num_right, num_candidates)},
    )
    table = tabulate(
        title="What the examiner cited",
        terms={
            "split": trial.views.split,
            "gallery_size": num_candidates,
            "num_queries": len(asking),
            "num_patents": len(asking),
            "num_queries_without_positive": int((~answered).sum()),
            "mean_positives": round(float(num_right[answered].mean()), 4),
            "positives_rule": "US designs in the gallery that the examiner cited against the query; what the applicant "
            "cited, and relatives that nobody cited, count as wrong",
            "tie_rule": tie_rule(),
            "interval": trial.interval_rule,
            "notes": [
                f"gallery: patents of {', '.join(gallery.splits)}, but the query; two patents score as their two "
                "nearest views do",
                "R@k: share of the cited patents among the first k; hit@k: at least one of them",
                *([f"BM25 on titles: the query's title against the others'; {BM25_RULE}"] if _BM25 in ranks else []),
            ],
        },
        rows=rows,
        bootstrap=trial.bootstrap(np.array(asking)[answered]),
    )
    curves = recall_curves({column: of.best for column, of in ranks.items()}, num_right, num_candidates)
    examples = _examples(trial, gallery, own, answers, ranks[MODEL].best)
    return TaskResult(tables={"examiner_citations": table}, curves={"examiner_citations": curves}, examples=examples)


def _gallery(trial: EvaluationContext) -> Gallery:
    splits = (trial.config.split, *(split for split in trial.config.prior_art_splits if trial.has(split)))
    place: dict[str, int] = {}
    titles: list[str] = []
    patents: list[int] = []
    rows: list[tuple[int, int]] = []
    for number_of_split, split in enumerate(splits):
        views = trial.views_of(split)
        marks = views.column("is_front_page")
        for row, patent in enumerate(views.patent_numbers):
            if is_front_page(views.view_ids[row]) or marks[row]:
                continue
            if patent not in place:
                place[patent] = len(place)
                titles.append(views.titles[row] or "")
            patents.append(place[patent])
            rows.append((number_of_split, row))
    return Gallery(splits, list(place), titles, np.array(patents, dtype=np.int64), rows)


def _features(
    trial: EvaluationContext, entrant: str, gallery: Gallery, own: np.ndarray
) -> tuple[torch.Tensor, np.ndarray, np.ndarray, int]:
    """What `patent_scores` takes."""
    parts = []
    for number, split in enumerate(gallery.splits):
        rows = [row for of, row in gallery.views if of == number]
        parts.append(trial.image_features(entrant, split).features[rows])
    return trial.tensor(np.concatenate(parts)), gallery.patents, own, trial.config.max_chunk_mb


def _ranks(scores: Scores, answers: Answers, gallery: Gallery, trial: EvaluationContext) -> Ranks:
    return all_ranks(scores, answers, len(gallery.numbers), max_chunk_mb=trial.config.max_chunk_mb)


def patent_scores(features: torch.Tensor, patents: np.ndarray, asking: np.ndarray, max_chunk_mb: int) -> Scores:
    """Scores of patents: the highest of any view of the one with any view of the other.

    Args:
        features: (num_views, embed_dim) float32.
        patents: (num_views,) int64, patent of each view, from 0 without a gap.
        asking: (num_queries,) the patents that ask.
        max_chunk_mb: Memory for the scores of views that exist at once.
    """
    order = np.argsort(patents, kind="stable")
    sizes = np.bincount(patents)
    by_size = np.argsort(sizes, kind="stable")  # patents with as many views side by side: their views form a block
    starts = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate([order[starts[patent] : starts[patent + 1]] for patent in by_size])
    gallery = features[torch.from_numpy(columns).to(features.device)]
    blocks = [(int(size), int(num)) for size, num in zip(*np.unique(sizes, return_counts=True), strict=True)]
    back = torch.from_numpy(np.argsort(by_size)).to(features.device)
    rows_at_once = max(1, max_chunk_mb * 2**20 // (4 * max(1, len(patents))))

    def of(first: int, last: int) -> torch.Tensor:
        parts: list[torch.Tensor] = []
        waiting: list[int] = []
        for patent in [*asking[first:last].tolist(), None]:
            num_waiting = sum(int(sizes[other]) for other in waiting)
            if waiting and (patent is None or num_waiting + int(sizes[patent]) > rows_at_once):
                parts.append(_of_some(waiting))
                waiting = []
            if patent is not None:
                waiting.append(patent)
        return torch.cat(parts)[:, back]

    def _of_some(some: list[int]) -> torch.Tensor:
        rows = np.concatenate([order[starts[patent] : starts[patent + 1]] for patent in some])
        similarity = features[torch.from_numpy(rows).to(features.device)] @ gallery.T  # (views that ask, all views)
        pooled = []
        begin = 0
        for size, num in blocks:
            pooled.append(similarity[:, begin : begin + size * num].reshape(-1, num, size).amax(dim=2))
            begin += size * num
        of_views = torch.cat(pooled, dim=1)  # (views that ask, patents)
        return torch.stack([part.amax(dim=0) for part in of_views.split([int(sizes[patent]) for patent in some])])

    return of


def _examples(
    trial: EvaluationContext, gallery: Gallery, own: np.ndarray, answers: Answers, best: np.ndarray
) -> list[Example]:
    features, patents, _, max_chunk_mb = _features(trial, MODEL, gallery, own)
    first_view = {int(patent): view for view, patent in reversed(list(enumerate(patents)))}
    examples = []
    for end, places in choose_ends(best, np.arange(len(own)), trial.config.num_examples).items():
        for place in places:
            row = patent_scores(features, patents, own[place : place + 1], max_chunk_mb)(0, 1)[0].cpu().numpy()
            row[own[place]] = -np.inf
            right = set(answers.pairs(place, place + 1)[1].tolist())
            cards = tuple(
                _card(trial, gallery, first_view, int(other), float(row[other]), int(other) in right)
                for other in np.argsort(-row, kind="stable")[: min(_NUM_SHOWN, len(row) - 1)]
            )
            note = f"first cited patent at rank {int(best[place]):,}; {len(right)} of the gallery are cited"
            query = _card(trial, gallery, first_view, int(own[place]), None, None)
            examples.append(Example(f"What the examiner cited: the {end} queries", query, note, cards))
    return examples


def _card(
    trial: EvaluationContext,
    gallery: Gallery,
    first_view: dict[int, int],
    patent: int,
    score: float | None,
    is_right: bool | None,
) -> Card:
    split, row = gallery.views[first_view[patent]]
    jpeg = trial.views_of(gallery.splits[split]).images[row]
    return Card(gallery.numbers[patent], gallery.titles[patent], jpeg, score, is_right)
