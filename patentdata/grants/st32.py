"""Fields of a grant from `PATDOC` documents, v2.5 (WIPO ST.32, 2002–2004).

The tags are the INID codes of the printed page: B110 is the patent number, B540 the title. Every field has the name and
the form that `st36` gives it, so that no later stage depends on the standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from patentdata.classes import (
    canonical_locarno,
    canonical_patent_number,
    canonical_uspc,
    cited_patent_number,
    read_symbols,
    uspc_design_class,
)
from patentdata.grants.elements import (
    Element,
    children,
    each,
    parse_count,
    parse_date,
    parse_length_mm,
    person_name,
    printed,
    text_of,
)
from patentdata.store.schemas import CITATION

_CITATION_KEYS = tuple(field.name for field in CITATION)

REQUIRED = {"patent_number": "<B110>", "grant_date": "<B140>", "title": "<B540>"}
"""Required fields → the element that a message names."""

_RELATIONS = {
    "B610": "addition",
    "B620": "division",
    "B631": "continuation",
    "B632": "continuation-in-part",
    "B633": "continuing-reissue",
    "B640": "reissue",
    "B641US": "us-divisional-reissue",
    "B645": "reexamination",
    "B646US": "reexamination",
    "B650": "related-publication",
    "B660": "substitution",
    "B680US": "us-provisional-application",
    "B690US": "related-publication",
}
"""Tag → the name of the same relation in v4 documents."""


def read_fields(root: Element) -> dict[str, Any]:
    """Every field of `schemas.GRANTS` that the document itself holds, by its name there.

    In addition `application_type`, which v2.5 does not have, `paragraphs`, those of the description of drawings, and
    `num_unreadable_classes`. A missing field is None or empty.
    """
    top = children(root)
    groups = top.get("SDOBI")
    bib = {field.tag: field for group in each(groups) for field in group}
    text = {tag: text_of(element) for tag, element in bib.items()}
    locarno = children(bib.get("B510"))
    national = children(bib.get("B520"))
    counts = children(bib.get("B590"))
    uspc_main, num_no_uspc = read_symbols([_printed_code(national.get("B521"))], canonical_uspc)
    uspc = uspc_main[0] if uspc_main else None
    uspc_further, num_no_further = read_symbols(map(_printed_code, each(bib.get("B520"), "B522")), canonical_uspc)
    searched = map(_printed_code, each(bib.get("B580"), "B582", "B583US"))
    field_of_search, num_no_field = read_symbols(searched, canonical_uspc)
    return {
        "application_type": None,
        "patent_number": canonical_patent_number(text.get("B110")),
        "kind": text.get("B130"),
        "title": text.get("B540"),
        "grant_date": parse_date(text.get("B140")),
        "application_number": re.sub(r"\D", "", text.get("B210") or "") or None,
        "application_date": parse_date(text.get("B220")),
        "series_code": text.get("B211US"),
        "term_years": parse_count(text_of(children(bib.get("B472")).get("B474")), maximum=99),
        "locarno_edition": text_of(locarno.get("B516")),
        "locarno_class": canonical_locarno(text_of(locarno.get("B511"))),
        "locarno_further": _present(canonical_locarno(text_of(code)) for code in each(bib.get("B510"), "B512")),
        "uspc": uspc,
        "uspc_class": uspc_design_class(uspc),
        "uspc_further": uspc_further,
        "field_of_search": field_of_search,
        "num_unreadable_classes": num_no_uspc + num_no_further + num_no_field,
        "claim": _claim(top.get("SDOCL")),
        "num_sheets": parse_count(text_of(counts.get("B595"))),
        "num_figures": parse_count(text_of(counts.get("B596"))),
        "paragraphs": _paragraphs(top.get("SDODE")),
        **_people(bib),
        "citations": [_citation(citation) for citation in each(bib.get("B560"), "B561", "B562")],
        "related": _related(groups),
        "priority_claims": _priority_claims(groups),
        "hague_number": None,
        "images": _images(top.get("SDODR")),
        "dtd_version": f"v{root.get('DTD')}" if root.get("DTD") else None,
    }


def _printed_code(element: Element | None) -> str | None:
    """Text of the <PDAT> within, blanks kept, but not the line breaks around it in a pretty-printed document."""
    if element is None:
        return None
    part = next(element.iter("PDAT"), element)
    return printed(part)


def _present(symbols: Iterable[str | None]) -> list[str]:
    return [symbol for symbol in symbols if symbol]


def _claim(claims: Element | None) -> str | None:
    if claims is None:
        return None
    return text_of(next(claims.iter("CLM"), None))


def _paragraphs(description: Element | None) -> list[str]:
    """Paragraphs of the description of drawings, or of the whole description if that part is not marked."""
    if description is None:
        return []
    drawings = next(description.iter("DRWDESC"), description)
    return _present(text_of(paragraph) for paragraph in drawings.iter("PARA"))


def _people(bib: dict[str, Element]) -> dict[str, list[str]]:
    inventors = [_texts_of_party(party) for party in each(bib.get("B720"), "B721")]
    return {
        "inventors": _present(map(_name, inventors)),
        "inventor_countries": [_country(party) for party in inventors],
        "applicants": _present(map(_name, inventors)),
        "assignees": _present(_name(_texts_of_party(party)) for party in each(bib.get("B730"), "B731")),
        "agents": _present(_name(_texts_of_party(party)) for party in each(bib.get("B740"), "B741")),
        "examiners": _present(_name(_texts_of_party(party)) for party in each(bib.get("B745"), "B746", "B747")),
    }


def _texts_of_party(party: Element) -> dict[str, str]:
    """Tag → whole text of each part of a party: {"FNM": "Pia", "SNM": "Müller", "CTRY": "NO"}."""
    found: dict[str, str] = {}
    for part in party.iter("FNM", "SNM", "SFX", "ONM", "CTRY", "STATE"):
        if text := text_of(part):
            found.setdefault(part.tag, text)
    return found


def _name(parts: dict[str, str]) -> str | None:
    return person_name(parts, "FNM", "MNM", "SNM", "SFX") or parts.get("ONM")


def _country(parts: dict[str, str]) -> str:
    """Country of the address; v2.5 prints one only if it is not the US."""
    return parts.get("CTRY", "US")


def _citation(citation: Element) -> dict[str, str | None]:
    """One reference: B561 is a patent, of the US unless a country is printed; B562 is literature."""
    row: dict[str, str | None] = dict.fromkeys(_CITATION_KEYS)
    for part in citation:
        if part.tag == "NCIT":
            row["text"] = text_of(part)
        elif part.tag == "CITED-BY-EXAMINER":
            row["category"] = "examiner"
        elif part.tag == "CITED-BY-OTHER":
            row["category"] = "other"
        elif part.tag == "PCIT":
            pieces = children(part)
            document = {tag: text_of(element) for tag, element in children(pieces.get("DOC")).items()}
            row["country"] = document.get("CTRY") or "US"
            number = document.get("DNUM")
            row["kind"], row["date"] = document.get("KIND"), document.get("DATE")
            row["number"] = cited_patent_number(number, row["kind"]) if row["country"] == "US" else number
            row["name"] = _name(_texts_of_party(pieces["PARTY-US"])) if "PARTY-US" in pieces else None
            row["uspc"] = canonical_uspc(_printed_code(pieces.get("PNC")))
    return row


def _related(groups: Element | None) -> list[dict[str, str | None]]:
    """Each earlier document: how it is related to this grant, its application, and the patent granted on it."""
    rows = []
    for group in each(groups, "B600"):
        for relation in group.iter(*_RELATIONS):
            if relation.getparent().tag == "PARENT-US":  # type: ignore[union-attr]
                continue
            parent = next(relation.iter("PDOC"), relation)
            application = _document(next(parent.iter("DOC"), None))
            patent = next((_document(doc) for ppub in relation.iter("PPUB") for doc in ppub.iter("DOC")), {})
            rows.append(
                {
                    "relation": _RELATIONS[relation.tag],
                    "country": application.get("CTRY") or "US",
                    "application_number": application.get("DNUM"),
                    "patent_number": canonical_patent_number(patent.get("DNUM")),
                    "date": application.get("DATE"),
                }
            )
    return rows


def _document(document: Element | None) -> dict[str, str | None]:
    return {tag: text_of(element) for tag, element in children(document).items()}


def _priority_claims(groups: Element | None) -> list[dict[str, str | None]]:
    """Priority claims of B300, whose parts follow one another without an element around each claim."""
    rows: list[dict[str, str | None]] = []
    for group in each(groups, "B300"):
        for part in group:
            if part.tag == "B310":
                rows.append({"number": text_of(part), "country": None, "date": None, "kind": None})
            elif rows and part.tag == "B320":
                rows[-1]["date"] = text_of(part)
            elif rows and part.tag == "B330":
                rows[-1]["country"] = text_of(part)
    return rows


def _images(drawings: Element | None) -> list[dict[str, Any]]:
    """Drawing files, in document order; v2.5 prints no orientation and often no size."""
    if drawings is None:
        return []
    return [
        {
            "file_name": image.get("FILE"),
            "width_mm": parse_length_mm(image.get("WI")),
            "height_mm": parse_length_mm(image.get("HE")),
            "orientation": None,
        }
        for image in drawings.iter("EMI")
    ]
