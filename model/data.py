"""Captioned views, read from a dataset folder and made into what a model takes.

The views of a split stay as JPEG bytes in Arrow memory; an image is decoded when it is asked for, and any one can be
asked for at any time.
"""

from __future__ import annotations

import bisect
import collections
import datetime
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from model.clip import Preprocess
from model.dataset import Dataset
from model.errors import DatasetError
from model.settings import CAPTION_COLUMNS

_REQUIRED = ("view_id", "patent_number", "image")
_OPTIONAL = (
    "family",
    "grant_date",
    "uspc_class",
    "locarno_class",
    "figure_label",
    "viewpoint",
    "cited_by_examiner",
)
_WHITE = 255


class Images:
    """JPEG bytes of a split, by row, over the Arrow buffers they were read into."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks]).tolist()

    def __getitem__(self, row: int) -> bytes:
        chunk = bisect.bisect_right(self._ends, row)
        start = self._ends[chunk - 1] if chunk else 0
        return self._chunks[chunk][row - start].as_buffer().to_pybytes()


@dataclass(frozen=True)
class Views:
    """The captioned views of one split, in the dataset's order.

    Columns are made into lists when they are first asked for; a column that the dataset does not have is all None.

    Attributes:
        table: One row a view.
        num_without_caption: Views that were left out since they have no `text`.
    """

    split: str
    table: pa.Table
    num_without_caption: int

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> list[Any]:
        """One value a view from any column of the dataset; None where the view or the whole dataset has none."""
        if name not in self.table.column_names:
            return [None] * len(self)
        return self.table.column(name).to_pylist()

    @cached_property
    def images(self) -> Images:
        return Images(self.table.column("image"))

    @cached_property
    def view_ids(self) -> list[str]:
        return self.column("view_id")

    @cached_property
    def patent_numbers(self) -> list[str]:
        return self.column("patent_number")

    @cached_property
    def families(self) -> list[str | None]:
        return self.column("family")

    @cached_property
    def grant_dates(self) -> list[datetime.date | None]:
        return self.column("grant_date")

    @cached_property
    def titles(self) -> list[str | None]:
        return self.column("title")

    @cached_property
    def classes(self) -> list[str | None]:
        """US design classes, "D14"."""
        return self.column("uspc_class")

    @cached_property
    def locarno_classes(self) -> list[str | None]:
        """Locarno classes with their subclasses, "14-02"."""
        return self.column("locarno_class")

    @cached_property
    def figure_labels(self) -> list[str | None]:
        return self.column("figure_label")

    @cached_property
    def viewpoints(self) -> list[str | None]:
        return self.column("viewpoint")

    @cached_property
    def cited_by_examiner(self) -> list[list[str] | None]:
        """US designs the examiner cited against each view's patent."""
        return self.column("cited_by_examiner")

    @cached_property
    def captions(self) -> dict[str, list[str | None]]:
        """Caption column → one text a view; None where the view has none."""
        return {name: self.column(name) for name in CAPTION_COLUMNS}

    def texts(self, caption: str) -> list[str]:
        """One caption a view from the column `caption`, and from `text` where that column is empty."""
        chosen = self.captions[caption]
        return [own or text or "" for own, text in zip(chosen, self.captions["text"], strict=True)]


def read_views(dataset: Dataset, split: str) -> Views:
    """Read one split; rows without a caption are counted and left out.

    Raises:
        DatasetError: The split is empty, or a file is missing, damaged, or not what `dataset.json` says.
    """
    tables = [_read_file(dataset.folder / file.name, file.num_rows) for file in dataset.files if file.split == split]
    table = pa.concat_tables(tables, promote_options="default") if tables else None
    num_rows = table.num_rows if table is not None else 0
    if table is not None:
        texts = table.column("text").to_pylist()
        table = table.filter(pa.array([bool(text and text.strip()) for text in texts], pa.bool_()))
    if table is None or table.num_rows == 0:
        counts = ", ".join(f"{name} {count}" for name, count in dataset.num_views.items()) or "no split at all"
        raise DatasetError(
            f"dataset {dataset.name} has no captioned view in the split {split!r} ({counts}); "
            "add grants to the dataset or name another split"
        )
    return Views(split=split, table=table, num_without_caption=num_rows - table.num_rows)


