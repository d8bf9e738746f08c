"""A dataset folder: `dataset.json` and the Parquet files listed in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.errors import DatasetError
from model.files import read_json

CAPTION_COLUMNS = ("text", "shape", "function", "title")
LINES = ("all", "claimed")
"""Which lines of a view an image shows: all of them, or those of the claimed design, without its surroundings."""


@dataclass(frozen=True)
class DatasetFile:
    """One Parquet file of a dataset."""

    name: str
    split: str
    num_rows: int


@dataclass(frozen=True)
class Dataset:
    """The content of `dataset.json`.

    Attributes:
        folder: The dataset folder.
        name: Name of the dataset.
        fingerprint: Hash over the hashes of all files.
        files: The Parquet files, in order.
        is_captioned: False if no view has a caption, as in DeepPatent.
    """

    folder: Path
    name: str
    fingerprint: str
    files: tuple[DatasetFile, ...]
    is_captioned: bool = True

    @property
    def num_views(self) -> dict[str, int]:
        """Split → number of views."""
        totals: dict[str, int] = {}
        for file in self.files:
            totals[file.split] = totals.get(file.split, 0) + file.num_rows
        return totals


def open_dataset(folder: str | Path) -> Dataset:
    """Read the `dataset.json` of a dataset folder.

    Raises:
        DatasetError: The folder does not exist, or its `dataset.json` is missing or incomplete.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such dataset folder; build the dataset first")
    values = read_json(folder / "dataset.json")
    if values is None:
        raise DatasetError(f"{folder}: no readable dataset.json there; build the dataset again")
    try:
        files = tuple(
            DatasetFile(name=str(file["name"]), split=str(file["split"]), num_rows=int(file["num_rows"]))
            for file in values["files"]
        )
        return Dataset(
            folder=folder,
            name=values["name"],
            fingerprint=values["fingerprint"],
            files=files,
            is_captioned=bool(values.get("captioned", True)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{folder}/dataset.json: no usable {error}; build the dataset again") from error
