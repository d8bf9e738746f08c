"""What is decided over all weeks before any file is written: splits, near-duplicates, and which week has which patents.

Families run across weeks, so patents are divided by one pass over all grants, in memory that holds a few hundred bytes
a patent. No image is read here. What follows from it for one week is that week's plan, and weeks know no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patentdata.dataset import splits
from patentdata.dataset.config import VERSION, DatasetConfig
from patentdata.dataset.near_duplicates.listing import NearDuplicates, find_near_duplicates
from patentdata.dataset.splits import Assignment, SplitConfig, assign_splits
from patentdata.dataset.week_files import SOURCES, WeekPlan, rows_of, select_week
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, fingerprint, to_json_values
from patentdata.store.report import Report
from patentdata.store.weeks import table_path

Assignments = Mapping[str, Mapping[str, Assignment]]  # week → patent number → its assignment


@dataclass(frozen=True)
class DatasetPlan:
    """What the weeks have in common.

    Attributes:
        report: The report of a dataset that is done; else what is counted before any view is.
        provenance: What the dataset is made from.
        near_duplicates: Entry of the list of near-duplicates in `dataset.json`; empty if the dataset is done.
    """

    report: Report
    provenance: Provenance
    near_duplicates: Mapping[str, Any]


def provenance_of(folder: DataFolder, weeks: Sequence[str], config: DatasetConfig) -> Provenance:
    """What a dataset of these weeks is made from. Raises OutputError if a table is missing or damaged."""
    inputs = {
        f"{stage}/{week}": fingerprint(folder, table_path(folder, stage, week)) for week in weeks for stage in SOURCES
    }
    return Provenance(stage="dataset", version=VERSION, config=to_json_values(config), inputs=inputs)


def assign_patents(folder: DataFolder, weeks: Sequence[str], config: SplitConfig, report: Report) -> Assignments:
    """Week → patent number → its assignment; a number granted in two weeks stays in the first.

    Args:
        report: Its tally "patents" counts all patents in, and those left out by reason; families are counted too.
    """
    week_of: dict[str, str] = {}
    tally = report.tally("patents")

    def grants() -> Iterator[dict[str, Any]]:
        for week in weeks:
            for row in rows_of(folder, "grants", week, splits.GRANT_COLUMNS):
                tally.num_in += 1
                if week_of.setdefault(row["patent_number"], week) == week:
                    yield row
                else:
                    tally.drop("granted_in_an_earlier_week", row["patent_number"], week)

    by_week: dict[str, dict[str, Assignment]] = {week: {} for week in weeks}
    sizes: Counter[str] = Counter()
    for assignment in assign_splits(grants(), config):
        by_week[week_of[assignment.patent_number]][assignment.patent_number] = assignment
        sizes[assignment.family] += 1
        if assignment.split is None:
            tally.drop(assignment.reason, assignment.patent_number)
    report.count("families", len(sizes))
    report.count("largest_family", max(sizes.values(), default=0))
    return by_week


def compare_views(folder: DataFolder, assigned: Assignments, config: DatasetConfig, report: Report) -> NearDuplicates:
    """The near-duplicates among all views that may enter; no image is read.

    Args:
        report: Its tally "views" counts all views in, those that may enter out, and the others by reason.

    Raises:
        OutputError: A table is damaged, captions are older than their views, or views cannot be compared.
    """
    tally = report.tally("views")

    def views() -> Iterator[dict[str, Any]]:
        for week, assignments in assigned.items():
            for rows in select_week(folder, week, assignments, config.selection, report).values():
                tally.num_out += len(rows)
                yield from rows

    return find_near_duplicates(views(), config.near_duplicates)


def plan_weeks(assigned: Assignments, near_duplicates: NearDuplicates, provenance: Provenance) -> list[WeekPlan]:
    """What the files of each week are made from, in the order of `assigned`."""
    return [
        WeekPlan(
            week=week,
            inputs={stage: provenance.inputs[f"{stage}/{week}"] for stage in SOURCES},
            assignments=assignments,
            left_out=frozenset(near_duplicates.left_out_of(assignments)),
        )
        for week, assignments in assigned.items()
    ]
