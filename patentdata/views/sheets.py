"""Drawing sheets as arrays: reads untrusted bytes, turns pages and boxes, writes PNG."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from patentdata.errors import SheetError

INK, PAPER = 0, 255
MAX_PIXELS = 64_000_000  # eight times the largest sheet seen in the Red Book (2452 × 3080)
MAX_BYTES = 64 * 1024 * 1024
_INK_THRESHOLD = 128  # grey levels below this are ink, on the rare sheet that is not 1-bit
_TURNS = {0: None, 90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_PNG_LEVEL = 6  # level 9 makes files 7 % smaller and takes seven times as long
_TIFF_MARKS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def read_sheet(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The one page of a TIFF.

    Args:
        data: The file's bytes, which are not trusted: the size in the header is checked before any pixel is decoded.
        name: Name of the sheet in error messages.
        max_pixels: Sheets of more pixels than this are refused.

    Returns:
        (height_px, width_px) uint8, 0 is ink and 255 is paper.

    Raises:
        SheetError: The bytes are not a TIFF of one page, are damaged, or exceed the bounds.
    """
    if len(data) > MAX_BYTES:
        raise SheetError(f"{name}: {len(data)} bytes; a drawing sheet has at most {MAX_BYTES}")
    if not data.startswith(_TIFF_MARKS):
        raise SheetError(f"{name}: no TIFF (it begins with {data[:12]!r})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd tags and of size; the size is checked here
            with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise SheetError(f"{name}: {width} × {height} pixels; at most {max_pixels} are read")
                if image.n_frames != 1:
                    raise SheetError(f"{name}: {image.n_frames} pages in one TIFF; a sheet has one")
                return _to_page(image)
    except SheetError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        SyntaxError,
        EOFError,
        MemoryError,
        OverflowError,
    ) as error:
        raise SheetError(f"{name}: damaged TIFF ({error or type(error).__name__})") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, RuntimeError, AttributeError) as error:
        raise SheetError(f"{name}: damaged TIFF ({error})") from error


def _to_page(image: Image.Image) -> np.ndarray:
    """Decode an image and reduce it to ink and paper."""
    if image.mode == "1":
        # unpacked by Pillow to 0 and 255, which takes half the time of converting the image first
        return np.frombuffer(image.tobytes("raw", "L"), np.uint8).reshape(image.height, image.width)
    if image.mode in ("I;16", "I;16B", "I", "F"):
        grey = np.asarray(image, dtype=np.float64)
        return (
            np.where(grey < grey.max() / 2, INK, PAPER).astype(np.uint8)
            if grey.max() > 0
            else np.zeros(grey.shape, np.uint8)
        )
    if image.mode in ("RGBA", "LA", "PA"):
        ground = Image.new("RGBA", image.size, (PAPER, PAPER, PAPER, 255))
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return np.where(np.asarray(image.convert("L")) < _INK_THRESHOLD, INK, PAPER).astype(np.uint8)


def turn(page: np.ndarray, rotation_cw: int) -> np.ndarray:
    """`page` turned clockwise by 0, 90, 180 or 270 degrees."""
    code = _TURNS[rotation_cw % 360]
    return np.ascontiguousarray(page) if code is None else cv2.rotate(page, code)


def turn_box(box: tuple[int, int, int, int], rotation_cw: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box on the turned page, if a page of `shape` (height, width) is turned clockwise.

    >>> turn_box((1, 2, 4, 3), 90, (10, 20))
    (7, 1, 8, 4)
    """
    x0, y0, x1, y1 = box
    height, width = shape
    match rotation_cw % 360:
        case 90:
            return height - y1, x0, height - y0, x1
        case 180:
            return width - x1, height - y1, width - x0, height - y0
        case 270:
            return y0, width - x1, y1, width - x0
        case _:
            return x0, y0, x1, y1


def to_png(page: np.ndarray) -> bytes:
    """Lossless PNG of a page of ink and paper, 1 bit per pixel; equal pages give equal bytes."""
    _, png = cv2.imencode(".png", page, [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    return png.tobytes()
