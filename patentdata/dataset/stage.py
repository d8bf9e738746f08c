"""Stage dataset: captioned views of many weeks, divided by family, with their training images, frozen under a name.

A dataset is a folder of Parquet files, one for each week and split, and `dataset.json`, which lists them with their
hashes and is written last: if it exists and agrees with the files, the dataset is done. The files of a week depend only
on that week's tables and on the splits of its patents, so that adding a week, or a rule that changes no split of an old
week, does not rewrite it.

Near-duplicates are the exception: if they are left out, a view that comes with a later week can take one out of an old
file. Which views a file lacks for this reason is then part of what it is made from, and the file is written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from patentdata import classes
from patentdata.dataset import selection, splits
from patentdata.dataset.near_duplicates import listing
from patentdata.dataset.near_duplicates.listing import NearDuplicates, find_near_duplicates
from patentdata.dataset.near_duplicates.search import NearDuplicateConfig
from patentdata.dataset.selection import SelectionConfig, select_views
from patentdata.dataset.splits import SPLITS, Assignment, SplitConfig, assign_splits
from patentdata.errors import ConfigError, EmptyDatasetError, OutputError, SheetError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import (
    Provenance,
    Rows,
    fingerprint,
    is_done,
    open_table,
    read_report,
    to_json_values,
    write_table,
)
from patentdata.store.report import Report, Tally
from patentdata.store.weeks import Progress, table_path
from patentdata.views.square_images import TrainingImageConfig, training_image

_LOG = logging.getLogger(__name__)

_VERSION = 2
_SOURCES = ("grants", "views", "captions")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MANIFEST = "dataset.json"
_ROWS_A_BATCH = 128  # full-resolution images held at a time
_ROWS_A_GROUP = 1024


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """What is frozen, and how.

    Attributes:
        name: Folder of the dataset within `datasets/`, by which a training run refers to it.
        image: How views become training images.
        split: How patents are divided.
        selection: Which views are good enough.
        near_duplicates: Which views are nearly the same drawing, and whether they are left out.
    """

    name: str = "designs"
    image: TrainingImageConfig = field(default_factory=TrainingImageConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    near_duplicates: NearDuplicateConfig = field(default_factory=NearDuplicateConfig)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"dataset name {self.name!r} cannot be a folder; use letters, digits, dots, dashes and underscores"
            )


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


def build_dataset(
    folder: DataFolder,
    weeks: Sequence[str],
    config: DatasetConfig,
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Freeze the captioned views of `weeks` as the dataset `config.name`.

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
    weeks = sorted(set(weeks))
    if not weeks:
        raise ConfigError("no week to make a dataset of; name at least one, such as I20210105")
    provenance = _provenance(folder, weeks, config)
    manifest = _read_manifest(folder, config.name)
    if manifest and _clear_damaged(folder, config.name, manifest) and manifest["made"] == provenance.to_dict():
        return _report_of_finished(manifest)
    report = Report("dataset", config.name)
    report.tally("views")
    report.tally("patents")
    assigned = _assign(folder, weeks, config.split, report)
    near_duplicates = _find_near_duplicates(folder, weeks, assigned, config)
    _LOG.info("dataset %s: %s from %d weeks", config.name, "built again" if manifest else "built", len(weeks))
    files: list[dict[str, Any]] = []
    counts = _Counts()
    with ThreadPoolExecutor(num_threads) as executor:
        for num_done, week in enumerate(weeks, start=1):
            selected = _select_week(folder, week, assigned[week], config.selection, report)
            without = _leave_out(selected, near_duplicates, report.tally("views"))
            for shard in _plan_week(week, selected, without, assigned[week], config, provenance):
                # From the first file on the manifest no longer holds; without it the dataset is not done.
                folder.remove(folder.path("datasets", config.name, _MANIFEST))
                file = _write_shard(folder, shard, config, executor, report, counts)
                files += [file] if file else []
            if progress:
                progress(num_done, len(weeks))
    # Every view and patent must be accounted for before the dataset counts as done.
    _balance_patents(report, counts)
    report.check()
    _require_views(report)
    files.sort(key=lambda file: (SPLITS.index(file["split"]), file["week"]))
    _remove_others(folder, config.name, {file["name"] for file in files})
    listed = _write_list(folder, config, near_duplicates, provenance)
    _write_manifest(folder, config, weeks, provenance, files, counts, report, listed)
    return report


def _report_of_finished(manifest: Mapping[str, Any]) -> Report:
    """The report of a dataset that is done."""
    _LOG.info("dataset %s: skipped, it is done", manifest["name"])
    done = Report.from_dict(manifest["report"])
    _require_views(done)
    return done


def _provenance(folder: DataFolder, weeks: list[str], config: DatasetConfig) -> Provenance:
    inputs = {
        f"{stage}/{week}": fingerprint(folder, table_path(folder, stage, week)) for week in weeks for stage in _SOURCES
    }
    return Provenance(stage="dataset", version=_VERSION, config=to_json_values(config), inputs=inputs)


def _rows_of(folder: DataFolder, stage: str, week: str, columns: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Rows of one table, with one batch in memory at a time."""
    path = table_path(folder, stage, week)
    try:
        with open_table(folder, path) as table:
            for batch in table.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"{path} is damaged ({error}); run the {stage} stage again") from error


