"""Which figures a grant declares, and what it says of each.

The paragraphs under "description of drawings" are matched to figures by the label they print, never by their position:
one in eight describes no figure at all (broken-line disclaimers, notices), and one may describe several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from patentdata.viewpoints import Viewpoint, read_viewpoint

MAX_RANGE = 200
"""Longest range of figures that is written out; a longer one ("FIGS. 1-2019") is a misprint."""

_NUMBER = r"\d{1,4}(?:\.\d{1,3})*"
_SUFFIX = r"(?:\s?\([A-Za-z0-9]{1,4}\)|[A-Za-z]{1,2}(?![A-Za-z])(?:\([A-Za-z0-9]{1,4}\))?)"
_LABEL = rf"{_NUMBER}{_SUFFIX}?['′’\"″]{{0,2}}"
_PARTIAL = r"(?:\([A-Za-z0-9]{1,4}\)|[A-Za-z](?![A-Za-z]))"  # the second end of "2A-C" or "1(a)-(d)"
_FIG = r"(?:FIG(?:URE)?[SD]?(?![A-Za-z])\.?|reproductions?\b|drawings?\s+(?=\d))"
_RANGE_WORD = r"(?:[-‐‑–—]|(?<=\s)(?:to|through|thru)(?=\s))"
_JOIN = r"(?:,\s*(?:and|or|&)?|and/or|&|(?:and|or)(?=\s)|;(?=\s*FIG))"
_ITEM = rf"(?:{_FIG}\s*[-:.]?\s*)?(?:{_LABEL}(?:-\d{{1,2}}(?![\d\w.]))?)"
_END = rf"(?:{_FIG}\s*)?(?:{_LABEL}(?:-\d{{1,2}}(?![\d\w.]))?|{_PARTIAL})"
_LIST = rf"{_ITEM}(?:\s*(?:{_RANGE_WORD}|{_JOIN})\s*{_END})*"
REFERENCE = re.compile(rf"(?P<fig>{_FIG})\s*[-–—:.]?\s*(?P<list>{_LIST})", re.IGNORECASE)
_HAGUE = re.compile(
    rf"(?P<list>\d{{1,3}}\.\d{{1,3}}(?!\d)(?:\s*(?:{_RANGE_WORD}|{_JOIN})\s*\d{{1,3}}\.\d{{1,3}}(?!\d))*)"
)
_BARE = re.compile(r"\s*(?P<list>\d{1,3})\s*[.):]\s+(?=[A-Za-z])|\s*(?P<alone>\d{1,3})\s*$")
_LETTER_ONLY = re.compile(
    rf"(?P<fig>{_FIG})\s*[-–—]?\s*(?P<list>[A-Z](?:\s*(?:,|and|&)\s*[A-Z])*)(?=\s*(?:is|are|shows?)\b)"
)
_SOLE = re.compile(
    r"\s*(?:(?:the|a|this)\s+)?(?:(?:sole|only|single|one)\s+)?(?:FIGURE|FIG\.?|drawing(?:\s+figure)?)\s*"
    r"(?:[:.\-–—]|(?=is\b|shows?\b|illustrates?\b|depicts?\b|represents?\b|an?\b|of\b))",
    re.IGNORECASE,
)
_PIECE = re.compile(
    rf"(?P<range>{_RANGE_WORD})|(?P<join>{_JOIN})|(?P<label>(?:{_FIG}\s*[-:.]?\s*)?{_LABEL}(?:-\d{{1,2}}(?![\d\w.]))?)|(?P<part>{_PARTIAL})",
    re.IGNORECASE,
)

# What may stand between a reference and its description. A reference followed by anything else ("FIG. 2 embodiment",
# "FIGS. 1 and 2 which") only mentions the figure.
_VERB = (
    r"(?:is|are|was|being|shows?|showing|illustrates?|depicts?|represents?|discloses?|displays?|provides?|presents?|"
    r"gives?|comprises?)"
)
_DECLARES = re.compile(
    rf"\s*(?:\([^)]*\)\s*)?(?:[:;,.\-–—=]+\s*(?=\S)|(?:(?:each|both|also|together|respectively|collectively),?\s+)?{_VERB}\b|"
    r"(?=(?:an?|the|top|bottom|front|rear|back|left|right|side|perspective|isometric|another|enlarged|exploded)\b))",
    re.IGNORECASE,
)
_SENTENCE_START = re.compile(r"(?:^|[;.:]\s+(?:and[,;]?\s+)?|,\s+and[,;]?\s+|\band[,;]\s+)$", re.IGNORECASE)


class Declaration(NamedTuple):
    """One stretch of text that says what one or more figures are."""

    labels: tuple[str, ...]
    text: str  # the stretch as printed, reference included
    description: str  # what follows the reference
    paragraph: int
    is_heading: bool = False  # "1. Belt buckle": the article of a Hague design, unless it has no figure "1.1"
    is_aside: bool = False  # declared inside a paragraph that is about something else


def describe_figures(
    paragraphs: Sequence[str], *, title: str, num_figures: int | None
) -> tuple[list[dict[str, str | None]], list[str]]:
    """Match the paragraphs of the description of drawings to figures.

    A label declared more than once keeps the sentence that names the fewest figures, the first of them where they tie;
    the others only fill in a viewpoint, direction or object that it leaves open. A figure without a number gets the
    label "1".

    Args:
        paragraphs: In document order, as printed.
        title: Title of the patent; it tells where the name of an article ends.
        num_figures: Figures as the grant counts them; None where it does not. A paragraph that prints no label at all
            is taken for the sole figure only where the grant counts one.

    Returns:
        One dict a label with the keys of `records.FIGURE`, in order of mention, and the paragraphs that describe none.

    >>> figures, others = describe_figures(["FIGS. 1-2 are front and rear views of a hat;"], title="Hat", num_figures=2)
    >>> [(figure["label"], figure["viewpoint"]) for figure in figures]
    [('1', 'front'), ('2', 'rear')]
    """
    texts = [" ".join(paragraph.split()) for paragraph in paragraphs]
    declarations = [found for number, text in enumerate(texts) for found in _declarations(text, number)]
    if any("." in label for found in declarations for label in found.labels):
        declarations = [found for found in declarations if not found.is_heading]
    declarations = declarations or _sole_declarations(texts, num_figures)
    by_label: dict[str, list[tuple[Declaration, int]]] = {}
    for found in declarations:
        for position, label in enumerate(found.labels):
            by_label.setdefault(label, []).append((found, position))
    figures, used = [], set()
    for label, candidates in by_label.items():
        candidates.sort(
            key=lambda candidate: (candidate[0].is_aside, len(candidate[0].labels))
        )  # stable: the first wins
        used.add(candidates[0][0].paragraph)
        figures.append(_figure(label, candidates, title))
    return figures, [text for number, text in enumerate(texts) if text and number not in used]


def expand_references(text: str) -> list[str]:
    """Every label a reference names, ranges written out; empty where the text begins with no reference.

    >>> expand_references("FIGS. 1(a)-1(c)"), expand_references("FIGS. 1 through 4"), expand_references("1.1 to 1.3")
    (['1(a)', '1(b)', '1(c)'], ['1', '2', '3', '4'], ['1.1', '1.2', '1.3'])
    """
    match = REFERENCE.match(text.strip()) or _HAGUE.match(text.strip()) or _BARE.match(text.strip())
    if match is None:
        return []
    return _expand(match["list"] or match["alone"], is_plural=_is_plural(match))


def _is_plural(match: re.Match[str]) -> bool:
    return "fig" in match.re.groupindex and match["fig"].lower().rstrip(".").endswith("s")


def _figure(label: str, candidates: list[tuple[Declaration, int]], title: str) -> dict[str, str | None]:
    """The row of one label: the text of its best declaration, completed by the others."""
    readings = [
        read_viewpoint(found.description, title=title, index=position, num_figures=len(found.labels))
        for found, position in candidates
    ]
    best = readings[0]
    viewpoint = next((reading.viewpoint for reading in readings if reading.viewpoint != "none"), "none")
    same = [reading for reading in readings if reading.viewpoint == viewpoint]
    return {
        "label": label,
        "text": candidates[0][0].text,
        "viewpoint": viewpoint,
        "viewpoint_direction": next((reading.direction for reading in same if reading.direction), None),
        "object": best.object or next((reading.object for reading in readings if reading.object), None),
    }


def _declarations(text: str, paragraph: int) -> Iterator[Declaration]:
    """The declarations of one paragraph, in order. Each reaches to the next one's start."""
    spans = [(match, declares) for match, declares in _references(text) if declares is not None]
    is_aside = bool(spans) and bool(text[: spans[0][0].start()].strip(" :.-"))
    for position, (match, after) in enumerate(spans):
        assert after is not None
        end = spans[position + 1][0].start() if position + 1 < len(spans) else len(text)
        start = 0 if position == 0 and not is_aside else match.start()
        labels = tuple(_expand(match["list"] or match["alone"], is_plural=_is_plural(match)))
        if labels:
            is_heading = match.re is _BARE
            yield Declaration(labels, text[start:end].strip(), text[after:end], paragraph, is_heading, is_aside)


