"""Design grants as rows, from single documents and from whole weekly files.

Two XML standards have the same fields in different elements: `st36` reads v4.0–v4.7 (2005 on) and `st32` reads v2.5
(2002–2004). Everything that does not depend on the standard is decided here: what is a design, what a row cannot do
without, and how a document that does not become a row is counted.

>>> from patentdata.grants.parsing import parse_grant
>>> row = parse_grant(xml, source_archive="I20210105", source_member="USD0907292-20210105.XML")  # doctest: +SKIP
>>> row["patent_number"], row["uspc"], row["figures"][0]["viewpoint"]  # doctest: +SKIP
('D907292', 'D28/47', 'perspective')
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from patentdata.classes import canonical_patent_number
from patentdata.grants import st32, st36
from patentdata.grants.claim_scope.scope import has_unclaimed_matter, read_claim_scope
from patentdata.grants.documents import (
    MAX_DOCUMENT_BYTES,
    DocumentError,
    NotADesignError,
    document_kind,
    kind_of_grant,
    parse_document,
    split_documents,
)
from patentdata.grants.figure_descriptions import describe_figures
from patentdata.store.report import Report
from patentdata.store.schemas import GRANTS

_KEYS = GRANTS.names
_LOG = logging.getLogger(__name__)
_DESIGN_NUMBER = re.compile(r"D[1-9]\d*$")


def parse_grant(xml: bytes, *, source_archive: str, source_member: str, report: Report | None = None) -> dict[str, Any]:
    """One row of `schemas.GRANTS` from one design document, v2.5 or v4.0–v4.7.

    Patent number, grant date and title are required; any other field that is missing or unreadable is null or empty.

    Args:
        xml: The document's bytes as published.
        source_archive: Archive or file that the document is from, such as "I20210105".
        source_member: Where it is in there: the name of a member, or "byte 12345".
        report: Counts what had to be repaired ("repaired_ampersand") and what could not be read ("unreadable_class").

    Raises:
        NotADesignError: The document is a grant of another kind, or not a grant.
        DocumentError: It cannot be parsed, or lacks a required field. Both are `GrantParseError`s; the message begins
            with "ARCHIVE!MEMBER:" and `reason` is the word by which the document is counted.
    """
    source = f"{source_archive}!{source_member}"
    root, repairs = parse_document(xml, source=source)
    standard = {"us-patent-grant": st36, "PATDOC": st32}.get(root.tag)
    if standard is None:
        kind = "sequence_cwu" if root.tag == "sequence-cwu" else "other_root"
        raise NotADesignError(kind, f"{source}: <{root.tag}> is no patent grant")
    fields = standard.read_fields(root)
    kind = kind_of_grant(fields["kind"] or "", fields.pop("application_type") or "")
    if kind != "design":
        raise NotADesignError(kind, f"{source}: a grant of kind {fields['kind'] or 'unknown'} ({kind}) is no design")
    number = fields["patent_number"]
    for field, element in standard.REQUIRED.items():
        if not fields[field]:
            raise DocumentError(f"no_{field}", f"{source}: no {element} in the grant{f' {number}' if number else ''}")
    if not _DESIGN_NUMBER.match(number):
        raise DocumentError("no_patent_number", f"{source}: {number!r} is no number of a design patent")
    paragraphs = fields.pop("paragraphs")
    fields["figures"], fields["other_paragraphs"] = describe_figures(
        paragraphs, title=fields["title"], num_figures=fields["num_figures"]
    )
    labels = [figure["label"] for figure in fields["figures"]]
    fields["claim_scope"] = read_claim_scope(paragraphs, title=fields["title"], labels=labels)
    fields["has_unclaimed_matter"] = has_unclaimed_matter(fields["claim_scope"])
    num_unreadable = fields.pop("num_unreadable_classes")
    if repairs or num_unreadable:
        _report_flaws(repairs + Counter({"unreadable_class": num_unreadable}), source, report)
    fields["source_archive"] = source_archive
    fields["source_member"] = source_member
    fields["xml_sha256"] = hashlib.sha256(xml).hexdigest()
    return {key: fields[key] for key in _KEYS}


def _report_flaws(flaws: Counter[str], source: str, report: Report | None) -> None:
    """Count what was repaired or could not be read in a document that became a row all the same."""
    _LOG.info("%s: parsed, but for %s", source, ", ".join(f"{num} {what}" for what, num in flaws.items()))
    for what, num in flaws.items():
        if report is not None:
            report.count(what, num)


def read_grants(
    source: bytes | BinaryIO, *, name: str, report: Report, max_document_bytes: int = MAX_DOCUMENT_BYTES
) -> Iterator[dict[str, Any]]:
    """Rows of every design in a file of one document or of a whole week, in file order.

    Every document is counted in the report's tally "documents". One that does not become a row is dropped with its
    reason and named by its byte offset, and by its patent number if that can be read.

    Args:
        source: The file, opened in binary mode, or its bytes. It is read forward once, in bounded memory.
        name: Name of the file in rows and messages, such as "ipg050104".
        report: Receives the counts while the rows are consumed; it balances after the last row.
    """
    tally = report.tally("documents")
    for offset, data in split_documents(source, max_bytes=max_document_bytes):
        tally.num_in += 1
        member = f"byte {offset}"
        try:
            row = _parse_bounded(data, name, member, max_document_bytes, report)
        except DocumentError as error:
            number = printed_number(data)
            tally.drop(error.reason, f"{number} ({member})" if number else member, str(error))
        else:
            tally.num_out += 1
            yield row


def _parse_bounded(data: bytes, name: str, member: str, max_bytes: int, report: Report) -> dict[str, Any]:
    """`parse_grant`, but a document that is too large or clearly not a design is refused before it is parsed."""
    kind = document_kind(data)
    if kind not in {"design", "unknown", "other_root"}:
        raise NotADesignError(kind, f"{name}!{member}: a document of kind {kind} is no design")
    if len(data) > max_bytes:
        raise DocumentError("too_large", f"{name}!{member}: the document is larger than {max_bytes} bytes")
    return parse_grant(data, source_archive=name, source_member=member, report=report)


_PRINTED_NUMBER = re.compile(
    rb"<publication-reference\b[^>]*>.{0,400}?<doc-number>\s*([\w/]+)|<B110>\s*<DNUM>\s*<PDAT>\s*([\w/]+)", re.DOTALL
)


def printed_number(data: bytes) -> str | None:
    """The patent number of a document that may be damaged, read from its first bytes; None if it is not there."""
    match = _PRINTED_NUMBER.search(data[:16384])
    return canonical_patent_number((match[1] or match[2]).decode("ascii", "replace")) if match else None
