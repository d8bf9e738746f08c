"""Checks for leaks, which would make a model look better than it is.

They run before anything is measured. A check that finds something warns or ends the evaluation, depending on the
setting `stop_on`.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.clip.encoder import Encoder
from model.dataset.columns import read_columns
from model.dataset.folder import Dataset
from model.dataset.near_duplicates import read_near_duplicates
from model.dataset.views import Views
from model.errors import DatasetError
from model.evaluation.config import EvaluationConfig
from model.evaluation.measures.titles import contains_title
from model.files import read_json
from model.training.run.folder import RunFolder

_LOG = logging.getLogger(__name__)
_COLUMNS = {"patents": "patent_number", "families": "family", "images": "image_sha256"}
_NUM_NAMED = 3
_NUM_LISTED = 100


@dataclass(frozen=True)
class Leak:
    """The result of one check.

    Attributes:
        check: Name of the check, as in the setting `stop_on`.
        num_found: How many leaks were found.
        num_looked_at: How many items were checked; None if the check could not be made.
        message: The result in a sentence.
        examples: Some of what was found, in words, for the checks that a name alone does not explain.
    """

    check: str
    num_found: int
    num_looked_at: int | None
    message: str
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The result as `evaluation.json` stores it."""
        return {**asdict(self), "examples": list(self.examples)}


def check_leaks(dataset: Dataset, views: Views, encoders: Iterable[Encoder], config: EvaluationConfig) -> list[Leak]:
    """Run every check.

    Raises:
        DatasetError: A check in `config.stop_on` found something.
    """
    leaks = [
        *_shared_with_other_splits(dataset, views.split),
        near_duplicates(dataset, views.split),
        front_pages(dataset, views.split),
        titles_in_captions(views.texts(config.caption), views.titles),
        *(_other_training(encoder, dataset) for encoder in encoders if encoder.run_dir and not encoder.is_untrained),
    ]
    for leak in leaks:
        if leak.check in config.stop_on and leak.num_found:
            raise DatasetError(
                f"dataset {dataset.name}: {leak.message}; build the dataset again, or remove {leak.check!r} from "
                "stop_on to measure in spite of it"
            )
        if leak.num_found:
            _LOG.info("leak check %s of %s: %s", leak.check, dataset.name, leak.message)
    return leaks


def _shared_with_other_splits(dataset: Dataset, split: str) -> list[Leak]:
    """Patents, families and images of `split` that are in another split as well."""
    own = read_columns(dataset, lambda name: name == split, list(_COLUMNS.values()))
    others = read_columns(dataset, lambda name: name != split, list(_COLUMNS.values()))
    leaks = []
    for check, column in _COLUMNS.items():
        if column not in own or column not in others:
            leaks.append(Leak(check, 0, None, f"the dataset has no column {column}, so {check} were not compared"))
            continue
        values = set(own[column]) - {None}
        shared = sorted(values & set(others[column]))
        named = f", such as {', '.join(shared[:_NUM_NAMED])}" if shared and check != "images" else ""
        message = f"{len(shared):,} of {len(values):,} {check} of the split {split} are in another split as well{named}"
        leaks.append(Leak(check, len(shared), len(values), message))
    return leaks


def near_duplicates(dataset: Dataset, split: str) -> Leak:
    """Views of a split that are nearly the same drawing as a view of another split, turned or mirrored or not.

    Equal files are found by their hash; here are copies that differ in size, margins, line width or a few specks.
    """
    pairs = read_near_duplicates(dataset, split)
    if pairs is None:
        message = "the dataset has no list of near-duplicates, so none were looked for; build it again"
        return Leak("near_duplicates", 0, None, message)
    views = {pair.view_id for pair in pairs}
    others = Counter(other for _, other in {(pair.view_id, pair.other_split) for pair in pairs})
    in_splits = ", ".join(f"{num:,} in {other}" for other, num in sorted(others.items()))
    num_views = dataset.num_views.get(split, 0)
    message = f"{len(views):,} of {num_views:,} views of the split {split} have a near-duplicate in another split"
    if pairs:
        named = ", ".join(f"{pair.view_id} and {pair.other_view_id}" for pair in pairs[:_NUM_NAMED])
        message += f" ({in_splits}), such as {named}"
    examples = tuple(
        f"{pair.view_id} is {pair.other_view_id} of {pair.other_split}, {pair.turn} ({pair.similarity:.2f})"
        for pair in pairs[:_NUM_LISTED]
    )
    return Leak("near_duplicates", len(views), num_views, message, examples)


def front_pages(dataset: Dataset, split: str) -> Leak:
    """Front-page drawings among the views of a split: each is a copy of another figure of its patent.

    They are recognized by the column `is_front_page` if the dataset has it, and by names that end in "-0".
    """
    columns = read_columns(dataset, lambda name: name == split, ["view_id", "is_front_page"])
    names = columns["view_id"]
    marks = columns.get("is_front_page", [None] * len(names))
    num_found = sum(is_front_page(name) or bool(mark) for name, mark in zip(names, marks, strict=True))
    message = f"{num_found:,} of {len(names):,} views of the split {split} are front-page drawings, copies of figures"
    return Leak("front_pages", num_found, len(names), message)


def is_front_page(view_id: str) -> bool:
    """Whether a name is that of a front-page drawing.

    >>> is_front_page("D907292-0"), is_front_page("D907292-10")
    (True, False)
    """
    return re.fullmatch(r".+-0", view_id) is not None


def titles_in_captions(texts: Sequence[str], titles: Sequence[str | None]) -> Leak:
    """Captions that contain the title of their patent, and so can be matched without looking at the drawing."""
    if not any(texts):
        return Leak("titles", 0, None, "no view has a caption, so none holds a title")
    num_found = sum(contains_title(text, title) for text, title in zip(texts, titles, strict=True))
    message = f"{num_found:,} of {len(texts):,} captions hold the title of their patent"
    message += "; see the figures with titles taken out" if num_found else ""
    return Leak("titles", num_found, len(texts), message)


def _other_training(encoder: Encoder, dataset: Dataset) -> Leak:
    """Whether a model of a training run was trained on another dataset, which may contain what is measured on."""
    assert encoder.run_dir is not None
    run_config = read_json(RunFolder(encoder.run_dir).config) or {}
    trained_on = run_config.get("dataset_fingerprint")
    if trained_on is None:
        return Leak("other_training", 0, None, f"what {encoder.name} was trained on is not known")
    if trained_on == dataset.fingerprint:
        return Leak("other_training", 0, 1, f"{encoder.name} was trained on the training split of this very dataset")
    message = f"{encoder.name} was trained on another dataset, which may hold patents of this split"
    return Leak("other_training", 1, 1, message)