def _assign(
    folder: DataFolder, weeks: list[str], config: SplitConfig, report: Report
) -> dict[str, dict[str, Assignment]]:
    """Week → patent number → its assignment; a number granted in two weeks stays in the first."""
    week_of: dict[str, str] = {}
    tally = report.tally("patents")

    def grants() -> Iterator[dict[str, Any]]:
        for week in weeks:
            for row in _rows_of(folder, "grants", week, splits.GRANT_COLUMNS):
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


def _select_week(
    folder: DataFolder,
    week: str,
    assignments: Mapping[str, Assignment],
    config: SelectionConfig,
    report: Report,
) -> dict[str, Rows]:
    """Split → the rows of a week that are good enough, without their images."""
    captions = {row["view_id"]: row for row in _rows_of(folder, "captions", week, selection.CAPTION_COLUMNS)}
    grants = {row["patent_number"]: row for row in _rows_of(folder, "grants", week, selection.GRANT_COLUMNS)}
    return select_views(
        _rows_of(folder, "views", week, selection.VIEW_COLUMNS),
        captions=captions,
        grants=grants,
        assignments=assignments,
        config=config,
        report=report,
    )


def _find_near_duplicates(
    folder: DataFolder, weeks: list[str], assigned: Mapping[str, Mapping[str, Assignment]], config: DatasetConfig
) -> NearDuplicates:
    """The near-duplicates among all views that may enter; no image is read."""
    uncounted = Report("dataset", config.name)  # the same views are counted when they are selected to be written

    def views() -> Iterator[dict[str, Any]]:
        for week in weeks:
            for rows in _select_week(folder, week, assigned[week], config.selection, uncounted).values():
                yield from rows

    return find_near_duplicates(views(), config.near_duplicates)


def _leave_out(selected: dict[str, Rows], near_duplicates: NearDuplicates, tally: Tally) -> dict[str, list[str]]:
    """Take the views that are left out from the rows of a week, and count them.

    Returns:
        Split → view_ids that were taken out, sorted; without the splits that lose none.
    """
    taken = {}
    for split, rows in selected.items():
        without = sorted(row["view_id"] for row in rows if row["view_id"] in near_duplicates.left_out)
        if without:
            taken[split] = without
            selected[split] = [row for row in rows if row["view_id"] not in near_duplicates.left_out]
            tally.leave_out(listing.LEFT_OUT, len(without))
    return taken


def _plan_week(
    week: str,
    selected: Mapping[str, Rows],
    without: Mapping[str, list[str]],
    assignments: Mapping[str, Assignment],
    config: DatasetConfig,
    provenance: Provenance,
) -> Iterator[_Shard]:
    """The files of one week, one for each split in which it has views; `provenance` is that of the dataset."""
    inputs = {stage: provenance.inputs[f"{stage}/{week}"] for stage in _SOURCES}
    for split, rows in selected.items():
        members = sorted(assignment for assignment in assignments.values() if assignment.split == split)
        left_out = {listing.LEFT_OUT: _sha256(without[split])} if split in without else {}
        if rows:
            yield _Shard(
                file_name=f"{split}-{week}.parquet",
                split=split,
                week=week,
                rows=rows,
                provenance=Provenance(
                    stage="dataset",
                    version=_VERSION,
                    config={"image": to_json_values(config.image), "selection": to_json_values(config.selection)},
                    inputs=inputs | {"members": _sha256(members)} | left_out,
                ),
            )


