"""What lines stand for, from the words that describe them: the surroundings, a part of the article, stitching, ...

Some descriptions name their meaning ("represent stitching", "portions of the shoe", "environmental structure"). Others
only name a thing ("the broken lines show a bottle"): it is a part of the article if the title names it or if it is the
kind of thing that is always part of another (a seam, lettering, an opening), and otherwise something around it.

All words are in lower case here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from patentdata.grants.claim_scope.hinted import Hinted
from patentdata.store.schemas import LINE_MEANINGS

# --- Named meanings ---------------------------------------------------------------------------------------------------

# The words after a meaning belong to it: "the boundary between claimed and unclaimed portions" names no portion, and
# "the environment of the shoe" no shoe.
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
            r"\b(?:folds?(?:[\s-]+lines?)?|folding[\s-]+lines?|creas(?:e|es|ing)|scor(?:e|ed|ing)\s+lines?|perforat\w+|tear\s+lines?"
            r"|(?:hidden|concealed|obscured)(?:\s+(?:\w+\s+)?(?:portions?|parts?|features?|structures?|surfaces?|edges?"
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
    r"\b(?:(?:portion|part|element|aspect|feature|component|structure)s?\s+of\s+(?:(?!and\b|or\b)\w+\s+){0,3}?)?(?:environ\w*"
    r"|enviorn\w*|surroundings?|context\w*|in\s+use|(?:position|condition)\s+of\s+use|conjunction\s+with)\b"
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
# "a portion of a table" is around a lamp; "portions of a lamp" and "of the thing" are parts of it.
_PORTION_OF_OTHER = Hinted(
    "_of_a user wearer person human body vehicle",
    r"\b(?:portion|part|section)s?\s+of\s+(?:(?:an?\s+(?!thing\b)|another\s+)|(?:the\s+)?(?:users?|wearers?|persons?|humans?|body|vehicle)\b)",
)
_ARRANGEMENT = Hinted(
    "relation arrange assembl align movement position location path direction",
    rf"\b(?:relationships?|arrangements?|assembly|alignment|movements?|positions?|locations?|paths?|directions?)\s+(?:of|between)\b{_REST}",
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
    r"\b(?:cross-?section\w*|section(?:al)?\s+(?:lines?|views?)|enlarge\w*|magnif\w*|detail(?:ed)?\s+(?:portion\s+)?views?"
    r"|locations?|positions?|movement|motion|directions?|axis|axes|transparen\w+|translucen\w+|contrast\w*|colou?rs?"
    r"|reflect\w+|alignment|center\s?lines?|exploded|cuts?|cutting|paths?\s+of|projections?\s+lines?|assembly|tones?"
    r"|tint\w*|transition\w*)\b"
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


# --- Things -----------------------------------------------------------------------------------------------------------

_SHOWS = re.compile(
    r"\b(?:illustrat(?:es?|ing|ions?\s+of|ive\s+of)|depict(?:s|ing|ions?\s+of)?|show(?:s|ing)?|indicat(?:es?|ing)"
    r"|represent(?:s|ing|ations?\s+of|ative\s+of)?|denot(?:es?|ing)|disclos(?:es?|ing|ure\s+of)|designat(?:es?|ing)"
    r"|directed\s+to|portray(?:s|ing)?|outlin(?:es?|ing))\b(?:\s+of\b)?\s*(?:(?:only|that)\s+)?"
)
_END_OF_THINGS = re.compile(
    r"[;.:()]|,(?!\s*(?:or|and)\s+an?\b)|\b(?:which|that|as|while|whereby|forms?|are|is|do|does|and\s+(?:form|are|is|do"
    r"|does|not|thus|for)|shown|illustrated|depicted|in\s+(?:figs?|the\s+(?:drawings?|figures?))"
    r"|for\s+(?:illustrat|environ|reference|purposes?|context|the\s+purpose))"
)
_LIST = re.compile(r"\s*(?:,|/|\band\b|\bor\b)\s*")
_LEAD = re.compile(
    r"\W*(?:(?:(?:pairs?|sets?|rows?|plurality|number|series|variety)\s+of|the|an?|any|all|some|certain|specific|various"
    r"|other|another|additional|exemplary|optional|possible|typical|remaining|said|same|its|one|of|such|these)\s+)+"
)
_SHAPE_OF = re.compile(
    r"\s*(?:contours?|outlines?|shapes?|silhouettes?|profiles?|presence|placement|use|appearance|depictions?)\s+of\s+"
)
_END_OF_NAME = re.compile(
    r"\s(?:of|with|in|on|for|having|including|to|from|at|within|attached|used|shown|depicted|illustrated|wearing|by|upon"
    r"|incorporating|into|under|inside|when|where|being|disposed|positioned)\s.*"
)
_WORD = re.compile(r"[a-z][\w'’-]*")
_NO_THING = {
    "matter", "material", "feature", "element", "structure", "item", "component", "object", "area", "detail", "line",
    "subject", "part", "it", "them", "they", "thereof", "design", "purpose", "illustration", "disclosure", "reference",
    "use", "view", "fig", "drawing", "clarity", "article", "invention", "only", "surface", "region", "aspect",
    "description", "information", "aid", "convenience", "understanding", "completeness", "embodiment", "example",
    "section",
}  # fmt: skip
_PARTS = {
    "seam", "zipper", "logo", "lettering", "text", "letter", "indicia", "indicium", "graphic", "icon", "word",
    "wording", "number", "numeral", "marking", "trademark", "symbol", "opening", "hole", "aperture", "slot", "cavity",
    "ridge", "thread", "recess", "groove", "vent", "edge", "corner", "side", "bottom", "top", "back", "rear", "front",
    "inside", "interior", "underside", "contour", "end", "button", "port", "pocket", "image", "label", "rib", "eyelet",
    "rivet", "screw", "tab",
}  # fmt: skip
_END_OF_ARTICLE = re.compile(r"\b(?:for|with|having|from|in|on|or\s+portions?)\b")
_WRAPPER = re.compile(r"\W*(?:(?:set|pair|combination|portion|part)s?\s+of|combined)\s")


def name_things(described: str) -> list[str]:
    """Nouns of the things that lines show, in the singular; empty if they are not said to show any.

    >>> name_things("are included for the purpose of illustrating a human foot"), name_things("is for clarity")
    (['foot'], [])
    """
    for match in _SHOWS.finditer(described):
        end = _END_OF_THINGS.search(described, match.end())
        if nouns := nouns_of(described[match.end() : end.start() if end else len(described)]):
            return nouns
    return []


def nouns_of(phrase: str) -> list[str]:
    """The head nouns of a list of things: "foot" and "leg" for "a human foot of the user or a leg".

    Words that name no particular thing, such as "features", are left out.
    """
    return [noun for name in _LIST.split(phrase) if (noun := _noun_of(name))]


def _noun_of(phrase: str) -> str | None:
    name = phrase + " "
    for lead in (_LEAD, _SHAPE_OF, _LEAD):
        if match := lead.match(name):
            name = name[match.end() :]
    words = _WORD.findall(_END_OF_NAME.sub("", " " + name))
    noun = _singular(words[-1]) if words else ""
    return None if noun in _NO_THING else noun or None


def meaning_of_things(nouns: list[str], title: str) -> str:
    """The meaning of lines that show things and are not said to mean anything else.

    Args:
        nouns: Nouns of the things, at least one.
        title: Title of the patent.

    Returns:
        "unclaimed_portion" if one is the article of the title, or if the first is part of an article by its nature;
        else "environment".
    """
    is_portion = nouns[0] in _PARTS or not _articles_of(title).isdisjoint(nouns)
    return "unclaimed_portion" if is_portion else "environment"


@lru_cache(maxsize=1024)
def _articles_of(title: str) -> frozenset[str]:
    """Nouns of the articles that a title names: "cap" and "bottle" of "Combined cap and bottle for a drink"."""
    return frozenset(nouns_of(_WRAPPER.sub("", _article_of(title), count=1)))


def without_article(text: str, title: str) -> str:
    """The text with "thing" for the name of the article: a folding knife is no fold, an environment sensor not around.

    >>> without_article("portions of the folding knife", "Folding knife with a light")
    'portions of the thing'
    """
    for name in (title.lower(), _article_of(title)):
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            if text[start - 1 : start].isalnum() or text[end : end + 1].isalnum():  # "pen" in "open"
                start = text.find(name, end)
            else:
                text = f"{text[:start]}thing{text[end:]}"
                start = text.find(name, start + len("thing"))
    return text


@lru_cache(maxsize=1024)
def _article_of(title: str) -> str:
    """The article without what it is for or has: "folding knife" for "Folding knife with a light"."""
    return _END_OF_ARTICLE.split(title.lower(), maxsplit=1)[0].strip(" ,") or title.lower()


def _singular(noun: str) -> str:
    """ "foot" as it is, "bottle" for "bottles", "cavity" for "cavities"."""
    if noun.endswith("ies") and len(noun) > len("ties"):
        return noun[:-3] + "y"
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun
