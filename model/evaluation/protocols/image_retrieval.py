"""Task image retrieval: with one view of a patent, find its other views."""

from __future__ import annotations

import numpy as np

from model.evaluation.context import Card, EvaluationContext, Example, TaskResult
from model.evaluation.leaks import is_front_page
from model.evaluation.measures.chance import chance_average_precision, chance_recall_at_k
from model.evaluation.measures.metrics import Answers, Ranks, all_ranks
from model.evaluation.measures.result_table import MODEL, Row, tabulate
from model.evaluation.protocols.ranking import choose_ends, choose_rows, nearest, number_texts, recall_curves, tie_rule

_NUM_SHOWN = 4


def measure(trial: EvaluationContext) -> TaskResult:
    """Every view asks; the gallery is every other view of the split, front-page drawings left out of both."""
    views = trial.views
    marks = views.column("is_front_page")
    kept = np.array(
        [row for row, name in enumerate(views.view_ids) if not is_front_page(name) and not marks[row]], dtype=np.int64
    )
    patents = np.array(views.patent_numbers)[kept]
    groups = number_texts([str(number) for number in patents])
    asking = choose_rows(len(kept), max_queries=trial.config.max_queries, seed=trial.config.seed)
    answers = Answers.by_group(groups[asking], groups, own=asking)
    answered = answers.num_right > 0
    if not answered.any():
        return TaskResult(reason=f"no patent of the split {views.split} has a second view")
    ranks: dict[str, Ranks] = {}
    for entrant in trial.entrants:
        features = trial.image_features(entrant).features[kept]
        scores = trial.scores(features[asking], features)
        ranks[entrant] = all_ranks(scores, answers, len(kept), max_chunk_mb=trial.config.max_chunk_mb)
    num_right = answers.num_right
    rows = {
        "mAP": Row(
            {column: of.average_precision[answered] for column, of in ranks.items()},
            {"chance": chance_average_precision(num_right, len(kept) - 1)},
        )
    }
    for k in trial.config.cutoffs:
        rows[f"top-{k}"] = Row(
            {column: (of.best[answered] <= k).astype(np.float64) for column, of in ranks.items()},
            {"chance": chance_recall_at_k(num_right, len(kept) - 1, k)},
        )
    terms = {
        "split": views.split,
        "gallery_size": len(kept) - 1,
        "num_queries": len(asking),
        "num_patents": len(np.unique(patents[asking])),
        "num_queries_without_positive": int((~answered).sum()),
        "mean_positives": round(float(num_right.mean()), 4),
        "positives_rule": "the other views of the query's patent",
        "tie_rule": tie_rule(),
        "interval": trial.interval_rule,
        "notes": [
            "mAP: average precision over the whole ranking, mean over queries; top-k: any right view among the first k",
            f"{len(views) - len(kept):,} front-page drawings left out",
        ],
    }
    table = tabulate(
        title="The other views of a patent",
        terms=terms,
        rows=rows,
        bootstrap=trial.bootstrap(patents[asking][answered]),
    )
    curves = recall_curves({column: of.best for column, of in ranks.items()}, num_right, len(kept) - 1)
    examples = _examples(trial, kept, asking, groups, ranks[MODEL].best)
    return TaskResult(tables={"same_patent": table}, curves={"same_patent": curves}, examples=examples)


def _examples(
    trial: EvaluationContext, kept: np.ndarray, asking: np.ndarray, groups: np.ndarray, best: np.ndarray
) -> list[Example]:
    views = trial.views
    features = trial.image_features(MODEL).features[kept]
    examples = []
    for end, places in choose_ends(best, groups[asking], trial.config.num_examples).items():
        for place in places:
            own = int(asking[place])
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
            query = Card(views.view_ids[row], views.titles[row] or "", views.images[row])
            heading = f"The other views of a patent: the {end} queries"
            examples.append(Example(heading, query, f"first right view at rank {int(best[place]):,}", cards))
    return examples
