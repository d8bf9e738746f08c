"""Labels and other text on sheets, in the lettering that draughtsmen use.

The fonts are those that matplotlib ships, so that specimens are the same on every machine. Stroked lettering (plotted
or by hand) is drawn from the polylines below, as there is no font of strokes among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FACES = {
    "times": "STIXGeneral.ttf",
    "times_bold": "STIXGeneralBol.ttf",
    "times_italic": "STIXGeneralItalic.ttf",
    "times_bold_italic": "STIXGeneralBolIta.ttf",
    "sans": "DejaVuSans.ttf",
    "sans_bold": "DejaVuSans-Bold.ttf",
    "sans_italic": "DejaVuSans-Oblique.ttf",
    "sans_bold_italic": "DejaVuSans-BoldOblique.ttf",
    "serif": "DejaVuSerif.ttf",
    "serif_bold": "DejaVuSerif-Bold.ttf",
    "serif_italic": "DejaVuSerif-Italic.ttf",
    "mono": "DejaVuSansMono.ttf",
    "roman": "cmr10.ttf",
    "gothic": "cmss10.ttf",
}
STROKED = "stroked"

# Strokes on a grid of 4 by 6, each point as two digits (x, y), y upwards.
_STROKES = {
    "A": "002640|1232", "B": "00063645443303|3342413000", "C": "4536160501103041", "D": "00062644422000",
    "E": "46060040|0333", "F": "000646|0333", "G": "45361605011030414323", "H": "0006|4046|0343", "I": "2026",
    "J": "4641301001", "K": "0006|460340", "L": "060040", "M": "0006234640", "N": "00064046",
    "O": "100105163645413010", "P": "00063645443303", "Q": "100105163645413010|2240", "R": "00063645443303|2340",
    "S": "453616050413334241301001", "T": "0646|2620", "U": "060110304146", "V": "062046", "W": "0610233046",
    "X": "0046|0640", "Y": "062346|2320", "Z": "06460040", "0": "100105163645413010", "1": "152620|1030",
    "2": "05163645440040", "3": "05163645443313|334241301001", "4": "30360242", "5": "460603334241301001",
    "6": "453616050110304142331302", "7": "064620", "8": "13040516364544331302011030414233",
    "9": "011030414536160504133344", ".": "2021", "-": "1333", "(": "36242230", ")": "16242210", "/": "0046",
    ":": "2021|2324", ",": "2110", "%": "0046|1516|3031", "+": "2125|0343", "&": "40040516252401103042",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LabelStyle:
    """How the labels of a patent are lettered.

    Attributes:
        face: A name from FACES, or STROKED.
        pattern: The label with `{}` for its number, such as "FIG. {}".
        cap_px: Height of a capital letter.
        stretch: Width as a share of the usual width of the face.
        underline: Whether the label is underlined.
        stencil: Whether the letters have the gaps of a stencil.
        wobble: How shaky the handwriting is, as a share of the height; stroked lettering only.
    """

    face: str = "times"
    pattern: str = "FIG. {}"
    cap_px: int = 52
    stretch: float = 1.0
    underline: bool = False
    stencil: bool = False
    wobble: float = 0.0


def draw_text(text: str, style: LabelStyle, rng: np.random.Generator) -> np.ndarray:
    """`text` as a boolean bitmap cropped to its ink, (height_px, width_px)."""
    ink = _stroked(text, style, rng) if style.face == STROKED else _printed(text, style)
    if style.stretch != 1.0:
        wide = max(1, round(ink.shape[1] * style.stretch))
        ink = cv2.resize(ink.astype(np.uint8) * 255, (wide, ink.shape[0]), interpolation=cv2.INTER_AREA) > 110
    if style.stencil:
        ink = _cut(ink, max(3, style.cap_px // 14))
    if style.underline:
        thick, gap = max(3, style.cap_px // 14), max(5, style.cap_px // 7)
        below = np.zeros((gap + thick, ink.shape[1]), dtype=bool)
        below[gap:] = True
        ink = np.concatenate([ink, below])
    return cropped(ink)[0]


def draw_label(number: str, style: LabelStyle, rng: np.random.Generator) -> np.ndarray:
    """The label of figure `number` as a boolean bitmap cropped to its ink."""
    return draw_text(style.pattern.format(number), style, rng)


def text_strokes(text: str, height: float = 1.0) -> list[np.ndarray]:
    """Polylines, each (num, 2), of a line of capitals of the given height that begins at the origin; y is upwards."""
    lines, x = [], 0.0
    for letter in text.upper():
        for stroke in filter(None, _STROKES.get(letter, "").split("|")):
            digits = np.array([int(digit) for digit in stroke], dtype=float).reshape(-1, 2)
            lines.append((digits + np.array([x, 0])) * height / 6)
        x += 3.0 if letter in "I.,:1 " else 5.4
    return lines


def cropped(ink: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The bitmap cropped to its ink, and the (x, y) of the crop; a bitmap without ink becomes empty."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return ink[:0, :0], (0, 0)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], (int(columns[0]), int(rows[0]))


@lru_cache(maxsize=128)
def _font(face: str, cap_px: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FACES[face]
    sample = ImageFont.truetype(path, 200)
    _, top, _, bottom = sample.getbbox("F")
    return ImageFont.truetype(path, max(6, round(200 * cap_px / (bottom - top))))


def _printed(text: str, style: LabelStyle) -> np.ndarray:
    font = _font(style.face, style.cap_px)
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8), 0)
    ImageDraw.Draw(canvas).text((4 - left, 4 - top), text, fill=255, font=font)
    return np.asarray(canvas) > 110


def _stroked(text: str, style: LabelStyle, rng: np.random.Generator) -> np.ndarray:
    unit = style.cap_px / 6
    lines = text_strokes(text, float(style.cap_px))
    shaky = style.wobble * style.cap_px
    slant = rng.uniform(0.0, 0.25) if shaky else 0.0
    margin = style.cap_px
    width = int(max(line[:, 0].max() for line in lines) + 2 * margin + style.cap_px)
    canvas = np.zeros((style.cap_px * 3, width), np.uint8)
    thick = max(2, round(style.cap_px / 11))
    for line in lines:
        if shaky and len(line) > 1:
            dense = np.concatenate([np.linspace(a, b, 5)[:-1] for a, b in pairwise(line)] + [line[-1:]])
            line = dense + rng.normal(0, shaky, 2) + np.cumsum(rng.normal(0, shaky / 4, dense.shape), axis=0)
        page = np.stack([line[:, 0] + slant * line[:, 1] + margin, 2 * margin - line[:, 1]], axis=1)
        cv2.polylines(canvas, [np.rint(page * 16).astype(np.int32)], False, 255, thick, cv2.LINE_8, 4)
    return cropped(canvas > 0)[0] if unit else canvas > 0


def _cut(ink: np.ndarray, width_px: int) -> np.ndarray:
    """Stencil bridges: every glyph that is wide enough loses an upright bar through its middle."""
    cut = ink.copy()
    filled = np.concatenate([[False], ink.any(axis=0), [False]])
    starts, ends = np.flatnonzero(filled[1:] & ~filled[:-1]), np.flatnonzero(~filled[1:] & filled[:-1])
    for start, end in zip(starts, ends, strict=True):
        if end - start > 4 * width_px:
            middle = (start + end) // 2
            cut[:, middle - width_px // 2 : middle + (width_px + 1) // 2] = False
    rows = ink.shape[0] // 2
    cut[rows - width_px // 2 : rows + (width_px + 1) // 2] = False
    return cut
