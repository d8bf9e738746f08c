"""Grant documents as bytes: splitting weekly files into documents, recognising designs, parsing documents safely.

A weekly file is not one XML document but thousands in a row, most of them not designs, so it is split and sorted by
kind as bytes, and only designs are parsed. The bytes are untrusted: no DTD or anything else from outside is loaded. The
named entities that v2.5 takes from its DTD are therefore declared in the document's own prolog before it is parsed, but
only those that it uses.

Files of grants pass through many hands: they are joined without line breaks, wrapped in a root, and their declarations
are stripped. One bad byte makes a document malformed XML, but it costs one character and not the patent: it is repaired
(see `repairs`), and the repair is counted.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from lxml import etree

from patentdata.errors import GrantParseError
from patentdata.grants.entities import CHARACTERS, PREDEFINED, declaration_of
from patentdata.grants.repairs import escape_entities, repair

MAX_DOCUMENT_BYTES = 32 * 2**20
"""Size of the largest document that is parsed. A design with two thousand citations has 2 MB."""

_CHUNK_BYTES = 2**20


class DocumentError(GrantParseError):
    """A document that does not become a row.

    Attributes:
        reason: The word_in_snake_case by which it is counted.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotADesignError(DocumentError):
    """A document of another kind: a utility or plant patent, a sequence listing, an application."""


# --- Weekly files -----------------------------------------------------------------------------------------------------

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = _BYTE_ORDER_MARK + b"\0 \t\r\n"
_GRANT_ROOTS = {"us-patent-grant", "PATDOC"}
_ROOTS = (b"us-patent-grant", b"PATDOC", b"sequence-cwu", b"us-patent-application")
_START = re.compile(rb"<(?:(?P<declaration>\?xml\s)|!DOCTYPE\s|(?:" + b"|".join(_ROOTS) + rb")[\s>])")
_END_OF_ROOT = re.compile(rb"</(?:" + b"|".join(_ROOTS) + rb")\s*>\Z")
_OVERLAP_BYTES = 32  # enough for a start that straddles two chunks, with a byte order mark before and a byte after it
_LONGEST_END_TAG = 64


