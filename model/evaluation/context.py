"""What every task is given, and what it gives back.

A task is a module with one function, `measure(trial) -> TaskResult`; `model.evaluate.MEASURES` names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from model.clip.embeddings import ImageFeatures
from model.clip.encoder import Encoder
from model.dataset.folder import Dataset
from model.dataset.views import Views, read_views
from model.evaluation.config import EvaluationConfig
from model.evaluation.measures.bootstrap import Bootstrap
from model.evaluation.measures.metrics import Scores, scores_of_features
from model.evaluation.measures.result_table import AGAINST, MODEL, UNTRAINED
from model.progress import Progress

__all__ = ["AGAINST", "MODEL", "UNTRAINED", "Card", "EvaluationContext", "Example", "TaskResult"]


@dataclass(frozen=True)
class Card:
    """One view or text shown on the page.

    Attributes:
        label: What is written under it.
        text: Its caption or title.
        jpeg: Its picture; None where it is shown as text.
        score: How near it is to the query; None for the query itself.
        is_right: Whether it answers the query; None for the query itself.
    """

    label: str
    text: str
    jpeg: bytes | None = None
    score: float | None = None
    is_right: bool | None = None


@dataclass(frozen=True)
class Example:
    """One query shown on the page with what was found for it.

    Attributes:
        heading: Group it stands in, such as "Text → image: the best queries".
        note: What became of it, such as "rank 3".
    """

    heading: str
    query: Card
    note: str
    found: tuple[Card, ...]


@dataclass
class TaskResult:
    """What a task found out.

    Attributes:
        tables: Name → table, as `model.evaluation.measures.result_table.tabulate` gives it.
        reason: Why there is nothing to tell; empty where there is.
        curves: Name of a table → line ("model", "chance", …) → {"k": […], "recall": […]}.
        by_class: Name of a table → what is told class by class, as `model.classification` gives it.
        settings: What the task chose by itself, such as the strength of a penalty.
        examples: For the page alone.
    """

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    reason: str = ""
    curves: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    by_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Its part of `evaluation.json`."""
        if self.reason:
            return {"status": "not_available", "reason": self.reason, "tables": {}}
        values: dict[str, Any] = {"status": "measured", "tables": self.tables}
        for name in ("curves", "by_class", "settings"):
            if content := getattr(self, name):
                values[name] = content
        return values


@dataclass
class EvaluationContext:
    """A dataset, the models under measurement, and the settings.

    Attributes:
        entrants: "model", and where they take part "untrained" and "against".
        device: Where scores are computed.
        progress: Called after each step of work.
    """

    dataset: Dataset
    entrants: dict[str, Encoder]
    config: EvaluationConfig
    device: torch.device
    progress: Progress | None = None
    _views: dict[str, Views] = field(default_factory=dict, repr=False)
    _images: dict[tuple[str, str], ImageFeatures] = field(default_factory=dict, repr=False)

    @property
    def views(self) -> Views:
        """The views of the split that is measured."""
        return self.views_of(self.config.split)

    def views_of(self, split: str) -> Views:
        """The views of a split; raises DatasetError where it is empty."""
        if split not in self._views:
            self._views[split] = read_views(self.dataset, split)
        return self._views[split]

    def has(self, split: str) -> bool:
        """True where the dataset holds views in a split."""
        return self.dataset.num_views.get(split, 0) > 0

    def image_features(self, entrant: str, split: str | None = None) -> ImageFeatures:
        """Image features of a split's views under an entrant, row by row."""
        split = split or self.config.split
        if (entrant, split) not in self._images:
            self._images[entrant, split] = self.entrants[entrant].image_features(self.dataset, self.views_of(split))
        return self._images[entrant, split]

    def text_features(self, entrant: str, texts: Sequence[str], kind: str) -> np.ndarray:
        """Text features: (num_texts, embed_dim) float32; `kind` names this list of texts where they are kept."""
        return self.entrants[entrant].text_features(self.dataset, texts, kind=kind)

    def scores(self, queries: np.ndarray, gallery: np.ndarray) -> Scores:
        """Scores of features, computed on the device a chunk at a time."""
        return scores_of_features(self.tensor(queries), self.tensor(gallery))

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def bootstrap(self, patents: np.ndarray) -> Bootstrap:
        """Resamples for queries of these patents."""
        return Bootstrap(patents, self.config.num_resamples, self.config.seed)

    @property
    def interval_rule(self) -> str:
        return f"95 %, bootstrap over patents, {self.config.num_resamples} resamples"
