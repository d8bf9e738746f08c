"""What an export to any format consists of: parts that are written one by one, and files that end it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from model.exports.folder import PartReport
from model.exports.rows import DatasetRows, Row, file_stem, stem_of_file


@dataclass(frozen=True, kw_only=True)
class Part:
    """Views that are written together.

    Attributes:
        name: Name of the part, which can be a file name.
        split: The split of its views.
        first: Its first row in the split.
        num_views: Number of rows.
        targets: Files and folders that it makes, relative to the export.
    """

    name: str
    split: str
    first: int
    num_views: int
    targets: tuple[str, ...]


def parts_of_shards(source: DatasetRows, views_a_shard: int, target_of: Callable[[str, int, int], str]) -> list[Part]:
    """One part a shard, each split divided by itself.

    Args:
        source: The rows of the dataset.
        views_a_shard: Number of views in each shard of a split but its last.
        target_of: The file of a shard, from its split, its number and the number of shards of the split.
    """
    parts = []
    for split in source.splits:
        num_views = source.dataset.num_views[split]
        starts = range(0, num_views, views_a_shard)
        for number, first in enumerate(starts):
            parts.append(
                Part(
                    name=f"{split}-{number}",
                    split=split,
                    first=first,
                    num_views=min(views_a_shard, num_views - first),
                    targets=(target_of(split, number, len(starts)),),
                )
            )
    return parts


class Format(ABC):
    """A format that datasets are exported to.

    Args:
        source: The rows of the dataset.

    Attributes:
        name: Name of the format on the command line.
        version: Raised when equal inputs would give other files.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self, source: DatasetRows) -> None:
        self.source = source

    @property
    def settings(self) -> dict[str, Any]:
        """What the files depend on besides the dataset, as JSON values."""
        return {}

    @abstractmethod
    def parts(self) -> list[Part]:
        """All parts, in the order in which they are written."""

    @property
    @abstractmethod
    def final_targets(self) -> tuple[str, ...]:
        """Files that `finish` writes, relative to the export."""

    @abstractmethod
    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        """Write a part.

        Args:
            part: One of `parts`.
            path: Target → where to write it; its folder exists.
            on_view: Called after each view that was read.
        """

    @abstractmethod
    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        """Write the files that need all parts.

        Args:
            parts: Every part and its report, in order.
            written: Target of a part → where it is.
            path: Target of a final file → where to write it; its folder exists.
        """

    def advice(self, out: Path) -> str:
        """How the export is opened, for whoever has just made it; empty for nothing to say."""
        return ""

    def rows_of(self, part: Part, on_view: Callable[[], None]) -> Iterator[Row]:
        """The rows of a part, images included."""
        for row in self.source.rows(part.split, part.first, part.num_views):
            yield row
            on_view()


def parts_by_file(source: DatasetRows, targets: Callable[[str, str], Sequence[str]]) -> list[Part]:
    """One part for each file of the dataset.

    Args:
        source: The rows of the dataset.
        targets: Split and name of a part → its targets.
    """
    parts = []
    for split in source.splits:
        first = 0
        for file in source.files(split):
            name = stem_of_file(file)
            parts.append(
                Part(name=name, split=split, first=first, num_views=file.num_rows, targets=tuple(targets(split, name)))
            )
            first += file.num_rows
    return parts


def write_image(row: Row, column: str, folder: Path) -> str | None:
    """Write a JPEG of a row into a folder, byte for byte; returns the name of the file, None if there is no image."""
    if row[column] is None:
        return None
    name = f"{file_stem(row['view_id'])}.jpg"
    (folder / name).write_bytes(row[column])
    return name
