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
from dataclasses import dataclass
from typing import Any, NamedTuple

from patentdata.grants.claim_scope.claims import read_claim
from patentdata.grants.claim_scope.clauses import Reading, read_clause
from patentdata.grants.claim_scope.lines import FINITE_VERB, LineMention, Role, find_lines, may_name_lines
from patentdata.grants.claim_scope.meanings import find_meanings
from patentdata.grants.claim_scope.sentences import split_clauses, split_sentences
from patentdata.grants.references import Reference, find_references, has_hyphen_labels, mentioned_labels

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


@dataclass
class _Statement:
    """A statement while later clauses may still add to it.

    Attributes:
        lines: Kind of the lines.
        meaning: What they stand for.
        is_claimed: Whether that is claimed; None if nothing said so yet.
        labels: Figures that it is limited to; empty if it is about all.
        start: Offset of its first sentence in the paragraph.
        end: Offset of the end of its last sentence.
        is_general: It is about all broken lines of all figures and names no thing.
    """

    lines: str
    meaning: str
    is_claimed: bool | None
    labels: tuple[str, ...]
    start: int
    end: int
    is_general: bool = False


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
    rows: list[tuple[_Statement, str]] = []
    for paragraph in paragraphs:
        if may_name_lines(paragraph.lower()):
            text = " ".join(paragraph[:_MAX_PARAGRAPH].split())
            has_hyphens = "-" in text and has_hyphen_labels(paragraphs)
            grant = _Grant(title, frozenset(labels), has_hyphens)
            rows += [(found, text[found.start : found.end]) for found in _read_paragraph(text, grant)]
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


def _read_paragraph(text: str, grant: _Grant) -> list[_Statement]:
    """The statements of one paragraph, in order."""
    found: list[_Statement] = []
    latest: list[_Statement] = []  # what "These portions form no part ..." in the next sentence is about
    for start, end in split_sentences(text):
        sentence = text[start : min(end, start + _MAX_SENTENCE)]
        lower = sentence.lower()
        fresh: list[_Statement] = []
        has_added = False
        for clause_start, clause_end in split_clauses(lower):
            clause = lower[clause_start:clause_end]
            mentions = find_lines(clause)
            if not mentions:
                if _ADDS.match(clause):
                    has_added |= _add_clause(clause, fresh or latest, end)
                continue
            labels = _labels_of(sentence, (clause_start, clause_end), clause, mentions[0], grant)
            for reading in read_clause(clause, mentions, title=grant.title):
                is_general = reading.is_general and not labels
                may_add = is_general or reading.meaning == "break"
                if may_add and _add_reading(reading, found + fresh, fresh or latest, end):
                    has_added = True
                else:
                    lines, meaning, is_claimed = reading[:3]
                    fresh.append(_Statement(lines, meaning, is_claimed, labels, start, end, is_general))
            if " of which" in clause and _OF_WHICH.search(clause):
                _settle(fresh, fresh[-1].is_claimed if fresh else None)
        found += fresh
        if fresh or not has_added:
            latest = fresh
    return found


def _settle(statements: list[_Statement], is_claimed: bool | None) -> None:
    """Say whether what the statements are about is claimed, if nothing said so yet."""
    for statement in statements:
        if statement.is_claimed is None:
            statement.is_claimed = is_claimed


def _add_clause(clause: str, statements: list[_Statement], end: int) -> bool:
    """Add a clause such as "These portions form no part ..." to the statements before it; False if it says nothing.

    Args:
        clause: A clause in lower case that names no lines.
        statements: Those of the clause or sentence before it.
        end: Offset of the end of its sentence.
    """
    is_claimed, rest = read_claim(clause)
    meanings = find_meanings(rest)
    if is_claimed is None and not meanings:
        return False
    _settle(statements, is_claimed)
    for statement in statements:
        if statement.meaning in {"unclaimed_portion", "unclaimed"} and "environment" in meanings:
            statement.meaning = "environment"
        statement.end = end
    return bool(statements)


def _add_reading(reading: Reading, earlier: list[_Statement], latest: list[_Statement], end: int) -> bool:
    """Add what has no meaning of its own to the statements that it is about; False if there are none.

    Args:
        reading: What a clause says in general, or about a break.
        earlier: All statements before it in the paragraph; "None of the broken lines ..." is about all of them.
        latest: Those of the clause or sentence before it.
        end: Offset of the end of its sentence.
    """
    if reading.meaning == "break":
        about = [statement for statement in latest if statement.meaning == "break"]
    else:
        kinds = {"broken", "dash_dot"} if reading.lines == "broken" else {reading.lines}
        about = [statement for statement in earlier if statement.lines in kinds]
    _settle(about, reading.is_claimed)
    for statement in about:
        if any(statement is other for other in latest):
            statement.end = end
    return any(statement.is_claimed == reading.is_claimed for statement in about)


# --- Figures ----------------------------------------------------------------------------------------------------------

_OF_ANOTHER_VIEW = re.compile(
    r"\b(?:views?|sections?|design|designated|embodiments?|enlarged|magnified)\s+(?:of|in)\s*$", re.IGNORECASE
)
_AT_START = re.compile(r"\W*In\b[^,]*,")


def _labels_of(
    sentence: str, span: tuple[int, int], clause: str, mention: LineMention, grant: _Grant
) -> tuple[str, ...]:
    """The figures that a clause about lines is limited to; empty if it names none, or all figures of the grant.

    The description of a figure is about that figure. Else the figures that the subject names count, then those that the
    rest of the clause names, and last those at the start of the sentence: "In FIG. 2, ...".

    Args:
        sentence: A sentence as printed.
        span: Start and end of the clause in it.
        clause: The clause in lower case.
        mention: The lines that it is about.
        grant: The grant.
    """
    references: Sequence[Reference] = find_references(sentence, grant.has_hyphens)[:1]
    if not references or references[0].start > 0 or references[0].is_mention:
        references = _references_in(sentence[span[0] : span[1]], clause, mention, grant.has_hyphens)
        if not references and (at_start := _AT_START.match(sentence)):
            references = mentioned_labels(at_start[0], grant.has_hyphens)
    labels = tuple(dict.fromkeys(label for reference in references for label in reference.labels))
    return () if grant.labels and grant.labels.issubset(labels) else labels


def _references_in(printed: str, clause: str, mention: LineMention, has_hyphens: bool) -> list[Reference]:
    """The references to figures that limit a clause: those of its subject, or else of the rest.

    Args:
        printed: A clause as printed.
        clause: The clause in lower case.
        mention: The lines that it is about.
        has_hyphens: Labels of this grant have hyphens.
    """
    references = mentioned_labels(printed, has_hyphens)
    verb = FINITE_VERB.search(clause, mention.end) if references and mention.role == Role.SUBJECT else None
    in_subject = [found for found in references if verb is None or found.start < verb.start()]
    return in_subject or [found for found in references if not _OF_ANOTHER_VIEW.search(printed[: found.start])]
