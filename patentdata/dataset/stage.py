"""Stage dataset: captioned views of many weeks, divided by family, with their training images, frozen under a name.

A dataset is a folder of Parquet files, one for each week and split, and `dataset.json`, which lists them with their
hashes and is written last: if it exists and agrees with the files, the dataset is done. The files of a week depend only
on that week's tables and on the splits of its patents, so that adding a week, or a rule that changes no split of an old
week, does not rewrite it.

Near-duplicates are the exception: if they are left out, a view that comes with a later week can take one out of an old
file. Which views a file lacks for this reason is then part of what it is made from, and the file is written again.

A dataset is frozen in three parts: what concerns all weeks is planned, the weeks are frozen, in parallel if the caller
likes, and what they hold is gathered into `dataset.json`. `build_dataset` does all three in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.counts import Counts
from patentdata.dataset.manifest import clear_damaged, read_manifest, remove_manifest, write_manifest
from patentdata.dataset.near_duplicates import listing
from patentdata.dataset.near_duplicates.listing import NearDuplicates
from patentdata.dataset.plan import DatasetPlan, assign_patents, compare_views, plan_weeks, provenance_of
from patentdata.dataset.splits import SPLITS
from patentdata.dataset.week_files import FrozenWeek, WeekPlan, write_week
from patentdata.errors import ConfigError, EmptyDatasetError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, write_table
from patentdata.store.report import Report
from patentdata.store.weeks import Progress

_LOG = logging.getLogger(__name__)


def build_dataset(
    folder: DataFolder,
    weeks: Sequence[str],
    config: DatasetConfig,
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Freeze the captioned views of `weeks` as the dataset `config.name`, one week after the other.

    A dataset that is already what this call would make is left alone. Otherwise only files that are missing, damaged or
    stale are written, and files that no longer belong to it are removed. Equal inputs and settings give equal bytes,
    whatever the number of threads.

    Args:
        folder: The data folder.
        weeks: Weeks, such as "I20210105", that have grants, views and captions; in any order.
        config: Settings.
        num_threads: Number of threads that make images; by default a few more than there are cores.
        progress: Called after each week with the number of weeks done and the number of all weeks.

    Returns:
        Tallies of views and patents, and counts by split.

    Raises:
        ConfigError: `weeks` is empty.
        EmptyDatasetError: No view of the weeks is left. A dataset of that name stays as it was.
        OutputError: A table of a week is missing or damaged, or its captions are older than its views.
    """
    plan, planned = plan_dataset(folder, weeks, config)
    if not planned:
        return plan.report
    frozen = []
    for week in planned:
        frozen.append(freeze_week(folder, week, config, num_threads=num_threads))
        if progress:
            progress(len(frozen), len(planned))
    return finish_dataset(folder, plan, frozen, config)


def plan_dataset(folder: DataFolder, weeks: Sequence[str], config: DatasetConfig) -> tuple[DatasetPlan, list[WeekPlan]]:
    """Decide what concerns all weeks, and write the list of near-duplicates.

    From here on a dataset of that name that is not what was asked for is not done; it is done again once
    `finish_dataset` has been called with all weeks.

    Returns:
        What the weeks have in common, and a plan for each week; no plan if the dataset is already done.

    Raises as `build_dataset`.
    """
    weeks = sorted(set(weeks))
    if not weeks:
        raise ConfigError("no week to make a dataset of; name at least one, such as I20210105")
    provenance = provenance_of(folder, weeks, config)
    manifest = read_manifest(folder, config.name)
    if manifest and clear_damaged(folder, config.name, manifest) and manifest["made"] == provenance.to_dict():
        return DatasetPlan(_report_of_finished(manifest), provenance, {}), []
    _LOG.info("dataset %s: %s from %d weeks", config.name, "built again" if manifest else "built", len(weeks))
    report = Report("dataset", config.name)
    report.tally("views")
    assigned = assign_patents(folder, weeks, config.split, report)
    candidates = Report("dataset", config.name)  # the same views are counted by week when they are written
    near_duplicates = compare_views(folder, assigned, config, candidates)
    _require_candidates(candidates, report)
    # Only now is it certain that there will be another dataset: the old one does not hold any more.
    remove_manifest(folder, config.name)
    listed = _write_list(folder, config, near_duplicates, provenance)
    return DatasetPlan(report, provenance, listed), plan_weeks(assigned, near_duplicates, provenance)


