"""What the clauses of a sentence say about lines, each by itself.

A clause is read in two parts: what it names the lines for ("the broken lines *showing a shoe*", "*the shoe* shown in
broken lines"), and what it says about them ("*are for environmental purposes*"). The second counts first, except that
lines that are named for stitching, folds or boundaries are those whatever else is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from patentdata.grants.claim_scope.claims import read_claim
from patentdata.grants.claim_scope.lines import FINITE_VERB, LineMention, Role, find_lines
from patentdata.grants.claim_scope.meanings import (
    find_alternatives,
    find_meanings,
    is_about_drawing,
    is_about_state,
    is_about_tone,
    says_environment,
)
from patentdata.grants.claim_scope.sentences import split_clauses
from patentdata.grants.claim_scope.things import meaning_of_things, name_things, nouns_of


class Reading(NamedTuple):
    """One statement of a clause.

    Attributes:
        lines: Kind of the lines; one of `schemas.LINES`.
        meaning: What they stand for; one of `schemas.LINE_MEANINGS`.
        is_claimed: Whether that is claimed; None if the clause does not say.
        is_general: It is about all such lines and does not say what they show: "The broken lines form no part ...".
            Figures may still limit it.
    """

    lines: str
    meaning: str
    is_claimed: bool | None
    is_general: bool


class Addition(NamedTuple):
    """What a clause says about the lines of the clauses before it: "These portions form no part ...".

    Attributes:
        is_claimed: Whether what they show is claimed; None if the clause does not say.
        meanings: What they stand for, if it says so.
    """

    is_claimed: bool | None
    meanings: tuple[str, ...]


class Clause(NamedTuple):
    """One clause of a sentence.

    Attributes:
        start: Offset in the sentence.
        end: Offset of its end.
        subject_end: Offset of the end of its subject, if that is lines; else of the clause.
        readings: Its own statements.
        addition: What it says about the statements before it, its own included; None for most clauses.
    """

    start: int
    end: int
    subject_end: int
    readings: tuple[Reading, ...]
    addition: Addition | None


class _Parts(NamedTuple):
    """The parts of a clause.

    Attributes:
        named: What the lines are named for; empty if nothing.
        said: What is said about them.
        lead: The subject up to the name of the lines.
        rest: The subject after the name of the lines.
        is_statement: Something is said about the lines, or they are named for something.
    """

    named: str
    said: str
    lead: str
    rest: str
    is_statement: bool = True


_MARKED_OUT = {"boundary", "stitching", "fold_or_hidden", "break"}
# "dash-dot boundary lines", "the broken line border"
_MARKED_OUT_AS = re.compile(r"\b(?:bound(?:ary|aries)|border|stitch(?:ing)?|fold)(?=s?(?:\s+lines?)?\b)")
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
    r"(?:[,;:]|\b(?:with|on|upon|showing|illustrating|depicting|including|wherein|where|while|over|around|onto|to|in"
    r"|by)"
    r"\b)\s"
)
# The start of a clause that does not name lines but is about those of the clause before it.
_ADDS = re.compile(
    r"\W*(?:(?:and|further(?:more)?|also|additionally|moreover|however|in\s+addition|thus|accordingly|which)\b,?\s*)*"
    r"(?:it\s+(?:is|should\s+be|being)\s+(?:to\s+be\s+)?(?:\w+ly\s+)?understood\s+that\s+)?"
    r"(?:(?:these|those|such|said|they|it|neither|none|both|all\s+of|this|the\s+same|which)\b"
    r"|the\s+(?:boundar\w+|bounds|stitch\w*|environment\w*|appearance|claimed\s+design\s+(?:extends|includes|does))\b"
    r"|(?:the\s+)?(?:portions?|parts?|areas?|features?|elements?|structures?|surfaces?|subject\s+matter)\s+"
    r"(?:(?:so|thus|as)\s+)?(?:shown|depicted|illustrated|represented|between|are|is|do|does|form)"
    r"|(?:form|do|are|is|does)\b)"
)
_OF_WHICH = re.compile(r"\b(?:none|neither|both|all|each)\s+of\s+which\b")
_RESTRICTS = re.compile(
    r"\b(?:other|remaining|rest|remainder|outer\w*|inner\w*|certain|some|single|double|even\w*|uneven\w*)\b"
)
_EVERYWHERE = re.compile(
    r"\W*(?:(?:as\s+)?(?:shown|seen|depicted|appearing|illustrated|present|included|used|contained|found|that\s+appear)"
    r"\s*)?(?:(?:in|on|of|throughout|within)\s+(?:(?:all|any|each)\s+)?(?:of\s+)?(?:the\s+|these\s+)?(?:\w+\s+)?"
    r"(?:drawings?|figures?|figs?\.?|views?|reproductions?)(?:[\s\d,.–—-]|and\b|to\b|through\b"
    r"|fig(?:ure)?s?\b)*+)?\W*$"
)


@lru_cache(maxsize=2**14)  # most sentences of a week are like others of it, but for the article and the figures
def read_sentence(sentence: str) -> tuple[Clause, ...]:
    """The clauses of a sentence, each with what it says by itself.

    Args:
        sentence: A sentence in lower case with the name of the article masked; see `mask_article`.
    """
    return tuple(_read_clause(sentence[start:end], start) for start, end in split_clauses(sentence))


def _read_clause(text: str, start: int) -> Clause:
    """What a clause says that starts at this offset of its sentence."""
    end = start + len(text)
    mentions = find_lines(text)
    if not mentions:
        return Clause(start, end, end, (), _read_addition(text))
    is_claimed, rest = read_claim(text)
    readings = tuple(_readings_of(mentions, text, rest, is_claimed))
    addition = Addition(is_claimed, ()) if " of which" in text and _OF_WHICH.search(text) else None
    subject_end = len(text)
    if mentions[0].role == Role.SUBJECT and (verb := FINITE_VERB.search(text, mentions[0].end)):
        subject_end = verb.start()
    return Clause(start, end, start + subject_end, readings, addition)


def _read_addition(text: str) -> Addition | None:
    """What a clause that names no lines says about the lines of the clauses before it; None if nothing."""
    if not _ADDS.match(text):
        return None
    is_claimed, rest = read_claim(text)
    meanings = tuple(find_meanings(rest))
    return Addition(is_claimed, meanings) if meanings or is_claimed is not None else None


def _readings_of(mentions: list[LineMention], clause: str, rest: str, is_claimed: bool | None) -> Iterator[Reading]:
    """The statements of a clause, one for each kind of line that it is about and each meaning.

    Args:
        mentions: The lines that it is about.
        clause: The clause.
        rest: The clause without its words on what is claimed.
        is_claimed: What these say.
    """
    if is_claimed is None and mentions[0].role == Role.PLACE:
        return  # "an enlarged view of the portion within the dashed circle"
    first: list[str] = []
    for mention in mentions:
        parts = _parts_of(clause, rest, mention)
        named, said = find_meanings(parts.named), find_alternatives(parts.said)
        chosen = named if _MARKED_OUT.intersection(named) else said or named
        meanings = _choose(mention, parts, chosen, is_claimed)
        if first and meanings == ["unclaimed"]:
            meanings = first  # "the broken lines, showing a user, and the unshaded areas are not claimed"
        first = first or meanings
        is_general = meanings in (["unclaimed"], ["claimed"]) and _is_general(mention, parts)
        for meaning in meanings:
            is_open = is_claimed is None and meaning == "environment"
            is_around = is_open and says_environment(f"{parts.named} {parts.said}")
            yield Reading(mention.kind, meaning, False if is_around else is_claimed, is_general)


def _choose(mention: LineMention, parts: _Parts, named: list[str], is_claimed: bool | None) -> list[str]:
    """What the lines stand for; empty if the clause says neither that nor whether it is claimed.

    Args:
        mention: The lines.
        parts: The clause.
        named: Meanings that it names.
        is_claimed: What the clause says about that.
    """
    if mention.is_break:
        return ["break"]
    if mention.kind in {"broken", "dash_dot"}:
        meanings = named or _meanings_of_things(parts)
        if is_claimed and {"environment", "unclaimed_portion"}.issuperset(meanings):
            return ["claimed"]
    elif is_claimed is False:
        meanings = named or (["other"] if is_about_tone(parts.said) else [])
    else:  # shading, contour lines and the like show what the claimed surfaces are like
        meanings = [meaning for meaning in named if meaning in _MARKED_OUT or meaning == "environment"]
        if not meanings and is_claimed and not is_about_tone(parts.said):
            return ["claimed"]
        is_convention = parts.is_statement and not mention.is_tone
        meanings = meanings or (["other"] if is_convention or is_claimed else [])
    return ["unclaimed"] if not meanings and is_claimed is False else meanings


def _meanings_of_things(parts: _Parts) -> list[str]:
    """The meaning of the thing that the clause says the lines show; empty if it names none."""
    nouns = name_things(parts.said)
    if nouns[:1] == ["seam"]:
        return ["stitching"]
    if is_about_state(parts.said) or is_about_drawing(nouns[0] if nouns else f"{parts.named} {parts.said}"):
        return ["other"]
    nouns = nouns or nouns_of(parts.named)
    return [meaning_of_things(nouns)] if nouns else []


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
    return _Parts(named, said, before, modifiers, is_statement=verb is not None)


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
