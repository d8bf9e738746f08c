"""The things that lines show, and whether they are the article of the patent, a part of it, or around it.

Some statements name no meaning but only a thing: "the broken lines show a bottle". It is a part of the article if the
title names it, or if it is the kind of thing that is always part of another (a seam, lettering, an opening), and
otherwise something around the article.

The name of the article is masked before a sentence is read. It has no part in what the sentence says: a folding knife
is not a fold, and a sensor of the environment is not the environment. And sentences that only differ in it become
equal, as most do: "the broken lines illustrate portions of the ... that form no part of the claimed design".
"""

from __future__ import annotations

import re
from functools import lru_cache

ARTICLE = "þ"  # stands for the name of the article; a letter that English does not have

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
    r"\W*(?:(?:(?:pairs?|sets?|rows?|plurality|number|series|variety)\s+of|the|an?|any|all|some|certain|specific"
    r"|various|other|another|additional|exemplary|optional|possible|typical|remaining|said|same|its|one|of|such"
    r"|these)\s+)+"
)
_SHAPE_OF = re.compile(
    r"\s*(?:contours?|outlines?|shapes?|silhouettes?|profiles?|presence|placement|use|appearance|depictions?)\s+of\s+"
)
_END_OF_NAME = re.compile(
    r"\s(?:of|with|in|on|for|having|including|to|from|at|within|attached|used|shown|depicted|illustrated|wearing|by"
    r"|upon|incorporating|into|under|inside|when|where|being|disposed|positioned)\s.*"
)
_WORD = re.compile(rf"[a-z{ARTICLE}][\w'’-]*")
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


def meaning_of_things(nouns: list[str]) -> str:
    """The meaning of lines that show things and are not said to mean anything else.

    Args:
        nouns: Nouns of the things, at least one.

    Returns:
        "unclaimed_portion" if one is the article, or if the first is part of an article by its nature; else
        "environment".
    """
    return "unclaimed_portion" if nouns[0] in _PARTS or ARTICLE in nouns else "environment"


def mask_article(text: str, title: str) -> str:
    """The text with `ARTICLE` and blanks for every name of the article, of the same length.

    Args:
        text: A sentence in lower case.
        title: Title of the patent.

    >>> mask_article("the broken lines of the folding knife show the knives", "Folding knife with a light")
    'the broken lines of the þ             show the knives'
    """
    for name in _names_of(title):
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            end += text[end : end + 1] == "s"
            if not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum():  # "pen", but not in "open"
                text = f"{text[:start]}{ARTICLE.ljust(end - start)}{text[end:]}"
            start = text.find(name, end)
    return text


@lru_cache(maxsize=1024)
def _names_of(title: str) -> tuple[str, ...]:
    """Names of the article, the longest first: the title, the article without what it is for or has, and its noun.

    There are none if the noun is a word that statements about lines use themselves, as in "Fishing line".
    """
    whole = title.lower()
    article = _END_OF_ARTICLE.split(whole, maxsplit=1)[0].strip(" ,")
    nouns = nouns_of(_WRAPPER.sub("", article, count=1))
    return (whole, article, *nouns) if nouns else ()


def _singular(noun: str) -> str:
    """ "foot" as it is, "bottle" for "bottles", "cavity" for "cavities"."""
    if noun.endswith("ies") and len(noun) > len("ties"):
        return noun[:-3] + "y"
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun
