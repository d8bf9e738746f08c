"""`dataset.json`, which lists the files of a dataset with their hashes, and makes it done.

It is written last and removed before the first file changes. So if it is there and agrees with the files, the dataset
is whole; a run that was killed in between leaves files without it, which the next run takes over or replaces.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from patentdata import classes
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.counts import Counts
from patentdata.dataset.splits import SPLITS, SplitConfig
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance
from patentdata.store.report import Report

_LOG = logging.getLogger(__name__)

_FILE_NAME = "dataset.json"


def read_manifest(folder: DataFolder, name: str) -> dict[str, Any] | None:
    """The content of `dataset.json`; None if it is missing or was changed after it was written."""
    manifest = folder.read_json(folder.path("datasets", name, _FILE_NAME))
    if not isinstance(manifest, dict) or manifest.pop("fingerprint", None) != sha256_of_values(manifest):
        return None
    return manifest


def remove_manifest(folder: DataFolder, name: str) -> None:
    """Remove `dataset.json`, so that the dataset is not done until it is written again."""
    folder.remove(folder.path("datasets", name, _FILE_NAME))


def clear_damaged(folder: DataFolder, name: str, manifest: Mapping[str, Any]) -> bool:
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


def write_manifest(
    folder: DataFolder,
    config: DatasetConfig,
    weeks: list[str],
    provenance: Provenance,
    files: list[dict[str, Any]],
    counts: Counts,
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
    folder.write_json(
        folder.path("datasets", config.name, _FILE_NAME), {"fingerprint": sha256_of_values(manifest), **manifest}
    )


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


def sha256_of_values(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