def _references(text: str) -> Iterator[tuple[re.Match[str], int | None]]:
    """References that begin a clause, each with the place where its description starts; None where it is a mention."""
    if bare := _BARE.match(text):
        yield bare, bare.end()
        return
    found = list(REFERENCE.finditer(text)) or list(_LETTER_ONLY.finditer(text))
    taken = [range(match.start(), match.end()) for match in found]
    found += [match for match in _HAGUE.finditer(text) if not any(match.start() in span for span in taken)]
    for match in sorted(found, key=lambda match: match.start()):
        if not _SENTENCE_START.search(text[: match.start()].lstrip() if match.start() else ""):
            continue
        declares = _DECLARES.match(text, match.end())
        if declares:
            yield match, declares.start() if match.re is _HAGUE else match.end()
        elif match.start() == 0 and match.re is _HAGUE and text[match.end() : match.end() + 1] in {" ", ""}:
            yield match, match.end()


def _sole_declarations(texts: Sequence[str], num_figures: int | None) -> list[Declaration]:
    """The figure of a patent that prints no label: "The sole FIGURE is ...", or a lone sentence that names a view."""
    for number, text in enumerate(texts):
        if match := _SOLE.match(text):
            return [Declaration(("1",), text, text[match.end() :], number)]
    if num_figures == 1:
        for number, text in enumerate(texts):
            if read_viewpoint(text).viewpoint not in {"none", "other", "in_use"}:
                return [Declaration(("1",), text, text, number)]
    return []


