"""Grant documents as bytes: splitting weekly files into documents, recognising designs, parsing documents safely.

A weekly file is not one XML document but thousands in a row, most of them not designs, so it is split and sorted by
kind as bytes, and only designs are parsed. The bytes are untrusted: no DTD or anything else from outside is loaded. The
named entities that v2.5 takes from its DTD are therefore declared in the document's own prolog before it is parsed, but
only those that it uses.
"""

from __future__ import annotations

import html.entities
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from lxml import etree

from patentdata.errors import GrantParseError

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
_SPACES = {b" ", b"\t", b"\r", b"\n"}
_OVERLAP_BYTES = 16  # enough for a declaration that straddles two chunks, with the byte before it


def split_documents(source: bytes | BinaryIO, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Iterator[tuple[int, bytes]]:
    """Split a file of one or many documents at each `<?xml ` that starts a line.

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
        while (start := _find_declaration(held, searched)) > 0:
            if document := _document(held[: min(start, max_bytes + 1)]):
                yield offset, document
            offset += start + num_discarded
            num_discarded = 0
            del held[:start]
            searched = 1
        searched = max(1, len(held) - _OVERLAP_BYTES)
        if len(held) > max_bytes + _CHUNK_BYTES:
            num_kept = max_bytes + 1
            tail = bytes(held[-_OVERLAP_BYTES:])
            num_discarded += len(held) - num_kept - len(tail)
            held[num_kept:] = tail
            searched = num_kept
    if document := _document(held[: max_bytes + 1]):
        yield offset, document


def _find_declaration(held: bytearray, searched: int) -> int:
    """Offset of the first XML declaration at or after `searched` that starts a line, never 0; -1 if there is none."""
    position = held.find(b"<?xml", searched)
    while position >= 0:
        start = position - 3 if held[max(0, position - 3) : position] == _BYTE_ORDER_MARK else position
        if start > 0 and held[start - 1] in b"\r\n" and bytes(held[position + 5 : position + 6]) in _SPACES:
            return start
        position = held.find(b"<?xml", position + 1)
    return -1


def _document(held: bytearray) -> bytes:
    """The stretch as bytes; empty if it is blank."""
    return bytes(held) if held[:64].strip(_BLANKS) or held.strip(_BLANKS) else b""


# --- Kinds ------------------------------------------------------------------------------------------------------------

_HEAD_BYTES = 16384
_ROOT = re.compile(rb"<([A-Za-z_][\w.:-]*)(?=[\s/>])")
_V4_TYPE = re.compile(rb"<application-reference\b[^>]*\bappl-type\s*=\s*[\"']([\w-]+)")
_V4_KIND = re.compile(rb"<publication-reference\b[^>]*>.{0,600}?<kind>\s*(\w+)\s*</kind>", re.DOTALL)
_V25_KIND = re.compile(rb"<B130>\s*(?:<[A-Z]+>\s*)*(\w+)")
_KINDS = {"S": "design", "S1": "design", "P": "plant", "P1": "plant", "P2": "plant", "P3": "plant", "E": "reissue"}
_KINDS |= {"E1": "reissue", "H": "statutory_invention_registration", "H1": "statutory_invention_registration"}
_KINDS |= {"A": "utility", "B1": "utility", "B2": "utility"}
_GRANT_ROOTS = {"us-patent-grant", "PATDOC"}


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

# ISO 8879 "Greek letters", which the table of HTML entities does not have; v2.5 documents may use them.
_GREEK_NAMES = [
    "a", "b", "g", "d", "e", "z", "ee", "th", "i", "k", "l", "m", "n", "x", "o", "p", "r", "sf", "s", "t", "u", "ph",
    "kh", "ps", "oh",
]  # fmt: skip
_GREEK = {f"{name}gr": letter for name, letter in zip(_GREEK_NAMES, "αβγδεζηθικλμνξοπρςστυφχψω", strict=True)}
_ENTITIES = {name[:-1]: text for name, text in html.entities.html5.items() if name.endswith(";")}
_ENTITIES |= _GREEK | {name.capitalize(): letter.upper() for name, letter in _GREEK.items() if name != "sfgr"}
_PREDEFINED = {b"amp", b"lt", b"gt", b"quot", b"apos"}
_USED_ENTITY = re.compile(rb"&([A-Za-z_][\w.-]*);")
_DECLARED_ENTITY = re.compile(rb"<!ENTITY\s+([^\s%]+)\s+([\"'])")
_DOCTYPE = re.compile(
    rb"<!DOCTYPE\s+[\w.:-]+(?:\s+(?:SYSTEM|PUBLIC\s+(?:\"[^\"]*\"|'[^']*'))\s*(?:\"[^\"]*\"|'[^']*'))?\s*(\[|>)"
)


def parse_document(data: bytes, *, source: str) -> etree._Element:
    """The root element of one document, its named entities resolved.

    Raises:
        DocumentError: The document is cut off, not well-formed, larger than `MAX_DOCUMENT_BYTES`, or
            uses an entity that neither the document nor the public tables define. External entities are never loaded.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError("too_large", f"{source}: the document is larger than {MAX_DOCUMENT_BYTES} bytes")
    text = _with_entities(data.lstrip(_BLANKS), source)
    try:
        root = etree.fromstring(text, _parser())
    except (etree.LxmlError, ValueError, LookupError) as error:
        reason = "malformed" if _closes_root(text) else "cut_off"
        raise DocumentError(reason, f"{source}: {_first_sentence(error)}") from error
    if root is None:
        raise DocumentError("malformed", f"{source}: the document holds no element")
    return root


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


def _with_entities(data: bytes, source: str) -> bytes:
    """The document with declarations of the named entities that it uses without declaring them."""
    used = set(_USED_ENTITY.findall(data)) - _PREDEFINED
    if not used:
        return data
    used -= {name for name, _ in _DECLARED_ENTITY.findall(data[: 2**20])}
    unknown = sorted(name.decode() for name in used if name.decode() not in _ENTITIES)
    if unknown:
        raise DocumentError("undeclared_entity", f"{source}: the entity &{unknown[0]}; is declared nowhere")
    definitions = "".join(f'<!ENTITY {name.decode()} "{_escaped(name.decode())}">' for name in sorted(used)).encode()
    doctype = _DOCTYPE.search(data, 0, _HEAD_BYTES)
    if doctype is None:
        root = _ROOT.search(data)
        if root is None:
            return data
        return data[: root.start()] + b"<!DOCTYPE " + root[1] + b" [" + definitions + b"]>" + data[root.start() :]
    if doctype[1] == b"[":
        return data[: doctype.end()] + definitions + data[doctype.end() :]
    return data[: doctype.end() - 1] + b" [" + definitions + b"]>" + data[doctype.end() :]


def _escaped(name: str) -> str:
    """The entity's text as character references; markup characters escaped twice, as a declaration needs them."""
    return "".join(f"&#38;#{ord(char)};" if char in "<&" else f"&#{ord(char)};" for char in _ENTITIES[name])
