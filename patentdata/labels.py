"""Figure labels: their grammar, and where they stand on a sheet."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import cv2
import numpy as np

from patentdata.ink import SCALE, Ink
from patentdata.lettering import Line, find_lines
from patentdata.recogniser import Reading, read_line
from patentdata.sheets import PAPER

_LIKE_I = str.maketrans("1L|!T/\\JÌÍİ丨", "IIIIIIIIIIII")
_LIKE_G = str.maketrans("6COQ0", "GGGGG")
_LIKE_DIGIT = str.maketrans("OoIlL|!QDSZB", "001111100528")
_LABEL = re.compile(
    r"^[^A-Za-z0-9]*(?P<word>[A-Za-z1|!/\\][A-Za-z1|!/\\60]{1,7}?)s?[^A-Za-z0-9]*"
    r"(?P<number>[0-9OoIlS|][0-9OoIlSZB|]{0,2})(?P<suffix>-?[A-Za-z]?(?:\([A-Za-z0-9]{1,2}\))?['’′\"]{0,3})[^A-Za-z0-9]*$"
)
_WORD_ALONE = re.compile(r"^[^A-Za-z0-9]*(?P<word>[A-Za-z1|!/\\]{3,7})[^A-Za-z0-9]*$")
_HAGUE = re.compile(r"^[^A-Za-z0-9]*(?P<number>[0-9]{1,2}\.[0-9]{1,2})\.?$")


@dataclass(frozen=True, kw_only=True)
class Label:
    """A figure label on a sheet.

    Attributes:
        number: "3", "2A", "1(a)", Hague "1.1"; null for the word "FIGURE" alone.
        box: x0, y0, x1, y1 in half-resolution pixels of the sheet as published.
        members: Components of the sheet's `Ink` that are its letters.
        rotation_cw: Degrees clockwise that turn the lettering upright.
        confidence: 0 to 1, of the least certain character.
        foreign: Share of other ink in the margin around it, 0 to 1.
        text: As read.
    """

    number: str | None
    box: tuple[int, int, int, int]
    members: np.ndarray = field(repr=False)
    rotation_cw: int
    confidence: float
    foreign: float
    text: str

    @property
    def height(self) -> int:
        """Of the lettering, half-resolution pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


def normalised(label: str | None) -> str | None:
    """A label as labels are compared: capitals, digits and points alone.

    >>> normalised("Fig. 2a"), normalised("1(a)"), normalised("FIGURE")
    ('2A', '1A', None)
    """
    if label is None:
        return None
    bare = re.sub(r"^\W*(FIGURES?|FIGS?)(?![A-Z])", "", label.upper())
    return re.sub(r"[^0-9A-Z.]", "", bare).strip(".") or None


def parse_label(text: str) -> tuple[str | None, str] | None:
    """What kind of label a line of text is, allowing for a recogniser's usual slips.

    Returns:
        The number and the kind ("figure", "word" without a number, "hague"), or None for other text.

    >>> parse_label("F1G. 3"), parse_label("Figure 12A"), parse_label("1.1"), parse_label("SALE 50")
    (('3', 'figure'), ('12A', 'figure'), ('1.1', 'hague'), None)
    """
    bare = re.sub(r"\s+", "", text)
    if match := _HAGUE.match(bare):
        return match["number"], "hague"
    if (match := _LABEL.match(bare)) and _is_figure_word(match["word"]):
        suffix = match["suffix"].replace("’", "'").replace("′", "'").lstrip("-")
        return match["number"].translate(_LIKE_DIGIT) + suffix, "figure"
    if (match := _WORD_ALONE.match(bare)) and _is_figure_word(match["word"], num_slips=0):
        return None, "word"
    return None


def _is_figure_word(word: str, num_slips: int = 1) -> bool:
    """Whether `word` is FIG, FIGS or FIGURE, give or take the letters a recogniser confuses."""
    letters = word.upper()
    letters = letters[:1] + letters[1:2].translate(_LIKE_I) + letters[2:3].translate(_LIKE_G) + letters[3:]
    if num_slips and len(letters) <= 2:
        return letters in ("FG", "FI")
    return any(_distance(letters, name) <= num_slips * (1 if len(name) < 5 else 2) for name in ("FIG", "FIGURE"))


def _distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


@dataclass(frozen=True, kw_only=True)
class LabelSearch:
    """How much is read on a sheet in search of labels.

    Attributes:
        max_readings: Lines read in the two usual directions (upright, and turned 90° clockwise to read).
        max_unusual_readings: Further lines read upside down or turned the other way, where nothing was found.
    """

    max_readings: int = 40
    max_unusual_readings: int = 12


