"""Images that a user searches with, brought into the form of a dataset's views."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from model.dataset.folder import Dataset
from model.errors import ConfigError
from model.files import read_json

FORMATS = ("TIFF", "PNG", "JPEG")
MAX_BYTES = 32 << 20
_MAX_PIXELS = 60_000_000
_INK_BELOW = 250  # the threshold the dataset's images were made with: scanned white is rarely pure
_WHITE = 255


class QueryError(ConfigError):
    """A query that cannot be answered: an empty text, an unreadable image, or a filter that no view passes."""


@dataclass(frozen=True, kw_only=True)
class QueryImageConfig:
    """How a query image is placed on its square: in the same way as the images of the dataset.

    Attributes:
        size_px: Side of the square.
        margin_share: White margin at both ends of the drawing's longer axis, as a share of the square.
        max_enlargement: Largest factor by which small drawings are enlarged.
    """

    size_px: int = 256
    margin_share: float = 0.03
    max_enlargement: float = 2.0

    @classmethod
    def of_dataset(cls, dataset: Dataset) -> QueryImageConfig:
        """The settings recorded in `dataset.json`; the defaults for those it does not record."""
        values: Any = read_json(dataset.folder / "dataset.json")
        for name in ("made", "config", "image"):
            values = values.get(name) if isinstance(values, Mapping) else None
        known = values if isinstance(values, Mapping) else {}
        return cls(
            **{name: known[name] for name in cls.__dataclass_fields__ if isinstance(known.get(name), int | float)}
        )


def read_query_file(path: Path, config: QueryImageConfig) -> np.ndarray:
    """Read a query image from a file; see `read_query_image`. Raises QueryError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise QueryError(f"cannot read {path}: {error.strerror or error}; name a TIFF, PNG or JPEG file") from error
    try:
        return read_query_image(data, config)
    except QueryError as error:
        raise QueryError(f"{path}: {error}") from None


def read_query_image(data: bytes, config: QueryImageConfig) -> np.ndarray:
    """An image in the form of the dataset's images: (size_px, size_px) uint8, 0 is ink and 255 is paper.

    The image is rotated as its EXIF data say, composited on white if it is transparent, converted to grey, cropped to
    its ink, scaled by area and centred on a white square. Of a TIFF with several pages the first one is used.

    Raises:
        QueryError: Not a TIFF, PNG or JPEG, damaged, too large, or without ink.
    """
    if len(data) > MAX_BYTES:
        raise QueryError(f"the image has more than {MAX_BYTES >> 20} MiB; make it smaller")
    page = decode_picture(data)
    left, top, width, height = cv2.boundingRect((page < _INK_BELOW).view(np.uint8))
    if not width:
        raise QueryError("the image is blank; choose one with a drawing on it")
    return fit_square(page[top : top + height, left : left + width], config)


def fit_square(drawing: np.ndarray, config: QueryImageConfig) -> np.ndarray:
    """A drawing scaled to fit and centred on white: (size_px, size_px) uint8."""
    available = max(1, round(config.size_px * (1 - 2 * config.margin_share)))
    height, width = drawing.shape
    scale = min(available / max(height, width), config.max_enlargement)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))  # cv2 takes the width first
    scaled = cv2.resize(drawing, target, interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR)
    square = np.full((config.size_px, config.size_px), _WHITE, np.uint8)
    left, top = (config.size_px - target[0]) // 2, (config.size_px - target[1]) // 2
    square[top : top + target[1], left : left + target[0]] = scaled
    return square


def decode_picture(data: bytes) -> np.ndarray:
    """Grey pixels of a TIFF, PNG or JPEG: (height_px, width_px) uint8.

    The size in pixels is checked before anything is decoded, since a small file can hold a huge image.

    Raises:
        QueryError: Not a TIFF, PNG or JPEG, damaged, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise QueryError(f"the image has {width} × {height} px; at most {_MAX_PIXELS:,} pixels are read")
                return _grey(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise QueryError(f"the image is too large; at most {_MAX_PIXELS:,} pixels are read") from None
    except QueryError:
        raise
    except Exception:  # Pillow's decoders raise nearly anything for damaged files
        raise QueryError("the image cannot be read; choose a TIFF, PNG or JPEG file") from None


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 bits and more
        values = np.asarray(image, np.float32)
        top = max(float(values.max(initial=0)), 255.0)
        return np.clip(values * (_WHITE / (65_535.0 if top > _WHITE else 255.0)), 0, _WHITE).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper
    return np.asarray(image.convert("L"))
