"""The public lists of DeepPatent: which drawing belongs to which patent, and which ones ask and answer.

A list has one line an image, a path below the image folder and the number that stands for its patent in that split:

    I20181127/USD0834581-20181127/USD0834581-20181127-D00001.png 1

Query and database of one split share their numbers; other splits count anew.
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
"""Split → role → name of the list, as DeepPatent publishes it."""

_NAME = re.compile(r"USD(\d+)-\d{8}-D(\d{5})\.(?:png|tiff?|jpe?g)", re.IGNORECASE)
_EXAMPLE = "I20181127/USD0834581-20181127/USD0834581-20181127-D00001.png 1"


@dataclass(frozen=True)
class ListedImage:
    """One line of a list.

    Attributes:
        path: Below the image folder, as listed.
        patent_number: "D834581".
        sheet: 0 is the front-page drawing D00000.
        label: Number of the patent in its split.
        line: Counted from 1.
    """

    path: str
    patent_number: str
    sheet: int
    label: int
    line: int

    @property
    def view_id(self) -> str:
        """ "D834581-1"; it ends in "-0" for a front-page drawing."""
        return f"{self.patent_number}-{self.sheet}"


def parse_list(text: str, *, source: str) -> list[ListedImage]:
    """The images of a list, in its order; blank lines are passed over.

    Args:
        text: What the file holds.
        source: Its name, for errors.

    Raises:
        DatasetError: A line is not of the published form, a number stands for two patents, or there is no line.
    """
    images = [_parse_line(line, f"{source}, line {number}", number) for number, line in _lines(text)]
    if not images:
        raise DatasetError(f"{source}: the list is empty; take it from DeepPatent's data folder again")
    _require_one_label_a_patent([(source, images)])
    return images


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _parse_line(line: str, place: str, number: int) -> ListedImage:
    parts = line.strip().rsplit(maxsplit=1)
    if len(parts) < 2 or re.fullmatch(r"[0-9]+", parts[1]) is None:
        raise DatasetError(
            f"{place}: {line.strip()[:120]!r} does not end in the number of a patent; a line is such as {_EXAMPLE!r}"
        )
    path = PurePosixPath(parts[0])
    name = _NAME.fullmatch(path.name)
    if name is None or path.is_absolute() or ".." in path.parts:
        raise DatasetError(
            f"{place}: {parts[0][:120]!r} names no drawing of a patent below the image folder; a line is such as "
            f"{_EXAMPLE!r}"
        )
    return ListedImage(parts[0], f"D{int(name[1])}", int(name[2]), int(parts[1]), number)


def _require_one_label_a_patent(lists: Sequence[tuple[str, Sequence[ListedImage]]]) -> None:
    """Raise DatasetError where one number stands for two patents, or one patent has two numbers."""
    patent_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    for source, images in lists:
        for image in images:
            patent = patent_of.setdefault(image.label, image.patent_number)
            label = label_of.setdefault(image.patent_number, image.label)
            if (patent, label) != (image.patent_number, image.label):
                raise DatasetError(
                    f"{source}, line {image.line}: {image.patent_number} has the number {image.label}, but before "
                    + (f"it had {label}" if label != image.label else f"that stood for {patent}")
                    + "; take the lists of one split, as they were published"
                )


def read_lists(folder: Path, split: str) -> dict[str, list[ListedImage]]:
    """Role → images of a split.

    Args:
        folder: Holds the published lists.
        split: "train", "validation" or "test".

    Raises:
        DatasetError: A list is missing or not of the published form, or query and database are not of one split.
    """
    found: dict[str, list[ListedImage]] = {}
    for role, name in LISTS[split].items():
        try:
            text = (folder / name).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise DatasetError(
                f"cannot read {folder / name}: {error.strerror or error}; name the folder of DeepPatent's lists"
            ) from error
        except UnicodeDecodeError as error:
            raise DatasetError(f"{folder / name}: no text file; take it from DeepPatent's data folder again") from error
        found[role] = parse_list(text, source=str(folder / name))
    _require_one_label_a_patent([(str(folder / LISTS[split][role]), images) for role, images in found.items()])
    return found
