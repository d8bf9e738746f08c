"""The files of a dataset that come from one week: one for each split in which the week has views.

They depend on that week's tables and on what was planned for it, so weeks are frozen in parallel, in any order and on
any machine, with the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from patentdata.dataset import pictures, selection
from patentdata.dataset.config import VERSION, DatasetConfig
from patentdata.dataset.counts import Counts
from patentdata.dataset.manifest import sha256_of_values
from patentdata.dataset.near_duplicates import listing
from patentdata.dataset.pictures import Pictures, count_claimed, image_columns
from patentdata.dataset.selection import SelectionConfig, select_views
from patentdata.dataset.splits import Assignment
from patentdata.errors import OutputError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import (
    Provenance,
    Rows,
    is_done,
    open_table,
    read_report,
    to_json_values,
    write_table,
)
from patentdata.store.report import Report, Tally
from patentdata.store.weeks import table_path
from patentdata.views.square_images import TrainingImageConfig

_LOG = logging.getLogger(__name__)

SOURCES = ("grants", "views", "captions")
_ROWS_A_BATCH = 128  # full-resolution images held at a time
_ROWS_A_GROUP = 1024


@dataclass(frozen=True)
class WeekPlan:
    """What the files of one week are made from.

    Attributes:
        week: The week, such as "I20210105".
        inputs: Stage → fingerprint of its table of the week.
        assignments: Patent number → its assignment, of the patents that belong to the week.
        left_out: The view_id of each view of these patents that is left out as a near-duplicate.
    """

    week: str
    inputs: Mapping[str, str]
    assignments: Mapping[str, Assignment]
    left_out: frozenset[str]


@dataclass(frozen=True)
class FrozenWeek:
    """What became of one week.

    Attributes:
        week: The week.
        files: One entry of `dataset.json` a file.
        report: Its tally "views" has all views of the week.
        counts: What the files hold.
    """

    week: str
    files: list[dict[str, Any]]
    report: Report
    counts: Counts


@dataclass(frozen=True)
class _Shard:
    """One file of the dataset: the views of one week and split.

    Attributes:
        file_name: Its name in the folder of the dataset.
        split, week: Which views it has.
        rows: Its rows, still without their image, as `select_views` returns them.
        provenance: What the file is made from.
    """

    file_name: str
    split: str
    week: str
    rows: Rows
    provenance: Provenance


def write_week(folder: DataFolder, plan: WeekPlan, config: DatasetConfig, *, num_threads: int | None) -> FrozenWeek:
    """Write the files of one week that are missing, damaged or stale; those that are done are kept.

    Args:
        folder: The data folder.
        plan: What they are made from.
        config: Settings.
        num_threads: Threads that make images; None for a few more than there are cores. It changes no byte.

    Raises:
        OutputError: A table of the week is damaged, or its captions are older than its views.
    """
    report, counts = Report("dataset", plan.week), Counts()
    selected = select_week(folder, plan.week, plan.assignments, config.selection, report)
    without = _leave_out(selected, plan.left_out, report.tally("views"))
    with ThreadPoolExecutor(num_threads) as executor:
        written = [
            _write_shard(folder, shard, config, executor, report, counts)
            for shard in _plan_shards(plan, selected, without, config)
        ]
    return FrozenWeek(plan.week, [file for file in written if file is not None], report, counts)


def rows_of(folder: DataFolder, stage: str, week: str, columns: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Rows of one table, with one batch in memory at a time. Raises OutputError if it is damaged."""
    path = table_path(folder, stage, week)
    try:
        with open_table(folder, path) as table:
            for batch in table.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"{path} is damaged ({error}); run the {stage} stage again") from error


def select_week(
    folder: DataFolder,
    week: str,
    assignments: Mapping[str, Assignment],
    config: SelectionConfig,
    report: Report,
) -> dict[str, Rows]:
    """Split → the rows of a week that are good enough, without their images."""
    captions = {row["view_id"]: row for row in rows_of(folder, "captions", week, selection.CAPTION_COLUMNS)}
    grants = {row["patent_number"]: row for row in rows_of(folder, "grants", week, selection.GRANT_COLUMNS)}
    return select_views(
        rows_of(folder, "views", week, selection.VIEW_COLUMNS),
        captions=captions,
        grants=grants,
        assignments=assignments,
        config=config,
        report=report,
    )


