"""What became of the weeks of a walk, and of the walk as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from patentdata.errors import PatentDataError
from patentdata.store.report import Report


@dataclass
class WalkResult:
    """What a walk came to.

    Attributes:
        data_dir: The data folder.
        weeks: One outcome a week.
        dataset: Report of the dataset, or None where no week was whole.
        training: Summary of the training run, or None.
        evaluation: Content of `evaluation.json`, or None.
        run_dir: Folder of the run on this machine, or None; on an object store, the run lies there too.
    """

    data_dir: str
    weeks: list[WeekOutcome] = field(default_factory=list)
    dataset: Report | None = None
    training: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    run_dir: str | None = None

    @property
    def failures(self) -> list[WeekOutcome]:
        return [outcome for outcome in self.weeks if outcome.error is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data_dir": self.data_dir,
            "weeks": [outcome.to_dict() for outcome in self.weeks],
            "dataset": self.dataset.to_dict() if self.dataset else None,
            "training": self.training,
            "evaluation": self.evaluation,
            "run_dir": self.run_dir,
        }


class WeeksFailedError(PatentDataError):
    """Some weeks failed; the others are done, and `result` tells of both."""

    def __init__(self, result: WalkResult) -> None:
        first = result.failures[0]
        super().__init__(
            f"{len(result.failures)} of {len(result.weeks)} weeks failed, the others are done; the first was "
            f"{first.week} {first.failed_stage}: {first.error}"
        )
        self.result = result


@dataclass
class WeekOutcome:
    """What became of one week.

    Attributes:
        week: "I20210105".
        reports: Stage → its report, in the order of the walk; ends before the stage that failed, but where an archive
            kept before took the place of one that could not be fetched.
        failed_stage: The stage that failed, or None.
        error: Why, in one sentence.
    """

    week: str
    reports: dict[str, Report] = field(default_factory=dict)
    failed_stage: str | None = None
    error: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether what lies in the data folder of the week is whole, though a new issue of it may not be there."""
        return self.error is None or (self.failed_stage == "archives" and "captions" in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        reports = {stage: report.to_dict() for stage, report in self.reports.items()}
        return {"week": self.week, "failed_stage": self.failed_stage, "error": self.error, "stages": reports}