def find_labels(page: np.ndarray, ink: Ink, search: LabelSearch) -> list[Label]:
    """Labels of a sheet, those of its prevailing direction alone.

    Args:
        page: (height_px, width_px) uint8, 0 is ink.
        ink: Its components.
        search: Bounds of the work.
    """
    lines = find_lines(ink, is_turned=False) + find_lines(ink, is_turned=True)
    lines.sort(key=_unlikeliness)
    found: list[Label] = []
    since_last = 0
    for num_read, line in enumerate(lines):
        if num_read >= search.max_readings or (found and since_last >= 4 and _unlikeliness(line) > 1.5):
            break
        label = _read_label(page, ink, line, 90 if line.is_turned else 0)
        since_last = since_last + 1 if label is None else 0
        if label is not None:
            found.append(label)
    if not found:
        for line in lines[: search.max_unusual_readings]:
            label = _read_label(page, ink, line, 270 if line.is_turned else 180)
            if label is not None and label.number is not None and label.confidence > 0.6:
                found.append(label)
    return _prevailing(found)


def _unlikeliness(line: Line) -> float:
    """Low for a line with the looks of a label: alone on its ground, a few letters, three times as wide as high."""
    num = len(line.members)
    odd = max(0, 3 - num) + max(0, num - 8) * 0.5
    shape = abs(line.width / line.height - 3.5)
    return min(20 * line.foreign, 4.0) + odd + 0.5 * max(0.0, shape - 1.0)


def _read_label(page: np.ndarray, ink: Ink, line: Line, rotation_cw: int) -> Label | None:
    picture = _picture(page, ink, line, rotation_cw)
    wide = picture.shape[1] / picture.shape[0]
    reading = read_line(picture, stretch=0.7 if wide > 2.2 else 1.2)
    parsed = parse_label(reading.text)
    if wide > 2.2 and _is_doubtful(reading, parsed):
        reading = read_line(picture, stretch=1.15)
        parsed = parse_label(reading.text)
    if parsed is None:
        return None
    number, kind = parsed
    confidence = min(reading.confidences)
    if kind == "hague" and (confidence < 0.8 or line.foreign > 0.03):
        return None
    return Label(
        number=number,
        box=line.box,
        members=line.members,
        rotation_cw=rotation_cw,
        confidence=confidence,
        foreign=line.foreign,
        text=reading.text,
    )


def _is_doubtful(reading: Reading, parsed: tuple[str | None, str] | None) -> bool:
    """Whether a second, slower look is worth while."""
    if parsed is not None:
        return parsed[1] != "figure" or min(reading.confidences) < 0.8
    text = reading.text.upper()
    return "FI" in text or "IG" in text or "FG" in text or "GUR" in text


def _picture(page: np.ndarray, ink: Ink, line: Line, rotation_cw: int) -> np.ndarray:
    """The line cut out with a little paper around it, upright, ink of large neighbours removed."""
    x0, y0, x1, y1 = line.box
    margin = max(1, round(0.12 * line.height))
    x0, y0 = max(0, x0 - margin), max(0, y0 - margin)
    x1, y1 = min(ink.ids.shape[1], x1 + margin), min(ink.ids.shape[0], y1 + margin)
    ids = ink.ids[y0:y1, x0:x1]
    picture = page[y0 * SCALE : y1 * SCALE, x0 * SCALE : x1 * SCALE]
    others = np.setdiff1d(ids[ids > 0], line.members + 1)
    if len(others):
        sides = ink.boxes[others - 1, 2:] - ink.boxes[others - 1, :2]
        large = others[sides.max(axis=1) > line.height * 0.6]
        if len(large):
            hidden = np.isin(ids, large).astype(np.uint8)
            hidden = cv2.resize(hidden, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST)
            picture = np.where(hidden[: picture.shape[0], : picture.shape[1]] > 0, np.uint8(PAPER), picture).astype(
                np.uint8
            )
    return np.ascontiguousarray(np.rot90(picture, -(rotation_cw // 90)))


def _prevailing(labels: list[Label]) -> list[Label]:
    """Labels that read in the direction of most; a number read twice counts where it stands clearest."""
    if not labels:
        return []
    weights: dict[int, float] = {}
    for label in labels:
        weights[label.rotation_cw] = weights.get(label.rotation_cw, 0.0) + label.confidence
    rotation_cw = max(weights, key=lambda rotation: weights[rotation])
    same = [label for label in labels if label.rotation_cw == rotation_cw]
    if any(label.number is not None and "." not in label.number for label in same):
        same = [label for label in same if label.number is None or "." not in label.number]
    if any(label.number is not None for label in same):
        same = [label for label in same if label.number is not None]
    best: dict[str | None, Label] = {}
    for label in sorted(same, key=lambda label: (label.foreign > 0.03, -label.height, -label.confidence)):
        best.setdefault(normalised(label.number), label)
    return list(best.values())
