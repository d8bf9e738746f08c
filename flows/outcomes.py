"""What became of the weeks of a walk, and of the walk as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from patentdata.errors import PatentDataError
from patentdata.store.report import Report


@dataclass
class WeekOutcome:
    """What became of one week.

    Attributes:
        week: "I20210105".
        reports: Stage → its report, in the order of the walk, up to the stage that failed; if an archive could not be
            fetched and the kept one was walked in its place, the later stages as well.
        failed_stage: The stage that failed, or None.
        error: Why, in one sentence.
    """

    week: str
    reports: dict[str, Report] = field(default_factory=dict)
    failed_stage: str | None = None
    error: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the week's output is complete, even if a new issue of its archive could not be fetched."""
        return self.error is None or (self.failed_stage == "archives" and "captions" in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        reports = {stage: report.to_dict() for stage, report in self.reports.items()}
        return {"week": self.week, "failed_stage": self.failed_stage, "error": self.error, "stages": reports}


@dataclass
class WalkResult:
    """What became of a walk.

    Attributes:
        data_dir: The data folder.
        weeks: One outcome a week.
        problems: What went wrong beyond single weeks, each as a sentence: what the source has and could not give, and
            a dataset that would have been empty.
        dataset: Report of the dataset, or None if no week was whole.
        training: Summary of the training run, or None.
        evaluation: Content of `evaluation.json`, or None.
        run_dir: Folder of the run on this machine, or None; it is also in the data folder, if that is elsewhere.
    """

    data_dir: str
    weeks: list[WeekOutcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dataset: Report | None = None
    training: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    run_dir: str | None = None

    @property
    def failures(self) -> list[WeekOutcome]:
        return [outcome for outcome in self.weeks if outcome.error is not None]

    def raise_if_incomplete(self) -> None:
        """Raise WeeksFailedError if a week failed, or if there are other problems."""
        if self.failures or self.problems:
            raise WeeksFailedError(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data_dir": self.data_dir,
            "weeks": [outcome.to_dict() for outcome in self.weeks],
            "problems": self.problems,
            "dataset": self.dataset.to_dict() if self.dataset else None,
            "training": self.training,
            "evaluation": self.evaluation,
            "run_dir": self.run_dir,
        }


class WeeksFailedError(PatentDataError):
    """Some weeks failed, or something else did; the other weeks are done; `result` holds all of it."""

    def __init__(self, result: WalkResult) -> None:
        sentences = list(result.problems)
        if result.failures:
            first, others = result.failures[0], len(result.weeks) - len(result.failures)
            failed = f"{len(result.failures)} of {len(result.weeks)} weeks failed" + (
                ", the others are done" if others else ""
            )
            sentences.append(f"{failed}; the first was {first.week} {first.failed_stage}: {first.error}")
        super().__init__("; ".join(sentences))
        self.result = result
