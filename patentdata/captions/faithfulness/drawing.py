"""Detectors of captions that contradict what was drawn, for views whose drawing is known.

Nobody knows how many legs a real chair has without looking at its drawing. Of specimens it is written down
(`patentdata.specimens.drawn`), so their captions can be checked against the drawing itself, by their words alone. The
rates say what a captioner makes up where the truth is known; they are not part of the summaries of real weeks.

A view hides parts, and shows a solid as an outline. So a caption that counts fewer parts than were drawn is not wrong,
and neither is one that calls the front view of a cylinder a rectangle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from patentdata.errors import ConfigError

ROUND, BOX = "round", "box"
_MAX_CHARS = 4_000  # of a caption that are read


@dataclass(frozen=True)
class Drawn:
    """What was drawn.

    Attributes:
        shape: Family of the shape of the whole: "round", "box", or "" if it is neither or not known.
        parts: Kind of part ("leg", "handle", "wheel", "opening") → how many there are, for the kinds that are known.
    """

    shape: str = ""
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DrawingDetector:
    """One kind of contradiction to the drawing.

    Attributes:
        name: Name of the kind.
        title: Short title for tables.
        definition: What exactly is counted, and of which captions it is a share.
        find: Takes a caption, what was drawn and the declared viewpoint. Returns the words that are wrong, "" if
            nothing is, or None if the caption says nothing that could be judged.
    """

    name: str
    title: str
    definition: str
    find: Callable[[str, Drawn, str], str | None]


def find_drawing_faults(text: str, drawn: Drawn, viewpoint: str) -> dict[str, str]:
    """Name of each detector that could judge a caption → the words that are wrong, or "" if nothing is.

    >>> find_drawing_faults("A mug with two handles.", Drawn(ROUND, {"handle": 1}), "front")
    {'parts': 'two handles'}
    """
    line = " ".join(text[:_MAX_CHARS].split()).lower()
    found = ((detector.name, detector.find(line, drawn, viewpoint)) for detector in DRAWING_DETECTORS)
    return {name: words for name, words in found if words is not None}


def read_drawn(folder: Path) -> dict[str, Drawn]:
    """What was drawn on the patents of all weeks of specimens in a folder: patent number → that.

    Raises:
        ConfigError: The folder has no such file, or one cannot be read.
    """
    paths = sorted(folder.glob("*.drawn.jsonl"))
    if not paths:
        raise ConfigError(f"{folder} has no file that ends in .drawn.jsonl; name the folder of weeks of specimens")
    drawn: dict[str, Drawn] = {}
    for path in paths:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                parts = {str(kind): int(num) for kind, num in row["parts"].items()}
                drawn[str(row["patent_number"])] = Drawn(str(row["shape"] or ""), parts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: not a readable list of what was drawn ({error})") from error
    return drawn


# Parts.

_NAMES = {
    "leg": r"legs?|feet|foot(?=\b(?! of| flares| is| with))|legged|footed",
    "handle": r"handles?|handled",
    "wheel": r"wheels?|wheeled|casters?|castors?",
    "opening": r"openings?|compartments?|cells?|pockets?",
}
_NUMBERS = {
    word: number
    for number, words in enumerate(
        (
            "",
            "a an one single",
            "two pair double dual twin both second",
            "three triple",
            "four quadruple",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
        )
    )
    for word in words.split()
}
_NUMBER = "|".join([*sorted(_NUMBERS, key=len, reverse=True), "[1-9][0-9]?"])
_BETWEEN = r"(?:(?!(?:with|of|and|or|that|which|the|in|on|by|for|to|is|are|has|have)\b)[a-z-]+,? ){0,3}?"
_ABSENT = re.compile(r"\b(?:no|without(?: an?| any)?|neither|nor|not|lacks?|free of|handleless|legless)\b[^.;,]{0,30}$")


def _find_parts(text: str, drawn: Drawn, viewpoint: str) -> str | None:
    """More of a part than was drawn, or a part of which none was drawn."""
    is_judged = False
    for kind, num_drawn in drawn.parts.items():
        for num_said, words in _said(kind, text):
            is_judged = True
            if num_said > num_drawn:
                return words
    return "" if is_judged else None


def _said(kind: str, text: str) -> Iterator[tuple[int, str]]:
    """Each mention of a kind of part that does not deny it: how many are said to be there at least, and the words."""
    pattern = re.compile(rf"(?:\b(?P<number>{_NUMBER})[- ](?:of )?{_BETWEEN})?\b(?P<name>{_NAMES[kind]})\b")
    for match in pattern.finditer(text):
        if _ABSENT.search(text[: match.start("name")]):
            continue
        said = match["number"]
        yield (1 if said is None else _NUMBERS.get(said) or int(said)), match.group()


# The shape of the whole.

_ROUND_SOLIDS = "cylindrical|cylinder|spherical|sphere|conical|cone-shaped|barrel-shaped|dome-shaped|egg-shaped|tubular"
_BOX_SOLIDS = "boxy|box-shaped|box-like|boxlike|cuboid|cubic|cube|cube-shaped|block-shaped|prismatic"
_ROUND_OUTLINES = "round|circular|oval|elliptical"
_BOX_OUTLINES = "rectangular|square|oblong"
_WHOLE = "body|shape|form|article|object|design|container|vessel|box|silhouette|housing"
_SIZES = "(?:tall|small|large|wide|low|flat|simple)"
# Viewpoints from which a solid of revolution shows its round outline.
_SHOWS_ROUND = frozenset(["top", "bottom", "perspective"])


def _find_shape(text: str, drawn: Drawn, viewpoint: str) -> str | None:
    """A shape of the other family that is said of the whole."""
    if drawn.shape not in (ROUND, BOX):
        return None
    wrong_outlines = drawn.shape == BOX or viewpoint in _SHOWS_ROUND
    is_judged = False
    for words, is_round, is_outline in _shapes_said(text):
        is_judged = True
        if is_round != (drawn.shape == ROUND) and (wrong_outlines or not is_outline):
            return words
    return "" if is_judged else None


def _shapes_said(text: str) -> Iterator[tuple[str, bool, bool]]:
    """Each shape that is said of the whole: its words, whether it is round, and whether it is an outline only."""
    for names, is_round, is_outline in (
        (_ROUND_SOLIDS, True, False),
        (_BOX_SOLIDS, False, False),
        (_ROUND_OUTLINES, True, True),
        (_BOX_OUTLINES, False, True),
    ):
        pattern = re.compile(
            # "a boxy mug", at the start of a sentence
            rf"(?:^|[.;] )(?:an?|the|this) (?:[a-z-]+, |{_SIZES} )?(?P<first>{names})\b"
            rf"(?! (?:window|opening|rim|lid|hole|table|base|knob|top|corners?|edges?))|"
            # "its body is box-shaped", "the lid is a square" seen from above
            rf"\b(?:{_WHOLE}) (?:is|appears|looks) (?:an? )?(?:nearly |roughly |mostly )?(?P<said>{names})\b|"
            # "a rectangular shape", "with a square body"
            rf"\b(?P<of>{names}) (?:{_WHOLE})\b"
        )
        for match in pattern.finditer(text):
            yield match.group().strip(" .;"), is_round, is_outline


DRAWING_DETECTORS = (
    DrawingDetector(
        name="parts",
        title="parts that were not drawn",
        definition="Captions with more legs, handles, wheels or openings than were drawn, or with some where none was "
        "drawn, of those that speak of a kind of part whose number is known.",
        find=_find_parts,
    ),
    DrawingDetector(
        name="shape",
        title="a shape that was not drawn",
        definition="Captions that call a round article boxy or a box round, of those that name the shape of an article "
        "that is one or the other; the outline of a round article may be called rectangular from its sides.",
        find=_find_shape,
    ),
)
