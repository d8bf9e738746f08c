"""Which figures a grant declares, and what it says of each.

The paragraphs under "description of drawings" are matched to figures by the label they print, never by their position:
one in eight describes no figure at all (broken-line disclaimers, notices), and one may describe several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from patentdata.grants.references import find_references
from patentdata.grants.viewpoints import read_viewpoint

_SOLE = re.compile(
    r"\s*(?:(?:the|a|this)\s+)?(?:(?:sole|only|single|one)\s+)?(?:FIGURE|FIG\.?|drawing(?:\s+figure)?)\s*"
    r"(?:[:.\-–—]|(?=is\b|shows?\b|illustrates?\b|depicts?\b|represents?\b|an?\b|of\b))",
    re.IGNORECASE,
)


_MAX_PARAGRAPH = 20_000  # characters searched; the longest real paragraph has 2,000


class Declaration(NamedTuple):
    """One stretch of text that says what one or more figures are."""

    labels: tuple[str, ...]
    text: str  # the stretch as printed, reference included
    description: str  # what follows the reference
    paragraph: int
    is_heading: bool = False  # "1. Belt buckle": the article of a Hague design, where others print labels
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
        One dict a label with the keys of `schemas.FIGURE`, in order of mention, and the paragraphs that describe none.

    >>> figures, others = describe_figures(["FIGS. 1-2 are front and rear views of a hat;"], title="Hat", num_figures=2)
    >>> [(figure["label"], figure["viewpoint"]) for figure in figures]
    [('1', 'front'), ('2', 'rear')]
    """
    texts = [" ".join(paragraph.split()) for paragraph in paragraphs]
    declarations = [found for number, text in enumerate(texts) for found in _declarations(text, number)]
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
    return figures, [text for number, text in enumerate(texts) if text and number not in used]


def _figure(label: str, candidates: list[tuple[Declaration, int]], title: str) -> dict[str, str | None]:
    """The row of one label: the text of its best declaration, completed by the others."""
    (found, position), *others = candidates
    viewpoint, direction, article = read_viewpoint(
        found.description, title=title, index=position, num_figures=len(found.labels)
    )
    for other, place in others:
        reading = read_viewpoint(other.description, title=title, index=place, num_figures=len(other.labels))
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


def _declarations(text: str, paragraph: int) -> Iterator[Declaration]:
    """The declarations of one paragraph, in order. Each reaches to the next one's start."""
    references = find_references(text[:_MAX_PARAGRAPH])
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
    for number, text in enumerate(texts):
        if match := _SOLE.match(text):
            return [Declaration(("1",), text, text[match.end() :], number)]
    if num_figures == 1:
        for number, text in enumerate(texts):
            if read_viewpoint(text).viewpoint not in {"none", "other", "in_use"}:
                return [Declaration(("1",), text, text, number)]
    return []
