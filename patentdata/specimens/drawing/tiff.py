"""Sheets as TIFF files in the format that the patent office publishes."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, TiffImagePlugin

DPI = 300
_MM_PER_INCH = 25.4
_PHOTOMETRIC, _DESCRIPTION, _ROWS_PER_STRIP = 262, 270, 278


def encode_tiff(ink: np.ndarray) -> bytes:
    """One page, 1 bit, CCITT G4, 300 dpi, white is zero, a single strip. `ink`: boolean, (height_px, width_px)."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[_ROWS_PER_STRIP] = ink.shape[0]
    tags[_DESCRIPTION] = "**DRAWING;OGFIG;BW;P"
    out = io.BytesIO()
    # If it is asked for white-is-zero, Pillow inverts pixel by pixel in Python (0.4 s a sheet). So it is given the
    # inverse of the image as black-is-zero, and the tag is changed afterwards.
    Image.fromarray(ink).save(out, format="TIFF", compression="group4", dpi=(DPI, DPI), tiffinfo=tags)
    return with_tag(out.getvalue(), _PHOTOMETRIC, 0)


def with_tag(tiff: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with the value of one tag of its first directory replaced.

    Raises:
        ValueError: The directory does not have the tag.
    """
    (directory,) = struct.unpack_from("<I", tiff, 4)
    (num_entries,) = struct.unpack_from("<H", tiff, directory)
    for index in range(num_entries):
        entry = directory + 2 + 12 * index
        found, kind = struct.unpack_from("<HH", tiff, entry)
        if found == tag:
            changed = bytearray(tiff)
            struct.pack_into("<I" if kind == 4 else "<HH", changed, entry + 8, *([value] if kind == 4 else [value, 0]))
            return bytes(changed)
    raise ValueError(f"the TIFF has no tag {tag}")


def millimetres(pixels: int) -> str:
    """A length as the grant prints it: 953 pixels are "80.69mm"."""
    return f"{pixels / DPI * _MM_PER_INCH:.2f}mm"