class _Counts:
    """Patents, families and views of the dataset, by split."""

    def __init__(self) -> None:
        self.patents: dict[str, set[str]] = {split: set() for split in SPLITS}
        self.families: dict[str, set[str]] = {split: set() for split in SPLITS}
        self.by_column: dict[str, dict[str, Counter[str]]] = {
            column: {split: Counter() for split in SPLITS} for column in ("uspc_class", "locarno_class", "viewpoint")
        }

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one view; of its Locarno class only the first two digits, the class proper, count."""
        split = row["split"]
        self.patents[split].add(row["patent_number"])
        self.families[split].add(row["family"])
        for column, of_split in self.by_column.items():
            value = row[column] or "none"
            of_split[split][value[:2] if column == "locarno_class" and row[column] else value] += 1

    def to_dict(self) -> dict[str, dict[str, dict[str, int]]]:
        """Column → split → value → number of views, sorted by value."""
        return {
            column: {split: dict(sorted(counter.items())) for split, counter in of_split.items()}
            for column, of_split in self.by_column.items()
        }


def _write_shard(
    folder: DataFolder,
    shard: _Shard,
    config: DatasetConfig,
    executor: ThreadPoolExecutor,
    report: Report,
    counts: _Counts,
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
        batches = _with_images(folder, shard, config.image, executor, shard_report.tally("views"))
        write_table(folder, path, schemas.DATASET, batches, shard.provenance, shard_report)
    # The counts come from the file's own report, so that they are the same for a file that was kept.
    written = read_report(folder, path).tally("views")
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
    folder: DataFolder, shard: _Shard, config: TrainingImageConfig, executor: ThreadPoolExecutor, tally: Tally
) -> Iterator[Rows]:
    """The shard's rows with their images, in order, as row groups."""
    rows = {row["view_id"]: row for row in shard.rows}
    wanted = pa.array(list(rows), pa.string())
    group: Rows = []
    with open_table(folder, table_path(folder, "views", shard.week)) as table:
        for batch in table.iter_batches(batch_size=_ROWS_A_BATCH, columns=["view_id", "image"]):
            views = batch.filter(pc.is_in(batch.column("view_id"), wanted)).to_pylist()
            images = executor.map(partial(_image_or_reason, config=config), [view["image"] for view in views])
            for view, (image, reason, detail) in zip(views, images, strict=True):
                tally.num_in += 1
                if image is None:
                    tally.drop(reason, view["view_id"], detail)
                    continue
                tally.num_out += 1
                group.append(rows[view["view_id"]] | {"image": image})
                if len(group) == _ROWS_A_GROUP:
                    yield group
                    group = []
    yield group


def _image_or_reason(png: bytes | None, config: TrainingImageConfig) -> tuple[bytes | None, str, str]:
    """The training image of a view, or None with the reason and its detail."""
    try:
        image = training_image(png or b"", config)
    except SheetError as error:
        return None, "unreadable_image", str(error)
    return image, "" if image else "no_ink", ""


def _balance_patents(report: Report, counts: _Counts) -> None:
    """Count patents out, and leave out those without any view in the dataset."""
    tally = report.tally("patents")
    for split in SPLITS:
        tally.num_out += len(counts.patents[split])
        report.count(f"patents_{split}", len(counts.patents[split]))
        report.count(f"views_{split}", counts.by_column["viewpoint"][split].total())
    if num_without := tally.num_in - tally.num_out - len(tally.drops):
        tally.leave_out("no_view_left", num_without)


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


