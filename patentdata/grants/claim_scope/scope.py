"""What a grant says about its lines, one statement a kind of line and meaning.

More than half of all grants say that some of their lines are not part of the claimed design, and they say it in many
ways: in sentences of their own, in the tail of a figure's sentence, once for all lines or piece by piece; and often the
sentence that disclaims follows the ones that say what is shown. So the text is read in two steps: each clause that
names lines gives what it says by itself, and clauses that only add to others ("These portions form no part ...", "None
of the broken lines is claimed") are added to the statements that they are about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from patentdata.grants.claim_scope.clauses import Addition, Clause, Reading, read_sentence
from patentdata.grants.claim_scope.lines import may_name_lines
from patentdata.grants.claim_scope.sentences import split_sentences
from patentdata.grants.claim_scope.things import mask_article
from patentdata.grants.references import Reference, find_references, has_hyphen_labels, mentioned_labels

_DIGITS = str.maketrans("123456789", "000000000")
_MAX_PARAGRAPH = 20_000  # characters read; the longest real paragraph has 2,000
_MAX_SENTENCE = 3_000  # characters read; what hostile text costs grows with their square


class _Grant(NamedTuple):
    """What is known of a grant when its statements are read.

    Attributes:
        title: Title of the patent.
        labels: Labels of all its figures.
        has_hyphens: These labels have hyphens.
    """

    title: str
    labels: frozenset[str]
    has_hyphens: bool


class _Statement:
    """A statement while later clauses may still add to it.

    Attributes:
        lines: Kind of the lines.
        meaning: What they stand for.
        is_claimed: Whether that is claimed; None if nothing said so yet.
        labels: Figures that it is limited to; empty if it is about all.
        start: Offset of its first sentence in the paragraph.
        end: Offset of the end of its last sentence.
        is_general: It is about all broken lines of all figures and does not say what they show.
    """

    def __init__(self, reading: Reading, labels: tuple[str, ...], start: int, end: int) -> None:
        self.lines, self.meaning, self.is_claimed, is_general = reading
        self.labels = labels
        self.start, self.end = start, end
        self.is_general = is_general and not labels


def read_claim_scope(paragraphs: Sequence[str], *, title: str, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The statements about lines, in document order, as dicts with the keys of `schemas.LINE_STATEMENT`.

    Args:
        paragraphs: Those of the description of drawings, in document order.
        title: Title of the patent: its article tells a part of the article from its surroundings.
        labels: Labels of all figures of the patent; a statement that names all of them is limited to none.

    >>> text = "The broken lines of FIG. 2 show a user and form no part of the claimed design."
    >>> [found] = read_claim_scope([text], title="Hat", labels=["1", "2"])
    >>> found["lines"], found["meaning"], found["is_claimed"], found["figures"]
    ('broken', 'environment', False, ['2'])
    """
    texts = [" ".join(text[:_MAX_PARAGRAPH].split()) for text in paragraphs if may_name_lines(text.lower())]
    if not texts:
        return []
    grant = _Grant(title, frozenset(labels), has_hyphen_labels(paragraphs))
    rows = [(found, text[found.start : found.end]) for text in texts for found in _read_paragraph(text, grant)]
    _complete([statement for statement, _ in rows])
    return [_row(statement, text) for statement, text in rows]


def has_unclaimed_matter(claim_scope: Iterable[dict[str, Any]]) -> bool:
    """Whether any statement says that what its lines show is not claimed."""
    return any(statement["is_claimed"] is False for statement in claim_scope)


def _row(statement: _Statement, text: str) -> dict[str, Any]:
    return {
        "lines": statement.lines,
        "meaning": statement.meaning,
        "is_claimed": statement.is_claimed,
        "figures": list(statement.labels),
        "text": text,
    }


def _complete(statements: list[_Statement]) -> None:
    """Mark what is left open as unclaimed if another statement disclaims all broken lines, or those of its meaning."""
    is_disclaimed = any(found.is_general and found.is_claimed is False for found in statements)
    disclaimed = {found.meaning for found in statements if found.is_claimed is False}
    for found in statements:
        if found.is_claimed is None and found.lines in {"broken", "dash_dot"}:
            is_alike = found.meaning in {"environment", "unclaimed_portion"} and found.meaning in disclaimed
            if is_disclaimed or is_alike:
                found.is_claimed = False


# --- Paragraphs -------------------------------------------------------------------------------------------------------


def _read_paragraph(text: str, grant: _Grant) -> list[_Statement]:
    """The statements of one paragraph, in order."""
    found: list[_Statement] = []
    latest: list[_Statement] = []  # what "These portions form no part ..." in the next sentence is about
    for start, end in split_sentences(text):
        sentence = text[start : min(end, start + _MAX_SENTENCE)]
        fresh: list[_Statement] = []
        has_added = False
        for clause in read_sentence(_masked(sentence, grant.title)):
            labels = _labels_of(sentence, clause, grant) if clause.readings else ()
            for reading in clause.readings:
                statement = _Statement(reading, labels, start, end)
                if _add_statement(statement, found + fresh, fresh or latest):
                    has_added = True
                else:
                    fresh.append(statement)
            if clause.addition is not None:
                has_added |= _add(clause.addition, fresh or latest, end)
        found += fresh
        if fresh or not has_added:
            latest = fresh
    return found


def _masked(sentence: str, title: str) -> str:
    """A sentence as it is read: in lower case, without the name of the article, all digits "0", of the same length."""
    lower = sentence.lower()
    if len(lower) != len(sentence):  # a few letters of other scripts become longer, which would move the offsets
        lower = sentence
    return mask_article(lower, title).translate(_DIGITS)


def _settle(statements: list[_Statement], is_claimed: bool | None) -> None:
    """Say whether what the statements are about is claimed, if nothing said so yet."""
    for statement in statements:
        if statement.is_claimed is None:
            statement.is_claimed = is_claimed


def _add(addition: Addition, statements: list[_Statement], end: int) -> bool:
    """Add what a clause says about the statements before it; False if there are none.

    Args:
        addition: What it says.
        statements: Those of the clause or sentence before it.
        end: Offset of the end of its sentence.
    """
    _settle(statements, addition.is_claimed)
    for statement in statements:
        if statement.meaning in {"unclaimed_portion", "unclaimed"} and "environment" in addition.meanings:
            statement.meaning = "environment"
        statement.end = end
    return bool(statements)


def _add_statement(statement: _Statement, earlier: list[_Statement], latest: list[_Statement]) -> bool:
    """Add a statement without a meaning of its own to those that it is about; False if it is one of its own.

    Args:
        statement: What a clause says.
        earlier: All statements before it in the paragraph; "None of the broken lines ..." is about all of them.
        latest: Those of the clause or sentence before it.
    """
    if statement.is_general:
        kinds = {"broken", "dash_dot"} if statement.lines == "broken" else {statement.lines}
        about = [other for other in earlier if other.lines in kinds]
    elif statement.meaning == "break":
        about = [other for other in latest if other.meaning == "break"]
    else:
        return False
    _settle(about, statement.is_claimed)
    for other in about:
        if any(other is late for late in latest):
            other.end = statement.end
    return any(other.is_claimed == statement.is_claimed for other in about)


# --- Figures ----------------------------------------------------------------------------------------------------------

_OF_ANOTHER_VIEW = re.compile(
    r"\b(?:views?|sections?|design|designated|embodiments?|enlarged|magnified)\s+(?:of|in)\s*$", re.IGNORECASE
)
_AT_START = re.compile(r"\W*In\b[^,]*,")


def _labels_of(sentence: str, clause: Clause, grant: _Grant) -> tuple[str, ...]:
    """The figures that a clause about lines is limited to; empty if it names none, or all figures of the grant.

    The description of a figure is about that figure. Else the figures that the subject names count, then those that the
    rest of the clause names, and last those at the start of the sentence: "In FIG. 2, ...".

    Args:
        sentence: A sentence as printed.
        clause: A clause of it.
        grant: The grant.
    """
    references: Sequence[Reference] = find_references(sentence, grant.has_hyphens)[:1]
    if not references or references[0].start > 0 or references[0].is_mention:
        references = _references_in(sentence[clause.start : clause.end], clause, grant.has_hyphens)
        if not references and (at_start := _AT_START.match(sentence)):
            references = mentioned_labels(at_start[0], grant.has_hyphens)
    labels = tuple(dict.fromkeys(label for reference in references for label in reference.labels))
    return () if grant.labels and grant.labels.issubset(labels) else labels


def _references_in(printed: str, clause: Clause, has_hyphens: bool) -> list[Reference]:
    """The references to figures that limit a clause: those of its subject, or else of the rest.

    Args:
        printed: The clause as printed.
        clause: The clause.
        has_hyphens: Labels of this grant have hyphens.
    """
    references = mentioned_labels(printed, has_hyphens)
    in_subject = [found for found in references if clause.start + found.start < clause.subject_end]
    return in_subject or [found for found in references if not _OF_ANOTHER_VIEW.search(printed[: found.start])]
