"""What the sentence of a figure says: from where the article is seen, and what the article is.

"FIG. 3 is a top, front perspective view of a chair, the rear being a mirror image" names a viewpoint (perspective), its
direction (top front) and an object (chair). The viewpoint is read from the first phrase that consists of view words
only, so that what the sentence says about other sides, other figures and the state of the article does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from patentdata.grants.articles import name_article
from patentdata.grants.misprints import misprints_of

_MAX_SENTENCE = 1000  # characters read; a sentence names its view near its start


class Viewpoint(NamedTuple):
    """One figure as its sentence describes it.

    Attributes:
        viewpoint: One of `schemas.VIEWPOINTS`.
        direction: Direction of a perspective in the order printed, such as "top front"; None if it is not named.
        object: The article shown, such as "chair"; None if the sentence does not name it ("thereof").
    """

    viewpoint: str
    direction: str | None
    object: str | None


_DIRECTIONS = {
    "front": "front",
    "frontal": "front",
    "frontside": "front",
    "forward": "front",
    "anterior": "front",
    "rear": "rear",
    "back": "rear",
    "backside": "rear",
    "rearside": "rear",
    "behind": "rear",
    "rearward": "rear",
    "posterior": "rear",
    "left": "left",
    "lefthand": "left",
    "right": "right",
    "righthand": "right",
    "top": "top",
    "upper": "top",
    "overhead": "top",
    "above": "top",
    "bottom": "bottom",
    "lower": "bottom",
    "underside": "bottom",
    "underneath": "bottom",
    "below": "bottom",
    "beneath": "bottom",
    "side": "side",
    "sided": "side",
    "sides": "side",
    "lateral": "side",
    "end": "side",
    "edge": "side",
}
_PERSPECTIVES = {
    "perspective", "perspectives", "prospective", "perspectively", "isometric", "axonometric", "trimetric", "dimetric",
    "oblique", "orthogonal-perspective", "three-quarter", "three-quarters", "3d", "three-dimensional",
}  # fmt: skip
_SECTIONS = {"section", "sections", "sectional", "sectioned", "cross-section", "cross-sectional", "crosssectional"}
_SECTIONS |= {"cutaway", "cut-away", "crosssection"}
_DETAILS = {"detail", "details", "detailed", "fragmentary", "fragmental", "partial", "partially", "close-up", "closeup"}
_DETAILS |= {"zoomed", "zoomed-in", "zoom"}
_ENLARGED = {"enlarged", "magnified", "enlargement", "blown-up", "expanded-scale"}
_EXPLODED = {"exploded", "disassembled"}
_IN_USE = {"environmental", "in-use", "use", "usage", "use-state"}
_PLANS = {"plan", "planar", "plane", "down", "bird's-eye", "birds-eye", "aerial"}
_ELEVATIONS = {"elevation", "elevations", "elevational", "profile"}
_VIEWS = {"view", "views"}
# Words that may be inside a view phrase and say nothing about the viewpoint
_FILLERS = {
    "elevated", "reduced", "slightly", "first", "second", "third", "fourth", "fifth", "sixth", "one", "other",
    "another", "opposite", "opposing", "alternate", "alternative", "additional", "further", "adjacent", "reference",
    "schematic", "toe", "heel", "inner", "outer", "inside", "outside", "interior", "exterior", "medial", "longitudinal",
    "transverse", "vertical", "horizontal", "hand", "cross", "facing", "angled", "in", "to", "straight-on", "open",
    "closed", "general", "overall", "full", "complete", "same", "assembled", "separated", "orthogonal", "orthographic",
    "diagonal", "inverted", "rotated", "color", "colour", "diagrammatic", "and", "or", "line", "drawing",
    "photographic", "ornamental", "three", "assembly",
}  # fmt: skip
_VIEWPOINT_WORDS = (
    set(_DIRECTIONS) | _PERSPECTIVES | _SECTIONS | _DETAILS | _ENLARGED | _EXPLODED | _IN_USE | _PLANS | _ELEVATIONS
)
_PHRASE_WORDS = _VIEWPOINT_WORDS | _VIEWS | _FILLERS
_MISPRINTED = (
    _PERSPECTIVES | _SECTIONS | _EXPLODED | _ELEVATIONS | _VIEWS | {"environmental", "fragmentary", "enlarged"}
)
_MISPRINTED |= {"front", "rear", "left", "right", "bottom", "side", "underside"}
# Word of a text → the view words that it stands for; nearly every word needs only this look-up.
_WORDS_MEANT = {word: (meant,) for word, meant in misprints_of(_MISPRINTED).items()}
_WORDS_MEANT |= {word: (word,) for word in _PHRASE_WORDS} | dict.fromkeys(("¾", "3/4"), ("three-quarter",))
# Misprints that are words themselves, and so count only before "view", and words in brackets there. What they are
# replaced by has the same length, so that offsets stay.
_BEFORE_VIEW = r"(?=\s+(?:elevation(?:al)?\s+|perspective\s+)?vi?ew?s?\b)"
_PLAIN_VIEW = re.compile(rf"\bplain{_BEFORE_VIEW}")
_FRONT_VIEW = re.compile(rf"(?:(?<= a )|(?<=^is )|(?<=^ is )|^)(?:from|font){_BEFORE_VIEW}")
_BRACKETED_VIEW = re.compile(rf"\(([\s\w,/-]{{1,30}})\){_BEFORE_VIEW}")
_BIRDS_EYE = re.compile(r"\bbird['’]?s['’]?[\s-]eye\b")
_TOKEN = re.compile(r"[A-Za-z][A-Za-z'’]*(?:[-‐‑][A-Za-z'’]+)*|¾|3/4(?!\d)|\d+[A-Za-z]*|[^\sA-Za-z\d]")
_HYPHEN = re.compile(r"[-‐‑]")
_OWN_SIDE = re.compile(r"[a-z]+[-‐‑]sided?$")  # "palm-side": a side by the name of a part of the article
# "front door view": words of the article between those that name the view
_WITHIN_NAME = re.compile(
    r"(?:\s+(?!(?:an?|the|of|in|is|are|as|for|from|with|showing|shows?|and|or|to|on)\b)[a-z]+){1,2}\s+"
)
_GLUE = {",", "-", "/", "–", "&", "‐", "‑", "+"}
_CONJUNCTIONS = {"and", "or", ",", "in", "to"}
_MAX_PHRASES = 8  # a sentence that has not named a view by then does not name one

# Treatments of the article, in order of precedence
_TREATMENTS = (("section", _SECTIONS), ("exploded", _EXPLODED), ("in_use", _IN_USE), ("detail", _DETAILS))

# Flat views, and the words that say more than "flat"
_SIDEWAYS = {word for word, direction in _DIRECTIONS.items() if direction == "side"}
_FLAT = _PLANS | _ELEVATIONS | _SIDEWAYS
_DECISIVE = _PERSPECTIVES | _SECTIONS | _DETAILS | _EXPLODED | _IN_USE | (_DIRECTIONS.keys() - _SIDEWAYS)

# What is around a phrase that names a view without the word "view"
_BEFORE_BARE = re.compile(
    r"[\s:.,\-–—]*(?:(?:is|are|shows?|illustrates?|depicts?)\s+)?(?:an?\s+|the\s+)?", re.IGNORECASE
)
_AFTER_BARE = re.compile(r"\s*(?:$|[,;:.(\d]|(?:of|thereof|showing|and|with|in|an?|the)\b)", re.IGNORECASE)

# What follows a view and names its direction, its state or its part
_SIDE_WORD = "|".join(sorted(_DIRECTIONS, key=len, reverse=True))
_SIDE_RUN = rf"((?:{_SIDE_WORD})(?:(?:\s*[,/&-]\s*|\s+)(?:and\s+)?(?:the\s+)?(?:{_SIDE_WORD}))*)"
_SIDE_RUN += r"(?:[\s-]+(?:hand|facing|surface|face|portion|perspective|panel|wall|half|exterior))*"
_SIDE_RUN += r"(?=\s*(?:$|[,;:.)]|of\b|thereof\b|showing\b|and\b|as\b))"
_SEEN_FROM = re.compile(
    rf"\b(?:from|of|showing|on|illustrating|depicting|toward)\s+(?:an?\s+|the\s+|its\s+|one\s+)?{_SIDE_RUN}",
    re.IGNORECASE,
)
_OF_SIDE = re.compile(
    rf"\s+(?:of|(?:(?:as\s+)?(?:seen|viewed)\s+)?from)\s+(?:the\s+|an?\s+|one\s+)?{_SIDE_RUN}", re.IGNORECASE
)
_LOOKED_AT = re.compile(  # without the word "view": "shows the chair as seen from the front", "the chair from below"
    rf"\b(?:seen|viewed|looking|looked\s+at)\s+from\s+(?:the\s+|its\s+)?{_SIDE_RUN}"
    r"|\bfrom\s+(above|below|behind|beneath|underneath)(?=\s*(?:$|[,;:.)]|and\b))",
    re.IGNORECASE,
)
_SIDE_WORDS = re.compile(rf"\b(?:{_SIDE_WORD})\b", re.IGNORECASE)
_USE = re.compile(
    r"\b(?:in[ -]use|us(?:e|age) state|(?:state|condition|view|manner|example|method) of us(?:e|age)|of usage|"
    r"being (?:used|worn)|in an environment|environmental)\b",
    re.IGNORECASE,
)
_PART = re.compile(r"\b(?:encircled|circled|circumscribed|inset|close-?up|enlarge[dr]?|magnified)\b", re.IGNORECASE)


class _Phrase(NamedTuple):
    """A run of view words, in lower case, and its start and end offsets in the text."""

    words: tuple[str, ...]
    start: int
    end: int

    @property
    def names_view(self) -> bool:
        return not _VIEWS.isdisjoint(self.words)

    @property
    def names_viewpoint(self) -> bool:
        return not _VIEWPOINT_WORDS.isdisjoint(self.words)


def read_viewpoint(text: str, *, title: str = "", index: int = 0, num_figures: int = 1) -> Viewpoint:
    """Read the viewpoint, its direction and the object from the sentence of a figure, with or without its label.

    Args:
        text: The sentence: "is a top front perspective view of a chair;".
        title: Title of the patent; it shows where a name such as "holder with tray" ends.
        index: Index of the figure among those that the sentence describes.
        num_figures: Number of figures that it describes: "FIGS. 2 and 3 are front and rear views" gives each its own.

    >>> read_viewpoint("is a top, front perspective view of a chair showing my new design;")
    Viewpoint(viewpoint='perspective', direction='top front', object='chair')
    >>> read_viewpoint("is a left side view thereof, the right side being a mirror image;")
    Viewpoint(viewpoint='left', direction=None, object=None)
    """
    text = text[:_MAX_SENTENCE]
    viewpoint, direction, end = _read_view(text, index, num_figures)
    article = name_article(text[end:], title=title, follows_view=end > 0)
    return Viewpoint(viewpoint, direction, article)


@lru_cache(maxsize=2**14)  # most sentences are like "is a front view thereof;"
def _read_view(text: str, index: int, num_figures: int) -> tuple[str, str | None, int]:
    """Viewpoint, direction, and the offset at which the words that name the view end; 0 if it names none."""
    phrase = _main_phrase(text)
    if phrase is None:
        if match := _LOOKED_AT.search(text):
            return _directions_in(match[1] or match[2])[0], None, 0
        return "in_use" if _USE.search(text) else "none", None, 0
    rest = text[phrase.end :]
    viewpoint, direction = _classify(_words_of_figure(phrase.words, index, num_figures))
    if viewpoint == "other":
        viewpoint = _viewpoint_shown(rest) or ("in_use" if _USE.search(rest) else _part_shown(rest))
    elif _names_no_direction(phrase.words) and (match := _OF_SIDE.match(rest)):
        viewpoint = _directions_in(match[1])[0]
    elif viewpoint == "perspective" and direction is None:
        direction = _direction_shown(rest)
    return viewpoint, direction, phrase.end


def _main_phrase(text: str) -> _Phrase | None:
    """The phrase that says what view it is: the first one with the word "view", or else the first one in its position.

    "1.3 : Back" and "is a right side of an earphone" omit the word; "shows a left earphone" does not name a view.
    """
    phrases = _phrases(text)
    for previous, phrase in zip([None, *phrases], phrases, strict=False):
        if phrase.names_view:
            return _with_words_of_article(previous, phrase, text)
    for phrase in phrases:
        if (
            phrase.names_viewpoint
            and _BEFORE_BARE.fullmatch(text[: phrase.start])
            and _AFTER_BARE.match(text, phrase.end)
        ):
            return phrase
    return None


def _with_words_of_article(previous: _Phrase | None, phrase: _Phrase, text: str) -> _Phrase:
    """The phrase with the view words before the name of a part: "front" of "a front door view"."""
    if previous is None or phrase.names_viewpoint or not previous.names_viewpoint:
        return phrase
    if _WITHIN_NAME.fullmatch(text[previous.end : phrase.start].lower()) is None:
        return phrase
    return _Phrase(previous.words + phrase.words, previous.start, phrase.end)


def _phrases(text: str) -> list[_Phrase]:
    """Runs of view words in order, up to the end of the first run that contains the word "view"."""
    phrases: list[_Phrase] = []
    words: list[str] = []
    start = end = 0
    for match in _TOKEN.finditer(_without_misprints(text)):
        token = match[0]
        parts = _WORDS_MEANT.get(token) or (None if token.isalpha() else _parts_of_compound(token))
        if parts and not (words and words[-1] in _VIEWS and token in _CONJUNCTIONS):
            start = start if words else match.start()
            words.extend(parts)
            if token not in _CONJUNCTIONS:  # "Bottom Perspective, in condition of use" does not end with "in"
                end = match.end()
        elif words and (token not in _GLUE or words[-1] in _VIEWS):
            phrases.append(_Phrase(tuple(words), start, end))  # "a left side view, the right side being ..." ends here
            words.clear()
            if phrases[-1].names_view:
                return phrases
        if len(phrases) > _MAX_PHRASES:
            return phrases
    if words:
        phrases.append(_Phrase(tuple(words), start, end))
    return phrases


def _without_misprints(text: str) -> str:
    """The text in lower case and of equal length, with misprints that only their position before "view" gives away."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters of other scripts become longer
        lower = text
    if "plain" in lower:
        lower = _PLAIN_VIEW.sub("plan ", lower)
    if "from" in lower or "font" in lower:
        lower = _FRONT_VIEW.sub("frnt", lower)
    if "bird" in lower:
        lower = _BIRDS_EYE.sub(lambda match: match[0].replace("’", "'").replace(" ", "-"), lower)
    return _BRACKETED_VIEW.sub(r" \1 ", lower) if "(" in lower else lower


