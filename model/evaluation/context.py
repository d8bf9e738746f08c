"""The input and the output of every evaluation task.

A task is a module with one function, `measure(context) -> TaskResult`; `model.evaluation.evaluate.MEASURES` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch

from model.clip.embeddings import ImageFeatures
from model.clip.encoder import Encoder
from model.dataset.folder import Dataset
from model.dataset.near_duplicates import read_near_duplicates_of
from model.dataset.views import Views, read_views
from model.evaluation.config import EvaluationConfig
from model.evaluation.failures.counting import Failures, count_failures
from model.evaluation.failures.drawings import measure_drawings
from model.evaluation.failures.queries import AnsweredQueries
from model.evaluation.measures.bootstrap import Bootstrap
from model.evaluation.measures.metrics import MAX_CHUNK_MB, Scores, scores_of_features
from model.evaluation.measures.result_table import AGAINST, MODEL, UNTRAINED
from model.progress import Progress

T = TypeVar("T")

_SHARE_OF_GPU = 8  # of the free memory: a chunk is held a few times over while ranks are counted

__all__ = ["AGAINST", "MODEL", "UNTRAINED", "Card", "EvaluationContext", "Example", "TaskResult"]


@dataclass(frozen=True)
class Card:
    """One view or text shown on the page.

    Attributes:
        label: Text under the picture.
        text: Caption or title.
        jpeg: The picture; None if the card shows only text.
        score: Similarity to the query; None for the query itself.
        is_right: Whether the card is a right answer to the query; None for the query itself.
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
        heading: Heading of its group, such as "Text → image: the best queries".
        query: What was searched for.
        note: The outcome, such as "rank 3".
        found: The candidates that scored highest, best first.
    """

    heading: str
    query: Card
    note: str
    found: tuple[Card, ...]


@dataclass
class TaskResult:
    """What a task measured.

    Attributes:
        tables: Name → table, from `model.evaluation.measures.result_table.tabulate`.
        reason: Why the task could not be measured; empty if it was.
        curves: Name of a table → line ("model", "chance", …) → {"k": […], "recall": […]}.
        by_class: Name of a table → results of each class, from `protocols.classification.results_by_class`.
        readouts: Name of a table → accuracy over the class prior, from `protocols.readouts.readout_curve`.
        failures: Name of a table → its misses by cause.
        settings: What the task chose by itself, such as the strength of a penalty.
        examples: Queries to show on the page; they are not part of `evaluation.json`.
    """

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    reason: str = ""
    curves: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    by_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    readouts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, Failures] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The section of the task in `evaluation.json`."""
        if self.reason:
            return {"status": "not_available", "reason": self.reason, "tables": {}}
        values: dict[str, Any] = {"status": "measured", "tables": self.tables}
        for name in ("curves", "by_class", "readouts", "settings"):
            if content := getattr(self, name):
                values[name] = content
        if self.failures:
            values["failures"] = {name: failures.counts for name, failures in self.failures.items()}
        return values


@dataclass
class EvaluationContext:
    """A dataset, the models under measurement, and the settings.

    Attributes:
        dataset: The dataset that is measured on.
        encoders: Column of the result tables → the model measured there: "model", and "untrained" and "against" if the
            settings ask for them.
        config: What to measure.
        device: Where scores are computed.
        progress: Called after each step of work.
    """

    dataset: Dataset
    encoders: dict[str, Encoder]
    config: EvaluationConfig
    device: torch.device
    progress: Progress | None = None
    _views: dict[str, Views] = field(default_factory=dict, repr=False)
    _images: dict[tuple[str, str], ImageFeatures] = field(default_factory=dict, repr=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.config.max_chunk_mb:
            self.config = replace(self.config, max_chunk_mb=chunk_mb(self.device))

    @property
    def views(self) -> Views:
        """The views of the split that is measured."""
        return self.views_of(self.config.split)

    def views_of(self, split: str) -> Views:
        """The views of a split. Raises DatasetError if it is empty, or has no images of the lines in the settings."""
        if split not in self._views:
            self._views[split] = read_views(self.dataset, split, lines=self.config.lines)
        return self._views[split]

    def has(self, split: str) -> bool:
        """Whether the dataset has views in a split."""
        return self.dataset.num_views.get(split, 0) > 0

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns for a key; it is called for the first task that asks, and kept for the others."""
        if key not in self._made:
            self._made[key] = make()
        result: T = self._made[key]
        return result

    def image_features(self, column: str, split: str | None = None) -> ImageFeatures:
        """Features of a split's views under the encoder of a column, row by row; None is the measured split."""
        split = split or self.config.split
        if (column, split) not in self._images:
            self._images[column, split] = self.encoders[column].image_features(self.dataset, self.views_of(split))
        return self._images[column, split]

    def text_features(self, column: str, texts: Sequence[str], kind: str) -> np.ndarray:
        """(num_texts, embed_dim) float32 under the encoder of a column; `kind` names the file that stores them."""
        return self.encoders[column].text_features(self.dataset, texts, kind=kind)

    def scores(self, queries: np.ndarray, gallery: np.ndarray) -> Scores:
        """Scores of (num_queries, embed_dim) against (num_candidates, embed_dim), computed a chunk at a time."""
        return scores_of_features(self.tensor(queries), self.tensor(gallery))

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """The values on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def bootstrap(self, patents: np.ndarray) -> Bootstrap:
        """Resamples for queries that belong to these patents."""
        return Bootstrap(patents, self.config.num_resamples, self.config.seed)

    def failures(self, queries: AnsweredQueries) -> Failures:
        """The misses of a table by cause; its queries are views of the measured split, which is the pool's first."""
        patents = queries.values("patent_number").astype(str)
        drawings = self.once("drawings", lambda: measure_drawings(self.views, num_threads=self.config.num_workers))
        return count_failures(
            queries,
            drawings.of(queries.views),
            self.once("near-duplicates", lambda: read_near_duplicates_of(self.dataset, self.config.split)),
            self.bootstrap(patents),
            seed=self.config.seed,
        )

    @property
    def interval_rule(self) -> str:
        """How intervals are computed, for the terms of a table."""
        return f"95 %, bootstrap over patents, {self.config.num_resamples} resamples"


def chunk_mb(device: torch.device) -> int:
    """Memory for a chunk of scores: little on a CPU, whose caches are small; enough to fill a GPU on a GPU."""
    if device.type != "cuda":
        return MAX_CHUNK_MB
    free, _ = torch.cuda.mem_get_info(device)
    return max(MAX_CHUNK_MB, free // _SHARE_OF_GPU >> 20)
