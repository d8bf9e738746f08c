"""References to figures in running text, "FIG. 2A", "FIGS. 1(a)–1(c)", Hague "1.1", and the labels that they name.

Grants refer to figures everywhere ("the chair of FIG. 1"), but only a reference that begins a clause and is followed by
a description declares a figure. Labels are written in hundreds of ways, so the grammar below is assembled from the ways
that real grants use; what it does not know is not a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

MAX_RANGE = 200
"""Length of the longest range of figures that is expanded; a longer one ("FIGS. 1-2019") is a misprint."""

_NUMBER = r"\d{1,4}(?:\.\d{1,3})*"
_BRACKETED = r"\([A-Za-z0-9]{1,4}\)"
_SUFFIX = rf"(?:\s?{_BRACKETED}|(?!is\b)[A-Za-z]{{1,2}}(?![A-Za-z])(?:{_BRACKETED})?)"
_LABEL = rf"{_NUMBER}{_SUFFIX}?['′’\"″]{{0,2}}(?:-\d{{1,2}}(?![\w.(]))?"
_FIG = r"(?:FIG(?:URE)?[SD$]?(?![A-Za-z])\.?|reproductions?\b|drawings?\s+(?=\d))"
_PREFIXED = rf"(?:{_FIG}\s*[-:.]?\s*)?{_LABEL}"
_TO = r"(?:[-‐‑–—]|(?<=\s)(?:to|through|thru)(?=\s))"
_AND = r"(?:,\s*(?:and|or|&)?|and/or|&|(?:and|or)(?=\s)|;(?=\s*FIG))"
# The end of a range may be abbreviated ("2A-C", "1(a)-(d)"), and so may a joined label ("2A and B"), but a joined "a"
# is nearly always an article.
_TO_LETTER = r"(?<=\S)[-‐‑–—][A-Za-z](?![A-Za-z])"
_AND_LETTER = rf"{_AND}\s*(?-i:[B-Z])(?![A-Za-z])"
# A label may end with a point before the next one: "FIG. 1.-FIG. 4. Reduced", "FIGS. 1. - 4. are". A "3D view" is none.
_AFTER_POINT = rf"\.\s*(?:{_TO}|{_AND})\s*{_PREFIXED}(?=\s*(?:[.:;,)]|$)|\s+(?:is|are|shows?|illustrates?|depicts?)\b)"
_LIST = (
    rf"{_PREFIXED}(?:{_TO_LETTER}|\s*{_AND_LETTER}|\s*(?:{_TO}|{_AND})\s*(?:{_PREFIXED}|{_BRACKETED})|{_AFTER_POINT})*"
)
_REFERENCE = re.compile(rf"(?P<fig>{_FIG})\s*[-–—:.]?\s*(?P<list>{_LIST})", re.IGNORECASE)
_HAGUE = re.compile(
    rf"(?<![\w.,/-])(?P<list>\d{{1,3}}\.\d{{1,3}}(?!\d)(?:\s*(?:{_TO}|{_AND})\s*\d{{1,3}}\.\d{{1,3}}(?!\d))*)"
)
_BARE = re.compile(r"\s*(?P<list>\d{1,3})\s*[.):]\s+(?=[A-Za-z])|\s*(?P<alone>\d{1,3})\s*$")
_LETTER_ONLY = re.compile(
    rf"(?P<fig>{_FIG})\s*[-–—]?\s*(?P<list>[A-Z](?:\s*(?:,|and|&)\s*[A-Z])*)(?=\s*(?:is|are|shows?)\b)"
)
_PIECE = re.compile(
    rf"(?P<to>{_TO})|(?P<and>{_AND})|(?P<label>{_PREFIXED})|(?P<part>{_BRACKETED}|[A-Za-z](?![A-Za-z]))", re.IGNORECASE
)
_PREFIX = re.compile(rf"{_FIG}\s*[-:.]?\s*", re.IGNORECASE)
_HYPHEN_PAIR = re.compile(r"(?<![\w.-])(\d+)-(\d+)(?![\w.(-])")
_ONE_RANGE = re.compile(r"\d+-\d+")
_PARTS = re.compile(r"(?P<number>\d+(?:\.\d+)*)(?P<suffix>.*)$")
_COUNTER = re.compile(r"(?P<stem>\(?|[A-Za-z]{0,2}-)(?P<at>[A-Za-z]?|\d{1,2})(?P<rest>\)?)$")

# What may be between a reference and its description. A reference followed by anything else ("FIG. 2 embodiment",
# "FIGS. 1 and 2 which") only mentions the figure.
_VERB = (
    r"(?:is|are|was|being|shows?|showing|illustrates?|depicts?|represents?|discloses?|displays?|provides?|presents?|"
    r"gives?|comprises?)"
)
_DECLARES = re.compile(
    r"\s*(?:\([^)]*\)\s*)?(?:of the drawings?\s+)?(?:[:;,.\-–—=]+\s*(?=\S)"
    rf"|(?:(?:each|both|also|further|again|together|\w+ly),?\s+)?{_VERB}\b"
    r"|(?=(?:an?|the|top|bottom|front|rear|back|left|right|side|perspective|isometric|another|enlarged|exploded)\b))",
    re.IGNORECASE,
)
_STATES = re.compile(r"\s+(?:is|are|shows?|illustrates?|depicts?)\b", re.IGNORECASE)
_CLAUSE_END = re.compile(r"(?:[;.:]\s+|\band[,;]?\s+|\b(?:reproductions?|figures?)\s+)$", re.IGNORECASE)


class Reference(NamedTuple):
    """A reference to figures that begins a clause.

    Attributes:
        labels: The labels it names, ranges expanded.
        start: Offset of the reference in the text.
        end: Offset of its end, where its description starts.
        is_heading: It is a bare number, as before the name of a Hague design.
        is_mention: Nothing after it says that it declares the figure; it counts only if nothing else declares it.
    """

    labels: tuple[str, ...]
    start: int
    end: int
    is_heading: bool = False
    is_mention: bool = False


_SINGULAR_HYPHEN = re.compile(r"\bFIG(?:URE)?(?![A-Za-z])\.?\s*(\d{1,3})-(\d{1,2})(?![\w(]|\.\d)", re.IGNORECASE)


def has_hyphen_labels(texts: Iterable[str]) -> bool:
    """Whether the figures of a grant are labelled "1-1", "1-2", so that a hyphen is not the sign of a range.

    One label can be read either way, so all that are printed decide: no range ends where it starts ("FIG. 1-1") or
    before ("FIG. 2-1"), and of two ranges only one starts at 1 ("FIG. 1-2", "FIG. 1-3").

    >>> has_hyphen_labels(["FIG. 1-1 is a top view;", "FIG. 1-2 is a side view."]), has_hyphen_labels(["FIG. 1-2 are"])
    (True, False)
    """
    printed = {
        match.groups() for text in texts if _has_between_digits(text, "-") for match in _SINGULAR_HYPHEN.finditer(text)
    }
    if not printed:
        return False
    starts = [first for first, _ in printed]
    return any(int(last) <= int(first) for first, last in printed) or len(starts) > len(set(starts))


@lru_cache(maxsize=2**14)  # most paragraphs are like "FIG. 2 is a front view thereof;"
def find_references(text: str, has_hyphens: bool = False) -> tuple[Reference, ...]:
    """The references that begin a clause and are followed by what the figure shows, in order.

    Args:
        text: A paragraph.
        has_hyphens: Labels of this grant have hyphens; see `has_hyphen_labels`.
    """
    if bare := _BARE.match(text):
        return (Reference((bare["list"] or bare["alone"],), 0, bare.end(), is_heading=True),)
    found: list[Reference] = []
    spans: list[range] = []
    for start in _possible_starts(text):
        match = _REFERENCE.match(text, start) or _LETTER_ONLY.match(text, start)
        if match is None or (spans and match.start() < spans[-1].stop):
            continue
        spans.append(range(*match.span()))
        declares = _DECLARES.match(text, match.end()) is not None
        begins = _begins_clause(text, match.start()) or _follows_comma(text, match)
        if (declares or match.start() == 0) and begins:
            is_plural = match["fig"].lower().rstrip(".").endswith("s")
            labels = tuple(_expand(match["list"], is_plural=is_plural, has_hyphens=has_hyphens))
            found.append(Reference(labels, match.start(), match.end(), is_mention=not declares))
    for match in _HAGUE.finditer(text) if _has_between_digits(text, ".") else ():
        start, end = match.span()
        has_colon = text[end : end + 2].lstrip()[:1] == ":"
        declares = start == 0 or has_colon or (_begins_clause(text, start) and _DECLARES.match(text, end) is not None)
        if declares and not any(start in span for span in spans):
            found.append(Reference(tuple(_expand(match["list"], is_plural=True)), start, end))
    return tuple(sorted(found, key=lambda reference: reference.start))


def mentioned_labels(text: str, has_hyphens: bool = False) -> list[Reference]:
    """Every reference in the text, in order, whether or not it declares a figure: "the lines shown in FIGS. 1 and 7".

    Args:
        text: A sentence or a part of one.
        has_hyphens: Labels of this grant have hyphens; see `has_hyphen_labels`.
    """
    matches = [match for start in _possible_starts(text) if (match := _REFERENCE.match(text, start))]
    if _has_between_digits(text, "."):
        matches = sorted([*matches, *_HAGUE.finditer(text)], key=lambda match: match.start())
    found: list[Reference] = []
    for match in matches:
        if not found or match.start() >= found[-1].end:
            is_plural = match.re is _HAGUE or match["fig"].lower().rstrip(".$").endswith("s")
            labels = tuple(_expand(match["list"], is_plural=is_plural, has_hyphens=has_hyphens))
            found.append(Reference(labels, match.start(), match.end(), is_mention=True))
    return found


def _possible_starts(text: str) -> list[int]:
    """Offsets at which a reference may start, found by plain search, which is ten times as fast as the pattern."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters of other scripts become longer, which would move the offsets
        lower = text
    starts = []
    for word in ("fig", "reproduction", "drawing"):
        start = lower.find(word)
        while start >= 0:
            starts.append(start)
            start = lower.find(word, start + 1)
    return sorted(starts)


