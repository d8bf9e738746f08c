"""Training images from views: 8-bit grey, square, of one size.

A 1-bit drawing that is resized as 1-bit loses lines at random. Here it is converted to grey first, and each pixel of
the result is the mean of the area it covers. The drawing is cropped to its ink and padded with white, so that nothing
is cut off and nothing is distorted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.errors import ConfigError, SheetError

PAPER = 255
_INK_BELOW = 250  # this grey and lighter ones are paper: scanned white is seldom pure
_MAX_PIXELS = 100_000_000  # a full sheet at 300 dpi has 8 million; larger images are not drawings of patents
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class TrainingImageConfig:
    """How views become training images.

    Attributes:
        size_px: Side of the square.
        margin_share: White margin at both ends of the drawing's longer axis, each as a share of the square.
        max_enlargement: Small drawings are enlarged by at most this factor, since enlarging adds blur and no detail.
        jpeg_quality: Quality of the JPEG, 1 to 100.
    """

    size_px: int = 256
    margin_share: float = 0.03
    max_enlargement: float = 2.0
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        if not 16 <= self.size_px <= 4096:
            raise ConfigError(f"image size is {self.size_px} px; choose 16 to 4096")
        if not 0 <= self.margin_share <= 0.4:
            raise ConfigError(f"margin_share is {self.margin_share}; choose 0 to 0.4")
        if self.max_enlargement < 1:
            raise ConfigError(f"max_enlargement is {self.max_enlargement}; choose 1 (never enlarge) or more")
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality is {self.jpeg_quality}; choose 1 to 100")


@dataclass(frozen=True)
class Placement:
    """Where a view is on the square of its training image.

    Attributes:
        scale: Pixels of the square for one pixel of the view.
        left, top: Position of the view's first pixel on the square, in pixels of the square; negative if what is left
            or above of the ink was cut away.
    """

    scale: float
    left: float
    top: float


def training_image(png: bytes, config: TrainingImageConfig) -> bytes | None:
    """The JPEG of one view, or None if the view has no ink.

    Raises:
        SheetError: `png` is not a readable PNG, or is too large to decode.
    """
    placed = place_training_image(png, config)
    return placed[0] if placed is not None else None


def place_training_image(png: bytes, config: TrainingImageConfig) -> tuple[bytes, Placement] | None:
    """As `training_image`, with where the view is on the square."""
    page = decode_png(png)
    left, top, width, height = ink_box(page)
    if not width:
        return None
    square = fit_square(page[top : top + height, left : left + width], config)
    is_encoded, jpeg = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality])
    assert is_encoded, "a grey uint8 array is always encodable"
    scale, margin_left, margin_top = _fit(height, width, config)
    return jpeg.tobytes(), Placement(scale, margin_left - left * scale, margin_top - top * scale)


def square_within(inner: Placement, outer: Placement, size_px: int) -> list[float]:
    """Where the square of one training image is on that of another one of the same view: x0, y0, x1, y1.

    Args:
        inner: Placement of the view on the first square.
        outer: Placement of the view on the second square.
        size_px: Side of both squares.

    Returns:
        Shares of the side of the second square; the first one can extend beyond it.
    """
    ratio = outer.scale / inner.scale
    x0, y0 = outer.left - inner.left * ratio, outer.top - inner.top * ratio
    side = size_px * ratio
    return [edge / size_px for edge in (x0, y0, x0 + side, y0 + side)]


def ink_box(page: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height of the ink of a (height_px, width_px) uint8, in pixels; zeros if there is no ink."""
    left, top, width, height = cv2.boundingRect((page < _INK_BELOW).view(np.uint8))
    return left, top, width, height


def fit_square(drawing: np.ndarray, config: TrainingImageConfig) -> np.ndarray:
    """`drawing` scaled to fit and centred on white.

    Args:
        drawing: (height_px, width_px) uint8, 0 is ink and 255 is paper.
        config: Size, margin and limit of enlargement.

    Returns:
        (size_px, size_px) uint8.
    """
    size = config.size_px
    height, width = drawing.shape
    scale, left, top = _fit(height, width, config)
    target = _scaled(height, width, scale)
    scaled = cv2.resize(drawing, target, interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR)
    square = np.full((size, size), PAPER, np.uint8)
    square[top : top + target[1], left : left + target[0]] = scaled
    return square


def _fit(height: int, width: int, config: TrainingImageConfig) -> tuple[float, int, int]:
    """Scale of a drawing on its square, and the margins to its left and above it, in pixels of the square."""
    size = config.size_px
    room = max(1, round(size * (1 - 2 * config.margin_share)))
    scale = min(room / max(height, width), config.max_enlargement)
    target = _scaled(height, width, scale)
    return scale, (size - target[0]) // 2, (size - target[1]) // 2


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    """Width and height of a scaled drawing, in whole pixels; cv2 wants the width first."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def decode_png(png: bytes) -> np.ndarray:
    """Pixels of a PNG as (height_px, width_px) uint8; its size is checked before anything is decoded.

    Raises:
        SheetError: `png` is not a readable PNG, or is too large to decode.
    """
    if png[:8] != _PNG_SIGNATURE or len(png) < 26:
        raise SheetError("the image is no PNG")
    width, height = struct.unpack(">II", png[16:24])
    if not 0 < width * height <= _MAX_PIXELS:
        raise SheetError(f"the image is {width} × {height} px; at most {_MAX_PIXELS:,} pixels are decoded")
    # Grey images of up to 8 bits, as drawings are, need no conversion: that halves the time.
    bit_depth, colour_type = png[24], png[25]
    mode = cv2.IMREAD_UNCHANGED if bit_depth <= 8 and colour_type == 0 else cv2.IMREAD_GRAYSCALE
    try:
        page = cv2.imdecode(np.frombuffer(png, np.uint8), mode)
    except cv2.error as error:
        raise SheetError(f"the image cannot be decoded ({error.err})") from error
    if page is None or page.shape != (height, width):
        raise SheetError("the image cannot be decoded; its PNG is damaged")
    return page