def _read_manifest(folder: DataFolder, name: str) -> dict[str, Any] | None:
    """The content of `dataset.json`; None if it is missing or was changed after it was written."""
    manifest = folder.read_json(folder.path("datasets", name, _MANIFEST))
    if not isinstance(manifest, dict) or manifest.pop("fingerprint", None) != _sha256(manifest):
        return None
    return manifest


def _write_list(
    folder: DataFolder, config: DatasetConfig, near_duplicates: NearDuplicates, provenance: Provenance
) -> dict[str, Any]:
    """Write the list of near-duplicates, and return its entry in the manifest."""
    path = folder.path("datasets", config.name, listing.FILE_NAME)
    report = Report("dataset", listing.FILE_NAME)
    write_table(folder, path, schemas.NEAR_DUPLICATES, near_duplicates.groups(), provenance, report)
    return {"name": listing.FILE_NAME, "sha256": folder.sha256(path), **near_duplicates.to_dict()}


def _clear_damaged(folder: DataFolder, name: str, manifest: Mapping[str, Any]) -> bool:
    """Remove files whose hash differs from that in the manifest; returns whether every file was there and intact."""
    names = {file_name for file_name in folder.names("datasets", name) if file_name.endswith(".parquet")}
    is_intact = names == {file["name"] for file in manifest["files"]}
    for file in [*manifest["files"], *([manifest["near_duplicates"]] if "near_duplicates" in manifest else [])]:
        path = folder.path("datasets", name, file["name"])
        if not folder.exists(path):
            is_intact = False
        elif folder.sha256(path) != file["sha256"]:
            _LOG.info("dataset %s: %s is damaged and made again", name, file["name"])
            folder.remove(path)
            is_intact = False
    return is_intact


def _write_manifest(
    folder: DataFolder,
    config: DatasetConfig,
    weeks: list[str],
    provenance: Provenance,
    files: list[dict[str, Any]],
    counts: _Counts,
    report: Report,
    near_duplicates: Mapping[str, Any],
) -> None:
    """Write `dataset.json`, which makes the dataset done."""
    num_rows = {split: sum(file["num_rows"] for file in files if file["split"] == split) for split in SPLITS}
    manifest = {
        "name": config.name,
        "made": provenance.to_dict(),
        "weeks": weeks,
        "files": files,
        "near_duplicates": near_duplicates,
        "num_views": num_rows,
        "num_patents": {split: len(counts.patents[split]) for split in SPLITS},
        "num_families": {split: len(counts.families[split]) for split in SPLITS},
        "counts": counts.to_dict(),
        "dropped": {unit: tally.dropped for unit, tally in report.tallies.items()},
        "classes": {  # in the order that fixes class numbers
            "uspc": [{"symbol": symbol, "title": title} for symbol, title in classes.USPC_TITLES.items()],
            "locarno": [{"symbol": symbol, "title": title} for symbol, title in classes.LOCARNO_TITLES.items()],
        },
        "split_rule": _split_rule(config.split),
        "notes": [
            f"The split {split} is empty: {_why_empty(config.split)}." for split in SPLITS if not num_rows[split]
        ],
        "report": report.to_dict(),
    }
    folder.write_json(folder.path("datasets", config.name, _MANIFEST), {"fingerprint": _sha256(manifest), **manifest})


def _split_rule(config: SplitConfig) -> str:
    """The rule by which patents were divided, in words; part of `dataset.json`."""
    families = (
        f"Families, not patents, are divided: patents of one day at most {config.max_number_gap} numbers apart that "
        "share a title or a name, and patents of one application, priority or registration. Patents with "
        "relatives on two sides are left out."
    )
    if config.kind == "temporal":
        validation = f"granted from {config.validation_from} on: validation; " if config.validation_from else ""
        return f"By day of grant; {validation}from {config.test_from} on: test; before: train. {families}"
    return (
        f"By hash of the family with seed {config.seed}: test {config.test_share:g}, validation "
        f"{config.validation_share:g}, train the rest; a split still empty when its share amounts to one family takes "
        f"the next. {families}"
    )


def _why_empty(config: SplitConfig) -> str:
    if config.kind == "temporal":
        return "no usable view was granted in its days"
    return "it has a share of 0, or the data hold too few families; add weeks or raise its share"


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
