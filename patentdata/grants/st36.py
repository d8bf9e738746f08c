"""Fields of a grant from `us-patent-grant` documents, v4.0 to v4.7 (WIPO ST.36, 2005 on).

Elements were renamed between these versions ("parties" became "us-parties"), so a field is looked up by all its names,
whatever version the document states.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
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
    is_lead_of_claim,
    parse_count,
    parse_date,
    parse_length_mm,
    person_name,
    printed,
    text_of,
    texts_by_tag,
)
from patentdata.store.schemas import CITATION

REQUIRED = {
    "patent_number": "<publication-reference>/<doc-number>",
    "grant_date": "<publication-reference>/<date>",
    "title": "<invention-title>",
}
"""Required fields → the element that a message names."""

_NO_COUNTRIES = {None, "", "unknown", "omitted"}
_CATEGORIES = (("examiner", "examiner"), ("applicant", "applicant"), ("third", "third party"))
_CITATION_KEYS = {
    "country": "country",
    "doc-number": "number",
    "kind": "kind",
    "date": "date",
    "name": "name",
    "category": "category",
    "main-classification": "uspc",
}
_BLANK_CITATION: dict[str, str | None] = dict.fromkeys([field.name for field in CITATION])


def read_fields(root: Element) -> dict[str, Any]:
    """Every field of `schemas.GRANTS` that the document itself holds, by its name there.

    In addition `application_type` ("design"), `paragraphs`, those of the description of drawings, and
    `num_unreadable_classes`. A missing field is None or empty.
    """
    top = children(root)
    bib = children(top.get("us-bibliographic-data-grant"))
    publication = texts_by_tag(bib.get("publication-reference"))
    application = texts_by_tag(bib.get("application-reference"))
    reference = bib.get("application-reference")
    locarno, locarno_further, num_no_locarno = _classes(bib.get("classification-locarno"), canonical_locarno)
    uspc, uspc_further, num_no_uspc = _classes(bib.get("classification-national"), canonical_uspc)
    field_of_search, num_no_field = _field_of_search(bib)
    counts = texts_by_tag(bib.get("figures"))
    return {
        "application_type": reference.get("appl-type") if reference is not None else None,
        "patent_number": canonical_patent_number(publication.get("doc-number")),
        "kind": publication.get("kind"),
        "title": text_of(bib.get("invention-title")),
        "grant_date": parse_date(publication.get("date")),
        "application_number": re.sub(r"\D", "", application.get("doc-number") or "") or None,
        "application_date": parse_date(application.get("date")),
        "series_code": text_of(bib.get("us-application-series-code")),
        "term_years": parse_count(texts_by_tag(bib.get("us-term-of-grant")).get("length-of-grant"), maximum=99),
        "locarno_edition": texts_by_tag(bib.get("classification-locarno")).get("edition"),
        "locarno_class": locarno,
        "locarno_further": locarno_further,
        "uspc": uspc,
        "uspc_class": uspc_design_class(uspc),
        "uspc_further": uspc_further,
        "field_of_search": field_of_search,
        "num_unreadable_classes": num_no_locarno + num_no_uspc + num_no_field,
        "claim": _claim(top.get("claims")),
        "num_sheets": parse_count(counts.get("number-of-drawing-sheets")),
        "num_figures": parse_count(counts.get("number-of-figures")),
        "paragraphs": _paragraphs(top.get("description")),
        **_people(bib),
        "citations": _citations(bib),
        "related": _related(bib.get("us-related-documents")),
        "priority_claims": _priority_claims(bib.get("priority-claims")),
        "hague_number": texts_by_tag(bib.get("hague-agreement-data")).get("international-registration-number"),
        "images": _images(top.get("drawings")),
        "dtd_version": _dtd_version(root.get("dtd-version")),
    }


def _classes(
    element: Element | None, canonical: Callable[[str | None], str | None]
) -> tuple[str | None, list[str], int]:
    """The main class and the further classes, in canonical form, and the number of classes that cannot be read."""
    main, num_no_main = read_symbols([printed(next(each(element, "main-classification"), None))], canonical)
    further, num_no_further = read_symbols(map(printed, each(element, "further-classification")), canonical)
    return (main[0] if main else None), further, num_no_main + num_no_further


def _field_of_search(bib: dict[str, Element]) -> tuple[list[str], int]:
    """The symbols of the field of search, and the number of those that cannot be read."""
    field = bib.get("us-field-of-classification-search", bib.get("field-of-search"))
    texts = (
        printed(part)
        for national in each(field, "classification-national")
        for part in national.iterchildren("main-classification", "further-classification")
    )
    return read_symbols(texts, canonical_uspc)


def _claim(claims: Element | None) -> str | None:
    """The claim, without its lead ("We claim:") if that has a <claim-text> or a <claim> of its own."""
    for claim in each(claims, "claim"):
        texts = [text_of(part) for part in each(claim, "claim-text")] or [text_of(claim)]
        if found := [text for text in texts if text and not is_lead_of_claim(text)]:
            return " ".join(found)
    return None


def _paragraphs(description: Element | None) -> list[str]:
    """Paragraphs of the description of drawings, or of the whole description if that part is not marked."""
    if description is None:
        return []
    found = [text_of(p) for part in each(description, "description-of-drawings") for p in each(part, "p")]
    return [text for text in found or map(text_of, each(description, "p")) if text]


def _people(bib: dict[str, Element]) -> dict[str, list[str]]:
    """Names of the parties by role. Until v4.2 the inventors are listed as applicants."""
    parties = children(bib.get("us-parties", bib.get("parties")))
    applicants = list(each(parties.get("us-applicants", parties.get("applicants")), "us-applicant", "applicant"))
    inventors = list(each(parties.get("inventors"), "inventor", "deceased-inventor"))
    if not inventors:
        inventors = [party for party in applicants if "inventor" in (party.get("app-type") or "")]
    people = [texts_by_tag(inventor) for inventor in inventors]
    countries = (_country(parts, inventor) for parts, inventor in zip(people, inventors, strict=True))
    examiners = children(bib.get("examiners"))
    return {
        "inventors": _names(people),
        "inventor_countries": [country for country in countries if country],
        "applicants": _names(map(texts_by_tag, applicants)),
        "assignees": _names(map(texts_by_tag, each(bib.get("assignees"), "assignee"))),
        "agents": _names(map(texts_by_tag, each(parties.get("agents"), "agent"))),
        "examiners": _names(
            texts_by_tag(examiners[role]) for role in ("primary-examiner", "assistant-examiner") if role in examiners
        ),
    }


def _names(parties: Iterable[dict[str, str]]) -> list[str]:
    return [name for name in map(_name, parties) if name]


def _name(parts: dict[str, str]) -> str | None:
    """The person, "First Last", or else the organisation."""
    person = person_name(parts, "first-name", "middle-name", "last-name", "suffix")
    return person or parts.get("orgname") or parts.get("name")


def _country(parts: dict[str, str], party: Element) -> str | None:
    """Country of the address, or else of residence; None if neither is known ("unknown", "omitted")."""
    country = parts.get("country")
    if country in _NO_COUNTRIES:
        country = (party.findtext("residence/country") or "").strip()
    return None if country in _NO_COUNTRIES else country


@lru_cache(maxsize=64)
def category_of(printed_category: str | None) -> str | None:
    """ "examiner", "applicant", "third party" or "other" for "cited by examiner" or the like; None if missing."""
    text = (printed_category or "").strip().lower()
    if not text:
        return None
    return next((category for word, category in _CATEGORIES if word in text), "other")


def _citations(bib: dict[str, Element]) -> list[dict[str, str | None]]:
    """References in document order; literature has only `text` and `category`.

    References are most of a document, so they are read in one pass that takes the first text of each element.
    """
    references = bib.get("us-references-cited", bib.get("references-cited"))
    if references is None:
        return []
    rows: list[dict[str, str | None]] = []
    row = dict(_BLANK_CITATION)
    for part in references.iter("us-citation", "citation", "nplcit", *_CITATION_KEYS):
        key = _CITATION_KEYS.get(part.tag)
        if key is not None:
            if row[key] is None:
                row[key] = part.text
        elif part.tag == "nplcit":
            row["text"] = text_of(part)
        else:
            row = dict(_BLANK_CITATION)
            rows.append(row)
    for row in rows:
        _make_canonical(row)
    return rows


def _make_canonical(citation: dict[str, str | None]) -> None:
    """Convert the printed texts of one citation, in place, to the form that they have in a row."""
    country = citation["country"]
    if citation["text"] is not None:
        citation.update(dict.fromkeys(("country", "number", "kind", "date", "name")))
    for key in ("kind", "date", "name"):
        if text := citation[key]:
            citation[key] = text.strip() or None
    if country is None or country == "US":
        citation["number"] = cited_patent_number(citation["number"], citation["kind"])
    citation["category"] = category_of(citation["category"])
    citation["uspc"] = canonical_uspc(citation["uspc"])


def _related(documents: Element | None) -> list[dict[str, str | None]]:
    """Each earlier document: how it is related to this grant, its application, and the patent granted on it."""
    rows = []
    for relation in each(documents):
        parents = [parent for part in relation for parent in each(part, "parent-doc")] or [relation]
        for parent in parents:
            parts = children(parent)
            application = texts_by_tag(parts.get("document-id"))
            patent = texts_by_tag(parts.get("parent-grant-document"))
            rows.append(
                {
                    "relation": relation.tag,
                    "country": application.get("country"),
                    "application_number": application.get("doc-number"),
                    "patent_number": canonical_patent_number(patent.get("doc-number")),
                    "date": application.get("date"),
                }
            )
    return rows


def _priority_claims(claims: Element | None) -> list[dict[str, str | None]]:
    rows = []
    for claim in each(claims, "priority-claim"):
        parts = texts_by_tag(claim)
        rows.append(
            {
                "number": parts.get("doc-number"),
                "country": parts.get("country"),
                "date": parts.get("date"),
                "kind": claim.get("kind"),
            }
        )
    return rows


def _images(drawings: Element | None) -> list[dict[str, Any]]:
    """Drawing files, in document order: the front-page drawing, then the sheets."""
    return [
        {
            "file_name": image.get("file"),
            "width_mm": parse_length_mm(image.get("wi")),
            "height_mm": parse_length_mm(image.get("he")),
            "orientation": image.get("orientation"),
        }
        for figure in each(drawings, "figure")
        for image in each(figure, "img")
    ]


def _dtd_version(attribute: str | None) -> str | None:
    """ "v4.5" for "v4.5 2014-04-03", "v4.0" for the "v40 2004-12-02" of the first years."""
    match = re.match(r"\s*v?(\d)\.?(\d)", attribute or "")
    return f"v{match[1]}.{match[2]}" if match else None