def _has_between_digits(text: str, sign: str) -> bool:
    """Whether a sign is between two digits, as the point in "1.1" and the hyphen in "1-2" are."""
    found = text.find(sign)
    while found >= 0:
        if text[found - 1 : found].isdigit() and text[found + 1 : found + 2].isdigit():
            return True
        found = text.find(sign, found + 1)
    return False


def _begins_clause(text: str, start: int) -> bool:
    """Whether a clause starts at this offset: at the start of the text, or after ";", "and" and the like."""
    return start == 0 or _CLAUSE_END.search(text, max(0, start - 12), start) is not None


def _follows_comma(text: str, match: re.Match[str]) -> bool:
    """Whether a new statement follows a comma: "FIG. 1 is a front view, FIG. 2 is a rear view"."""
    return text[: match.start()].endswith(", ") and _STATES.match(text, match.end()) is not None


def expand_references(text: str) -> list[str]:
    """Every label that a reference names, ranges expanded; empty if the text does not begin with a reference.

    >>> expand_references("FIGS. 1(a)-1(c)"), expand_references("FIGS. 1 through 4"), expand_references("1.1 to 1.3")
    (['1(a)', '1(b)', '1(c)'], ['1', '2', '3', '4'], ['1.1', '1.2', '1.3'])
    """
    text = text.strip()
    if match := _REFERENCE.match(text):
        return _expand(match["list"], is_plural=match["fig"].lower().rstrip(".").endswith("s"))
    if match := _HAGUE.match(text):
        return _expand(match["list"], is_plural=True)
    bare = _BARE.match(text)
    return [bare["list"] or bare["alone"]] if bare else []


