"""Settings of evaluation, checked when they are built."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.settings import CAPTION_COLUMNS, RESULT_UNTOUCHED, Config, require

TASKS = ("retrieval",)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """What is measured, and on what.

    Attributes:
        tasks: Names of tasks; "retrieval" is text → image and image → text.
        split: Split of the dataset that is queried and searched.
        caption: Column that is the text of a view; a view without it is asked for by its `text`.
        cutoffs: The k of recall@k, ascending.
        max_queries: At most so many views, drawn with `seed`, serve as queries; the gallery stays whole.
        num_resamples: Bootstrap resamples (over patents) behind each interval.
        num_examples: Queries shown at each end of the report's gallery of best and worst.
        chunk_size: Queries compared at once; memory is chunk_size × gallery size × 4 bytes.
    """

    tasks: tuple[str, ...] = ("retrieval",)
    split: str = "test"
    caption: str = "text"
    cutoffs: tuple[int, ...] = (1, 5, 10)
    max_queries: int | None = None
    num_resamples: int = 1000
    num_examples: int = 5
    seed: int = 0
    device: str = "auto"
    batch_size: int = field(default=128, metadata=RESULT_UNTOUCHED)
    chunk_size: int = field(default=1024, metadata=RESULT_UNTOUCHED)
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in TASKS]
        require(bool(self.tasks) and not unknown, f"tasks is {self.tasks}; choose from {', '.join(TASKS)}")
        require(bool(self.split), 'split is empty; name one of the dataset\'s splits, such as "test"')
        require(
            self.caption in CAPTION_COLUMNS, f"caption is {self.caption!r}; use one of {', '.join(CAPTION_COLUMNS)}"
        )
        require(
            bool(self.cutoffs) and min(self.cutoffs) >= 1 and list(self.cutoffs) == sorted(set(self.cutoffs)),
            f"cutoffs is {self.cutoffs}; use ascending numbers from 1, such as (1, 5, 10)",
        )
        require(self.max_queries is None or self.max_queries >= 1, f"max_queries is {self.max_queries}; use 1 or more")
        for name in ("batch_size", "chunk_size", "num_resamples", "num_workers"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(self.num_examples >= 0, f"num_examples is {self.num_examples}; it must not be negative")
