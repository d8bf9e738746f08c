"""What a trained model does with each measured view: right or wrong, or an average precision.

A study compares arms view by view, so it needs more than the means that an evaluation reports. The values follow the
definitions of the evaluation's tasks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model.clip.encoder import find_encoder
from model.clip.loading import choose_device
from model.dataset.classes import USPC
from model.dataset.folder import Dataset
from model.dataset.thirds import THIRDS, third_of_class
from model.dataset.views import Views, has_claimed_images, read_views
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import MODEL, EvaluationContext
from model.evaluation.measures.metrics import Answers, all_ranks, best_ranks
from model.evaluation.protocols.classification import ranks_of_truth
from model.evaluation.protocols.fine_tuned import class_logits, class_priors_of, class_table_of
from model.evaluation.protocols.labelled import label_views
from model.evaluation.protocols.ranking import number_texts
from model.evaluation.protocols.readouts import HeadLogits
from model.evaluation.protocols.zero_shot import class_features
from model.files import atomic_write, sha256_of_json
from model.progress import Progress
from model.study.strangers import LayeredViews, nearest_strangers

VERSION = 2  # raised when an equal model would have other outcomes
PARTS = ("all", *THIRDS)
_FOUND_IN = 10
_IDENTITY = "identity"

MEASURES = {
    "text_to_image": f"share of the views found among the {_FOUND_IN} best for their caption",
    "title_to_image": "mean average precision of the views of a title, asked by the bare title",
    "same_patent": "mean average precision of the other views of a patent, asked by one view",
    "prior_art": f"share of the views for which a cited patent is among the {_FOUND_IN} patents with the nearest views",
    "nearest_stranger": "share of the views with claimed and unclaimed lines whose nearest view of another family is "
    "not alike in the unclaimed lines alone",
    "zero_shot": "share of the views whose class is named right by the nearest class prompt",
    "classifier": "share of the views whose class is named right by the model's own classification head",
}
"""Name of a measure → what its values mean, in words. All are over the views of the measured split."""


def outcomes_of(
    model: str | Path, dataset: Dataset, config: EvaluationConfig, *, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Measure → (num_views,) float64, NaN where it is not defined for a view.

    A measure that the model or the dataset cannot have, such as that of a head, is all NaN.

    Args:
        model: A model as the evaluation names it.
        dataset: The dataset.
        config: Split, caption and read-out.
        progress: Called after each batch that is embedded.

    Raises:
        ModelError: The model or the dataset cannot be used.
    """
    encoder = find_encoder(
        model,
        choose_device(config.device),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        precision=config.precision,
        num_processes=config.num_processes,
        progress=progress,
    )
    context = EvaluationContext(dataset, {MODEL: encoder}, config, encoder.device, progress)
    functions: dict[str, Callable[[EvaluationContext], np.ndarray]] = {
        "text_to_image": _text_to_image,
        "title_to_image": _title_to_image,
        "same_patent": _same_patent,
        "prior_art": _prior_art,
        "nearest_stranger": _nearest_stranger,
        "zero_shot": _zero_shot,
        "classifier": _classifier,
    }
    return {name: functions[name](context) for name in MEASURES}


def parts_of(dataset: Dataset, views: Views) -> np.ndarray:
    """(num_views,) index in `THIRDS` of the third of the US classes, by training views, that each view's class is in.

    -1 for a view without a class.
    """
    context = EvaluationContext(dataset, {}, EvaluationConfig(split=views.split), choose_device("cpu"))
    parts = np.full(len(views), -1)
    labelled = label_views(context, "uspc")
    if labelled is not None:
        parts[labelled.rows] = third_of_class(labelled.training_counts)[labelled.truth]
    return parts


def _text_to_image(context: EvaluationContext) -> np.ndarray:
    if not context.dataset.is_captioned:
        return _nothing(context)
    config = context.config
    texts = context.views.texts(config.caption)
    ranks, of_view = _asked_by_text(context, texts, f"{config.split}-{config.caption}")
    hits = best_ranks(ranks[0], ranks[1], len(texts), max_chunk_mb=config.max_chunk_mb)
    return ((hits >= 1) & (hits <= _FOUND_IN)).astype(np.float64)[of_view]


def _title_to_image(context: EvaluationContext) -> np.ndarray:
    titles = context.views.titles
    if not any(titles):
        return _nothing(context)
    ranks, of_view = _asked_by_text(context, [title or "" for title in titles], f"{context.config.split}-title-alone")
    found = all_ranks(ranks[0], ranks[1], len(titles), max_chunk_mb=context.config.max_chunk_mb)
    has_title = np.array([bool(title) for title in titles])
    return np.where(has_title, found.average_precision[of_view], np.nan)


