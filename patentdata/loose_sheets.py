"""Figures of loose sheets: a folder of TIFFs, without grants, to one JSON line a sheet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from patentdata.errors import ConfigError
from patentdata.folder import DataFolder
from patentdata.report import Report
from patentdata.views import split_folder


def write_figures(sheets: Path, out: Path, *, progress: Callable[[int, int], None] | None = None) -> Report:
    """Split every TIFF of a folder and its sub-folders; lines in order of the files' names.

    Raises:
        ConfigError: The folder is not there, or holds no TIFF.
        OutputError: The lines cannot be written.
    """
    if not sheets.is_dir():
        raise ConfigError(f"no folder {sheets}; name one that holds drawing sheets as TIFF files")
    report = Report("views", sheets.name)
    folder = DataFolder(out.resolve().parent)
    with folder.writing(folder.path(out.name)) as file:
        for line in split_folder(sheets, report=report, progress=progress):
            file.write((json.dumps(line) + "\n").encode())
    report.check()
    if not report.tally("sheets").num_in:
        raise ConfigError(f"{sheets} holds no TIFF file")
    return report
