"""Exports a frozen dataset to the format of another tool."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.clip.encoder import find_encoder
from model.clip.loading import choose_device
from model.dataset.folder import open_dataset
from model.errors import ConfigError
from model.exports.fiftyone import FiftyOneDataset
from model.exports.folder import ExportError, ExportFolder, PartReport
from model.exports.formats import Format, Part
from model.exports.lance import LanceTable
from model.exports.rows import DatasetRows
from model.exports.tables import CsvTables
from model.exports.vector_index import FaissIndex
from model.exports.vectors import Vectors
from model.exports.webdataset import RETRIEVAL, WebDataset
from model.progress import Progress

FORMATS = ("webdataset", "fiftyone", "lancedb", "faiss", "csv")
_WITH_VECTORS = ("lancedb", "faiss")
_FINAL = "final"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What is exported.

    Attributes:
        format: One of `FORMATS`.
        model: The model whose features are exported, by any name that a search takes; "faiss" needs one, "lancedb" may
            have one, and the other formats have none.
        task: For "webdataset": what clip-benchmark measures, "retrieval" or "classification".
        views_a_shard: For "webdataset": number of views in a tar file.
        device: Where features are computed: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: A setting cannot be used.
    """

    format: str
    model: str | None = None
    task: str = RETRIEVAL
    views_a_shard: int = 10_000
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format[:40]!r}; use one of {', '.join(FORMATS)}")
        if self.format == "faiss" and self.model is None:
            raise ConfigError("an export to faiss is of features; name the model that computes them")
        if self.model is not None and self.format not in _WITH_VECTORS:
            raise ConfigError(f"an export to {self.format} has no features; leave the model out")


def export_dataset(
    config: ExportConfig,
    dataset_dir: Path,
    out: Path,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a dataset in the format of another tool, or resume an export that was stopped.

    An export that is done and unchanged is left alone. Memory does not grow with the dataset, but for features: those
    of a split are in memory, as for a search, and for "faiss" those of the whole index.

    Args:
        config: What is exported.
        dataset_dir: The dataset folder; it must not be inside `out`.
        out: Folder of the export; empty, missing, or of an earlier call.
        replace: Replace an export of another dataset or of other settings in `out`.
        progress: Called with the views done and all views; and while features are computed.

    Returns:
        The content of `export.json`, and "advice": how to open the export.

    Raises:
        DatasetError: The dataset is missing or damaged.
        ExportError: `out` has files of others or of another export, or cannot be written.
    """
    source = DatasetRows(open_dataset(dataset_dir))
    vectors = None
    if config.model is not None:
        encoder = find_encoder(config.model, choose_device(config.device), progress=progress)
        vectors = Vectors(encoder, source.dataset)
    chosen = _format_of(config, source, vectors)
    return export_as(chosen, out, model=vectors.identity if vectors else None, replace=replace, progress=progress)


def _format_of(config: ExportConfig, source: DatasetRows, vectors: Vectors | None) -> Format:
    if config.format == "webdataset":
        return WebDataset(source, task=config.task, views_a_shard=config.views_a_shard)
    if config.format == "fiftyone":
        return FiftyOneDataset(source)
    if config.format == "csv":
        return CsvTables(source)
    if config.format == "lancedb":
        return LanceTable(source, vectors)
    assert vectors is not None, "the settings ask for a model"
    return FaissIndex(source, vectors)


def export_as(
    chosen: Format,
    out: Path,
    *,
    model: dict[str, str] | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a dataset in a format, part by part; see `export_dataset`."""
    dataset = chosen.source.dataset
    _refuse_nested(dataset.folder, out)
    made = {
        "format": chosen.name,
        "version": chosen.version,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "model": model,
        "settings": chosen.settings,
    }
    parts = chosen.parts()
    folder = ExportFolder(out, made, [*(target for part in parts for target in part.targets), *chosen.final_targets])
    with folder.opened(replace=replace) as note:
        if note is None:
            reports = _write_parts(chosen, parts, folder, progress)
            _finish(chosen, reports, folder)
            note = folder.seal([*(part.name for part in parts), _FINAL], _counts(reports))
    return {**note, "advice": chosen.advice(out)}


def _refuse_nested(dataset_dir: Path, out: Path) -> None:
    """Raise ExportError if one of the two folders is within the other, where the stages would take it for their own."""
    one, other = dataset_dir.resolve(), out.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ExportError(f"{out} and the dataset {dataset_dir} are in one another; name another folder for the export")


def _write_parts(
    chosen: Format, parts: list[Part], folder: ExportFolder, progress: Progress | None
) -> dict[Part, PartReport]:
    """Write the parts that are missing; returns every part with its report, in order."""
    num_all = sum(part.num_views for part in parts)
    num_done = 0

    def on_view() -> None:
        nonlocal num_done
        num_done += 1
        if progress is not None:
            progress(num_done, num_all, {"doing": "views exported"})

    reports = {}
    for part in parts:
        report = folder.report_of(part.name)
        if report is None:
            with folder.writing(part.name, part.targets) as writer:
                writer.report = report = chosen.write(part, writer.path, on_view)
        else:
            _LOG.info("export %s: %s is kept, it is done", folder.path, part.name)
            num_done += part.num_views
        reports[part] = report
    return reports


def _finish(chosen: Format, reports: dict[Part, PartReport], folder: ExportFolder) -> None:
    with folder.writing(_FINAL, chosen.final_targets) as writer:
        chosen.finish(reports, folder.target, writer.path)
        writer.report = PartReport(num_in=0, num_out=0)


def _counts(reports: dict[Part, PartReport]) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    for report in reports.values():
        dropped.update(report.dropped)
    return {
        "num_views": sum(report.num_out for report in reports.values()),
        "dropped": dict(sorted(dropped.items())),
    }