def _expand(listed: str, *, is_plural: bool, has_hyphens: bool = False) -> list[str]:
    """The labels of a printed list ("1, 2A-C and 4"), in order, without repeats."""
    if listed.isdigit():
        return [listed]
    has_hyphens = has_hyphens or (
        "-" in listed and any(int(last) <= int(first) for first, last in _HYPHEN_PAIR.findall(listed))
    )
    is_one_range = is_plural and _ONE_RANGE.fullmatch(listed) is not None
    labels: list[str] = []
    is_range = False
    for match in _PIECE.finditer(listed):
        if match["to"]:
            is_range = True
        elif match["and"]:
            is_range = False
        else:
            label = _PREFIX.sub("", match[0]).replace(" ", "")
            if match["part"] and labels:
                label = _stem(labels[-1]) + label
            ends = [label] if has_hyphens and not is_one_range else _hyphenated(label, is_plural=is_plural)
            if is_range and labels:
                ends = _range(labels[-1], ends[0]) + ends[1:]
            labels.extend(ends)
            is_range = False
    return list(dict.fromkeys(labels))


def _stem(label: str) -> str:
    """The number of a label, without its letters: "2" of "2A"."""
    match = _PARTS.match(label)
    return match["number"] if match else label


def _hyphenated(label: str, *, is_plural: bool) -> list[str]:
    """A label with a hyphen: a range ("1-7", "FIGS. 3A-5") or a label of its own ("6A-1")."""
    first, hyphen, last = label.partition("-")
    if not hyphen:
        return [label]
    is_range = int(last) > int(_stem(first).split(".")[0])
    if is_range and (is_plural or first.isdigit()):
        return _range(first, last)
    return [label]


def _range(first: str, last: str) -> list[str]:
    """Labels from `first` to `last`. If print does not say what is between them ("3A-5"), whole numbers are assumed."""
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
    if start["suffix"] and end["suffix"]:  # "1A-3B": every number has the letters up to that of the last
        letters = _suffixes("", "", end["suffix"])
        return [first] + [f"{prefix}{number}{letter}" for number in range(low + 1, high + 1) for letter in letters]
    return [first, *between, last]


def _suffixes(number: str, first: str, last: str) -> list[str]:
    """Labels of one number after suffix `first`, up to `last`: B and C from "A" to "C", A and B from "" to "B".

    Only the last letter or number of a suffix is counted up. If the suffixes differ in more than that, the only label
    is that of `last`.
    """
    start, end = _COUNTER.match(first), _COUNTER.match(last)
    if end is None or start is None or (first and (start["stem"], start["rest"]) != (end["stem"], end["rest"])):
        return [number + last]
    before, after = start["at"], end["at"]
    if after.isdigit():
        codes = [str(code) for code in range(int(before) + 1, int(after) + 1)] if before.isdigit() else [after]
    else:
        low = ord(before) + 1 if before else ord("A" if after.isupper() else "a")
        codes = [chr(code) for code in range(low, ord(after) + 1)]
    return [number + end["stem"] + code + end["rest"] for code in codes] or [number + last]
