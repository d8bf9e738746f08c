"""What a data folder holds, read from the files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks, state_of, weeks_of


@dataclass(frozen=True)
class StageStatus:
    """One stage of a week: "done", "stale" (its inputs have changed since), "damaged" or "missing"."""

    stage: str
    state: str
    report: Report | None


@dataclass(frozen=True)
class WeekStatus:
    """All stages of a week, in their order."""

    week: str
    stages: list[StageStatus]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "week": self.week,
            "stages": {
                stage.stage: {"state": stage.state, "report": stage.report.to_dict() if stage.report else None}
                for stage in self.stages
            },
        }


def read_status(data_dir: str) -> list[WeekStatus]:
    """The state of every stage of every week in the data folder, in order of date."""
    folder = DataFolder(data_dir)
    weeks = set(kept_weeks(folder))
    for stage in WEEKLY_STAGES[1:]:
        weeks |= set(weeks_of(folder, stage))
    return [
        WeekStatus(week, [StageStatus(stage, *state_of(folder, stage, week)) for stage in WEEKLY_STAGES])
        for week in sorted(weeks)
    ]


def unfinished_stages(folder: DataFolder) -> dict[str, list[str]]:
    """Each week that is kept, in order of date → its stages that are not done; none for a whole week."""
    return {
        week: [stage for stage in WEEKLY_STAGES if state_of(folder, stage, week)[0] != "done"]
        for week in kept_weeks(folder)
    }
