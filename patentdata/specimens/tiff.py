"""Sheets as TIFF files, as the office publishes them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, TiffImagePlugin

DPI = 300
_MM_PER_INCH = 25.4


def encode_tiff(ink: np.ndarray) -> bytes:
    """One page, 1 bit, CCITT G4, 300 dpi, white is zero, a single strip. `ink`: boolean, (height_px, width_px)."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[278] = ink.shape[0]  # RowsPerStrip
    tags[270] = "**DRAWING;OGFIG;BW;P"
    out = io.BytesIO()
    # Pillow inverts mode 1 for compressed TIFFs by itself where the tag asks for it
    image = Image.fromarray((~ink).astype(np.uint8) * 255).convert("1", dither=Image.Dither.NONE)
    tags[262] = 0  # WhiteIsZero
    image.save(out, format="TIFF", compression="group4", dpi=(DPI, DPI), tiffinfo=tags)
    return out.getvalue()


def millimetres(pixels: int) -> str:
    """A length as the grant prints it: 953 pixels are "80.69mm"."""
    return f"{pixels / DPI * _MM_PER_INCH:.2f}mm"