def _parts_of_compound(token: str) -> tuple[str, ...]:
    """The view words of "left-side", or the side that "palm-side" names; none if it is another word."""
    parts = tuple(_HYPHEN.split(token))
    if _PHRASE_WORDS.issuperset(parts):
        return parts
    return ("side",) if _OWN_SIDE.match(token) else ()


def _words_of_figure(words: tuple[str, ...], index: int, num_figures: int) -> tuple[str, ...]:
    """The words that are about one of several figures: "front and rear views" are a front view and a rear view."""
    if num_figures < 2 or _CONJUNCTIONS.isdisjoint(words):
        return words
    directions = [word for word in words if _DIRECTIONS.get(word, "side") != "side"]
    if len(directions) != num_figures:
        return words
    return tuple(word for word in words if word not in directions or word == directions[index])


def _classify(words: tuple[str, ...]) -> tuple[str, str | None]:
    """Viewpoint and, for a perspective, its direction, from the words of a phrase.

    How the article is treated (cut, taken apart, enlarged in part) is tested first, then perspective, then directions.
    """
    named = set(words)
    directions = _distinct(_DIRECTIONS[word] for word in words if word in _DIRECTIONS)
    direction = " ".join(directions) or None
    is_perspective = not _PERSPECTIVES.isdisjoint(named)
    for viewpoint, vocabulary in _TREATMENTS:
        if not vocabulary.isdisjoint(named):
            return viewpoint, direction if is_perspective else None
    if is_perspective:
        return "perspective", direction
    is_flat = not (_PLANS.isdisjoint(named) and _ELEVATIONS.isdisjoint(named))
    if len(directions) > 1 and not is_flat and _CONJUNCTIONS.isdisjoint(named):
        return "perspective", direction  # "a top front view": seen from a corner
    if directions:
        return directions[0], None
    if not _PLANS.isdisjoint(named):
        return "top", None
    if not _ELEVATIONS.isdisjoint(named):
        return "side", None
    return ("detail" if not _ENLARGED.isdisjoint(named) else "other"), None


