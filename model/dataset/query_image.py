"""Images that a user searches with, brought into the form of a dataset's views."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from PIL import Image, ImageOps

from model.dataset.folder import Dataset
from model.dataset.line_drawing import draw_lines
from model.dataset.photograph import measure_tones
from model.errors import ConfigError
from model.files import read_json

FORMATS = ("TIFF", "PNG", "JPEG")
MAX_BYTES = 32 << 20
_MAX_PIXELS = 60_000_000
_INK_BELOW = 250  # the threshold the dataset's images were made with: scanned white is rarely pure
_WHITE = 255
_DARK_BELOW = 128
_BORDER_SHARE = 0.02  # of the shorter side: what counts as the border of a picture
_OVERSHOOT = 0.05  # share of white by which resampled values may lie outside the range
_BIT_DEPTHS = (1, 2, 4, 6, 8, 10, 12, 14, 16)
_COLOUR_SIDE_PX = 1024  # longer side of the picture in which it is decided whether it is a photograph
PHOTOGRAPH = ("auto", "always", "never")
"""Which pictures are brought to line drawing as well: photographs, all, or none."""
AS_LINES = "the image is searched both as it is and as a line drawing, as photographs are"
TURNED_OVER = "the image shows light lines on dark paper, so it was inverted"

_Read = TypeVar("_Read")


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


@dataclass(frozen=True)
class QueryImage:
    """An image in the form of the dataset's images.

    Attributes:
        pixels: (size_px, size_px) uint8, 0 is ink and 255 is paper.
        remarks: What was changed beyond size and position, one clause each, for the user to read.
        lines: The same of its line drawing, if it is a photograph; else None.
    """

    pixels: np.ndarray
    remarks: tuple[str, ...] = ()
    lines: np.ndarray | None = None


def read_query_file(path: Path, config: QueryImageConfig, photograph: str = "auto") -> QueryImage:
    """Read a query image from a file; see `read_query_image`. Raises QueryError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise QueryError(f"cannot read {path}: {error.strerror or error}; name a TIFF, PNG or JPEG file") from error
    try:
        return read_query_image(data, config, photograph)
    except QueryError as error:
        raise QueryError(f"{path}: {error}") from None


def read_query_image(data: bytes, config: QueryImageConfig, photograph: str = "auto") -> QueryImage:
    """An image in the form of the dataset's images.

    The image is rotated as its EXIF data say, composited on white if it is transparent, converted to grey, cropped to
    its ink, scaled by area and centred on a white square. Light lines on dark or transparent paper are inverted first,
    since the model has only seen dark lines on white. Of a TIFF with several pages the first one is used.

    Args:
        data: The bytes of a TIFF, PNG or JPEG.
        config: Size and margin of the square.
        photograph: One of `PHOTOGRAPH`: which pictures are brought to line drawing as well.

    Raises:
        QueryError: Not a TIFF, PNG or JPEG, damaged, too large, or without ink.
    """
    if len(data) > MAX_BYTES:
        raise QueryError(f"the image has more than {MAX_BYTES >> 20} MiB; make it smaller")
    grey, alpha = _decode(data)
    page = _on_white(grey, alpha)
    is_inverted = _is_light_on_transparent(grey, alpha) or _is_light_on_dark(page)
    if is_inverted:
        page = _WHITE - _on_black(grey, alpha)
    left, top, width, height = cv2.boundingRect((page < _INK_BELOW).view(np.uint8))
    if not width or page.min() == page.max():
        raise QueryError("the image is blank; choose one with a drawing on it")
    pixels = fit_square(page[top : top + height, left : left + width], config)
    remarks = (TURNED_OVER,) if is_inverted else ()
    lines = _lines_of(data, photograph)
    if lines is None:
        return QueryImage(pixels, remarks)
    return QueryImage(pixels, (*remarks, AS_LINES), fit_square(lines, config))


def check_photograph(photograph: str) -> str:
    """The setting, if it is one of `PHOTOGRAPH`. Raises QueryError."""
    if photograph not in PHOTOGRAPH:
        raise QueryError(f"photograph is {photograph[:40]!r}; use one of {', '.join(PHOTOGRAPH)}")
    return photograph


def _lines_of(data: bytes, photograph: str) -> np.ndarray | None:
    """The line drawing of a picture, (height_px, width_px) uint8; None if it is not asked for or has no lines."""
    if check_photograph(photograph) == "never":
        return None
    colours = _opened(data, _few_colours)
    if photograph == "auto" and not measure_tones(colours).is_photograph:
        return None
    return draw_lines(colours)


