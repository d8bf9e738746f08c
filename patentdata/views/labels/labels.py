"""Figure labels: their grammar, and where they are on a sheet.

Reading a line of text costs far more than finding one, and a sheet has many more letter-like shapes than labels. Lines
are therefore read in order of how much they look like a label; once a label is found, other lines are read only if they
resemble it. A reading that is doubtful is repeated with more care.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np

from patentdata.views.ink import SCALE, Ink
from patentdata.views.labels.lettering import Line, find_lines, line_of, number_after, shortened
from patentdata.views.labels.recogniser import Reading, read_line
from patentdata.views.sheets import PAPER

_LIKE_I = str.maketrans("1L|!T/\\JÌÍİ丨", "IIIIIIIIIIII")
_LIKE_G = str.maketrans("6COQ0", "GGGGG")
_LIKE_FIG = ("PIG", "EIG", "JIG", "TIG", "IG")
_LIKE_DIGIT = str.maketrans("OoIlL|!QDSZB", "001111100528")
_LABEL = re.compile(
    r"^[^A-Za-z0-9]*(?P<word>[A-Za-z1|!/\\][A-Za-z1|!/\\60]{1,7}?)s?[^A-Za-z0-9]*"
    r"(?P<number>[0-9OoIlS|][0-9OoIlSZB|]{0,2}(?:[.–—-][0-9]{1,2})?)(?P<suffix>-?[A-Za-z]?(?:\([A-Za-z0-9]{1,2}\))?['’′\"]{0,3})[^A-Za-z0-9]*$"
)
_LIKELY = 0.8  # lines up to this unlikeliness are always read: 19 of 20 labels, and one other line in six sheets
_UNLIKELY = 2.5  # lines beyond this are not read once a label is found
_WIDER = 1.6  # how much a line is stretched whose digits may have been merged
_MIN_DIGIT_HEIGHT = 0.6  # of a digit, as a share of the highest one of its number
_SURE = 0.8  # a number read with this confidence is not read again
_MIN_BARE_CONFIDENCE, _MAX_BARE_FOREIGN = 0.8, 0.03  # a bare "1.1" is a label only within these limits
_MIN_LONE_CONFIDENCE, _MAX_LONE_CROWDING = 0.5, 0.01  # the limits of a bare "1.1" that has nothing near it
_ALONE = 0.01  # a line with less than this share of other ink around it is alone
_NARROW = 2.2  # width divided by height; narrower pictures are read with care at once
_MIN_UNUSUAL_CONFIDENCE = 0.6  # of a label that is upside down or turned the unusual way
_MIN_WORD, _MIN_WORD_CONFIDENCE = 3, 0.7  # letters and confidence of text that shows the orientation of a sheet
_SOME_TEXT = 8  # letters of such text without which the orientation is unknown
_LABEL_WITHIN = re.compile(r"F\s?[I1l|]\s?G(?:URE)?[\s.,-]*[0-9]{1,3}(?:[.-][0-9]{1,2})?", re.IGNORECASE)
_MAX_STRAY = 3  # characters before or after a label that were read from the drawing
_WORD_ALONE = re.compile(r"^[^A-Za-z0-9]*(?P<word>[A-Za-z1|!/\\]{3,7})[^A-Za-z0-9]*$")
_MIN_NUMBER_CONFIDENCE = 0.5  # of a number that is read without its word
_MIN_ALIKE = 0.6  # ratio of heights of two labels in the same lettering
_HAGUE = re.compile(r"^[^A-Za-z0-9]*(?P<number>[0-9]{1,2}\.[0-9]{1,2})\.?$")


@dataclass(frozen=True, kw_only=True)
class Label:
    """A figure label on a sheet.

    Attributes:
        number: "3", "2A", "1(a)", "1-2", or "1.1" of a Hague design; None for the word "FIGURE" alone.
        box: x0, y0, x1, y1 in half-resolution pixels of the sheet as published.
        members: Indices of the components of the sheet's `Ink` that are its letters.
        rotation_cw: Degrees clockwise that turn the lettering upright.
        confidence: Confidence of the least certain character, 0 to 1.
        foreign: Share of the margin around it that is other ink, 0 to 1.
        text: The text as read.
        is_bare: Whether it is a number such as "1.1" without the word FIG.
    """

    number: str | None
    box: tuple[int, int, int, int]
    members: np.ndarray = field(repr=False)
    rotation_cw: int
    confidence: float
    foreign: float
    text: str
    is_bare: bool = False

    @property
    def height(self) -> int:
        """Height of the lettering in half-resolution pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


