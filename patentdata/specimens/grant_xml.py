"""The grant of a specimen as XML of DTD v4.5, in the layout of the patent office."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from patentdata.specimens.line_statements import DrawnLines
from patentdata.specimens.wording import Person

_DTD = "us-patent-grant-v45-2014-04-03.dtd"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One drawing file as the grant lists it."""

    file_name: str
    width_mm: str
    height_mm: str
    orientation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Citation:
    """One cited patent."""

    number: str
    kind: str
    date: str
    name: str
    by_examiner: bool
    printed_uspc: str | None = None


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Everything the XML of a specimen says; dates are YYYYMMDD.

    Attributes:
        number: Patent number without the D.
        paragraphs: Description of the drawings: a figure reference ("FIG. 1", or None) and the words after it.
        drawn_lines: What the paragraphs say about the lines of the drawings.
        printed_uspc: National class in fixed columns, as are `further_uspc` and `searched_uspc`.
        parent: Application number, date and patent number of the design that this one was divided from.
        hague_number: International registration number of a series 35 application.
        priority: Country, number and date of a foreign application.
    """

    number: int
    date: str
    produced: str
    application_number: str
    application_date: str
    title: str
    claim: str
    locarno: str
    printed_uspc: str
    further_uspc: tuple[str, ...] = ()
    searched_uspc: tuple[str, ...] = ()
    term_years: int = 15
    inventors: tuple[Person, ...]
    assignee: str | None
    agent: str | None
    examiner: tuple[str, str]
    citations: tuple[Citation, ...] = ()
    parent: tuple[str, str, str] | None = None
    priority: tuple[str, str, str] | None = None
    hague_number: str | None = None
    num_figures: int
    paragraphs: tuple[tuple[str | None, str], ...]
    drawn_lines: tuple[DrawnLines, ...] = ()
    images: tuple[Image, ...] = field(default=())

    @property
    def document_name(self) -> str:
        """Name of the folder and, with an extension, of the files: "USD0900001-20240102"."""
        return f"USD{self.number:07d}-{self.date}"


def grant_xml(grant: Grant) -> bytes:
    """The document in ASCII, with hexadecimal character references and LF line ends."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<!DOCTYPE us-patent-grant SYSTEM "{_DTD}" [ ]>',
        f'<us-patent-grant lang="EN" dtd-version="v4.5 2014-04-03" file="{grant.document_name}.XML" '
        f'status="PRODUCTION" id="us-patent-grant" country="US" '
        f'date-produced="{grant.produced}" date-publ="{grant.date}">',
        *_bibliography(grant),
        *_drawings(grant),
        *_description(grant),
        "<us-claim-statement>CLAIM</us-claim-statement>",
        '<claims id="claims">',
        '<claim id="CLM-00001" num="00001">',
        _element("claim-text", grant.claim),
        "</claim>",
        "</claims>",
        "</us-patent-grant>",
        "",
    ]
    return re.sub(r"[^\x00-\x7f]", lambda match: f"&#x{ord(match[0]):x};", "\n".join(lines)).encode("ascii")


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _document_id(number: str, date: str = "", kind: str = "", name: str = "", country: str = "US") -> list[str]:
    parts = [("country", country), ("doc-number", number), ("kind", kind), ("name", name), ("date", date)]
    return ["<document-id>", *(_element(tag, text) for tag, text in parts if text), "</document-id>"]


def _bibliography(grant: Grant) -> list[str]:
    return [
        "<us-bibliographic-data-grant>",
        "<publication-reference>",
        *_document_id(f"D{grant.number:07d}", grant.date, "S1"),
        "</publication-reference>",
        '<application-reference appl-type="design">',
        *_document_id(grant.application_number, grant.application_date),
        "</application-reference>",
        _element("us-application-series-code", grant.application_number[:2]),
        *_priority(grant),
        "<us-term-of-grant>",
        _element("length-of-grant", str(grant.term_years)),
        "</us-term-of-grant>",
        "<classification-locarno>",
        _element("edition", "13"),
        _element("main-classification", grant.locarno),
        "</classification-locarno>",
        "<classification-national>",
        _element("country", "US"),
        _element("main-classification", grant.printed_uspc),
        *(_element("further-classification", further) for further in grant.further_uspc),
        "</classification-national>",
        f'<invention-title id="d2e43">{escape(grant.title)}</invention-title>',
        *_citations(grant),
        _element("number-of-claims", "1"),
        _element("us-exemplary-claim", "1"),
        *_field_of_search(grant),
        "<figures>",
        _element("number-of-drawing-sheets", str(len(grant.images) - 1)),
        _element("number-of-figures", str(grant.num_figures)),
        "</figures>",
        *_related(grant),
        *_parties(grant),
        *_hague(grant),
        "</us-bibliographic-data-grant>",
    ]


def _priority(grant: Grant) -> list[str]:
    if not grant.priority:
        return []
    country, number, date = grant.priority
    return [
        "<priority-claims>",
        '<priority-claim sequence="01" kind="national">',
        _element("country", country),
        _element("doc-number", number),
        _element("date", date),
        "</priority-claim>",
        "</priority-claims>",
    ]


