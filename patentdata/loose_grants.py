"""Grants of loose files: single documents, concatenated weekly files, Red Book archives and their members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from patentdata import grants, records
from patentdata.errors import ConfigError
from patentdata.folder import DataFolder, sha256_of
from patentdata.parquet import Claim, write_table
from patentdata.report import Report
from patentdata.stages import in_groups


def write_grants(files: Sequence[Path], out: Path) -> Report:
    """Parse the grants of files, in the order given, into one Parquet file of `records.GRANTS`.

    Raises:
        ConfigError: A file is not there.
        OutputError: The Parquet file cannot be written.
    """
    for path in files:
        if not path.is_file():
            raise ConfigError(f"no file {path}; name grant XML, single or concatenated")
    folder = DataFolder(out.resolve().parent)
    inputs = {path.name: sha256_of(folder.fs, str(path.resolve())) for path in files}
    report = Report("grants", out.name)
    claim = Claim(stage="grants", version=1, inputs=inputs)
    write_table(folder, folder.path(out.name), records.GRANTS, in_groups(_grants_of(files, report)), claim, report)
    return report


def _grants_of(files: Sequence[Path], report: Report) -> Iterator[dict[str, Any]]:
    for path in files:
        with path.open("rb") as file:
            yield from grants.read_grants(file, name=path.name, report=report)