def normalised(label: str | None) -> str | None:
    """A label in the form in which labels are compared: only capitals, digits, points and hyphens between digits.

    >>> normalised("Fig. 2a"), normalised("1(a)"), normalised("1-2"), normalised("FIGURE")
    ('2A', '1A', '1-2', None)
    """
    if label is None:
        return None
    bare = re.sub(r"^\W*(FIGURES?|FIGS?)(?![A-Z])", "", label.upper())
    return re.sub(r"(?<![0-9])-|-(?![0-9])|[^0-9A-Z.-]", "", bare).strip(".") or None


class ParsedLabel(NamedTuple):
    """A line of text, parsed as a label."""

    number: str | None
    kind: str  # "figure"; "word" for FIGURE without a number; "hague" for a bare 1.1
    start: int  # first character of the number in the text without blanks; of the text if it has no number
    end: int  # one past its last character


def parse_label(text: str) -> ParsedLabel | None:
    """Parse a line of text as a label, allowing for the usual errors of a recogniser; None for other text.

    >>> parse_label("F1G. 3").number, parse_label("Figure 12A").number, parse_label("1.1").kind, parse_label("SALE 50")
    ('3', '12A', 'hague', None)
    """
    bare = re.sub(r"\s+", "", text)
    if match := _HAGUE.match(bare):
        return ParsedLabel(match["number"], "hague", *match.span("number"))
    if (match := _LABEL.match(bare)) and _is_figure_word(match["word"]):
        suffix = match["suffix"].replace("’", "'").replace("′", "'").lstrip("-")
        number = re.sub("[–—]", "-", match["number"].translate(_LIKE_DIGIT)) + suffix
        if number == "0":  # no figure is numbered so; it is a ring or a blot behind the word
            return ParsedLabel(None, "word", 0, len(bare))
        return ParsedLabel(number, "figure", match.start("number"), match.end("suffix"))
    if (match := _WORD_ALONE.match(bare)) and _is_figure_word(match["word"], is_exact=True):
        return ParsedLabel(None, "word", 0, len(bare))
    return None


def _is_figure_word(word: str, *, is_exact: bool = False) -> bool:
    """Whether `word` is FIG, FIGS or FIGURE; unless `is_exact`, letters may be wrong or missing."""
    letters = word.upper()
    letters = letters[:1] + letters[1:2].translate(_LIKE_I) + letters[2:3].translate(_LIKE_G) + letters[3:]
    if is_exact:
        return letters in ("FIG", "FIGS", "FIGURE", "FIGURES")
    if letters.startswith("F"):
        return letters in ("FG", "FI") or _distance(letters, "FIG") <= 1 or _distance(letters, "FIGURE") <= 2
    return letters in _LIKE_FIG or _distance(letters, "FIGURE") <= 1


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
    """Limits on how much is read on a sheet in search of labels.

    Attributes:
        max_readings: Lines read in the two usual directions: upright, and turned 90° clockwise.
        max_strangers: Lines that do not look like a label, among these, that are read once a label is found; counted
            again from each further label.
        max_unusual_readings: Further lines read upside down or turned 90° counterclockwise, if nothing was found.
        is_thorough: Whether to read lines that do not resemble the labels found, too; for sheets that seem to lack one.
    """

    max_readings: int = 32
    max_strangers: int = 3
    max_unusual_readings: int = 12
    is_thorough: bool = False


