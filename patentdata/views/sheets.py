"""Drawing sheets as arrays: reads untrusted bytes, turns pages and boxes, writes PNG.

Published sheets are black on white with 1 bit a pixel. Others, scanned in grey or drawn in colour, are reduced to ink
and paper by a threshold of their own, so that light lines are kept: half as far from the paper as their lightest lines.
"""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from patentdata.errors import SheetError
from patentdata.views.fax import DamagedStripError, read_group_4

INK, PAPER = 0, 255
MAX_PIXELS = 64_000_000  # eight times the largest sheet seen in the Red Book (2452 × 3080)
MAX_BYTES = 64 * 1024 * 1024
_MAX_INK_CONTRAST = 128  # pixels that differ more than this from the paper are ink on every sheet
_MIN_LINE_CONTRAST = 24  # the centre of a line differs at least this much from the paper; less is noise of scanning
_MIN_CLEAN_CONTRAST = 8  # the same on a sheet without such noise
_MAX_CLEAN = 0.01  # share of pixels of a sheet without noise that differ from the paper by less than that
_LIGHT_LINES = 0.02  # share of the line centres that are allowed to be lighter than the lightest lines
_MAX_DIRECTORIES = 16  # of a TIFF; sheets have one, and perhaps a thumbnail
_REDUCED = 1  # bit of the tag NewSubfileType of a thumbnail
_NEW_SUBFILE_TYPE = 254
_MIN_INVERTED_INK, _INVERTED_RIM_PX = 0.5, 4  # share of ink of a sheet of white lines, and width of its black rim
_TURNS = {0: None, 90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_PNG_LEVEL = 6  # level 9 makes files 7 % smaller and takes seven times as long
_TIFF_MARKS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def read_sheet(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The page of a TIFF; a thumbnail in the same file is passed over.

    Args:
        data: The file's bytes, which are not trusted: the size in the header is checked before any pixel is decoded.
        name: Name of the sheet in error messages.
        max_pixels: Sheets of more pixels than this are refused.

    Returns:
        (height_px, width_px) uint8, 0 is ink and 255 is paper.

    Raises:
        SheetError: The bytes are not a TIFF, it has several full pages, is damaged, or exceeds the bounds.
    """
    if len(data) > MAX_BYTES:
        raise SheetError(f"{name}: {len(data)} bytes; a drawing sheet has at most {MAX_BYTES}")
    if not data.startswith(_TIFF_MARKS):
        raise SheetError(f"{name}: no TIFF (it begins with {data[:12]!r})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd tags and of size; the size is checked here
            with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
                _seek_page(image, name)
                width, height = image.size
                if width * height > max_pixels:
                    raise SheetError(f"{name}: {width} × {height} pixels; at most {max_pixels} are read")
                page = read_group_4(data, image)
                return _to_page(image) if page is None else page
    except SheetError:
        raise
    except DamagedStripError as error:
        raise SheetError(f"{name}: damaged TIFF ({error})") from error
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


def _seek_page(image: TiffImagePlugin.TiffImageFile, name: str) -> None:
    """Go to the first directory of a TIFF that is not a thumbnail: neither said to be one, nor half the size or less.

    Raises:
        SheetError: There are several such directories.
    """
    sizes: list[tuple[int, int]] = []
    is_reduced: list[bool] = []
    try:
        while len(sizes) < _MAX_DIRECTORIES:
            image.seek(len(sizes))
            sizes.append(image.size)
            is_reduced.append(bool(int(image.tag_v2.get(_NEW_SUBFILE_TYPE, 0)) & _REDUCED))
    except EOFError:
        pass
    largest = max(width * height for width, height in sizes)
    pages = [
        index
        for index, (width, height) in enumerate(sizes)
        if 4 * width * height > largest and not (is_reduced[index] and not all(is_reduced))
    ]
    if len(pages) != 1:
        raise SheetError(f"{name}: {len(pages)} pages in one TIFF; a sheet has one")
    image.seek(pages[0])


def _to_page(image: Image.Image) -> np.ndarray:
    """Decode an image and reduce it to ink and paper."""
    if image.mode == "1":
        return np.frombuffer(image.tobytes("raw", "L"), np.uint8).reshape(image.height, image.width)
    if image.mode in ("I;16", "I;16B", "I", "F"):
        levels = np.asarray(image, dtype=np.float64)
        # scanners that deliver 10 or 12 bits leave the upper ones of 16 unused
        levels = (levels * (255 / levels.max()) if levels.max() > 0 else levels)[..., None]
    else:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            ground = Image.new("RGBA", image.size, (PAPER, PAPER, PAPER, 255))
            ground.alpha_composite(image.convert("RGBA"))
            image = ground
        is_grey = image.mode in ("L", "LA")
        levels = np.asarray(image.convert("L" if is_grey else "RGB")).reshape(image.height, image.width, -1)
    contrast = _contrast(levels)
    return np.where(contrast > _ink_contrast(contrast), INK, PAPER).astype(np.uint8)


def _contrast(levels: np.ndarray) -> np.ndarray:
    """How far each pixel differs from the paper in the channel in which it differs most.

    Args:
        levels: (height_px, width_px, num_channels), 0 to 255.

    Returns:
        (height_px, width_px) uint8. The paper is the most frequent of the lighter levels of each channel.
    """
    levels = np.clip(levels, 0, 255).astype(np.uint8)
    channels = [levels[..., index] for index in range(levels.shape[2])]
    papers = []
    for channel in channels:
        counts = np.bincount(channel.ravel(), minlength=256)
        counts[:128] *= not counts[128:].any()
        papers.append(int(counts.argmax()))
    differences = [
        np.abs(channel.astype(np.int16) - paper).astype(np.uint8)
        for channel, paper in zip(channels, papers, strict=True)
    ]
    contrast: np.ndarray = np.max(differences, axis=0)
    return contrast


def _ink_contrast(contrast: np.ndarray) -> int:
    """The threshold of a sheet: pixels that differ more from the paper are ink."""
    is_clean = ((contrast > 0) & (contrast < _MIN_CLEAN_CONTRAST)).mean() <= _MAX_CLEAN
    least = _MIN_CLEAN_CONTRAST if is_clean else _MIN_LINE_CONTRAST
    is_centre = (contrast == cv2.dilate(contrast, np.ones((3, 3), np.uint8))) & (contrast >= least)
    centres = contrast[is_centre]
    if not len(centres):
        return _MAX_INK_CONTRAST
    lightest = float(np.quantile(centres, _LIGHT_LINES))
    return int(np.clip(lightest / 2, least // 2, _MAX_INK_CONTRAST - 1))


def is_inverted(page: np.ndarray) -> bool:
    """Whether a page of ink (0) and paper (255) shows white lines on black: mostly ink, all of its rim, but not all."""
    rim = _INVERTED_RIM_PX
    if min(page.shape) <= 2 * rim or (page == INK).mean() <= _MIN_INVERTED_INK:
        return False
    inner = page[rim:-rim, rim:-rim]
    return bool(inner.any()) and cv2.countNonZero(page) == cv2.countNonZero(inner)


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


def to_png(page: np.ndarray, *, level: int = _PNG_LEVEL) -> bytes:
    """Lossless PNG of a page of ink and paper, 1 bit per pixel, compressed at `level`; equal pages give equal bytes."""
    _, png = cv2.imencode(".png", page, [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, level])
    return png.tobytes()
