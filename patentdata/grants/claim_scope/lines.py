"""The lines that a clause is about: broken, dash-dotted, shading, or others such as break lines.

A clause may name lines in three ways: as what it is about ("the broken lines show a bag"), as how something is drawn
("the bag is shown in broken lines"), and only to say where something is ("the area within the broken lines"). Those
named in the first way count if there are any, else those named in the second, else those named in the third.

Clauses are in lower case here, as in the rest of this folder, since patterns that ignore case take twice as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from patentdata.grants.claim_scope.hinted import Hinted


class Role(IntEnum):
    """What lines are to a clause that names them; a lower value counts first."""

    SUBJECT = 0
    MANNER = 1
    PLACE = 2


class LineMention(NamedTuple):
    """Lines that a clause names.

    Attributes:
        kind: One of `schemas.LINES`.
        role: What they are to the clause.
        start: Offset in the clause.
        end: Offset of their end.
        is_break: They say that a piece of the article is left out of the drawing, as break lines do.
        is_tone: They are no lines but a colour or grey, which only means something if it is not claimed.
    """

    kind: str
    role: Role
    start: int
    end: int
    is_break: bool = False
    is_tone: bool = False


# --- Names of lines ---------------------------------------------------------------------------------------------------

_BLANK = r"[\s\-‐‑–—]+"
_JOIN = rf"(?:\s*[,/]\s*(?:and{_BLANK}|or{_BLANK})?|{_BLANK}(?:(?:and|or|and/or|&){_BLANK})?)"
_BROKEN_WORD = (
    r"(?:broken?|brocken|borken|dash(?:ed|es)?|dot(?:ted|s)?|phantom|ghost(?:ed)?|hidden|hashed|interrupted|imaginary"
    r"|discontinuous|stippled|chain(?:ed)?|long|short|uneven(?:ly)?)"
)
_BETWEEN = (
    r"(?:spaced|length|sized|double|single|two|one|even(?:ly)?|outlined?|thin|bold|heavy|light|perimeter|boundary"
    r"|border"
    r"|stitch(?:ing)?|fold|reference|construction|cut|straight|curved|parallel|diagonal|inner|outer|gr[ae]y"
    r"|colou?red)"
)
_LINE = (
    r"(?:(?:out)?lines?\b(?:\(s\))?|(?:lining|linework|(?:circle|rectangle|box|oval|ellipse|square|arc|border)s?)\b)"
)
_MADE_OF = rf"(?:(?:made{_BLANK}up|consisting|composed|formed|comprised){_BLANK})?of{_BLANK}(?:alternating{_BLANK})?"
BROKEN_LINES = (
    rf"\b(?:{_BROKEN_WORD}(?:{_JOIN}(?:{_BROKEN_WORD}|{_BETWEEN}))*{_JOIN}{_LINE}(?:{_BLANK}{_LINE})?"
    rf"|(?:lines?|rows?|series){_BLANK}{_MADE_OF}(?:dash|dot)\w*(?:{_JOIN}(?:dash|dot)\w*)*"
    r"|(?<=in\s)(?:broken|phantom|dashed|dashes|dotted|ghost)\b(?!\s+away)"
    r"|phantom(?=\s+(?:showing|representation|illustration|depiction|view|image)))"
)
"""Pattern of a name of broken lines of any kind; "long lines" fit, too, but are not broken."""

_SHADING_WORD = (
    r"\b(?:un|non-?)?(?:shad(?:ed|ing|e\s+lines?)|stippl(?:ed|ing|es?)|cross-?\s?hatch(?:ed|ing)?|hatch(?:ed|ing)"
    r"|half-?\s?tones?|de-?emphasi[sz]ed)\b"
)
_SOLID_LINES = r"\b(?:solid|full|unbroken|continuous)[\s-]+lines?\b"
SHADING_OR_SOLID = rf"(?:{_SHADING_WORD}|{_SOLID_LINES})"
"""Pattern of a name of shading or of solid lines."""

_BROKEN = re.compile(BROKEN_LINES)
_IS_BROKEN = re.compile(
    r"bro|bor|dash|dot|phantom|ghost|hidden|hashed|interrupt|discont|imagin|stippl|chain|uneven|long.*short|short.*long"
)
_IS_UNEVEN = re.compile(r"chain|uneven|\blong\b.*\bshort\b|\bshort\b.*\blong\b")
_DASH_AND_DOT = re.compile(r"\bdash.*\bdot|\bdot.*\bdash")
_DASHED_OR_DOTTED = re.compile(r"\b(?:dashed|dotted)\s*(?:,|/|\bor\b|\band\b|,\s*and)\s*(?:dashed|dotted)\b")
_DESCRIBED = re.compile(  # "broken lines (dash-dot-dash)", "broken lines having uneven dashes"
    r"\s*(?:\([^)]*\)|(?:consisting|composed|made\s+up|formed|comprised|in\s+the\s+form)\s+of\s+[\w\s-]{0,40}"
    r"|(?:having|with|in)\s+(?:an?\s+|the\s+)?(?:[\w-]+\s+)?(?:(?:dash|dot|long|short|uneven)[\w-]*\s*(?:and\s+)?)+)"
)
_SHADING = Hinted("shad stippl hatch half emphasi", _SHADING_WORD)
_SOLID = Hinted("solid full_ full- unbroken continuous", _SOLID_LINES)
_UNKNOWN_LENGTH = r"\b(?:length|indeterminate|indefinite)"
_BREAK = Hinted(
    "break symbolic length indeterminate indefinite broken_a broken-a broken_o broken-o",
    r"\bbreak(?:ing|age|away)?[\s-]+lines?\b|\bsymbolic(?:ally)?[\s-]+br[eo]a?k\w*|\bbroken[\s-]+(?:away|off|apart)\b"
    r"|\bbreaks?\s+in\s+(?:the\s+|its\s+|their\s+)?(?:length|middle|center|height|width)"
    rf"|\bbroken\b(?!\s*-?\s*lines?)(?=[^.;]{{0,80}}{_UNKNOWN_LENGTH})"
    rf"|\b(?:jagged|wavy|zig-?zag|squiggly|curved|s-shaped|brackets?|braces?)\b(?=[^.;]{{0,100}}{_UNKNOWN_LENGTH})"
    r"|\b(?:indeterminate|indefinite)\s+(?:length|height|width|extent)\b",
)
_TONED = Hinted(
    "grey gray tone light tint colo",
    r"\b(?:in|by)\s+(?:gr[ae]y\w*|light(?:er)?\s+\w+|tone|tint\w*|colou?r\w*)\b"
    r"|\bgr[ae]y(?:ed|-?scale)?\s+(?:areas?|portions?|parts?|regions?)",
)
_PREPOSITION = r"(?:within|in|of|inside|outside|by|between|to|from|adjacent|bounded|enclosed|with|along|on)\b"
_PLAIN_LINES = re.compile(
    r"\W*(?:(?:and|also|additionally|further|furthermore|moreover|in\s+addition|the|all|any|each|such|these)\b\W*)*+"
    rf"(?:(?!{_PREPOSITION})[\w-]+\W+){{0,4}}?(?P<lines>lines?)\b(?!\s*\d)"
    r"(?=[^.;]*\b(?:represent|depict|show|illustrate|indicate|denote|define|signify|designate|form|are|is)s?\b)"
)
_NAMES = Hinted(
    "line lining phantom broken dash dot shad stippl hatch tone emphasi symbolic break_in indefinite indeterminate"
    " grey gray _colo",
    "",
)


def may_name_lines(text: str) -> bool:
    """Whether it is worth while to look for lines in a text in lower case; most paragraphs name none."""
    return _NAMES.may_match(text)


# --- Roles ------------------------------------------------------------------------------------------------------------

FINITE_VERB = re.compile(
    r"\b(?:(?:represent|depict|show|illustrate|indicate|denote|define|delineate|demarcate|designate|constitute|comprise"
    r"|disclose|describe|identify|reflect|provide|correspond|refer|relate|contain|include|delimit|establish|portray"
    r"|serve|appear|reveal|firm|surround|separate|divide|encompass|mean|mark|set\s+forth)s?|identifies|signif(?:y|ies)"
    r"|forms?(?!\s+of\b)|forming(?=\s+(?:no|an?|part))|from(?=\s+no\b)|is|are|was|were|be|do|does|may|should|can|will"
    r"|has|have)\b"
)
"""The verb of a clause about lines; what comes before it is its subject."""

_MODIFIERS = {
    "the", "a", "an", "all", "any", "these", "those", "said", "such", "each", "every", "both", "some", "other", "even",
    "remaining", "spaced", "heavy", "light", "bold", "thin", "fine", "single", "double", "two", "three", "four",
    "short", "long", "outer", "inner",
}  # fmt: skip
_MODIFIER_ENDINGS = ("ly", "er", "est", "most")
_ROWS_OF = re.compile(r"(?:rows?|series|sets?|pairs?)\s+of\s+$")
_MANNER = re.compile(
    r"\b(?:in|via|using|as|through|by\s+(?:means|use|way)\s+of|(?:shown|illustrated|depicted|drawn|represented"
    r"|indicated|denoted|disclosed|rendered|shaded|marked)\s+(?:by|with))\s*$"
)
_PLACE = re.compile(
    r"\b(?:by|to|within|inside|outside|between|adjacent|along|than|from|surrounding|enclosing|beyond|around|on|near|at"
    r"|bounding|into|over|adjoining|(?:inside|outside|(?:end|side|edge|border|surface|area|part|portion|region)s?"
    r"|perimeter|middle|cent(?:er|re)|interior|exterior)\s+of|(?:bound|enclose|adjoin|abut)s?)\s*$"
)
_BETWEEN_TWO = re.compile(r"\b(?:between|bounded\s+by|enclosed\s+by|adjacent)\b[^.;,]{0,60}\b(?:and|or)\s*$")
_MAX_PREPOSITION = 32  # characters of the longest words before a name that say what the lines are to the clause
_WITHOUT = Hinted("without", r"\bwithout\b[^.;,]*$")


def find_lines(clause: str) -> list[LineMention]:
    """The lines that a clause in lower case is about, in order, one mention a kind; empty if it names none.

    >>> [mention.kind for mention in find_lines("the broken lines within the shaded area represent stitching")]
    ['broken']
    >>> [mention.kind for mention in find_lines("the long-and-short lines and the phantom lines form no part")]
    ['dash_dot', 'broken']
    """
    found = [mention for mention in _mentions(clause) if not _WITHOUT.search(clause[: mention.start])]
    if len(found) == 1 and found[0].role == Role.SUBJECT:
        return found
    if all(mention.role == Role.PLACE for mention in found) and (match := _PLAIN_LINES.match(clause)):
        found = [LineMention("other", Role.SUBJECT, match.start("lines"), match.end("lines"))]
    role = min((mention.role for mention in found), default=Role.PLACE)
    chosen: list[LineMention] = []
    for mention in sorted(found, key=lambda mention: mention.start):
        if mention.role != role or any(mention.kind == other.kind for other in chosen):
            continue
        if role == Role.SUBJECT and chosen and FINITE_VERB.search(clause, chosen[0].end, mention.start):
            break  # what comes after the verb is said about the subject
        chosen.append(mention)
    return chosen


def _mentions(clause: str) -> Iterator[LineMention]:
    """All lines that the clause names, but for plain "lines"."""
    for match in _BROKEN.finditer(clause):
        if kind := _kind_of_broken(clause, match):
            yield LineMention(kind, _role_of(clause, match.start()), *match.span())
    for kind, pattern in (("shading", _SHADING), ("other", _SOLID)):
        for match in pattern.finditer(clause):
            yield LineMention(kind, _role_of(clause, match.start()), *match.span())
    for match in _BREAK.finditer(clause):
        yield LineMention("other", Role.SUBJECT, *match.span(), is_break=True)
    for match in _TONED.finditer(clause):
        yield LineMention("other", Role.MANNER, *match.span(), is_tone=True)


def _kind_of_broken(clause: str, match: re.Match[str]) -> str | None:
    """The kind of lines that a match of `BROKEN_LINES` names, and the words after it describe; None if not broken."""
    if described := _DESCRIBED.match(clause, match.end()):
        return _kind_of_words(match[0] + described[0])
    return _kind_of_words(match[0])


@lru_cache(maxsize=1024)
def _kind_of_words(words: str) -> str | None:
    """ "dash_dot" for unequal dashes ("dash-dot", "long and short", "chain"), else "broken"; None for "long lines"."""
    if not _IS_BROKEN.search(words):
        return None
    is_mixed = _DASH_AND_DOT.search(words) is not None and not _DASHED_OR_DOTTED.search(words)
    return "dash_dot" if is_mixed or _IS_UNEVEN.search(words) else "broken"


def _role_of(clause: str, start: int) -> Role:
    """What the lines that are named at this offset are to the clause."""
    end = _start_of_modifiers(clause, start)
    before = clause[max(0, end - _MAX_PREPOSITION) : end]
    if _MANNER.search(before):
        return Role.MANNER
    return Role.PLACE if _PLACE.search(before) or _BETWEEN_TWO.search(clause[:end]) else Role.SUBJECT


def _start_of_modifiers(clause: str, end: int) -> int:
    """Offset of the words "all the other evenly" that end at this offset; the offset itself if there are none."""
    while True:
        before = clause[:end].rstrip(" -")
        start = max(before.rfind(" "), before.rfind("-")) + 1
        word = before[start:]
        if word in _MODIFIERS or (len(word) > len("ever") and word.endswith(_MODIFIER_ENDINGS)):
            end = start
        elif rows_of := _ROWS_OF.search(clause, max(0, end - len("series of ")), end):
            end = rows_of.start()
        else:
            return end