def find_labels(
    page: np.ndarray, ink: Ink, search: LabelSearch = LabelSearch(), known: Collection[str | None] = ()
) -> tuple[list[Label], int | None]:
    """Find the labels of a sheet, and how to turn it upright.

    Lines are read in order of likeliness. Once a label is found, unlikely lines are read only if they resemble it.

    Args:
        page: (height_px, width_px) uint8, 0 is ink.
        ink: Connected components of the page.
        search: Limits of the work.
        known: Labels that the grant declares, normalised; a line that is read as another one is read again with care.

    Returns:
        Labels of the prevailing direction, and the degrees clockwise that turn the sheet upright. Without labels, the
        degrees are those of other text; None if there is too little text.
    """
    # Read the likeliest lines in the two usual directions.
    lines = find_lines(ink, is_turned=False) + find_lines(ink, is_turned=True)
    lines.sort(key=_unlikeliness)
    found: list[Label] = []
    words: list[Label] = []
    text_lengths = {0: 0, 90: 0}
    num_read = num_strangers = 0
    for line in lines:
        if num_read >= search.max_readings:
            break
        if any(_overlaps(line.box, label.box) for label in found):
            continue
        if found and not search.is_thorough and _unlikeliness(line) > _UNLIKELY:
            break
        if found and _unlikeliness(line) > _LIKELY:
            if num_strangers >= search.max_strangers or not (search.is_thorough or _is_like_any(line, found)):
                continue
            num_strangers += 1
        num_read += 1
        rotation_cw = 90 if line.is_turned else 0
        reading = _read(page, ink, line, rotation_cw, known)
        if (within := _within(reading, ink, line)) is not None:
            line, reading = within, _read(page, ink, within, rotation_cw, known)
        text_lengths[rotation_cw] += _length_of_text(reading)
        if (label := _as_label(reading, line, rotation_cw)) is not None:
            (words if label.number is None else found).append(label)
            num_strangers = 0
    # Without any label or text, the sheet may be upside down or turned the other way.
    has_no_text = not found and not words and max(text_lengths.values()) < _SOME_TEXT
    if has_no_text:
        for line in lines[: search.max_unusual_readings]:
            rotation_cw = 270 if line.is_turned else 180
            label = _as_label(_read(page, ink, line, rotation_cw), line, rotation_cw)
            if label is not None and label.number is not None and label.confidence > _MIN_UNUSUAL_CONFIDENCE:
                found.append(label)
    # The labels tell the orientation; failing that, the direction with more text does.
    labels = _prevailing(found + [_with_number(page, ink, word) for word in words])
    if labels:
        return labels, labels[0].rotation_cw
    if max(text_lengths.values()) < _SOME_TEXT or text_lengths[0] == text_lengths[90]:
        return [], None
    return [], 0 if text_lengths[0] > text_lengths[90] else 90


def _length_of_text(reading: Reading) -> int:
    """Number of letters in a reading that is clear and long enough to be a word; else 0."""
    if len(reading.text) < _MIN_WORD or np.mean(reading.confidences) < _MIN_WORD_CONFIDENCE:
        return 0
    length = sum(character.isascii() and character.isalpha() for character in reading.text)
    return length if length >= _MIN_WORD else 0


