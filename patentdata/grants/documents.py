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
_START = re.compile(rb"<(?:(?P<declaration>\?xml\s)|(?P<doctype>!DOCTYPE\s)|(?:" + b"|".join(_ROOTS) + rb")[\s>])")
_END_OF_ROOT = re.compile(rb"</(?:" + b"|".join(_ROOTS) + rb")\s*>\Z")
_OVERLAP_BYTES = 32  # enough for a start that straddles two chunks, with a byte order mark before and a byte after it
_LONGEST_END_TAG = 64


def split_documents(source: bytes | BinaryIO, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Iterator[tuple[int, bytes]]:
    """Split a file of one or many documents where an XML declaration or, without one, a new root starts.

    Documents may follow one another without a line break, and one that is cut off may be followed by a whole one. They
    may be wrapped in roots of their own, whose tags are left out. Other text before or after a document is yielded as
    one more document, so that it is counted.

    Args:
        source: The file, or its bytes. A file is read forward in chunks; at most `max_bytes` and a chunk are in memory.
        max_bytes: A longer document is cut to `max_bytes + 1` bytes, so that the caller sees that it was too long.

    Yields:
        Byte offset of the document and its bytes, in file order. Blank stretches are skipped.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    offset, held, stretch = 0, bytearray(), _Stretch()
    num_discarded = 0  # bytes of an overlong document that are no longer in `held`
    while chunk := stream.read(_CHUNK_BYTES):
        held += chunk
        while (start := stretch.find_next_start(held)) > 0:
            yield from _documents_of(held[: min(start, max_bytes + 1)], stretch.root, offset)
            offset += start + num_discarded
            num_discarded = 0
            del held[:start]
            stretch = _Stretch()
        if len(held) > max_bytes + _CHUNK_BYTES:
            num_kept = max_bytes + 1
            tail = bytes(held[-_LONGEST_END_TAG - _OVERLAP_BYTES :])
            num_removed = len(held) - num_kept - len(tail)
            held[num_kept:] = tail
            num_discarded += num_removed
            stretch.shift(num_removed)
    yield from _documents_of(held[: max_bytes + 1], stretch.root, offset)


class _Stretch:
    """The bytes of a file from the start of one document to that of the next, searched once from front to back.

    Attributes:
        root: Offset of the first root of a known kind; None if there is none so far.
    """

    _QUOTES = ((b"<![CDATA[", b"]]>"), (b"<!--", b"-->"))

    def __init__(self) -> None:
        self.root: int | None = None
        self._searched = 0
        self._visited = -1  # the last offset at which a start was judged
        self._followed = 0  # offset up to which the marks of quotes were followed
        self._last_marks = {mark: -1 for pair in self._QUOTES for mark in pair}  # → where it was seen last

    def find_next_start(self, held: bytearray) -> int:
        """Offset of the first document that starts after the beginning of `held`; -1 if none starts there."""
        for match in _START.finditer(held, self._searched):
            position = match.start()
            if position <= self._visited:
                continue
            start = position - 3 if held[max(0, position - 3) : position] == _BYTE_ORDER_MARK else position
            self._visited = position
            if match["declaration"]:
                if start > 0 and (held[start - 1] in b"\r\n" or not self._is_quoted(held, position)):
                    return start
            elif not self._is_quoted(held, position):
                # no document is within another one, so that a second root is a second document
                if self.root is not None or _follows_end_of_root(held, start):
                    return start
                if not match["doctype"]:
                    self.root = position
        self._searched = max(0, len(held) - _OVERLAP_BYTES)
        return -1

    def shift(self, num_removed: int) -> None:
        """Adapt the offsets after bytes that were searched already have been removed."""
        self._searched = max(0, self._searched - num_removed)
        self._visited -= num_removed
        self._followed = max(0, self._followed - num_removed)
        self._last_marks = {mark: position - num_removed for mark, position in self._last_marks.items()}

    def _is_quoted(self, held: bytearray, position: int) -> bool:
        """Whether the position is within a CDATA section or a comment, where markup is text."""
        for mark in self._last_marks:
            if (last := held.rfind(mark, self._followed, position)) != -1:
                self._last_marks[mark] = last
        self._followed = position
        return any(self._last_marks[opening] > self._last_marks[closing] for opening, closing in self._QUOTES)


def _follows_end_of_root(held: bytearray, start: int) -> bool:
    """Whether the last thing before `start` that is not blank is the end tag of a known root."""
    before = start
    while before > 0 and held[before - 1] in _BLANKS:
        before -= 1
    return _END_OF_ROOT.search(bytes(held[max(0, before - _LONGEST_END_TAG) : before])) is not None


# What may precede the root. Each piece can match in one way only, so that hostile bytes cost no more than their length.
_MISC = rb"(?:[\s\0]|\xef\xbb\xbf|<\?[^?]*(?:\?(?!>)[^?]*)*\?>|<!--[^-]*(?:-(?!->)[^-]*)*-->"
_MISC += rb"|<!DOCTYPE[^\[<>]*(?:\[[^\]]*\]\s*)?>)"
_PROLOG = re.compile(_MISC + rb"*+")
_START_TAG = rb"<[A-Za-z_][\w.:-]*(?=[\s/>])[^<>]*>"
_WRAPPER_STARTS = re.compile(_MISC + rb"*+(?:" + _START_TAG + _MISC + rb"*+){1,8}\Z")
_TAGS = re.compile(rb"(?:" + _MISC + rb"|</?[A-Za-z_][\w.:-]*[^<>]*>)*+")


def _documents_of(held: bytearray, root: int | None, offset: int) -> Iterator[tuple[int, bytes]]:
    """The document in a stretch of a file, and what is around it other than the tags of wrappers; none if it is blank.

    Args:
        held: The stretch.
        root: Offset of its root, if that is of a known kind.
        offset: Where the stretch starts in the file.
    """
    if not (held[:64].strip(_BLANKS) or held.strip(_BLANKS)):
        return
    if root is None or root >= len(held):
        if not _WRAPPER_STARTS.match(held) or held.rstrip(_BLANKS).endswith(b"/>"):
            yield offset, bytes(held)
        return
    start, end = _start_of_prolog(held, root), _end_of_root(held, root)
    if (other := _end_of_tags(held, 0)) < start:
        yield offset + other, bytes(held[other:start])
    if not held[end:].strip(_BLANKS):
        yield offset + start, bytes(held[start:])
        return
    yield offset + start, bytes(held[start:end])
    if (other := _end_of_tags(held, end)) < len(held):
        yield offset + other, bytes(held[other:])


def _end_of_tags(held: bytearray, start: int) -> int:
    """Offset after the tags, comments and blanks that follow one another from `start` on."""
    return _TAGS.match(held, start).end()  # type: ignore[union-attr]  # it matches anything


def _start_of_prolog(held: bytearray, root: int) -> int:
    """Offset where the declaration, DOCTYPE and comments start that lead to the root; wrappers come before them."""
    starts = [0, *sorted(held.rfind(mark, 0, root) for mark in (b"<?xml", b"<!DOCTYPE"))]
    for start in starts:
        if start != -1 and _PROLOG.match(held, start).end() == root:  # type: ignore[union-attr]  # it matches anything
            return start
    return root


def _end_of_root(held: bytearray, root: int) -> int:
    """Offset after the last end tag of the root; the end of the stretch if it has none, as when it was cut off."""
    name = _ROOT.match(held, root)[1]  # type: ignore[index]  # it matched when the root was found
    end_tag = held.rfind(b"</" + name)
    end = held.find(b">", end_tag)
    return len(held) if -1 in (end_tag, end) else end + 1


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
    raise DocumentError(_reason_to_refuse(text), f"{source}: {_first_sentence(error)}") from error


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


def _reason_to_refuse(text: bytes) -> str:
    """The word for a document that cannot be parsed: one that is complete ends with the end tag of its root."""
    root = _ROOT.search(text[:_HEAD_BYTES])
    if root is None:
        return "not_xml"
    return "malformed" if b"</" + root[1] in text[-1024:] else "cut_off"


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
