"""The figures that a grant declares, and what it says about each.

The paragraphs under "description of drawings" are matched to figures by the label they print, never by their position:
one paragraph in eight describes no figure at all (broken-line disclaimers, notices), and one may describe several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from patentdata.grants.references import find_references, has_hyphen_labels
from patentdata.grants.viewpoints import read_viewpoint

_SOLE = re.compile(
    r"\s*(?:(?:the|a|this)\s+)?(?:(?:sole|only|single|one)\s+)?(?:FIGURE|FIG\.?|drawing(?:\s+figure)?)\s*"
    r"(?:[:.\-–—]|(?=is\b|shows?\b|illustrates?\b|depicts?\b|represents?\b|an?\b|of\b))",
    re.IGNORECASE,
)
_MAX_PARAGRAPH = 20_000  # characters searched; the longest real paragraph has 2,000


class Declaration(NamedTuple):
    """One stretch of text that says what one or more figures show.

    Attributes:
        labels: Labels of the figures, in the order printed.
        text: The stretch as printed, including the reference.
        description: What follows the reference.
        paragraph: Index of the paragraph that it is in.
        is_heading: It is like "1. Belt buckle", which names the article of a Hague design if other paragraphs print
            labels.
        is_aside: It is inside a paragraph that is about something else.
    """

    labels: tuple[str, ...]
    text: str
    description: str
    paragraph: int
    is_heading: bool = False
    is_aside: bool = False


def describe_figures(
    paragraphs: Sequence[str], *, title: str, num_figures: int | None
) -> tuple[list[dict[str, str | None]], list[str]]:
    """Match the paragraphs of the description of drawings to figures.

    A label that is declared more than once keeps the sentence that names the fewest figures, or the first of several
    such sentences; the others only add a viewpoint, direction or object that it does not state. A figure without a
    number gets the label "1".

    Args:
        paragraphs: In document order, as printed.
        title: Title of the patent; it shows where the name of an article ends.
        num_figures: Number of figures that the grant states; None if it does not. A paragraph without any label is
            taken as the description of the sole figure only if the grant states that there is one.

    Returns:
        One dict a label with the keys of `schemas.FIGURE`, in order of mention, and the paragraphs that describe no
        figure.

    >>> figures, others = describe_figures(["FIGS. 1-2 are front and rear views of a hat;"], title="Hat", num_figures=2)
    >>> [(figure["label"], figure["viewpoint"]) for figure in figures]
    [('1', 'front'), ('2', 'rear')]
    """
    texts = [" ".join(paragraph.split()) for paragraph in paragraphs]
    has_hyphens = has_hyphen_labels(texts)
    declarations = [
        found for index, text in enumerate(texts) for found in _declarations(text, index, has_hyphens=has_hyphens)
    ]
    if not all(found.is_heading for found in declarations):
        declarations = [found for found in declarations if not found.is_heading]
    declarations = declarations or _sole_declarations(texts, num_figures)
    by_label: dict[str, list[tuple[Declaration, int]]] = {}
    for found in declarations:
        for position, label in enumerate(found.labels):
            by_label.setdefault(label, []).append((found, position))
    figures, used = [], set()
    for label, candidates in by_label.items():
        candidates.sort(key=lambda found: (found[0].is_aside, len(found[0].labels)))  # stable: the first wins
        used.add(candidates[0][0].paragraph)
        figures.append(_figure(label, candidates, title))
    return figures, [text for index, text in enumerate(texts) if text and index not in used]


def _figure(label: str, candidates: list[tuple[Declaration, int]], title: str) -> dict[str, str | None]:
    """The row of one label: its best declaration, which is the first, completed by the others.

    Args:
        candidates: Each declaration of the label, and the index of the label among those it declares.
    """
    (found, position), *others = candidates
    viewpoint, direction, article = read_viewpoint(
        found.description, title=title, index=position, num_figures=len(found.labels)
    )
    for other, other_position in others:
        reading = read_viewpoint(other.description, title=title, index=other_position, num_figures=len(other.labels))
        if viewpoint == "none":
            viewpoint = reading.viewpoint
        if viewpoint == reading.viewpoint:
            direction = direction or reading.direction
        article = article or reading.object
    return {
        "label": label,
        "text": found.text,
        "viewpoint": viewpoint,
        "viewpoint_direction": direction,
        "object": article,
    }


def _declarations(text: str, paragraph: int, *, has_hyphens: bool) -> Iterator[Declaration]:
    """The declarations of one paragraph, in order. Each ends where the next one starts."""
    references = find_references(text[:_MAX_PARAGRAPH], has_hyphens)
    is_aside = bool(references) and (references[0].is_mention or bool(text[: references[0].start].strip(" :.-")))
    ends = [reference.start for reference in references[1:]] + [len(text)]
    for position, (reference, end) in enumerate(zip(references, ends, strict=False)):
        start = 0 if position == 0 and not is_aside else reference.start
        if reference.labels:
            description = text[reference.end : end]
            yield Declaration(
                reference.labels, text[start:end].strip(), description, paragraph, reference.is_heading, is_aside
            )


def _sole_declarations(texts: Sequence[str], num_figures: int | None) -> list[Declaration]:
    """The figure of a patent that prints no label: "The sole FIGURE is ...", or a lone sentence that names a view."""
    for index, text in enumerate(texts):
        if match := _SOLE.match(text):
            return [Declaration(("1",), text, text[match.end() :], index)]
    if num_figures == 1:
        for index, text in enumerate(texts):
            if read_viewpoint(text).viewpoint not in {"none", "other", "in_use"}:
                return [Declaration(("1",), text, text, index)]
    return []
