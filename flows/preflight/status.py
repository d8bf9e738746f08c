"""What a data folder holds, read from the files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks, state_of, weeks_of

EXPORTS = ".exports.json"  # in the folder of a dataset; hidden, since `datasets.load_dataset` reads visible files


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


@dataclass(frozen=True)
class ExportStatus:
    """An export of a dataset, as it was when it was made.

    Attributes:
        dataset: Name of the dataset.
        out: Folder of the export, on the machine that made it.
        format: Its format.
        num_views: Number of views in it.
        is_current: Whether it was made from the dataset as it is now.
    """

    dataset: str
    out: str
    format: str
    num_views: int
    is_current: bool


def read_exports(data_dir: str) -> list[ExportStatus]:
    """The exports of all datasets of a data folder, by dataset and folder."""
    folder = DataFolder(data_dir)
    found = []
    for dataset in folder.names("datasets"):
        exports = folder.read_json(folder.path("datasets", dataset, EXPORTS)) or {}
        manifest = folder.read_json(folder.path("datasets", dataset, "dataset.json")) or {}
        for out, export in exports.items():
            is_current = export["dataset_fingerprint"] == manifest.get("fingerprint")
            found.append(ExportStatus(dataset, out, export["format"], export["num_views"], is_current))
    return found