def _asked_by_text(context: EvaluationContext, texts: list[str], kind: str) -> tuple[tuple[Any, Answers], np.ndarray]:
    """Scores and right answers of each distinct text against all views, and the index of the text of each view.

    Equal texts are ranked once.
    """
    groups = number_texts(texts)
    _, first, of_view = np.unique(groups, return_index=True, return_inverse=True)
    queries = context.text_features(MODEL, [texts[row] for row in first], kind)
    scores = context.scores(queries, context.image_features(MODEL).features)
    return (scores, Answers.by_group(groups[first], groups)), of_view


def _same_patent(context: EvaluationContext) -> np.ndarray:
    features, patents = context.image_features(MODEL).features, context.views.patent_ids
    answers = Answers.by_group(patents, patents, own=np.arange(len(patents)))
    ranks = all_ranks(
        context.scores(features, features), answers, len(patents), max_chunk_mb=context.config.max_chunk_mb
    )
    return np.where(ranks.num_right > 0, ranks.average_precision, np.nan)


def _prior_art(context: EvaluationContext) -> np.ndarray:
    """Whether one of the ten patents that have the nearest views was cited; NaN for views without a citation here."""
    views, patents = context.views, context.views.patent_ids
    id_of = {number: int(patent) for number, patent in zip(views.patent_numbers, patents, strict=True)}
    cited = [
        {id_of[number] for number in of_view or () if number in id_of} - {int(own)}
        for of_view, own in zip(views.cited_by_examiner, patents, strict=True)
    ]
    features = context.image_features(MODEL).features
    scores = context.scores(features, features)
    values = _nothing(context)
    for row in (row for row, of_view in enumerate(cited) if of_view):
        best = np.full(int(patents.max()) + 1, -np.inf, np.float32)
        np.maximum.at(best, patents, scores(row, row + 1)[0].float().cpu().numpy())
        best[patents[row]] = -np.inf
        values[row] = not cited[row].isdisjoint(np.argsort(-best, kind="stable")[:_FOUND_IN].tolist())
    return values


def _nearest_stranger(context: EvaluationContext) -> np.ndarray:
    if not has_claimed_images(context.dataset):
        return _nothing(context)
    views = context.views
    names = [family or number for family, number in zip(views.families, views.patent_numbers, strict=True)]
    families = np.unique(names, return_inverse=True)[1]
    if families.max() == 0:
        return _nothing(context)
    features = context.image_features(MODEL).features
    strangers = nearest_strangers(context.scores(features, features), families)
    layered = LayeredViews(read_views(context.dataset, views.split, lines="both"))
    return 1 - layered.share_only_unclaimed(np.arange(len(views)), strangers)


def _zero_shot(context: EvaluationContext) -> np.ndarray:
    values, labelled = _nothing(context), label_views(context, "uspc")
    if labelled is not None:
        features = context.image_features(MODEL).features[labelled.rows]
        scores = features @ class_features(context, MODEL, "uspc").T
        values[labelled.rows] = ranks_of_truth(scores, labelled.truth) == 1
    return values


def _classifier(context: EvaluationContext) -> np.ndarray:
    values, encoder = _nothing(context), context.encoders[MODEL]
    table = class_table_of(encoder)
    if table is None or table.codes != USPC.codes:
        return values
    labelled = label_views(context, "uspc")
    if labelled is not None:
        logits = class_logits(context, encoder, table)[labelled.rows]
        head = HeadLogits(logits, class_priors_of(encoder))
        values[labelled.rows] = head.hits(labelled.truth, context.config.readout_tau)
    return values


def _nothing(context: EvaluationContext) -> np.ndarray:
    return np.full(len(context.views), np.nan)


def write_outcomes(path: Path, outcomes: dict[str, np.ndarray], identity: dict[str, Any]) -> None:
    """Store the outcomes of a run, with all that they depend on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = np.array(sha256_of_json(_versioned(identity)))
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{_IDENTITY: stamp}, **outcomes)  # type: ignore[arg-type]


def read_outcomes(path: Path, identity: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Stored outcomes; None if they are absent, damaged, or of something else."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError), np.load(path) as arrays:
        if str(arrays[_IDENTITY]) == sha256_of_json(_versioned(identity)):
            return {name: arrays[name] for name in MEASURES}
    return None


def _versioned(identity: dict[str, Any]) -> dict[str, Any]:
    return {"outcomes": VERSION, **identity}
