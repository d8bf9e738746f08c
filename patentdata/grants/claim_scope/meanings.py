"""What lines stand for, if the words that describe them say so: "represent stitching", "portions of the shoe"."""

from __future__ import annotations

import re

from patentdata.grants.claim_scope.hinted import Hinted
from patentdata.grants.claim_scope.things import ARTICLE
from patentdata.store.schemas import LINE_MEANINGS

# --- Named meanings ---------------------------------------------------------------------------------------------------

# The words after a meaning belong to it: in "the boundary between claimed and unclaimed portions", the portions are not
# a meaning of their own.
_REST = r"[^,;.:]*?(?=[,;.:]|$|\s(?:and|or|which|that|while|are|is)\b)"
_BOUNDARY = Hinted(
    "bound border perimeter limit extent scope demarcat deli edge",
    r"\b(?:bound(?:s|ary|aries|ries|ing)?|borders?|perimeters?|limits?|extents?|scope|demarcat\w+|delimit\w*"
    rf"|delineat\w+|edges?)\b(?:\s+lines?)?(?:\s+between\b[^,;.:]*|\s+(?:of|to|for|on|the|from)\b{_REST})?",
)
_IS_BOUNDARY = re.compile(r"bound(?:s|ary|aries|ries)\b|demarcat|delimit")
_OF_DETAIL = re.compile(r"\b(?:enlarg\w*|magnif\w*|detail\w*|close-?up|inset|view)\b")
_OF_CLAIM = re.compile(r"\b(?:claim\w*|design|invention)\b")
_ON_SOMETHING = rf"(?:\s+(?:on|of|in|along|at|around|for|to)\b{_REST})?"
_OF_THE_ARTICLE = (
    ("stitching", Hinted("stitch sew", rf"\b(?:stitch\w*|sewn|sewing)\b(?:\s+lines?)?{_ON_SOMETHING}")),
    (
        "fold_or_hidden",
        Hinted(
            "fold creas scor perforat tear hidden concealed obscured visible",
            r"\b(?:folds?(?:[\s-]+lines?)?|folding[\s-]+lines?|creas(?:e|es|ing)|scor(?:e|ed|ing)\s+lines?|perforat\w+"
            r"|tear\s+lines?|(?:hidden|concealed|obscured)(?:\s+(?:\w+\s+)?(?:portions?|parts?|features?|structures?"
            r"|surfaces?|edges?"
            rf"|lines?))?|not\s+(?:normally\s+)?visible)\b{_ON_SOMETHING}",
        ),
    ),
    (
        "break",
        Hinted(
            "length height width size break",
            r"\b(?:indeterminate|indefinite|undetermined|unspecified|any|no\s+(?:particular|fixed|specific))\s+"
            r"(?:length|height|width|size)\b|\bbreaks?\s+in\b|\bsymbolic\s+break",
        ),
    ),
)
_ENVIRONMENT = Hinted(
    "envi surrounding context _use conjunction",
    r"\b(?:(?:portion|part|element|aspect|feature|component|structure)s?\s+of\s+(?:(?!and\b|or\b)\w+\s+){0,3}?)?"
    r"(?:environ\w*|enviorn\w*|surroundings?|context\w*|in\s+use|(?:position|condition)\s+of\s+use"
    r"|conjunction\s+with)\b"
    r"(?:[\s-]+(?:subject|structural|(?:structure|portion|part|feature|element|article|aspect|item|component|object"
    rf"|detail|purpose)s?|matter|only|use)\b)*(?:\s+(?:of|for|to|in|within|surrounding|around)\b{_REST})?",
)
_LISTED_AFTER = re.compile(r"(?:\band\b|\bor\b|,|/)\s*(?:(?!(?:are|is|for|that|which|thus|form)\b)[\w-]+\s+){0,2}$")
_LISTED_BEFORE = re.compile(r"\s*(?:and|or|and/or|,)\s")
_PORTION = Hinted(
    "part portion remain balance rest_ section component element feature area region aspect detail structure surface"
    " terior article",
    r"\b(?:portions?|parts|remainder|balance)\b|^\W*(?:the|that|any|each)\s+part\b|\brest\s+of\b"
    r"|\b(?:(?:part|section|component|element|feature|area|region|aspect|detail|structure|surface)s?|interior|exterior"
    r"|remaining\s+\w+)\s+(?:of|on|in)\s+(?:the|an?|this|said|each|our|my|its)\b"
    r"|\b(?:of|on)\s+the\s+(?:claimed\s+)?article\b",
)
# "a portion of a table" is around a lamp; "a portion of a lamp" is part of it.
_PORTION_OF_OTHER = Hinted(
    "_of_a user wearer person human body vehicle",
    rf"\b(?:portion|part|section)s?\s+of\s+(?:an?\s+(?!{ARTICLE})|another\s"
    r"|(?:the\s+)?(?:users?|wearers?|persons?|humans?|body|vehicle)\b)",
)
_ARRANGEMENT = Hinted(
    "relation arrange assembl align movement position location path direction",
    rf"\b(?:relationships?|arrangements?|assembly|alignment|movements?|positions?|locations?|paths?|directions?)"
    rf"\s+(?:of|between)\b{_REST}",
)
_ENLARGED_PORTION = Hinted(
    "enlarged magnified",
    r"\b(?:enlarged|magnified)\s+(?:\w+\s+)?portions?\b"
    r"|\bportions?\s+(?:(?:that|which|shown|is|are)\s+)*(?:enlarged|magnified)\b",
)
_NOT_THE_MEANING = Hinted(
    "thereof such_as e.g. including",
    r"\s*\bor\s+(?:an?\s+)?portions?\s+thereof\b|[,(]?\s*\b(?:such as|e\.g\.|including)\s.*",
)
_ALTERNATIVES = Hinted("either both", r"\b(?:either|both)\b\s+(?P<first>.+?)\s+\b(?:or|and)\b\s+(?P<second>.+)")


def find_meanings(described: str) -> list[str]:
    """The meanings that the words name, in the order of `schemas.LINE_MEANINGS`; empty if they name none.

    Args:
        described: What a clause says about its lines, without the words on what is claimed.

    >>> find_meanings("both portions of the fabric and boundaries to the claim")
    ['unclaimed_portion', 'boundary']
    >>> find_meanings("environmental portions of the shoe")
    ['environment']
    """
    if not described or described.isspace():
        return []
    text = _NOT_THE_MEANING.sub(" ", described)
    found = set()
    if (match := _find_boundary(text)) is not None:
        found.add("other" if _OF_DETAIL.search(text, max(0, match.start() - 40)) else "boundary")
        text = f"{text[: match.start()]} {text[match.end() :]}"
    text, num_arrangements = _ARRANGEMENT.subn(" ", text)
    if num_arrangements:
        found.add("other")
    for meaning, pattern in _OF_THE_ARTICLE:
        text, num_found = pattern.subn(" ", text)
        if num_found:
            found.add(meaning)
    environment = _ENVIRONMENT.search(text)
    if environment is None:
        is_portion = _PORTION.search(text) is not None
    else:
        found.add("environment")
        before, after = text[: environment.start()], _ENVIRONMENT.sub(" ", text[environment.end() :])
        # A portion that is called environment is environment; one that is listed next to it is a meaning of its own.
        is_portion = bool(_PORTION.search(before) and _LISTED_AFTER.search(before)) or bool(
            _LISTED_BEFORE.match(after) and _PORTION.search(after)
        )
    if is_portion:
        is_around = _PORTION_OF_OTHER.search(text) is not None
        found.add("other" if _ENLARGED_PORTION.search(text) else "environment" if is_around else "unclaimed_portion")
    return [meaning for meaning in LINE_MEANINGS if meaning in found]


def _find_boundary(text: str) -> re.Match[str] | None:
    """The words for a boundary: a sure one, or an "edge", "limit" or "extent" of the claim or of an enlarged detail."""
    for match in _BOUNDARY.finditer(text):
        words = match[0]
        if _IS_BOUNDARY.match(words) or _OF_CLAIM.search(words) or _OF_DETAIL.search(words) or words == text:
            return match
    return None


def says_environment(described: str) -> bool:
    """Whether the words call something environment, which is never claimed."""
    return _ENVIRONMENT.search(described) is not None


def find_alternatives(described: str) -> list[str]:
    """`find_meanings` of both halves of "either A or B", of which the second may only say what the lines are for.

    >>> find_alternatives("reflect either portions of the cover or are for illustration aids")
    ['unclaimed_portion', 'unclaimed']
    """
    match = _ALTERNATIVES.search(described)
    if match is None:
        return find_meanings(described)
    first, second = find_meanings(match["first"]), find_meanings(match["second"])
    if first and not second and "illustrat" in match["second"]:
        second = ["unclaimed"]
    return list(dict.fromkeys(first + second))


# --- What is about the drawing ----------------------------------------------------------------------------------------

_DRAWING = re.compile(
    r"\b(?:cross-?section\w*|section(?:al)?\s+(?:lines?|views?)|enlarge\w*|magnif\w*"
    r"|detail(?:ed)?\s+(?:portion\s+)?views?|locations?|positions?|movement|motion|directions?|axis|axes"
    r"|transparen\w+|translucen\w+|contrast\w*|colou?rs?"
    r"|reflect\w+|alignment|(?:center|guide|reference|construction|lead(?:er)?)\s?lines?|exploded|cuts?|cutting"
    r"|paths?\s+of|projections?\s+lines?|assembly|tones?|tint\w*|transition\w*)\b"
)
_STATE = re.compile(
    r"\b(?:open(?:ed)?|closed|alternat\w*|extended|retracted|different|second|another|folded|unfolded|raised|lowered"
    r"|moved)\s+(?:\w+\s+)?(?:position|state|configuration|condition|orientation)s?\b"
    r"|\b(?:repeat(?:s|ed|ing)?|continues?|continuous\w*|extends?\s+indefinitely)\b"
)
_TONE = re.compile(
    r"\b(?:contrast\w*|differen(?:t|ce)\w*|colou?rs?|materials?|textures?|finish\w*|reflect\w+|contours?|transparen\w+"
    r"|translucen\w+|appearance|curv\w+|shape|relief|depth|character|surface)\b"
)


def is_about_drawing(described: str) -> bool:
    """Whether the words are about the drawing itself: where a section is taken, what is enlarged, how a part moves."""
    return _DRAWING.search(described) is not None


def is_about_state(described: str) -> bool:
    """Whether something is shown in another position or state ("an open position"), or goes on beyond the drawing."""
    return _STATE.search(described) is not None


def is_about_tone(described: str) -> bool:
    """Whether the words say what shading shows: contrast, contour, material."""
    return _TONE.search(described) is not None