def _read_file(path: Path, num_rows: int) -> pa.Table:
    try:
        file = pq.ParquetFile(path, memory_map=True)
        missing = [name for name in (*_REQUIRED, "text") if name not in file.schema_arrow.names]
        if missing:
            raise DatasetError(f"{path}: no column {', '.join(missing)}; build the dataset again")
        wanted = (*_REQUIRED, *_OPTIONAL, *CAPTION_COLUMNS)
        table = file.read(columns=[name for name in wanted if name in file.schema_arrow.names])
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: dataset.json names it, but it is not there; build the dataset again") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: not a readable Parquet file ({error}); build the dataset again") from error
    if table.num_rows != num_rows:
        raise DatasetError(f"{path}: {table.num_rows} rows, but dataset.json says {num_rows}; build the dataset again")
    return table


def decode_grey(jpeg: bytes, *, view_id: str = "") -> np.ndarray:
    """Decode an image to (height_px, width_px) uint8, 0 is ink and 255 is paper.

    Raises:
        DatasetError: The bytes are no image.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) if jpeg else None
    if image is None:
        raise DatasetError(f"view {view_id}: its image cannot be decoded; build the dataset again")
    return image


def pad_to_square(image: np.ndarray) -> np.ndarray:
    """Put an image in the middle of a white square as wide as its longer side; a square is given back as it is."""
    height, width = image.shape
    if height == width:
        return image
    top, left = max(width - height, 0) // 2, max(height - width, 0) // 2
    bottom, right = max(width - height, 0) - top, max(height - width, 0) - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_WHITE)


def resize(image: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Resize to (height, width): by area where it shrinks, so that thin lines stay, else bicubic."""
    if image.shape == size_px:
        return image
    height, width = size_px
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def crop(image: np.ndarray, draw: np.ndarray, *, min_area: float) -> np.ndarray:
    """Cut a square whose area is a share in [min_area, 1] of the square image.

    Args:
        image: (side_px, side_px) uint8.
        draw: Three numbers in [0, 1): area, then place from top and from left.
        min_area: Least share of the area that is kept.
    """
    side = image.shape[0]
    kept = max(1, round(side * float(np.sqrt(min_area + (1 - min_area) * draw[0]))))
    top, left = (int(share * (side - kept + 1)) for share in draw[1:])
    return image[top : top + kept, left : left + kept]


def normalise(images: np.ndarray, preprocess: Preprocess) -> torch.Tensor:
    """Turn grey images into a model's input.

    Args:
        images: (batch, height_px, width_px) uint8.
        preprocess: Whose mean and std to use.

    Returns:
        (batch, channels, height_px, width_px) float32; every channel shows the same grey.
    """
    mean = torch.tensor(preprocess.mean).view(1, -1, 1, 1)
    std = torch.tensor(preprocess.std).view(1, -1, 1, 1)
    grey = torch.from_numpy(images).unsqueeze(1).float().div_(255)  # (batch, 1, height, width)
    return (grey - mean) / std


class ImageReader:
    """Reads images of `views` as a model takes them, on a few threads (OpenCV lets go of the interpreter)."""

    def __init__(self, views: Views, preprocess: Preprocess, *, num_workers: int) -> None:
        self._views = views
        self._preprocess = preprocess
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, rows: Sequence[int], draws: np.ndarray | None = None, *, min_area: float = 1.0) -> torch.Tensor:
        """Read some rows as a model takes them: (num_rows, channels, height_px, width_px) float32.

        Takes what `read_grey` takes.
        """
        return normalise(self.read_grey(rows, draws, min_area=min_area).numpy(), self._preprocess)

    def read_grey(
        self, rows: Sequence[int], draws: np.ndarray | None = None, *, min_area: float = 1.0, pin_memory: bool = False
    ) -> torch.Tensor:
        """Read some rows as grey images, a twelfth of the bytes that `read` gives.

        Args:
            rows: Rows of `views`, in the order wanted.
            draws: (num_rows, 3) in [0, 1) for a random crop each; None for the whole images.
            min_area: Least share of the area that a crop keeps.
            pin_memory: Put them where a GPU can fetch them by itself.

        Returns:
            (num_rows, height_px, width_px) uint8.
        """
        height, width = self._preprocess.size_px
        images = torch.empty(len(rows), height, width, dtype=torch.uint8, pin_memory=pin_memory)
        places = images.numpy()

        def read_one(place: int) -> None:
            row = int(rows[place])
            image = pad_to_square(decode_grey(self._views.images[row], view_id=self._views.view_ids[row]))
            if draws is not None:
                image = crop(image, draws[place], min_area=min_area)
            places[place] = resize(image, self._preprocess.size_px)

        collections.deque(self._pool.map(read_one, range(len(rows))), maxlen=0)
        return images
