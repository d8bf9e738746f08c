"""Where the fields of a grant stand in `us-patent-grant` documents, v4.0 to v4.7 (WIPO ST.36, 2005 on)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from patentdata.classes import canonical_locarno, canonical_patent_number, canonical_uspc, uspc_design_class
from patentdata.elements import (
    Element,
    children,
    each,
    parse_count,
    parse_date,
    parse_length_mm,
    person_name,
    printed,
    text_of,
    texts_by_tag,
)

REQUIRED = {
    "patent_number": "<publication-reference>/<doc-number>",
    "grant_date": "<publication-reference>/<date>",
    "title": "<invention-title>",
}
"""What a row cannot do without: field → where it stands."""


def read_fields(root: Element) -> dict[str, Any]:
    """Every field of `records.GRANTS` that the document itself holds, by its name there.

    Beside them `application_type` ("design") and `paragraphs`, those of the description of drawings. What is missing is
    None or empty.
    """
    top = children(root)
    bib = children(top.get("us-bibliographic-data-grant"))
    publication = texts_by_tag(bib.get("publication-reference"))
    application = texts_by_tag(bib.get("application-reference"))
    reference = bib.get("application-reference")
    locarno, locarno_further = _classes(bib.get("classification-locarno"), canonical_locarno)
    uspc, uspc_further = _classes(bib.get("classification-national"), canonical_uspc)
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
        "field_of_search": _field_of_search(bib),
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


def _classes(element: Element | None, canonical: Callable[[str | None], str | None]) -> tuple[str | None, list[str]]:
    """Main class and further classes, canonical."""
    main = next((canonical(printed(child)) for child in each(element, "main-classification")), None)
    further = (canonical(printed(child)) for child in each(element, "further-classification"))
    return main, [symbol for symbol in further if symbol]


def _field_of_search(bib: dict[str, Element]) -> list[str]:
    field = bib.get("us-field-of-classification-search", bib.get("field-of-search"))
    symbols: list[str] = []
    for national in each(field, "classification-national"):
        main, further = _classes(national, canonical_uspc)
        symbols += [main, *further] if main else further
    return symbols


def _claim(claims: Element | None) -> str | None:
    claim = next(each(claims, "claim"), None)
    return text_of(children(claim).get("claim-text", claim))


def _paragraphs(description: Element | None) -> list[str]:
    """Paragraphs of the description of drawings; those of the whole description where it is not marked as such."""
    if description is None:
        return []
    found = [text_of(p) for part in each(description, "description-of-drawings") for p in each(part, "p")]
    return [text for text in found or map(text_of, each(description, "p")) if text]


def _people(bib: dict[str, Element]) -> dict[str, list[str]]:
    """Who stands behind the grant, by role. Until v4.2 the inventors are listed as applicants."""
    parties = children(bib.get("us-parties", bib.get("parties")))
    applicants = list(each(parties.get("us-applicants", parties.get("applicants")), "us-applicant", "applicant"))
    inventors = list(each(parties.get("inventors"), "inventor", "deceased-inventor"))
    if not inventors:
        inventors = [party for party in applicants if "inventor" in (party.get("app-type") or "")]
    examiners = children(bib.get("examiners"))
    return {
        "inventors": _names(inventors),
        "inventor_countries": [country for country in map(_country, inventors) if country],
        "applicants": _names(applicants),
        "assignees": _names(each(bib.get("assignees"), "assignee")),
        "agents": _names(each(parties.get("agents"), "agent")),
        "examiners": _names(
            examiners[role] for role in ("primary-examiner", "assistant-examiner") if role in examiners
        ),
    }


def _names(parties: Any) -> list[str]:
    return [name for name in map(_name, parties) if name]


def _name(party: Element) -> str | None:
    """The person, "First Last", or the organisation; a person's organisation does not count."""
    parts = texts_by_tag(party)
    person = person_name(parts, "first-name", "middle-name", "last-name", "suffix")
    return person or parts.get("orgname") or parts.get("name")


def _country(party: Element) -> str | None:
    """Country of the address, else of residence; "unknown" and "omitted" are none."""
    for path in ("addressbook/address/country", "residence/country"):
        country = (party.findtext(path) or "").strip()
        if country and country not in {"unknown", "omitted"}:
            return country
    return None


_CATEGORIES = (("examiner", "examiner"), ("applicant", "applicant"), ("third", "third party"))


@lru_cache(maxsize=64)
def category_of(printed_category: str | None) -> str | None:
    """ "examiner", "applicant", "third party" or "other" for "cited by examiner" and its like; None for none."""
    text = (printed_category or "").strip().lower()
    if not text:
        return None
    return next((category for word, category in _CATEGORIES if word in text), "other")


def _citations(bib: dict[str, Element]) -> list[dict[str, str | None]]:
    """References in order. They are most of a document, so one pass over all their elements takes every text."""
    references = bib.get("us-references-cited", bib.get("references-cited"))
    if references is None:
        return []
    texts: dict[str, str] = {}
    citations: list[tuple[dict[str, str], Element]] = []
    for part in references.iter(*_CITATION_TAGS):
        tag = part.tag
        if tag == "us-citation" or tag == "citation":
            texts = {}
            citations.append((texts, part))
        elif tag not in texts and (text := part.text):
            texts[tag] = text
    return [_citation(texts, element) for texts, element in citations]


_CITATION_TAGS = ("us-citation", "citation", "country", "doc-number", "kind", "date", "name", "category")
_CITATION_TAGS += ("main-classification",)


def _citation(texts: dict[str, str], element: Element) -> dict[str, str | None]:
    """One reference from the first text of each tag in it; of literature only `text` and `category` are known."""
    printed_number = texts.get("doc-number")
    if printed_number is None:
        country = number = None
        literature = next((text_of(part) for part in each(element, "nplcit", "patcit")), None)
    else:
        country, literature = _stripped(texts.get("country")), None
        number = canonical_patent_number(printed_number) if country in _US else _stripped(printed_number)
    return {
        "number": number,
        "country": country,
        "kind": _stripped(texts.get("kind")),
        "date": _stripped(texts.get("date")),
        "name": _stripped(texts.get("name")),
        "category": category_of(texts.get("category")),
        "uspc": canonical_uspc(texts.get("main-classification")),
        "text": literature,
    }


_US = {"US", None}


def _stripped(text: str | None) -> str | None:
    return text.strip() or None if text else None


def _related(documents: Element | None) -> list[dict[str, str | None]]:
    """Each earlier document: what it is to this grant, its application, and the patent granted on it."""
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
