"""What a prompt can say about a view: the fields of its grant, as text that is safe to put into a question.

Text from grants is untrusted and becomes part of the prompt, so it is bounded in length, put on one line, and stripped
of the signs from which a chat template or a processor could read its special tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from patentdata.captions.captioner import Row
from patentdata.captions.described import class_title_of, with_article, wording_of

_MAX_TITLE_CHARS = 200
_MAX_SENTENCE_CHARS = 400
_MAX_CLAIM_CHARS = 600
_MAX_CAPTION_CHARS = 1_200
_SENTENCE_END = re.compile(r"(?<=[.;])\s+(?=[A-Z])")
_BROKEN_LINES = re.compile(
    r"\b(?:broken|dashed|dash-dash|dot-dash|dash-dot|dotted|phantom|stippl\w+)\b|\b(?:un|not )claimed\b", re.IGNORECASE
)

# Name of each variable of a template → what it is; a text that the grant does not have is empty.
VARIABLES: Mapping[str, str] = {
    "title": "title of the patent, such as “Chair”",
    "article": "the title with its article, such as “a chair”; “an article” if there is no title",
    "view": "viewpoint and article, such as “Top front perspective view of a chair”",
    "viewpoint": "viewpoint that the grant declares, such as “front”; “none” if it declares none",
    "direction": "direction of a perspective, such as “top front”",
    "description": "the grant's own sentence about the figure",
    "figure_label": "label of the figure, such as “3”",
    "is_front_page": "true for the front-page drawing",
    "uspc_class": "US design class, such as “D6”",
    "locarno_class": "Locarno class and subclass, such as “06-01”",
    "class_title": "title of the US class, or else of the Locarno class",
    "claim": "the claim",
    "broken_lines": "the grant's statements on broken lines and on what is not claimed",
    "unclaimed": "what the grant says is not claimed in the figure, such as “its surroundings, parts of the article”",
    "claimed_only": "true if the picture shows the claimed lines alone, without what is unclaimed",
    "caption": "the caption that a judge is asked about; empty when captions are made",
}


_OF_A_VIEW = (
    "view",
    "viewpoint",
    "direction",
    "description",
    "figure_label",
    "is_front_page",
    "unclaimed",
    "claimed_only",
    "caption",
)
PATENT_VARIABLES: Mapping[str, str] = {
    **{name: meaning for name, meaning in VARIABLES.items() if name not in _OF_A_VIEW},
    "views": f"a list of the views; each has label and {', '.join(_OF_A_VIEW)}",
}


def patent_variables_of(views: Sequence[Row], labels: Sequence[str]) -> dict[str, Any]:
    """The value of every variable of a template about several views of a patent, which have these labels."""
    of_views = [variables_of(view) for view in views]
    return {
        **{name: value for name, value in of_views[0].items() if name not in _OF_A_VIEW},
        "views": [
            {"label": label, **{name: of_view[name] for name in _OF_A_VIEW}}
            for of_view, label in zip(of_views, labels, strict=True)
        ],
    }


def variables_of(view: Row, names: Collection[str] = tuple(VARIABLES)) -> dict[str, Any]:
    """The values of some variables of a template for one view, a row with the columns named in `captioner`.

    Args:
        view: The view.
        names: The variables; those that a template does not use need not be made.
    """
    return {name: _VALUES[name](view) for name in names}


def _title_of(view: Row) -> str:
    return clean_words(view.get("title"), _MAX_TITLE_CHARS)


def _direction_of(view: Row) -> str:
    return clean_words(view["viewpoint_direction"], _MAX_TITLE_CHARS)


def _view_of(view: Row) -> str:
    wording = wording_of(view["viewpoint"], _direction_of(view), is_front_page=view["is_front_page"])
    return wording.format(with_article(_title_of(view)))


_VALUES: Mapping[str, Callable[[Row], Any]] = {
    "title": _title_of,
    "article": lambda view: with_article(_title_of(view)),
    "view": _view_of,
    "viewpoint": lambda view: view["viewpoint"],
    "direction": _direction_of,
    "description": lambda view: clean_words(view.get("description"), _MAX_SENTENCE_CHARS),
    "figure_label": lambda view: clean_words(view.get("figure_label"), _MAX_TITLE_CHARS),
    "is_front_page": lambda view: bool(view["is_front_page"]),
    "uspc_class": lambda view: clean_words(view.get("uspc_class"), _MAX_TITLE_CHARS),
    "locarno_class": lambda view: clean_words(view.get("locarno_class"), _MAX_TITLE_CHARS),
    "class_title": lambda view: class_title_of(view.get("uspc_class"), view.get("locarno_class")) or "",
    "claim": lambda view: clean_words(view.get("claim"), _MAX_CLAIM_CHARS),
    "broken_lines": lambda view: clean_words(broken_line_statements(view.get("other_paragraphs")), _MAX_SENTENCE_CHARS),
    "unclaimed": lambda view: unclaimed_words(view.get("claim_scope"), view.get("figure_label")),
    "claimed_only": lambda view: bool(view.get("claimed_image")),
    "caption": lambda view: clean_words(view.get("caption"), _MAX_CAPTION_CHARS),
}

_UNCLAIMED_WORDS = {
    "environment": "its surroundings",
    "unclaimed_portion": "parts of the article",
    "boundary": "the lines that bound the claim",
    "stitching": "stitching",
    "fold_or_hidden": "folds and hidden edges",
    "break": "what is left out at a break",
    "unclaimed": "what broken lines show",
    "other": "what broken lines show",
}


def unclaimed_words(claim_scope: Iterable[Mapping[str, Any]] | None, figure_label: str | None) -> str:
    """What a grant says is not claimed in a figure, in a few words; empty if it says nothing.

    The words are this package's own and not the grant's, so their number is bounded.

    >>> statement = {"meaning": "environment", "is_claimed": False, "figures": []}
    >>> unclaimed_words([statement, statement | {"meaning": "stitching"}], "1")
    'its surroundings, stitching'
    """
    meanings = (
        statement["meaning"]
        for statement in claim_scope or ()
        if statement["is_claimed"] is False and (not statement["figures"] or figure_label in statement["figures"])
    )
    return ", ".join(dict.fromkeys(_UNCLAIMED_WORDS[name] for name in meanings if name in _UNCLAIMED_WORDS))


def broken_line_statements(paragraphs: Iterable[str] | None) -> str:
    """The sentences about broken lines, and about what is not claimed, of the paragraphs that describe no figure.

    >>> broken_line_statements(["The broken lines form no part of the claimed design. The lamp is blue."])
    'The broken lines form no part of the claimed design.'
    """
    sentences = [sentence for paragraph in paragraphs or () for sentence in _SENTENCE_END.split(paragraph)]
    return " ".join(sentence for sentence in sentences if _BROKEN_LINES.search(sentence))


def clean_words(text: str | None, max_chars: int) -> str:
    """`text` of a grant on one line, without control characters and angle brackets, cut between words.

    >>> clean_words("FIG. 1 is\\n a <image> view\\x00;", 24)
    'FIG. 1 is a image view ;'
    """
    # Cut first, since the time for the rest is proportional to the length.
    text = unicodedata.normalize("NFC", (text or "")[: 4 * max_chars])
    kept = "".join(" " if char in "<>" or unicodedata.category(char)[0] == "C" else char for char in text)
    line = " ".join(kept.split())
    if len(line) <= max_chars:
        return line
    cut = line[: max_chars - 1]
    return (cut.rpartition(" ")[0] or cut).rstrip(" ,;:") + "…"
