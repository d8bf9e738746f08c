"""Sending a frozen dataset to a repository of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from model.clip.push import check_repository, upload
from model.dataset.folder import open_dataset
from model.exports.card import LICENCE
from model.exports.export import export_as
from model.exports.hub_folder import HubFolder
from model.exports.rows import DatasetRows
from model.progress import Progress

_SHARD = re.compile(r"data/[A-Za-z0-9_-]+-\d{5}-of-\d{5}\.parquet")


def push_dataset(
    dataset_dir: Path,
    repository: str,
    out: Path,
    *,
    licence: str = LICENCE,
    views_a_shard: int = 10_000,
    is_private: bool = False,
    is_dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a dataset as a repository of the hub, and send it there.

    `datasets.load_dataset("OWNER/NAME")` then reads it, and the viewer of the hub shows its pictures. Shards of an
    earlier push that do not belong to the dataset any more are removed from the repository; everything else stays.

    Args:
        dataset_dir: The dataset folder.
        repository: "owner/name"; created if it does not exist.
        out: Folder for the files that are sent; one of an earlier push of any state of the dataset is written again.
        licence: An identifier of the hub, such as "cc-by-4.0"; by default the terms of US patents.
        views_a_shard: Number of views in a Parquet file.
        is_private: Whether a newly created repository is private.
        is_dry_run: Write the folder and send nothing; the hub is not contacted.
        progress: Called with the views written and all views.

    Returns:
        repository, files (name → number of bytes), address (the URL of the commit; None for a dry run), and folder.

    Raises:
        ConfigError: The name of the repository is invalid.
        DatasetError: The dataset is missing or damaged.
        ExportError: `out` has files of others, or cannot be written.
        PushError: The hub cannot be reached or rejects the files.
    """
    check_repository(repository)
    source = DatasetRows(open_dataset(dataset_dir))
    chosen = HubFolder(source, repository=repository, licence=licence, views_a_shard=views_a_shard)
    export_as(chosen, out, replace=True, progress=progress)
    paths = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    sent: dict[str, Any] = {
        "repository": repository,
        "files": {name: path.stat().st_size for name, path in paths.items()},
        "address": None,
        "folder": str(out),
    }
    if not is_dry_run:
        message = f"Dataset {source.dataset.name}, {source.dataset.fingerprint[:12]}"
        contents: dict[str, Path | bytes] = dict(paths)
        sent["address"] = upload(contents, repository, message, kind="dataset", is_private=is_private, replaces=_SHARD)
    return sent