def _is_light_on_dark(page: np.ndarray) -> bool:
    """True if most of a page and most of its border are dark: (height_px, width_px) uint8.

    The border alone does not decide: a drawing on white paper may have a black frame.
    """
    width = max(1, round(_BORDER_SHARE * min(page.shape)))
    is_dark = page < _DARK_BELOW
    is_border = np.ones(page.shape, bool)
    is_border[width:-width, width:-width] = False
    return bool(is_dark.mean() > 0.5 and is_dark[is_border].mean() > 0.5 and not is_dark.all())


def _is_light_on_transparent(grey: np.ndarray, alpha: np.ndarray | None) -> bool:
    """True if a drawing on transparent paper has light lines, which would disappear on white."""
    if alpha is None or (alpha >= _DARK_BELOW).mean() > 0.5:  # mostly opaque: the paper is part of the picture
        return False
    has_dark = bool((_on_white(grey, alpha) < _DARK_BELOW).any())
    return not has_dark and bool((_on_black(grey, alpha) >= _DARK_BELOW).any())


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
    """Grey pixels of a TIFF, PNG or JPEG, on white if it is transparent: (height_px, width_px) uint8.

    Raises:
        QueryError: Not a TIFF, PNG or JPEG, damaged, or too large.
    """
    return _on_white(*_decode(data))


def _decode(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey pixels and opacity, None if all is opaque: (height_px, width_px) uint8 each."""
    return _opened(data, _grey_and_alpha)


def _opened(data: bytes, read: Callable[[Image.Image], _Read]) -> _Read:
    """What `read` makes of an image.

    The size in pixels is checked before anything is decoded, since a small file can hold a huge image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise QueryError(f"the image has {width} × {height} px; at most {_MAX_PIXELS:,} pixels are read")
                return read(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise QueryError(f"the image is too large; at most {_MAX_PIXELS:,} pixels are read") from None
    except QueryError:
        raise
    except Exception:  # Pillow's decoders raise nearly anything for damaged files
        raise QueryError("the image cannot be read; choose a TIFF, PNG or JPEG file") from None


def _few_colours(image: Image.Image) -> np.ndarray:
    """Colours on white, (height_px, width_px, 3) uint8: every nth pixel, so that there are no levels but its own."""
    step = max(1, -(-max(image.size) // _COLOUR_SIDE_PX))
    image = image.resize((max(1, image.width // step), max(1, image.height // step)), Image.Resampling.NEAREST)
    if image.mode.startswith(("I", "F")):
        return np.repeat(_to_8_bits(np.asarray(image, np.float32))[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _grey_and_alpha(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    if image.mode.startswith(("I", "F")):  # more than 8 bits, or fractions
        return _to_8_bits(np.asarray(image, np.float32)), None
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        # Not RGBA to L at once, which Pillow computes from colours that full transparency may have left undefined.
        return _to_8_bits(np.asarray(colours.convert("RGB").convert("L"))), np.asarray(colours.getchannel("A"))
    return _to_8_bits(np.asarray(image.convert("L"))), None


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of any depth as uint8, white at 255.

    A file does not say how many of its bits are used: scanners write 12 bits into 16, programs write fractions of 1
    into floats, and masks are 0 and 1. White is therefore the least bit depth that the brightest pixel fits in; without
    this, such an image would be read as black.

    Raises:
        QueryError: Values are negative, not numbers, or above 16 bits.
    """
    darkest, brightest = float(values.min(initial=0)), float(values.max(initial=0))
    whites = [2**depth - 1 for depth in _BIT_DEPTHS if brightest <= (2**depth - 1) * (1 + _OVERSHOOT)]
    if not (whites and darkest >= -_OVERSHOOT * whites[0]):  # false for values that are not numbers, too
        raise QueryError("the image has values outside 0 to 65535; save it as 8-bit grey or colour")
    if values.dtype == np.uint8 and whites[0] == _WHITE:
        return values
    return np.clip(np.rint(values * (_WHITE / whites[0])), 0, _WHITE).astype(np.uint8)


def _on_white(grey: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return grey if alpha is None else _WHITE - cv2.multiply(_WHITE - grey, alpha, scale=1 / _WHITE)


def _on_black(grey: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    return grey if alpha is None else cv2.multiply(grey, alpha, scale=1 / _WHITE)
