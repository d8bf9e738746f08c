"""CSV: one file a split with all metadata, and the images next to it as JPEG files.

    OUT/train.csv                                   a line for each view; its column `filepath` names the image
    OUT/images/train-I20210105/D907292-1.jpg        a folder for each file of the dataset
    OUT/claimed_images/…                            if the dataset has them; `claimed_filepath` names the image

UTF-8 with a header, commas, and quotes as RFC 4180 has them. Empty is null, days are 2021-01-05, and patent numbers of
a list are separated by blanks. `filepath` is relative to OUT.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from model.exports.folder import SCRATCH, PartReport
from model.exports.formats import Format, Part, parts_by_file, write_image
from model.exports.rows import CLAIMED_IMAGE, IMAGE

_FILEPATH, _CLAIMED_FILEPATH = "filepath", "claimed_filepath"


class CsvTables(Format):
    """One CSV file a split, and images."""

    name: ClassVar[str] = "csv"

    def parts(self) -> list[Part]:
        claimed = ["claimed_images"] if self.source.has_claimed_images else []
        return parts_by_file(
            self.source,
            lambda _, name: (f"{SCRATCH}/rows/{name}.csv", *(f"{folder}/{name}" for folder in ("images", *claimed))),
        )

    @property
    def final_targets(self) -> tuple[str, ...]:
        return tuple(f"{split}.csv" for split in self.source.splits)

    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        lines, *folders = (path(target) for target in part.targets)
        for folder in folders:
            folder.mkdir()
        images = list(zip((IMAGE, CLAIMED_IMAGE), folders, part.targets[1:], strict=False))
        with lines.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            for row in self.rows_of(part, on_view):
                names = [(target, write_image(row, column, folder)) for column, folder, target in images]
                paths = [f"{target}/{name}" if name else "" for target, name in names]
                writer.writerow([*paths, *(csv_cell(row[name]) for name in self.source.columns)])
        return PartReport(num_in=part.num_views, num_out=part.num_views)

    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        for split in self.source.splits:
            with path(f"{split}.csv").open("w", encoding="utf-8", newline="") as table:
                claimed = [_CLAIMED_FILEPATH] if self.source.has_claimed_images else []
                csv.writer(table).writerow([_FILEPATH, *claimed, *self.source.columns])
                for part in parts:
                    if part.split == split:
                        with written(part.targets[0]).open(encoding="utf-8", newline="") as lines:
                            shutil.copyfileobj(lines, table)

    def advice(self, out: Path) -> str:
        return (
            f"within {out}, open_clip: --dataset-type csv --train-data {self.source.splits[0]}.csv --csv-separator , "
            "--csv-img-key filepath --csv-caption-key text"
        )


def csv_cell(value: Any) -> str:
    """A value as CSV has it: nothing for null, and the items of a list separated by blanks."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
