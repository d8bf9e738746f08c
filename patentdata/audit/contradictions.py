"""Captions of a dataset that contradict the grant: another viewpoint, another article, another class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from patentdata import classes
from patentdata.captions.described import class_title_of
from patentdata.captions.faithfulness.detectors import find_faults
from patentdata.captions.faithfulness.facts import facts_of

KINDS = {
    "viewpoint": "another viewpoint than the grant declares",
    "article": "another article than the title names",
    "class": "another class than the grant's",
}
"""What a caption can contradict → the contradiction in words."""

_TITLES = {title.lower() for title in (*classes.USPC_TITLES.values(), *classes.LOCARNO_TITLES.values())}
_CLASSED = re.compile(
    rf"\b(?:class(?:ed|ified)?|categor(?:y|ised|ized)|belong(?:s|ing))\b[^.;]{{0,30}}?\b"
    rf"(?P<title>{'|'.join(re.escape(title) for title in sorted(_TITLES, key=len, reverse=True))})(?=[.,;]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Contradiction:
    """A caption that contradicts the grant.

    Attributes:
        row: Index of the view.
        kind: What it contradicts, one of `KINDS`.
        words: The words of the caption that are wrong.
        declared: What the grant says.
    """

    row: int
    kind: str
    words: str
    declared: str


def find_contradictions(row: int, view: Mapping[str, Any]) -> Iterator[Contradiction]:
    """What the caption of a view contradicts.

    Args:
        row: Index of the view.
        view: Its row of the dataset, with "description" and "other_paragraphs" of the grant if they are known: words
            that the grant uses itself are not wrong.
    """
    text = view["text"] or ""
    faults = find_faults(text, facts_of(dict(view), {}))
    viewpoint = " ".join(word for word in (view.get("viewpoint_direction"), view["viewpoint"]) if word)
    for kind, declared in (("viewpoint", viewpoint), ("article", view["title"] or "")):
        if words := faults.get(kind):
            yield Contradiction(row, kind, words, declared)
    own = {
        class_title_of(view["uspc_class"], None),
        class_title_of(None, view["locarno_class"]),
    } - {None}
    if (
        own
        and (match := _CLASSED.search(text))
        and match["title"].lower() not in {title.lower() for title in own if title}
    ):
        yield Contradiction(row, "class", match["title"], " / ".join(sorted(title for title in own if title)))