def split_documents(source: bytes | BinaryIO, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Iterator[tuple[int, bytes]]:
    """Split a file of one or many documents where an XML declaration or, without one, a new root starts.

    Documents may follow one another without a line break, and may be wrapped in a root of their own, which is left out.

    Args:
        source: The file, or its bytes. A file is read forward in chunks; at most `max_bytes` and a chunk are in memory.
        max_bytes: A longer document is cut to `max_bytes + 1` bytes, so that the caller sees that it was too long.

    Yields:
        Byte offset of the document and its bytes, in file order. Blank stretches are skipped.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    offset, held, searched = 0, bytearray(), 1
    num_discarded = 0  # bytes of an overlong document that are no longer in `held`
    while chunk := stream.read(_CHUNK_BYTES):
        held += chunk
        while (start := _find_start(held, searched)) > 0:
            yield from _documents_of(held[: min(start, max_bytes + 1)], offset)
            offset += start + num_discarded
            num_discarded = 0
            del held[:start]
            searched = 1
        searched = max(1, len(held) - _OVERLAP_BYTES)
        if len(held) > max_bytes + _CHUNK_BYTES:
            num_kept = max_bytes + 1
            tail = bytes(held[-_LONGEST_END_TAG - _OVERLAP_BYTES :])
            num_discarded += len(held) - num_kept - len(tail)
            held[num_kept:] = tail
            searched = num_kept + _LONGEST_END_TAG
    yield from _documents_of(held[: max_bytes + 1], offset)


def _find_start(held: bytearray, searched: int) -> int:
    """Offset of the first document that starts at or after `searched`, never 0; -1 if none starts there."""
    for match in _START.finditer(held, searched):
        position = match.start()
        start = position - 3 if held[max(0, position - 3) : position] == _BYTE_ORDER_MARK else position
        if start > 0 and (_starts_declared if match["declaration"] else _starts_undeclared)(held, start):
            return start
    return -1


def _starts_declared(held: bytearray, start: int) -> bool:
    """Whether the XML declaration at `start` is that of a document: it starts a line, or follows an element."""
    if held[start - 1] in b"\r\n":
        return True
    before = _end_before(held, start)
    starts_line = any(line_end in held[before:start] for line_end in b"\r\n")
    return (before == 0 or starts_line or held[before - 1 : before] == b">") and not _is_quoted(held, start)


def _starts_undeclared(held: bytearray, start: int) -> bool:
    """Whether the root or DOCTYPE at `start` follows the end of another document, and so starts one itself."""
    before = _end_before(held, start)
    end_tag = bytes(held[max(0, before - _LONGEST_END_TAG) : before])
    return _END_OF_ROOT.search(end_tag) is not None and not _is_quoted(held, start)


def _end_before(held: bytearray, start: int) -> int:
    """Offset after the last byte before `start` that is not blank."""
    before = start
    while before > 0 and held[before - 1] in _BLANKS:
        before -= 1
    return before


def _is_quoted(held: bytearray, position: int) -> bool:
    """Whether the position is within a CDATA section or a comment, where markup is text."""
    pairs = ((b"<![CDATA[", b"]]>"), (b"<!--", b"-->"))
    return any(held.rfind(opening, 0, position) > held.rfind(closing, 0, position) for opening, closing in pairs)


# What may precede the root. Each piece can match in one way only, so that hostile bytes cost no more than their length.
_MISC = rb"(?:[\s\0]|\xef\xbb\xbf|<\?[^?]*(?:\?(?!>)[^?]*)*\?>|<!--[^-]*(?:-(?!->)[^-]*)*-->"
_MISC += rb"|<!DOCTYPE[^\[<>]*(?:\[[^\]]*\]\s*)?>)"
_PROLOG = re.compile(_MISC + rb"*+")
_START_TAG = re.compile(rb"<(?P<name>[A-Za-z_][\w.:-]*)(?=[\s/>])[^<>]*>")
_WRAPPER_ENDS = re.compile(rb"(?P<root></(?:" + b"|".join(_ROOTS) + rb")\s*>)\s*(?:</[A-Za-z_][\w.:-]*\s*>\s*)+\Z")
_MOST_WRAPPERS = 8  # roots around a document that are left out


def _documents_of(held: bytearray, offset: int) -> Iterator[tuple[int, bytes]]:
    """The document in a stretch of a file, without the tags of roots around it; none if nothing else is there."""
    if not (held[:64].strip(_BLANKS) or held.strip(_BLANKS)):
        return
    start = _end_of_wrappers(held)
    tail = max(start, len(held) - 1024)
    ends = _WRAPPER_ENDS.search(held, tail)
    document = bytes(held[start : ends.end("root") if ends else len(held)])
    if not start or document.strip(_BLANKS):
        yield offset + start, document


def _end_of_wrappers(held: bytearray) -> int:
    """Offset after the start tags of unknown roots that a document, or nothing, follows; 0 if it is not wrapped."""
    start = 0
    for _ in range(_MOST_WRAPPERS):
        end_of_prolog = _PROLOG.match(held, start).end()  # type: ignore[union-attr]  # it matches anything
        tag = _START_TAG.match(held, end_of_prolog)
        if tag is None:
            return start if end_of_prolog == len(held) else 0
        if tag["name"] in _ROOTS:
            return start
        if tag[0].endswith(b"/>"):
            return 0
        start = tag.end()
    return 0


# --- Kinds ------------------------------------------------------------------------------------------------------------

_HEAD_BYTES = 16384
_ROOT = re.compile(rb"<([A-Za-z_][\w.:-]*)(?=[\s/>])")
_V4_TYPE = re.compile(rb"<application-reference\b[^>]*\bappl-type\s*=\s*[\"']([\w-]+)")
_V4_KIND = re.compile(rb"<publication-reference\b[^>]*>.{0,600}?<kind>\s*(\w+)\s*</kind>", re.DOTALL)
_V25_KIND = re.compile(rb"<B130>\s*(?:<[A-Z]+>\s*)*(\w+)")
_KINDS = {"S": "design", "S1": "design", "P": "plant", "P1": "plant", "P2": "plant", "P3": "plant", "E": "reissue"}
_KINDS |= {"E1": "reissue", "H": "statutory_invention_registration", "H1": "statutory_invention_registration"}
_KINDS |= {"A": "utility", "B1": "utility", "B2": "utility"}


def document_kind(data: bytes) -> str:
    """What a document says it is: "design", "utility", "plant", "reissue", "sequence_cwu", "other_root", "unknown".

    The kind is read from the first bytes without parsing the document, so that the hundreds of megabytes between
    designs cost nothing. "unknown" means a grant that does not name its kind.
    """
    head = data[:_HEAD_BYTES]
    root = _ROOT.search(re.sub(rb"<!--.*?-->|<!ENTITY[^>]*>", b"", head, flags=re.DOTALL))
    name = root[1].decode() if root else ""
    if name not in _GRANT_ROOTS:
        return name.replace("-", "_") if name == "sequence-cwu" else "other_root"
    kind = (_V4_KIND if name == "us-patent-grant" else _V25_KIND).search(head)
    application = _V4_TYPE.search(head)
    return kind_of_grant(kind[1].decode() if kind else "", application[1].decode() if application else "")


def kind_of_grant(kind_code: str, application_type: str) -> str:
    """ "design" for kind S or S1, unless the application is of another type; else a word for the kind."""
    kind = _KINDS.get(kind_code.strip().upper())
    stated = application_type.strip().lower().replace("-", "_")
    if kind == "design":
        return stated if stated and stated != "design" else "design"
    return kind or ("unknown" if stated in {"", "design"} else stated)


# --- Parsing ----------------------------------------------------------------------------------------------------------

_USED_ENTITY = re.compile(rb"&([A-Za-z_][\w.-]*);")
_DECLARED_ENTITY = re.compile(rb"<!ENTITY\s+([^\s%]+)\s+([\"'])")
_EXTERNAL_ENTITY = re.compile(rb"<!ENTITY\s+([^\s%]+)\s+(?:SYSTEM|PUBLIC)\s")
_DOCTYPE = re.compile(
    rb"<!DOCTYPE\s+[\w.:-]+(?:\s+(?:SYSTEM|PUBLIC\s+(?:\"[^\"]*\"|'[^']*'))\s*(?:\"[^\"]*\"|'[^']*'))?\s*(\[|>)"
)
_OLD_FORMATS = (
    (
        re.compile(
            rb"<!DOCTYPE\s+PATDOC\s[^>\[]*V2\.[0-4]\b|<PATDOC\b[^>]*\bDTD\s*=\s*[\"']?2\.[0-4]\b", re.IGNORECASE
        ),
        "sgml_of_2001",
        "it is SGML of 2001 (ST.32 v2.4); grants are read from 2002 on, when they became XML",
    ),
    (
        re.compile(rb"\A(?:H{4,}\w*\s+APS|PATN\s*\r?\n\s*WKU\s)"),
        "aps_text",
        "it is APS text, the format until 2001; grants are read from 2002 on, when they became XML",
    ),
)
"""Pattern of the first bytes, reason and sentence of the formats that came before XML."""


class ParsedDocument(NamedTuple):
    """One document.

    Attributes:
        root: Its root element, named entities resolved.
        repairs: What was repaired, by the word by which it is counted → how often; empty for nearly every document.
    """

    root: etree._Element
    repairs: Counter[str]


def parse_document(data: bytes, *, source: str) -> ParsedDocument:
    """One document as elements, repaired if a bad byte or ampersand is all that keeps it from being XML.

    Raises:
        DocumentError: The document is cut off, malformed beyond repair, larger than `MAX_DOCUMENT_BYTES`, in a format
            older than XML, or uses an external entity, which is never loaded.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError("too_large", f"{source}: the document is larger than {MAX_DOCUMENT_BYTES} bytes")
    text = data.lstrip(_BLANKS)
    repairs: Counter[str] = Counter()
    try:
        root = etree.fromstring(_with_entities(text, repairs, source), _parser())
    except (etree.LxmlError, ValueError, LookupError) as error:
        root = _parse_repaired(text, repairs, error, source)
    if root is None:
        raise DocumentError("malformed", f"{source}: the document holds no element")
    return ParsedDocument(root, repairs)


def _parse_repaired(text: bytes, repairs: Counter[str], error: Exception, source: str) -> etree._Element:
    """The root of a document that is not XML as it is; raises DocumentError with `error` if repairs do not help."""
    for pattern, old_format, sentence in _OLD_FORMATS:
        if pattern.search(text, 0, 2048):
            raise DocumentError(old_format, f"{source}: {sentence}")
    repairs.clear()
    repaired = repair(text, repairs)
    if repairs:
        try:
            return etree.fromstring(_with_entities(repaired, repairs, source), _parser())
        except (etree.LxmlError, ValueError, LookupError) as another:
            error = another
    reason = "malformed" if _closes_root(text) else "cut_off"
    raise DocumentError(reason, f"{source}: {_first_sentence(error)}") from error


def _parser() -> etree.XMLParser:
    """A parser that loads nothing, bounds entity expansion and depth, and drops comments and instructions."""
    return etree.XMLParser(
        resolve_entities="internal",  # type: ignore[arg-type]  # newer than the stubs
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _closes_root(text: bytes) -> bool:
    """Whether the document ends with the end tag of its root, as a complete one does."""
    root = _ROOT.search(text[:_HEAD_BYTES])
    return root is not None and b"</" + root[1] in text[-1024:]


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _with_entities(data: bytes, repairs: Counter[str], source: str) -> bytes:
    """The document with declarations of the named entities that it uses without declaring them.

    An entity that no table knows stays in the text as printed, "&nosuch;", and is counted as "unknown_entity".
    """
    used = {name.decode() for name in _USED_ENTITY.findall(data)} - PREDEFINED
    if not used:
        return data
    head = data[: 2**20]
    used -= {name.decode("ascii", "replace") for name, _ in _DECLARED_ENTITY.findall(head)}
    external = used.intersection(name.decode("ascii", "replace") for name in _EXTERNAL_ENTITY.findall(head))
    if external:
        raise DocumentError("external_entity", f"{source}: the entity &{min(external)}; is in a file outside")
    unknown = used - CHARACTERS.keys()
    if unknown:
        data = escape_entities(data, unknown, repairs)
    return _with_declarations(data, sorted(used - unknown))


def _with_declarations(data: bytes, names: list[str]) -> bytes:
    """The document with its prolog declaring these named characters."""
    if not names:
        return data
    definitions = "".join(map(declaration_of, names)).encode()
    doctype = _DOCTYPE.search(data, 0, _HEAD_BYTES)
    if doctype is None:
        root = _ROOT.search(data)
        if root is None:
            return data
        return data[: root.start()] + b"<!DOCTYPE " + root[1] + b" [" + definitions + b"]>" + data[root.start() :]
    if doctype[1] == b"[":
        return data[: doctype.end()] + definitions + data[doctype.end() :]
    return data[: doctype.end() - 1] + b" [" + definitions + b"]>" + data[doctype.end() :]
