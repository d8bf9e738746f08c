"""The published lists of DeepPatent: which drawing belongs to which patent, and which are queries or database.

A list has one line an image: a path below the image folder, and a number that identifies the patent within its split:

    I20181127/USD0834581-20181127/USD0834581-20181127-D00001.png 1

Query and database of a split share their numbers; the numbers of other splits are independent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model.errors import DatasetError

QUERY, DATABASE, TRAIN = "query", "database", "train"
LISTS = {
    "train": {TRAIN: "train_patent_trn.txt"},
    "validation": {QUERY: "val_query_patent.txt", DATABASE: "val_db_patent.txt"},
    "test": {QUERY: "test_query_patent.txt", DATABASE: "test_db_patent.txt"},
}
"""Split → role → file name of the list, as DeepPatent publishes it."""

_NAME = re.compile(r"USD(\d+)-\d{8}-D(\d{5})\.(?:png|tiff?|jpe?g)", re.IGNORECASE)
_EXAMPLE = "I20181127/USD0834581-20181127/USD0834581-20181127-D00001.png 1"


@dataclass(frozen=True)
class ListedImage:
    """One line of a list.

    Attributes:
        path: Path below the image folder, as listed.
        patent_number: Number of the patent, such as "D834581".
        sheet: Number of the sheet; 0 is the front-page drawing D00000.
        label: Number of the patent in its split.
        line: Line of the list, counted from 1.
    """

    path: str
    patent_number: str
    sheet: int
    label: int
    line: int

    @property
    def view_id(self) -> str:
        """Patent and sheet, such as "D834581-1"; ends in "-0" for a front-page drawing."""
        return f"{self.patent_number}-{self.sheet}"


def parse_list(text: str, *, source: str) -> list[ListedImage]:
    """The images of a list, in its order; blank lines are skipped.

    Args:
        text: Content of the file.
        source: Name of the file, for errors.

    Raises:
        DatasetError: A line does not have the published form, a number identifies two patents, or the list is empty.
    """
    images = [_parse_line(line, f"{source}, line {number}", number) for number, line in _lines(text)]
    if not images:
        raise DatasetError(f"{source}: the list is empty; get it from DeepPatent's data folder again")
    _require_one_label_a_patent([(source, images)])
    return images


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _parse_line(line: str, source: str, number: int) -> ListedImage:
    parts = line.strip().rsplit(maxsplit=1)
    if len(parts) < 2 or re.fullmatch(r"[0-9]+", parts[1]) is None:
        raise DatasetError(
            f"{source}: {line.strip()[:120]!r} does not end in the number of a patent; expected a line "
            f"such as {_EXAMPLE!r}"
        )
    path = PurePosixPath(parts[0])
    name = _NAME.fullmatch(path.name)
    if name is None or path.is_absolute() or ".." in path.parts:
        raise DatasetError(
            f"{source}: {parts[0][:120]!r} is not a patent drawing below the image folder; expected a line such as "
            f"{_EXAMPLE!r}"
        )
    return ListedImage(parts[0], f"D{int(name[1])}", int(name[2]), int(parts[1]), number)


def _require_one_label_a_patent(lists: Sequence[tuple[str, Sequence[ListedImage]]]) -> None:
    """Raise DatasetError if a number identifies two patents, or a patent has two numbers."""
    patent_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    for source, images in lists:
        for image in images:
            patent = patent_of.setdefault(image.label, image.patent_number)
            label = label_of.setdefault(image.patent_number, image.label)
            if (patent, label) != (image.patent_number, image.label):
                raise DatasetError(
                    f"{source}, line {image.line}: {image.patent_number} has the number {image.label}, but earlier "
                    + (f"it had {label}" if label != image.label else f"that was {patent}")
                    + "; use the lists of one split, as they were published"
                )


def read_lists(folder: Path, split: str) -> dict[str, list[ListedImage]]:
    """Role → listed images of a split.

    Args:
        folder: Folder of the published lists.
        split: "train", "validation" or "test".

    Raises:
        DatasetError: A list is missing or malformed, or query and database are not of the same split.
    """
    lists: dict[str, list[ListedImage]] = {}
    for role, name in LISTS[split].items():
        try:
            text = (folder / name).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise DatasetError(
                f"cannot read {folder / name}: {error.strerror or error}; name the folder of DeepPatent's lists"
            ) from error
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{folder / name}: not a text file; get it from DeepPatent's data folder again"
            ) from error
        lists[role] = parse_list(text, source=str(folder / name))
    _require_one_label_a_patent([(str(folder / LISTS[split][role]), images) for role, images in lists.items()])
    return lists