def _overlaps(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _within(reading: Reading, ink: Ink, line: Line) -> Line | None:
    """The part of a line that is a label, if a letter-like piece of drawing before or after it was read, too."""
    match = _LABEL_WITHIN.search(reading.text)
    if match is None or parse_label(reading.text) is not None:
        return None
    start, end = match.span()
    if start > _MAX_STRAY or len(reading.text) - end > _MAX_STRAY:
        return None
    positions = (0.0, *reading.positions, 1.0)
    return shortened(
        ink,
        line,
        (positions[start] + positions[start + 1]) / 2 if start else 0.0,
        (positions[end] + positions[end + 1]) / 2 if end < len(reading.text) else 1.0,
    )


def _is_like_any(line: Line, labels: list[Label]) -> bool:
    return any(_are_alike(line, label) for label in labels)


def _are_alike(line: Line, label: Label) -> bool:
    """Whether a line could be another label in the lettering of one that was found."""
    if line.is_turned != (label.rotation_cw in (90, 270)):
        return False
    width, height = sorted((label.box[2] - label.box[0], label.box[3] - label.box[1]), reverse=True)
    aspect = (line.width / line.height) / (width / height)
    size = line.height / height
    if 0.8 < size < 1.25 and 0.55 < aspect < 1.8:
        return True
    return line.foreign < _ALONE and 0.5 < size < 2.0 and 0.5 < aspect < 2.0


def _unlikeliness(line: Line) -> float:
    """Low for a line that looks like a label: alone, a few letters, three to four times as wide as high."""
    num = len(line.members)
    odd = 0.4 * max(0, 3 - num) + 0.5 * max(0, num - 8)
    shape = 0.5 * max(0.0, abs(line.width / line.height - 3.5) - 1.0)
    return min(20 * line.foreign, 4.0) + min(8 * line.crowding, 1.0) + odd + shape


def _read(page: np.ndarray, ink: Ink, line: Line, rotation_cw: int, known: Collection[str | None] = ()) -> Reading:
    """Read a line; if it may be a label but is in doubt, read it again with more care.

    In doubt is a label with an uncertain number, with a number that is not among the `known` ones, or with more digits
    on the sheet than were read.
    """
    picture = _picture(page, ink, line, rotation_cw)
    if picture.shape[1] <= _NARROW * picture.shape[0]:
        return read_line(picture)
    reading = read_line(picture, is_quick=True)
    parsed = parse_label(reading.text)
    is_unknown = parsed is not None and bool(known) and normalised(parsed.number) not in known
    if is_unknown or _is_doubtful(reading, parsed):
        reading = read_line(picture)
        parsed = parse_label(reading.text)
    if parsed is not None and _has_more_digits(ink, line, rotation_cw, reading, parsed):
        wider = read_line(cv2.resize(picture, None, fx=_WIDER, fy=1.0, interpolation=cv2.INTER_LINEAR))
        again = parse_label(wider.text)
        if again is not None and is_merged(parsed.number, again.number):
            return wider
    return reading


def is_merged(read: str | None, number: str | None) -> bool:
    """Whether `read` is `number` with equal neighbouring digits merged into one, as the recogniser sometimes does.

    >>> is_merged("5", "55"), is_merged("10", "100"), is_merged("5", "5"), is_merged("5", "56")
    (True, True, False, False)
    """
    if read is None or number is None or len(read) >= len(number):
        return False
    return re.sub(r"(.)\1+", r"\1", read) == re.sub(r"(.)\1+", r"\1", number)


def _has_more_digits(ink: Ink, line: Line, rotation_cw: int, reading: Reading, parsed: ParsedLabel) -> bool:
    """Whether there are more components of a digit's height where a number was read than digits were read."""
    if parsed.kind != "figure" or parsed.number is None or not parsed.number.isdigit():
        return False
    positions = [
        position for letter, position in zip(reading.text, reading.positions, strict=True) if not letter.isspace()
    ]
    if not 0 < parsed.start < len(positions):
        return False
    start = (positions[parsed.start - 1] + positions[parsed.start]) / 2
    number = shortened(ink, line, start, 1.0) if rotation_cw in (0, 90) else None
    if number is None:
        return False
    boxes = ink.boxes[number.members]
    heights = boxes[:, 2] - boxes[:, 0] if line.is_turned else boxes[:, 3] - boxes[:, 1]
    return int((heights >= _MIN_DIGIT_HEIGHT * heights.max()).sum()) > len(parsed.number)


def _as_label(reading: Reading, line: Line, rotation_cw: int) -> Label | None:
    """The label that a line is; None if it is other text."""
    parsed = parse_label(reading.text)
    if parsed is None:
        return None
    confidence = _confidence(reading, parsed)
    min_confidence = _MIN_LONE_CONFIDENCE if line.crowding < _MAX_LONE_CROWDING else _MIN_BARE_CONFIDENCE
    if parsed.kind == "hague" and (confidence < min_confidence or line.foreign > _MAX_BARE_FOREIGN):
        return None
    return Label(
        number=parsed.number,
        box=line.box,
        members=line.members,
        rotation_cw=rotation_cw,
        confidence=confidence,
        foreign=line.foreign,
        text=reading.text,
        is_bare=parsed.kind == "hague",
    )


def _confidence(reading: Reading, parsed: ParsedLabel) -> float:
    """Confidence of the least certain character of the number."""
    without_blanks = [
        confidence
        for character, confidence in zip(reading.text, reading.confidences, strict=True)
        if not character.isspace()
    ]
    return min(without_blanks[parsed.start : parsed.end])


def _is_doubtful(reading: Reading, parsed: ParsedLabel | None) -> bool:
    """Whether a second, slower reading is worth its time."""
    if parsed is not None:
        return parsed.kind != "figure" or _confidence(reading, parsed) < _SURE
    text = reading.text.upper()
    return any(part in text for part in ("FI", "IG", "FG", "GUR"))


def _picture(page: np.ndarray, ink: Ink, line: Line, rotation_cw: int) -> np.ndarray:
    """The line cut out with a small margin, upright, the ink of large neighbours removed."""
    x0, y0, x1, y1 = line.box
    margin = max(1, round(0.12 * line.height))
    x0, y0 = max(0, x0 - margin), max(0, y0 - margin)
    x1, y1 = min(ink.ids.shape[1], x1 + margin), min(ink.ids.shape[0], y1 + margin)
    ids = ink.ids[y0:y1, x0:x1]
    picture: np.ndarray = page[y0 * SCALE : y1 * SCALE, x0 * SCALE : x1 * SCALE]
    others = np.setdiff1d(ids[ids > 0], line.members + 1)
    if len(others):
        sides = ink.boxes[others - 1, 2:] - ink.boxes[others - 1, :2]
        large = others[sides.max(axis=1) > line.height * 0.6]
        if len(large):
            hidden: np.ndarray = np.isin(ids, large).astype(np.uint8)
            hidden = cv2.resize(hidden, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST)
            picture = picture.copy()
            picture[hidden[: picture.shape[0], : picture.shape[1]] > 0] = PAPER
    return np.ascontiguousarray(np.rot90(picture, -(rotation_cw // 90)))


def _with_number(page: np.ndarray, ink: Ink, word: Label) -> Label:
    """The word FIGURE together with the number next to it, however small; the word alone if there is none.

    In slanted and flourished scripts the word may be several times as high as its number, so that the two do not form a
    line of lettering.
    """
    members = number_after(ink, word.box, word.rotation_cw)
    if members is None:
        return word
    line = line_of(ink, members, is_turned=word.rotation_cw in (90, 270))
    whole = line_of(ink, word.members, is_turned=line.is_turned)
    pictures = [_picture(page, ink, part, word.rotation_cw) for part in (whole, line)]
    reading = read_line(_levelled(*pictures))
    parsed = parse_label(reading.text)
    if parsed is None or parsed.number is None or _confidence(reading, parsed) < _MIN_NUMBER_CONFIDENCE:
        return word
    x0, y0, x1, y1 = word.box
    return replace(
        word,
        number=parsed.number,
        box=(min(x0, line.box[0]), min(y0, line.box[1]), max(x1, line.box[2]), max(y1, line.box[3])),
        members=np.union1d(word.members, members),
        confidence=_confidence(reading, parsed),
        text=reading.text,
    )


def _levelled(word: np.ndarray, number: np.ndarray) -> np.ndarray:
    """A word and its number side by side in one picture, the word scaled to the height of the number."""
    height = number.shape[0]
    width = max(1, round(word.shape[1] * height / word.shape[0]))
    scaled = cv2.resize(word, (width, height), interpolation=cv2.INTER_AREA)
    gap = np.full((height, height // 3), PAPER, np.uint8)
    return np.hstack([gap, scaled, gap, number, gap])


def _prevailing(labels: list[Label]) -> list[Label]:
    """The labels that read in the prevailing direction, one for each number.

    Numbers after FIG. take precedence over bare Hague numbers. Each word FIGURE whose number was not read is a label,
    so that two figures whose numbers are illegible do not become one. Of several labels with one number, the one with
    less other ink around it is kept, then the taller, then the more certain one.
    """
    if not labels:
        return []
    weights: dict[int, float] = {}
    for label in labels:
        weights[label.rotation_cw] = weights.get(label.rotation_cw, 0.0) + label.confidence
    rotation_cw = max(weights, key=lambda rotation: weights[rotation])
    same = [label for label in labels if label.rotation_cw == rotation_cw]
    if any(label.number is not None and not label.is_bare for label in same):
        same = [label for label in same if not label.is_bare]
    best: dict[str, Label] = {}
    for label in sorted(same, key=lambda label: (label.foreign > 0.03, -label.height, -label.confidence)):
        if (number := normalised(label.number)) is not None:
            best.setdefault(number, label)
    return list(best.values()) + _without_number(same, list(best.values()))


def _without_number(labels: list[Label], numbered: list[Label]) -> list[Label]:
    """Those of `labels` that are the word FIGURE alone, in the lettering of the numbered ones if there are any."""
    kept: list[Label] = []
    for label in labels:
        if label.number is not None or any(_overlaps(label.box, other.box) for other in numbered + kept):
            continue
        if all(_MIN_ALIKE < label.height / other.height < 1 / _MIN_ALIKE for other in numbered):
            kept.append(label)
    return kept
