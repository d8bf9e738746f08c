"""What one clause says about lines by itself.

A clause is read in two parts: what it names the lines for ("the broken lines *showing a shoe*", "*the shoe* shown in
broken lines"), and what it says about them ("*are for environmental purposes*"). The second counts first, except that
lines that are named for stitching, folds or boundaries are those whatever else is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from patentdata.grants.claim_scope.claims import read_claim
from patentdata.grants.claim_scope.lines import FINITE_VERB, LineMention, Role
from patentdata.grants.claim_scope.meanings import (
    find_alternatives,
    find_meanings,
    is_about_drawing,
    is_about_state,
    is_about_tone,
    meaning_of_things,
    name_things,
    nouns_of,
    says_environment,
    without_article,
)


class Reading(NamedTuple):
    """One statement of a clause.

    Attributes:
        lines: Kind of the lines; one of `schemas.LINES`.
        meaning: What they stand for; one of `schemas.LINE_MEANINGS`.
        is_claimed: Whether that is claimed; None if the clause does not say.
        is_general: It is about all such lines and names nothing: "The broken lines form no part ...". Figures may still
            limit it.
    """

    lines: str
    meaning: str
    is_claimed: bool | None
    is_general: bool


class _Parts(NamedTuple):
    """The parts of a clause.

    Attributes:
        named: What the lines are named for; empty if nothing.
        said: What is said about them.
        lead: The subject up to the name of the lines.
        rest: The subject after the name of the lines.
    """

    named: str
    said: str
    lead: str
    rest: str


_MARKED_OUT = {"boundary", "stitching", "fold_or_hidden", "break"}
_MARKED_OUT_AS = re.compile(
    r"\b(?:bound(?:ary|aries)|border|stitch(?:ing)?|fold)(?=s?(?:\s+lines?)?\b)"
)  # "dash-dot boundary lines"
_MAX_NOUN = len(" boundaries ")
_NAMED_FOR = re.compile(
    r"^\s*of\b|\b(?:showings?|shown\s+(?:as|to\s+be)|depict(?:ing|ions?)|illustrat(?:ing|ions?)|indicating|denoting"
    r"|represent(?:ing|ations?)|disclos(?:ing|ures?)|defining|outlining|directed\s+to|designating|portraying|forming)\b"
    r"(?:\s+of\b)?"
)
# What is between a thing and the lines in which it is drawn: ", which is shown in the".
_DRAWN_IN = re.compile(
    r"(?:,\s*)?(?:\b(?:which|that|who)\s+)?(?:\b(?:is|are|was|were|being|be|has\s+been)\s+)?"
    r"(?:\b(?:only|also|each|both)\s+)?(?:\b(?:shown|illustrated|depicted|drawn|represented|indicated|disclosed"
    r"|rendered|displayed|seen|provided|marked|presented|denoted|outlined|designated|appearing)\s+)?"
    r"(?:\b(?:in|via|using|as|through|with|by(?:\s+(?:use|means|way)\s+of)?)\s+)?"
    r"(?:\b(?:(?:rows?|series|sets?|pairs?)\s+of|the|an?|any|all|even|fine|double|single|\w+(?:ly|er))\s+)*+$"
)
_MAX_DRAWN_IN = 80  # characters
_BEFORE_THING = re.compile(
    r"(?:[,;:]|\b(?:with|on|upon|showing|illustrating|depicting|including|wherein|where|while|over|around|onto|to|in)\b)\s"
)
_RESTRICTS = re.compile(
    r"\b(?:other|remaining|rest|remainder|outer\w*|inner\w*|certain|some|single|double|even\w*|uneven\w*)\b"
)
_EVERYWHERE = re.compile(
    r"\W*(?:(?:as\s+)?(?:shown|seen|depicted|appearing|illustrated|present|included|used|contained|found|that\s+appear)"
    r"\s*)?(?:(?:in|on|of|throughout|within)\s+(?:(?:all|any|each)\s+)?(?:of\s+)?(?:the\s+|these\s+)?(?:\w+\s+)?"
    r"(?:drawings?|figures?|figs?\.?|views?|reproductions?)(?:[\s\d,.–—-]|and\b|to\b|through\b|fig(?:ure)?s?\b)*+)?\W*$"
)


def read_clause(clause: str, mentions: list[LineMention], *, title: str) -> Iterator[Reading]:
    """The statements of a clause about the lines that it names, one for each kind of line and each meaning.

    Args:
        clause: A clause in lower case.
        mentions: The lines that it is about, from `find_lines`.
        title: Title of the patent; its article tells a part of the article from its surroundings.
    """
    is_claimed, rest = read_claim(clause)
    if is_claimed is None and mentions[0].role == Role.PLACE:
        return  # "an enlarged view of the portion within the dashed circle"
    first: list[str] = []
    for mention in mentions:
        parts = _parts_of(clause, rest, mention)
        named = find_meanings(without_article(parts.named, title))
        said = find_alternatives(without_article(parts.said, title))
        chosen = named if _MARKED_OUT.intersection(named) else said or named
        meanings = _choose(mention, parts, chosen, title, is_claimed)
        if first and meanings == [
            "unclaimed"
        ]:  # "the broken lines, showing a user, and the unshaded areas are no part"
            meanings = first
        first = first or meanings
        is_general = meanings in (["unclaimed"], ["claimed"]) and _is_general(mention, parts)
        for meaning in meanings:
            is_open = is_claimed is None and meaning == "environment"
            is_around = is_open and says_environment(f"{parts.named} {parts.said}")
            yield Reading(mention.kind, meaning, False if is_around else is_claimed, is_general)


def _choose(mention: LineMention, parts: _Parts, named: list[str], title: str, is_claimed: bool | None) -> list[str]:
    """What the lines stand for; empty if the clause says neither that nor whether it is claimed.

    Args:
        mention: The lines.
        parts: The clause.
        named: Meanings that it names.
        title: Title of the patent.
        is_claimed: What the clause says about that.
    """
    if mention.is_break:
        return ["break"]
    if mention.kind in {"broken", "dash_dot"}:
        meanings = named or _meanings_of_things(parts, title)
        if is_claimed and {"environment", "unclaimed_portion"}.issuperset(meanings):
            return ["claimed"]
    elif is_claimed is False:
        meanings = named or (["other"] if is_about_tone(parts.said) else [])
    else:  # shading, contour lines and the like show what the claimed surfaces are like
        meanings = [meaning for meaning in named if meaning in _MARKED_OUT or meaning == "environment"]
        is_claim = is_claimed and not is_about_tone(parts.said)
        meanings = meanings or (["claimed"] if is_claim else ["other"])
    return ["unclaimed"] if not meanings and is_claimed is False else meanings


def _meanings_of_things(parts: _Parts, title: str) -> list[str]:
    """The meaning of the thing that the clause says the lines show; empty if it names none."""
    nouns = name_things(parts.said)
    if nouns[:1] == ["seam"]:
        return ["stitching"]
    if is_about_state(parts.said) or is_about_drawing(nouns[0] if nouns else f"{parts.named} {parts.said}"):
        return ["other"]
    nouns = nouns or nouns_of(parts.named)
    return [meaning_of_things(nouns, title)] if nouns else []


def _parts_of(clause: str, rest: str, mention: LineMention) -> _Parts:
    """The parts of a clause by what the lines are to it.

    Args:
        clause: A clause.
        rest: The clause without its words on what is claimed, from `read_claim`.
        mention: Lines that it names.
    """
    before = rest[: mention.start]
    if mention.role == Role.MANNER:
        drawn_in = _DRAWN_IN.search(before, max(0, len(before) - _MAX_DRAWN_IN))
        thing = before[: drawn_in.start()] if drawn_in else before
        return _Parts(thing[_start_of_thing(thing) :], rest[mention.end :], before, "")
    verb = FINITE_VERB.search(clause, mention.end)
    modifiers = rest[mention.end : verb.start() if verb else len(rest)]
    said = rest[verb.start() :] if verb else modifiers
    if mention.role == Role.PLACE:
        return _Parts(before, said, before, modifiers)
    if marked := _MARKED_OUT_AS.search(clause, mention.start, mention.end + _MAX_NOUN):
        return _Parts(marked[0], said, before, modifiers)
    if named_for := _NAMED_FOR.search(modifiers):
        return _Parts(modifiers[named_for.end() :], said, before, modifiers)
    named = modifiers if mention.kind == "shading" else ""  # "the shaded portions of the chair"
    return _Parts(named, said, before, modifiers)


def _start_of_thing(text: str) -> int:
    """Offset of the thing at the end of a text: after "of a hat with" in "of a hat with the head"."""
    start = 0
    for match in _BEFORE_THING.finditer(text):
        start = match.end()
    return start


def _is_general(mention: LineMention, parts: _Parts) -> bool:
    """Whether the clause is about all such lines of the drawings."""
    if _RESTRICTS.search(parts.lead) or _RESTRICTS.search(parts.rest):
        return False
    if mention.role == Role.SUBJECT:
        return _EVERYWHERE.match(parts.rest) is not None
    return mention.role == Role.MANNER
