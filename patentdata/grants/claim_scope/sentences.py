"""Paragraphs as sentences, and sentences as clauses with one statement each.

A statement about lines may be a sentence of its own, half of one ("... illustrate the user; and the broken lines along
the edges ..."), or the tail of a figure's sentence. The points of abbreviations such as "FIG." do not end a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from patentdata.grants.claim_scope.lines import BROKEN_LINES, FINITE_VERB, SHADING_OR_SOLID

_ENDS = re.compile(
    r"[.!?;](?:(?<!;)[\"”’')\]]*\s+(?=[A-Z“\"(]|(?:the|all|any|broken)\s)"
    r"|(?<=[a-z]\.)(?=(?:The|All|In|Any|Broken)\s)"  # the blank is missing
    r"|(?<=;)\s+(?=(?:and,?\s+)?(?:FIGS?\b|FIGURES?\b|[Rr]eproductions?\b)))"
)
_ABBREVIATION = re.compile(
    r"\b(?:[Nn]os?|Ser|Pat|U\.S|[Ee]\.g|[Ii]\.e|vs|[Aa]pprox|Des|Inc|Co|Corp|Ltd|Dr|Mrs?|Ms|St)\.$"
)
_FIG = re.compile(r"\b(?:FIG|Fig)[Ss]?\.$")
_LETTER_LABEL = re.compile(r"[A-Z]\b(?!['’])")
_NEXT_SUBJECT = re.compile(
    r"\b(?:and|while|whereas|but|with)\s+"
    rf"(?=(?P<subject>(?:[\w-]+\s+(?:of\s+)?){{0,4}}?){BROKEN_LINES}"
    rf"|(?:(?:the|all|any)\s+)?(?:[\w-]+\s+)?{SHADING_OR_SOLID}\s+(?:[\w-]+\s+)?{FINITE_VERB.pattern})"
)
_SEMICOLON = re.compile(r";\s*")
_MAX_ABBREVIATION = 8
_WORDS_OF_SUBJECTS = ("line", "shad", "stippl", "hatch", "phantom", "tone")


def split_sentences(paragraph: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, its final point included. The description of a further figure starts a sentence.

    >>> text = "FIG. 1 is a view. The broken lines of FIG. 2 show a bag."
    >>> [text[start:end] for start, end in split_sentences(text)]
    ['FIG. 1 is a view.', 'The broken lines of FIG. 2 show a bag.']
    """
    start = 0
    for match in _ENDS.finditer(paragraph):
        end = match.start() + len(match[0].rstrip())
        last_word = paragraph[max(start, end - _MAX_ABBREVIATION) : end]
        if _ABBREVIATION.search(last_word):
            continue
        if _FIG.search(last_word) and _LETTER_LABEL.match(paragraph, match.end()):
            continue
        yield start, end
        start = match.end()
    if start < len(paragraph):
        yield start, len(paragraph)


def split_clauses(sentence: str) -> Iterator[tuple[int, int]]:
    """Start and end of the clauses of a sentence in lower case.

    A clause is a stretch between semicolons, or from one subject that is lines to the next.

    >>> text = "the dashed lines show a bag and the dotted lines are claimed; none is new."
    >>> [text[start:end] for start, end in split_clauses(text)]
    ['the dashed lines show a bag ', 'the dotted lines are claimed', 'none is new.']
    """
    start = 0
    has_one_subject = sum(map(sentence.count, _WORDS_OF_SUBJECTS)) < 2
    for semicolon in [*_SEMICOLON.finditer(sentence), None]:
        stop = semicolon.start() if semicolon else len(sentence)
        for match in () if has_one_subject else _NEXT_SUBJECT.finditer(sentence, start, stop):
            has_verb = FINITE_VERB.search(sentence, start, match.start()) is not None
            if has_verb and not FINITE_VERB.search(match["subject"] or ""):
                yield start, match.start()
                start = match.end()
        if start < stop:
            yield start, stop
        start = semicolon.end() if semicolon else stop
