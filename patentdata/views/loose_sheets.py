"""Figures of loose sheets: from a folder of TIFFs, without grants, to one JSON line for each sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patentdata.errors import ConfigError, SheetError
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from patentdata.store.weeks import Progress
from patentdata.views.patent_views import SHEET_FILE
from patentdata.views.sheets import read_sheet
from patentdata.views.splitting import DEFAULT_CONFIG, SplitSheet, ViewsConfig, split_sheet


def write_figures(sheets: Path, out: Path, *, progress: Progress | None = None) -> Report:
    """Split every TIFF of a folder and its sub-folders, and write one JSON line for each, in order of the files' names.

    Args:
        sheets: Folder of the sheets.
        out: File of the lines; it appears complete or not at all.
        progress: Called with the number of sheets done and of all sheets.

    Returns:
        The tally "sheets".

    Raises:
        ConfigError: The folder does not exist, or contains no TIFF.
        SheetError: None of the sheets could be split.
        OutputError: The lines cannot be written.
    """
    if not sheets.is_dir():
        raise ConfigError(f"{sheets} is not a folder; name one that contains drawing sheets as TIFF files")
    report = Report("views", sheets.name)
    folder = DataFolder(out.resolve().parent)
    with folder.writing(folder.path(out.name)) as file:
        for line in split_folder(sheets, report=report, progress=progress):
            file.write((json.dumps(line) + "\n").encode())
        report.check()
        tally = report.tally("sheets")
        if not tally.num_in:
            raise ConfigError(f"{sheets} holds no TIFF file")
        if not tally.num_out:
            first = tally.drops[0]
            reason = first.detail or f"{first.subject} has no ink"
            raise SheetError(f"{sheets}: none of its {tally.num_in} sheets could be split; the first: {reason}")
    return report


def split_folder(
    folder: Path,
    *,
    config: ViewsConfig = DEFAULT_CONFIG,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """Split every TIFF of a folder and its sub-folders, in order of the files' names.

    Args:
        folder: Folder of the sheets.
        config: Settings.
        report: The tally "sheets" is added to it.
        progress: Called with the number of sheets done and of all sheets.

    Yields:
        One dict for each sheet: `patent`, `sheet`, `file`, `width`, `height`, `rotation_cw_to_upright` and `figures`,
        each with `label`, `label_box`, `figure_box`, `score` and `flags`. A file that cannot be read, or that has no
        ink, is dropped. Companions that macOS adds to files ("._NAME", "__MACOSX") are not sheets.
    """
    report = Report("views") if report is None else report
    tally = report.tally("sheets")
    files = [path for path in Path(folder).rglob("*") if _is_sheet(path.relative_to(folder)) and path.is_file()]
    files.sort(key=lambda path: (path.name, path))
    for num_done, path in enumerate(files, 1):
        tally.num_in += 1
        try:
            page = read_sheet(path.read_bytes(), name=path.name, max_pixels=config.max_pixels)
        except SheetError as error:
            tally.drop("broken_sheet", path.name, str(error))
        else:
            split = split_sheet(page, config=config)
            if split.figures:
                tally.num_out += 1
                yield _line(path.name, page.shape, split)
            else:
                tally.drop("sheet_without_ink", path.name)
        if progress is not None:
            progress(num_done, len(files))


def _is_sheet(path: Path) -> bool:
    """Whether a path within the folder is named as a TIFF, and is not a companion that macOS adds to one."""
    is_companion = path.name.startswith("._") or "__MACOSX" in path.parts
    return path.suffix.lower() in (".tif", ".tiff") and not is_companion


def _line(file_name: str, shape: tuple[int, ...], sheet: SplitSheet) -> dict[str, Any]:
    """The dict of one sheet; a file that is not named as published counts as sheet 1 of a patent of its own."""
    match = SHEET_FILE.search(file_name)
    return {
        "patent": match["patent"] if match else Path(file_name).stem,
        "sheet": int(match["sheet"]) if match else 1,
        "file": file_name,
        "width": shape[1],
        "height": shape[0],
        "rotation_cw_to_upright": sheet.rotation_cw,
        "figures": [
            {
                "label": figure.label,
                "label_box": list(figure.label_box) if figure.label_box else None,
                "figure_box": list(figure.box),
                "score": figure.score,
                "flags": list(figure.flags),
            }
            for figure in sheet.figures
        ],
    }