def _expand(listed: str, *, is_plural: bool) -> list[str]:
    """The labels of a list, in order, without repeats."""
    labels: list[str] = []
    is_range = False
    for match in _PIECE.finditer(listed):
        if match["range"]:
            is_range = True
        elif match["join"]:
            is_range = False
        else:
            label = re.sub(rf"^{_FIG}\s*[-:.]?\s*", "", match[0], flags=re.IGNORECASE).replace(" ", "")
            if match["part"] and labels:
                label = _stem(labels[-1]) + label
            ends = _hyphenated(label, is_plural=is_plural)
            if is_range and labels:
                ends = _range(labels[-1], ends[0]) + ends[1:]
            labels.extend(ends)
            is_range = False
    return list(dict.fromkeys(labels))


_PARTS = re.compile(r"(?P<number>\d+(?:\.\d+)*)(?P<suffix>.*)$")


def _stem(label: str) -> str:
    match = _PARTS.match(label)
    return match["number"] if match else label


def _hyphenated(label: str, *, is_plural: bool) -> list[str]:
    """A label with a hyphen: a range ("1-7", "FIGS. 3A-5") or a label of its own ("6A-1")."""
    first, hyphen, last = label.partition("-")
    if not hyphen:
        return [label]
    is_range = int(last) > int(float(_stem(first).split(".")[0]))
    if is_range and (is_plural or first.isdigit()):
        return _range(first, last)
    return [label]


def _range(first: str, last: str) -> list[str]:
    """Labels from `first` to `last`. Where print does not say what lies between ("3A-5"), whole numbers are assumed."""
    start, end = _PARTS.match(first), _PARTS.match(last)
    if start is None or end is None:
        return [first, last]
    *start_stem, start_number = start["number"].split(".")
    *end_stem, end_number = end["number"].split(".")
    low, high = int(start_number), int(end_number)
    if start_stem != end_stem or not low <= high < low + MAX_RANGE:
        return [first, last]
    if low == high:
        return [first, *_suffixes(start["number"], start["suffix"], end["suffix"])]
    prefix = "".join(part + "." for part in start_stem)
    between = [f"{prefix}{number}" for number in range(low + 1, high)]
    if start["suffix"] and end["suffix"]:  # "1A-3B": every number has the letters up to the last one's
        letters = ["", *_suffixes("", _first_suffix(end["suffix"]), end["suffix"])]
        letters[0] = _first_suffix(end["suffix"])
        return [first] + [f"{prefix}{number}{letter}" for number in range(low + 1, high + 1) for letter in letters]
    return [first, *between, last]


def _first_suffix(suffix: str) -> str:
    return re.sub(r"[A-Za-z]", lambda letter: "A" if letter[0].isupper() else "a", suffix, count=1)


def _suffixes(number: str, first: str, last: str) -> list[str]:
    """What follows `first` up to `last` on one number: "A", "C" gives B and C; "", "B" gives A and B."""
    start, end = re.search(r"[A-Za-z]", first), re.search(r"[A-Za-z]", last)
    if end is None or (first and start is None):
        return [number + last] if last != first else []
    low = ord(start[0]) + 1 if start else ord("A" if end[0].isupper() else "a")
    if len(re.findall(r"[A-Za-z]", last)) > 1 or not low <= ord(end[0]):
        return [number + last] if last != first else []
    return [number + last[: end.start()] + chr(code) + last[end.end() :] for code in range(low, ord(end[0]) + 1)]


__all__ = ["MAX_RANGE", "REFERENCE", "Declaration", "Viewpoint", "describe_figures", "expand_references"]
