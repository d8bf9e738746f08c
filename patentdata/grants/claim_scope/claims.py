"""Whether a clause says that what it describes is claimed, in the hundred ways in which grants say so."""

from __future__ import annotations

import re
from typing import NamedTuple

from patentdata.grants.claim_scope.hinted import Hinted

_WHOLE = r"(?:designs?|inventions?|claim(?:s|ed)?|embodiments?|article|subject\s+matter|patent|protection|scope)"
_ADJECTIVES = (
    r"(?:\s+(?:claimed|present|instant|ornamental|new|novel|inventive|appended|patented|disclosed|design|overall"
    r"|applicants?['’]?s?))*"
)
# "of the claimed design", "thereof", "of or otherwise limit the claimed design"
_OF_WHOLE = (
    r"(?:\s*,?\s*(?:of|to|in|from|thereof|therein|hereof)\b(?:\s+or\s+otherwise\s+limit)?"
    rf"(?:\s+(?:the|this|my|our|any|an?|said|these|those|such)\b)?{_ADJECTIVES}(?:\s+{_WHOLE})?)?"
)
_DISCLAIMED = Hinted(
    "no_ not never neither claim protection",
    rf"\bno\s+(?:\w+\s+)?(?:parts?|park|portions?)\b(?!\s+of\s+the\s+\w+\s+(?:shown|drawn)){_OF_WHOLE}"
    r"|\b(?:not|never|neither)\s+(?:(?:to|be|been|being|intended|considered|regarded|deemed|meant|understood|itself"
    r"|necessarily|otherwise|themselves|form(?:s|ing)?|constitut\w+|compris\w+|includ\w+|represent\w*|mak\w+|up|as"
    r"|within|or|by|and|an?|any|in|essential|integral)\s+)*"
    r"(?:parts?|portions?|elements?|claim(?:ed)?|limit(?:s|ing|ations?)?\b(?:\s+(?:the\s+)?scope)?|included"
    r"|sought|protected|covered"
    rf"|the\s+(?:claim\w*|scope|subject|boundar\w+))\b{_OF_WHOLE}"
    r"|\b(?:un|non-?)claimed\b|\bdisclaim\w*|\bno\s+(?:claim|protection)\s+is\s+(?:made|sought)(?:\s+for)?"
    r"|\bprotection\s+is\s+not\s+(?:sought|claimed)|\b(?:is|are|do|does)\s+not\W*$"
    r"|\b(?:excluded|omitted)\s+from\s+the\s+claim\w*(?:\s+design)?"
    r"|\boutside\s+(?:of\s+)?the\s+(?:scope\s+of\s+the\s+)?claim(?:ed)?\b(?:\s+design)?",
)
_NONE = Hinted(
    "none neither is_claimed are_claimed",
    r"\bno\b[^.;,]*\b(?:is|are)\s+claimed\b|\b(?:none|neither)\b[^.;]*\b(?:parts?|portions?|claim\w*|includ\w+)\b",
)
_CLAIMED = Hinted(
    "claim design invention sought",
    r"\b(?:is|are|be|being|as|forms?|forming|constitut\w+|compris\w+|mak(?:es?|ing)\s+up|considered|becomes?)\s+"
    r"(?:(?:also|included|considered|to\s+be|as|in)\s+)*(?:an?\s+|any\s+|the\s+)?(?:(?:integral|essential|claimed)\s+)?"
    r"(?:parts?|portions?)\s+of\s+(?:the|this|my|our)\s+"
    r"(?:(?:claimed|present|ornamental|new|instant|overall)\s+)*(?:designs?|claims?|inventions?)\b"
    r"|\b(?:is|are)\s+(?:also\s+|being\s+)?claimed\b|\bincluded\s+in\s+the\s+claim\w*"
    r"|\bclaimed\s+(?=(?:stitch|fold|feature|seam|perforat|line|element))"
    r"|\bsought\s+to\s+be\s+(?:protected|patented|claimed)",
)
_SURFACE_OF_CLAIMED = Hinted(
    "shad stippl hatch solid full_ full-",
    r"\bof\s+the\s+claimed\s+design\s+(?:is|are)\s+(?:shown\s+)?(?:\w+ly\s+)?(?:shad|stippl|hatch|cross)\w+"
    r"|\bclaimed\b[^.;]*\b(?:in|by|with)\s+(?:\w+\s+)?(?:solid|full)[\s-]+lines?"
    r"|^\W*(?:\w+\s+){0,2}(?:solid|full)[\s-]+lines?\b[^.;]*\bclaim",
)
# "between claimed and unclaimed portions" says nothing about the lines between them.
_UNCLAIMED = r"(?:un|non-?|dis)claim\w*"
_BOTH_SIDES = Hinted(
    "unclaim nonclaim non-claim disclaim",
    rf"\bclaim\w*\s+(?:\w+\s+){{0,3}}?(?:and|from)\s+(?:the\s+)?{_UNCLAIMED}"
    rf"|\b{_UNCLAIMED}\s+(?:\w+\s+){{0,3}}?(?:and|from)\s+(?:the\s+)?claim\w*",
)
_PURPOSE = (
    r"(?:illustrat\w+|environ\w*|informati\w+|reference|context\w*|demonstrat\w+|explanat\w+|clarity|display|example"
    r"|exemplary|orientation)"
)
_ONLY_SHOWN = Hinted(
    "only alone solely merely just simply aid",
    rf"\b{_PURPOSE}\b(?:\s+(?:aids?|purposes?|and|or|of|the|environ\w*|illustrat\w+|structure|subject|matter)\b)*"
    rf"\s+(?:only|alone|solely)\b|\b(?:only|merely|solely|just|simply)\b[^.;,]{{0,40}}\b{_PURPOSE}"
    r"|\bfor\s+illustration\s+aids?\b",
)


class ClaimReading(NamedTuple):
    """What a clause says about the claim.

    Attributes:
        is_claimed: False if something is not part of the design or is only shown, True if it is claimed; None if the
            clause does not say.
        rest: The clause with blanks in place of the words that say so, of the same length. Without them, "no part of
            the design" is not taken for a part of the article.
    """

    is_claimed: bool | None
    rest: str


def read_claim(clause: str) -> ClaimReading:
    """What a clause in lower case says about the claim.

    >>> read_claim("portions of the shoe are no part of the claimed design")
    ClaimReading(is_claimed=False, rest='portions of the shoe are                               ')
    >>> read_claim("the dash-dot lines mark the boundary between claimed and unclaimed matter").is_claimed is None
    True
    """
    rest, num_disclaimed = _DISCLAIMED.subn(_blanks, clause)
    rest, num_claimed = _CLAIMED.subn(_blanks, rest)
    if num_disclaimed and _BOTH_SIDES.may_match(clause):
        num_disclaimed = len(_DISCLAIMED.findall(_BOTH_SIDES.sub(" ", clause)))
    if num_disclaimed or _NONE.search(clause):
        return ClaimReading(False, rest)
    if num_claimed or _SURFACE_OF_CLAIMED.search(clause):
        return ClaimReading(True, rest)
    return ClaimReading(False if _ONLY_SHOWN.search(clause) else None, rest)


def _blanks(match: re.Match[str]) -> str:
    return " " * len(match[0])