def _directions_in(text: str) -> list[str]:
    """The directions that some words name, in order; "side" only if they name no other."""
    return _distinct(_DIRECTIONS[word.lower()] for word in _SIDE_WORDS.findall(text))


def _distinct(directions: Iterable[str]) -> list[str]:
    """Directions without repeats; "side" only if there is no other."""
    found = list(dict.fromkeys(directions))
    return [direction for direction in found if direction != "side"] or found


def _direction_shown(rest: str) -> str | None:
    """Direction that is named after the view: "perspective view showing the front and left sides", "from above"."""
    match = _SEEN_FROM.search(rest.partition(";")[0])
    return " ".join(_directions_in(match[1])) if match else None


def _viewpoint_shown(rest: str) -> str | None:
    """Viewpoint of "a view of the front" or "a view from below"; None if no direction is named after the view."""
    direction = _direction_shown(rest)
    return direction.split()[0] if direction else None


def _names_no_direction(words: tuple[str, ...]) -> bool:
    """Whether a flat view is named without its direction: "a plan view", "a side view", "an elevational view"."""
    return _DECISIVE.isdisjoint(words) and not _FLAT.isdisjoint(words)


def _part_shown(rest: str) -> str:
    """ "detail" if a view without any other viewpoint is of a part; "other" if it is not."""
    return "detail" if _PART.search(rest) else "other"