def _leave_out(selected: dict[str, Rows], left_out: frozenset[str], tally: Tally) -> dict[str, list[str]]:
    """Take the views that are left out as near-duplicates from the rows of a week, and count them.

    Returns:
        Split → view_ids that were taken out, sorted; without the splits that lose none.
    """
    taken = {}
    for split, rows in selected.items():
        without = sorted(row["view_id"] for row in rows if row["view_id"] in left_out)
        if without:
            taken[split] = without
            selected[split] = [row for row in rows if row["view_id"] not in left_out]
            tally.leave_out(listing.LEFT_OUT, len(without))
    return taken


def _plan_shards(
    plan: WeekPlan, selected: Mapping[str, Rows], without: Mapping[str, list[str]], config: DatasetConfig
) -> Iterator[_Shard]:
    """The files of one week, one for each split in which it has views."""
    for split, rows in selected.items():
        members = sorted(assignment for assignment in plan.assignments.values() if assignment.split == split)
        left_out = {listing.LEFT_OUT: sha256_of_values(without[split])} if split in without else {}
        if rows:
            yield _Shard(
                file_name=f"{split}-{plan.week}.parquet",
                split=split,
                week=plan.week,
                rows=rows,
                provenance=Provenance(
                    stage="dataset",
                    version=VERSION,
                    config={"image": to_json_values(config.image), "selection": to_json_values(config.selection)},
                    inputs={**plan.inputs, "members": sha256_of_values(members)} | left_out,
                ),
            )


def _write_shard(
    folder: DataFolder,
    shard: _Shard,
    config: DatasetConfig,
    executor: ThreadPoolExecutor,
    report: Report,
    counts: Counts,
) -> dict[str, Any] | None:
    """Write a file unless it is done, and add its counts to report and counts.

    Returns:
        Its entry in the manifest; None if no view of it has a usable image.
    """
    path = folder.path("datasets", config.name, shard.file_name)
    if is_done(folder, path, shard.provenance):
        _LOG.info("dataset %s: %s is kept, it is done", config.name, shard.file_name)
    else:
        shard_report = Report("dataset", shard.file_name)
        batches = _with_images(folder, shard, config.image, executor, shard_report)
        write_table(folder, path, schemas.DATASET, batches, shard.provenance, shard_report)
    # The counts come from the file's own report, so that they are the same for a file that was kept.
    of_shard = read_report(folder, path)
    written = of_shard.tally("views")
    for name, number in of_shard.counts.items():
        report.count(name, number)
    tally = report.tally("views")
    tally.num_out += written.num_out
    tally.drops += written.drops
    without_image = {drop.subject for drop in written.drops}
    for row in shard.rows:
        if row["view_id"] not in without_image:
            counts.add(row)
    if not written.num_out:
        return None
    return {
        "name": shard.file_name,
        "split": shard.split,
        "week": shard.week,
        "num_rows": written.num_out,
        "num_bytes": folder.fs.size(path),
        "sha256": folder.sha256(path),
    }


def _with_images(
    folder: DataFolder, shard: _Shard, config: TrainingImageConfig, executor: ThreadPoolExecutor, report: Report
) -> Iterator[Rows]:
    """The shard's rows with their images, in order, as row groups."""
    rows = {row["view_id"]: row for row in shard.rows}
    wanted = pa.array(list(rows), pa.string())
    group: Rows = []
    tally = report.tally("views")
    with open_table(folder, table_path(folder, "views", shard.week)) as table:
        for batch in table.iter_batches(batch_size=_ROWS_A_BATCH, columns=list(pictures.VIEW_COLUMNS)):
            views = batch.filter(pc.is_in(batch.column("view_id"), wanted)).to_pylist()
            pngs = [Pictures.of(view, rows[view["view_id"]]) for view in views]
            images = executor.map(partial(image_columns, config=config), pngs)
            for view, made in zip(views, images, strict=True):
                tally.num_in += 1
                if made.reason:
                    tally.drop(made.reason, view["view_id"], made.detail)
                    continue
                tally.num_out += 1
                group.append({**rows[view["view_id"]], **made.columns})
                count_claimed(group[-1], report)
                if len(group) == _ROWS_A_GROUP:
                    yield group
                    group = []
    yield group