def _citations(grant: Grant) -> list[str]:
    if not grant.citations:
        return []
    lines = ["<us-references-cited>"]
    for index, citation in enumerate(grant.citations, start=1):
        lines += [
            "<us-citation>",
            f'<patcit num="{index:05d}">',
            *_document_id(citation.number, citation.date, citation.kind, citation.name),
            "</patcit>",
            _element("category", f"cited by {'examiner' if citation.by_examiner else 'applicant'}"),
        ]
        if citation.printed_uspc:
            lines.append(
                "<classification-national><country>US</country>"
                f"{_element('main-classification', citation.printed_uspc)}</classification-national>"
            )
        lines.append("</us-citation>")
    return [*lines, "</us-references-cited>"]


def _field_of_search(grant: Grant) -> list[str]:
    if not grant.searched_uspc:
        return []
    lines = ["<us-field-of-classification-search>"]
    for printed in grant.searched_uspc:
        lines += [
            "<classification-national>",
            _element("country", "US"),
            _element("main-classification", printed),
            *([_element("additional-info", "unstructured")] if "-" in printed else []),
            "</classification-national>",
        ]
    return [*lines, "</us-field-of-classification-search>"]


def _related(grant: Grant) -> list[str]:
    if not grant.parent:
        return []
    application, date, patent = grant.parent
    return [
        "<us-related-documents>",
        "<division>",
        "<relation>",
        "<parent-doc>",
        *_document_id(application, date),
        "<parent-grant-document>",
        *_document_id(patent),
        "</parent-grant-document>",
        "</parent-doc>",
        "<child-doc>",
        *_document_id(grant.application_number),
        "</child-doc>",
        "</relation>",
        "</division>",
        "</us-related-documents>",
    ]


def _address(place: tuple[str, str, str]) -> list[str]:
    city, state, country = place
    state_line = [_element("state", state)] if state else []
    return ["<address>", _element("city", city), *state_line, _element("country", country), "</address>"]


def _person(person: Person) -> list[str]:
    return [
        "<addressbook>",
        _element("last-name", person.last),
        _element("first-name", person.first),
        *_address(person.place),
        "</addressbook>",
    ]


def _parties(grant: Grant) -> list[str]:
    place = grant.inventors[0].place
    firm = [] if grant.assignee is None else [_element("orgname", grant.assignee)]
    category = "assignee" if firm else "inventor"
    applicant = ["<addressbook>", *firm, *_address(place), "</addressbook>"] if firm else _person(grant.inventors[0])
    lines = [
        "<us-parties>",
        "<us-applicants>",
        '<us-applicant sequence="001" app-type="applicant" designation="us-only" '
        f'applicant-authority-category="{category}">',
        *applicant,
        "<residence>",
        _element("country", place[2]),
        "</residence>",
        "</us-applicant>",
        "</us-applicants>",
        "<inventors>",
    ]
    for index, person in enumerate(grant.inventors, start=1):
        lines += [f'<inventor sequence="{index:03d}" designation="us-only">', *_person(person), "</inventor>"]
    lines.append("</inventors>")
    if grant.agent:
        lines += [
            "<agents>", '<agent sequence="01" rep-type="attorney">', "<addressbook>", _element("orgname", grant.agent),
            "<address>", _element("country", "unknown"), "</address>", "</addressbook>", "</agent>", "</agents>",
        ]  # fmt: skip
    lines.append("</us-parties>")
    if firm:
        lines += [
            "<assignees>", "<assignee>", "<addressbook>", *firm, _element("role", "02"), *_address(place),
            "</addressbook>", "</assignee>", "</assignees>",
        ]  # fmt: skip
    last, first = grant.examiner
    return [
        *lines,
        "<examiners>",
        "<primary-examiner>",
        _element("last-name", last),
        _element("first-name", first),
        _element("department", "2911"),
        "</primary-examiner>",
        "</examiners>",
    ]


def _hague(grant: Grant) -> list[str]:
    if not grant.hague_number:
        return []

    def dated(name: str, date: str) -> list[str]:
        return [f"<{name}>", _element("date", date), f"</{name}>"]

    return [
        "<hague-agreement-data>",
        *dated("international-filing-date", grant.application_date),
        *dated("international-registration-publication-date", grant.application_date),
        _element("international-registration-number", grant.hague_number),
        *dated("international-registration-date", grant.application_date),
        "</hague-agreement-data>",
    ]


def _drawings(grant: Grant) -> list[str]:
    lines = ['<drawings id="DRAWINGS">']
    for index, image in enumerate(grant.images):
        orientation = f'orientation="{image.orientation}" ' if image.orientation else ""
        lines += [
            f'<figure id="Fig-EMI-D{index:05d}" num="{index:05d}">',
            f'<img id="EMI-D{index:05d}" he="{image.height_mm}" wi="{image.width_mm}" {orientation}'
            f'file={quoteattr(image.file_name)} alt="embedded image" img-content="drawing" img-format="tif"/>',
            "</figure>",
        ]
    return [*lines, "</drawings>"]


def _description(grant: Grant) -> list[str]:
    lines = [
        '<description id="description">',
        '<?brief-description-of-drawings description="Brief Description of Drawings" end="lead"?>',
        "<description-of-drawings>",
    ]
    for index, (reference, words) in enumerate(grant.paragraphs, start=1):
        figref = f'<figref idref="DRAWINGS">{escape(reference)}</figref> ' if reference else ""
        lines.append(f'<p id="p-{index:04d}" num="{index:04d}">{figref}{escape(words)}</p>')
    return [
        *lines,
        "</description-of-drawings>",
        '<?brief-description-of-drawings description="Brief Description of Drawings" end="tail"?>',
        "</description>",
    ]
