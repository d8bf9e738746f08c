"""Decodes sheets of fax group 4 compression, as almost all are, and notices damaged strips.

libtiff decodes a damaged strip without an error: it fills what it cannot read with white and continues with rows that
mean nothing. Such a sheet looks like a drawing, so damage has to be found in the strip itself. A strip does not state
how many rows it holds, but every row has to be read correctly for the next one to be found. So one black row is added
behind the last row before the strip is decoded: only if that row appears exactly where it belongs was the strip
complete, with as many rows as it should have.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, TiffImagePlugin

_GROUP_4 = 4  # value of the tag Compression
_END_OF_BLOCK, _END_BITS = 0x001001, 24  # closes a strip; followed by zeros up to a whole byte
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION = 256, 257, 259, 262, 266, 274
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 278, 279


class DamagedStripError(ValueError):
    """A strip cannot be decoded as a whole; the message says which."""


def read_group_4(data: bytes, image: TiffImagePlugin.TiffImageFile) -> np.ndarray | None:
    """The page of a group 4 TIFF; None if the file is compressed otherwise, or its layout is an unusual one.

    Args:
        data: Bytes of the file.
        image: The page of that file; only its tags and size are read.

    Returns:
        (height_px, width_px) uint8, 0 and 255 as Pillow decodes them.

    Raises:
        DamagedStripError: A strip is missing, ends early, or is damaged.
    """
    tags = image.tag_v2
    if tags.get(_COMPRESSION) != _GROUP_4 or image.mode != "1" or tags.get(_ORIENTATION, 1) != 1:
        return None
    if _STRIP_OFFSETS not in tags or _STRIP_BYTES not in tags:
        return None
    width, height = image.size
    rows_per_strip = min(int(tags.get(_ROWS_PER_STRIP, height)) or height, height)
    spans = list(zip(tags[_STRIP_OFFSETS], tags[_STRIP_BYTES], strict=False))
    num_strips = -(-height // rows_per_strip)
    page = np.empty((height, width), np.uint8)
    for index in range(num_strips):
        first = index * rows_per_strip
        start, num_bytes = spans[index] if index < len(spans) else (0, 0)
        strip = data[start : start + num_bytes]
        if tags.get(_FILL_ORDER) == 2:
            strip = strip.translate(_REVERSED)
        rows = _decode(strip, width, min(rows_per_strip, height - first))
        if rows is None:
            raise DamagedStripError(f"strip {index + 1} of {num_strips} is damaged or ends early")
        page[first : first + len(rows)] = rows
    return page if tags.get(_PHOTOMETRIC) == 1 else ~page


def _decode(strip: bytes, width: int, num_rows: int) -> np.ndarray | None:
    """The rows of a strip whose bytes have their highest bit first; None if it does not hold exactly `num_rows`."""
    bits = int.from_bytes(strip, "big")
    num_bits = 8 * len(strip)
    num_zeros = (bits & -bits).bit_length() - 1 if bits else num_bits
    is_closed = bits >> num_zeros & (1 << _END_BITS) - 1 == _END_OF_BLOCK
    # Some programs leave the end mark out: then up to seven zeros at the end may be filling or part of a code.
    for filling in [num_zeros + _END_BITS] if is_closed else range(min(8, num_zeros + 1)):
        rows = _decode_codes(bits >> filling, num_bits - filling, width, num_rows)
        if rows is not None:
            return rows
    return None


def _decode_codes(codes: int, num_bits: int, width: int, num_rows: int) -> np.ndarray | None:
    """The rows of `num_bits` bits of codes; None if a black row that is added to them does not come right after."""
    added, num_added = _black_row(width)
    filling = -(num_bits + num_added) % 8
    strip = ((codes << num_added | added) << filling).to_bytes((num_bits + num_added + filling) // 8, "big")
    try:
        with TiffImagePlugin.TiffImageFile(io.BytesIO(_tiff(strip, width, num_rows + 1))) as image:
            # unpacked by Pillow to 0 and 255, which takes half the time of converting the image first
            rows = np.frombuffer(image.tobytes("raw", "L"), np.uint8).reshape(num_rows + 1, width)
    except OSError:
        return None
    return rows[:-1] if rows[-1].all() else None


@lru_cache(maxsize=64)
def _black_row(width: int) -> tuple[int, int]:
    """The codes of one row without white, with the end mark, and their number of bits."""
    stream = io.BytesIO()
    Image.new("1", (width, 1), 1).save(stream, "TIFF", compression="group4")
    with TiffImagePlugin.TiffImageFile(io.BytesIO(stream.getvalue())) as image:
        start, num_bytes = image.tag_v2[_STRIP_OFFSETS][0], image.tag_v2[_STRIP_BYTES][0]
    strip = stream.getvalue()[start : start + num_bytes]
    return int.from_bytes(strip, "big"), 8 * num_bytes


def _tiff(strip: bytes, width: int, height: int) -> bytes:
    """A TIFF of one group 4 strip in which black is 1."""
    entries = [
        (_WIDTH, width),
        (_HEIGHT, height),
        (_COMPRESSION, _GROUP_4),
        (_PHOTOMETRIC, 1),
        (_STRIP_OFFSETS, 8),
        (_ROWS_PER_STRIP, height),
        (_STRIP_BYTES, len(strip)),
    ]
    padded = strip + b"\0" * (len(strip) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in entries)
    return struct.pack("<2sHI", b"II", 42, 8 + len(padded)) + padded + directory + struct.pack("<I", 0)
