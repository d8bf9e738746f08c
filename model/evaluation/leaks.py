"""What could make figures look better than they are, looked for before anything is measured.

A check that finds something warns, or ends the evaluation, as the settings say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.clip.encoder import Encoder
from model.dataset.columns import read_columns
from model.dataset.folder import Dataset
from model.dataset.views import Views
from model.errors import DatasetError
from model.evaluation.config import EvaluationConfig
from model.evaluation.measures.titles import holds_title
from model.files import read_json
from model.training.run.folder import RunFolder

_COLUMNS = {"patents": "patent_number", "families": "family", "images": "image_sha256"}
_NUM_NAMED = 3


@dataclass(frozen=True)
class Leak:
    """What one check came to.

    Attributes:
        check: Its name, as in the setting `stop_on`.
        num_found: How often.
        num_looked_at: Out of how many; None where the check could not be made.
        message: In a sentence.
    """

    check: str
    num_found: int
    num_looked_at: int | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_leaks(dataset: Dataset, views: Views, entrants: Iterable[Encoder], config: EvaluationConfig) -> list[Leak]:
    """Make every check, whether it finds something or not.

    Raises:
        DatasetError: A check that `config.stop_on` names has found something.
    """
    leaks = [
        *_both_sides(dataset, views.split),
        front_pages(dataset, views.split),
        titles_in_captions(views.texts(config.caption), views.titles),
        *(_other_training(entrant, dataset) for entrant in entrants if entrant.run_dir and not entrant.is_untrained),
    ]
    for leak in leaks:
        if leak.check in config.stop_on and leak.num_found:
            raise DatasetError(
                f"dataset {dataset.name}: {leak.message}; build the dataset again, or take {leak.check!r} out of "
                "stop_on to measure all the same"
            )
    return leaks


def _both_sides(dataset: Dataset, split: str) -> list[Leak]:
    """Patents, families and images of `split` that lie in another split as well."""
    here = read_columns(dataset, lambda name: name == split, list(_COLUMNS.values()))
    there = read_columns(dataset, lambda name: name != split, list(_COLUMNS.values()))
    leaks = []
    for check, column in _COLUMNS.items():
        if column not in here or column not in there:
            leaks.append(Leak(check, 0, None, f"the dataset has no column {column}, so {check} were not compared"))
            continue
        own = set(here[column]) - {None}
        shared = sorted(own & set(there[column]))
        named = f", such as {', '.join(shared[:_NUM_NAMED])}" if shared and check != "images" else ""
        message = f"{len(shared):,} of {len(own):,} {check} of the split {split} are in another split as well{named}"
        leaks.append(Leak(check, len(shared), len(own), message))
    return leaks


def front_pages(dataset: Dataset, split: str) -> Leak:
    """Front-page drawings among the views of a split: each is a copy of another figure of its patent.

    Told by the column `is_front_page` where the dataset has one, and by a view's name, which ends in "-0".
    """
    columns = read_columns(dataset, lambda name: name == split, ["view_id", "is_front_page"])
    names = columns["view_id"]
    marks = columns.get("is_front_page", [None] * len(names))
    num_found = sum(is_front_page(name) or bool(mark) for name, mark in zip(names, marks, strict=True))
    message = f"{num_found:,} of {len(names):,} views of the split {split} are front-page drawings, copies of figures"
    return Leak("front_pages", num_found, len(names), message)


def is_front_page(view_id: str) -> bool:
    """True for the name of a front-page drawing.

    >>> is_front_page("D907292-0"), is_front_page("D907292-10")
    (True, False)
    """
    return re.fullmatch(r".+-0", view_id) is not None


def titles_in_captions(texts: Sequence[str], titles: Sequence[str | None]) -> Leak:
    """Captions that hold the title of their patent, and so can be told apart without looking at the drawing."""
    if not any(texts):
        return Leak("titles", 0, None, "no view has a caption, so none holds a title")
    num_found = sum(holds_title(text, title) for text, title in zip(texts, titles, strict=True))
    message = f"{num_found:,} of {len(texts):,} captions hold the title of their patent"
    message += "; see the figures with titles taken out" if num_found else ""
    return Leak("titles", num_found, len(texts), message)


def _other_training(entrant: Encoder, dataset: Dataset) -> Leak:
    """Whether a model that was trained here was trained on another dataset, which may hold what is asked here."""
    assert entrant.run_dir is not None
    made = read_json(RunFolder(entrant.run_dir).config) or {}
    trained_on = made.get("dataset_fingerprint")
    if trained_on is None:
        return Leak("other_training", 0, None, f"what {entrant.name} was trained on is not known")
    if trained_on == dataset.fingerprint:
        return Leak("other_training", 0, 1, f"{entrant.name} was trained on the training split of this very dataset")
    message = f"{entrant.name} was trained on another dataset, which may hold patents of this split"
    return Leak("other_training", 1, 1, message)