def freeze_week(
    folder: DataFolder, plan: WeekPlan, config: DatasetConfig, *, num_threads: int | None = 1
) -> FrozenWeek:
    """Write the files of one week; see `write_week`. Without more threads, it takes one core."""
    return write_week(folder, plan, config, num_threads=num_threads)


def finish_dataset(
    folder: DataFolder, plan: DatasetPlan, frozen: Iterable[FrozenWeek], config: DatasetConfig
) -> Report:
    """Gather what the weeks hold, remove files that do not belong to the dataset, and write `dataset.json`.

    Args:
        folder: The data folder.
        plan: What the weeks have in common.
        frozen: What became of each week; in any order.
        config: Settings.

    Returns:
        Tallies of views and patents, and counts by split.

    Raises:
        EmptyDatasetError: No view has an image that can be used.
    """
    frozen = sorted(frozen, key=lambda week: week.week)
    report, counts = Report.from_dict(plan.report.to_dict()), Counts()
    for week in frozen:
        _add_views(report, week.report)
        counts.merge(week.counts)
    # Every view and patent must be accounted for before the dataset counts as done.
    _balance_patents(report, counts)
    report.check()
    _require_views(report)
    files = [file for week in frozen for file in week.files]
    files.sort(key=lambda file: (SPLITS.index(file["split"]), file["week"]))
    _remove_others(folder, config.name, {file["name"] for file in files})
    weeks = [week.week for week in frozen]
    write_manifest(folder, config, weeks, plan.provenance, files, counts, report, plan.near_duplicates)
    return report


def _report_of_finished(manifest: Mapping[str, Any]) -> Report:
    """The report of a dataset that is done."""
    _LOG.info("dataset %s: skipped, it is done", manifest["name"])
    done = Report.from_dict(manifest["report"])
    _require_views(done)
    return done


def _write_list(
    folder: DataFolder, config: DatasetConfig, near_duplicates: NearDuplicates, provenance: Provenance
) -> dict[str, Any]:
    """Write the list of near-duplicates, and return its entry in the manifest."""
    path = folder.path("datasets", config.name, listing.FILE_NAME)
    report = Report("dataset", listing.FILE_NAME)
    write_table(folder, path, schemas.NEAR_DUPLICATES, near_duplicates.groups(), provenance, report)
    return {"name": listing.FILE_NAME, "sha256": folder.sha256(path), **near_duplicates.to_dict()}


def _add_views(report: Report, of_week: Report) -> None:
    """Add a week's tally of views, and its other counts, to those of the dataset."""
    tally, added = report.tally("views"), of_week.tally("views")
    tally.num_in += added.num_in
    tally.num_out += added.num_out
    tally.drops += added.drops
    for reason, num in added.left_out.items():
        tally.leave_out(reason, num)
    for what, num in of_week.counts.items():
        report.count(what, num)


def _balance_patents(report: Report, counts: Counts) -> None:
    """Count patents out, and leave out those without any view in the dataset."""
    tally = report.tally("patents")
    for split in SPLITS:
        tally.num_out += len(counts.patents[split])
        report.count(f"patents_{split}", len(counts.patents[split]))
        report.count(f"views_{split}", counts.by_column["viewpoint"][split].total())
    if num_without := tally.num_in - tally.num_out - len(tally.drops):
        tally.leave_out("no_view_left", num_without)


def _require_candidates(candidates: Report, report: Report) -> None:
    """Raise EmptyDatasetError if no view may enter the dataset, before anything of an older one is touched."""
    if not candidates.tally("views").num_out:
        _add_views(report, candidates)
        _balance_patents(report, Counts())
        _require_views(report)


def _require_views(report: Report) -> None:
    """Raise EmptyDatasetError if a dataset has no view; the message says what became of them."""
    views, patents = report.tally("views"), report.tally("patents")
    if views.num_out:
        return
    reasons = ", ".join(f"{num:,} {reason}" for reason, num in (patents.dropped | views.dropped).items())
    raise EmptyDatasetError(
        f"dataset {report.name} would be empty: none of {patents.num_in:,} patents and {views.num_in:,} views is left "
        f"({reasons or 'there were none'}); check the weeks with designclip status, or the settings of the dataset"
    )


def _remove_others(folder: DataFolder, name: str, kept: set[str]) -> None:
    """Remove the Parquet files that do not belong to the dataset."""
    for file_name in folder.names("datasets", name):
        if file_name.endswith(".parquet") and file_name not in kept:
            _LOG.info("dataset %s: %s is removed, it does not belong to the dataset any more", name, file_name)
            folder.remove(folder.path("datasets", name, file_name))
