"""Repairs of documents that one bad character keeps from being XML.

XML allows no control characters, no bytes outside its encoding and no bare ampersand, and a parser refuses the whole
document for any of them. A parser that recovers by itself drops what it does not understand, elements included, without
a word; here only what is known to be a bad character is replaced, and each replacement is counted. Within CDATA
sections, comments, instructions and the document type an ampersand is text, so it stays as it is there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection

# Stretches without references, each matching in one way only; the captured separators of `re.split`.
_WITHOUT_REFERENCES = (
    r"(<!\[CDATA\[[^\]]*(?:\](?!\]>)[^\]]*)*\]\]>|<!--[^-]*(?:-(?!->)[^-]*)*-->|<\?[^?]*(?:\?(?!>)[^?]*)*\?>"
    r"|<!DOCTYPE[^\[<>]*(?:\[[^\]]*\]\s*)?>)"
)
_VERBATIM = re.compile(_WITHOUT_REFERENCES)
_VERBATIM_BYTES = re.compile(_WITHOUT_REFERENCES.encode())

_DECLARATION = re.compile(r"<\?xml\s[^>]*?\?>\s*")
_ENCODING = re.compile(rb"<\?xml\s[^>]*?\bencoding\s*=\s*[\"']([A-Za-z][\w.-]*)")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_NOT_A_CHARACTER = re.compile("[\0-\b\v\f\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NUMERIC_REFERENCE = re.compile(r"&#(?:([0-9]{1,9})|[xX]([0-9A-Fa-f]{1,8}));")
_BARE_AMPERSAND = re.compile(r"&(?!(?:#[0-9]+|#x[0-9A-Fa-f]+|[A-Za-z_][\w.-]*);)")
_BARE_LESS_THAN = re.compile(r"<(?=[\s\d=<&.,;)])")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def repair(data: bytes, repairs: Counter[str]) -> bytes:
    """The document as UTF-8 with bad characters replaced; as it is if there are none.

    Args:
        data: A document that is not well-formed.
        repairs: Receives what was replaced: "repaired_encoding" (one was declared that the document is not in, or that
            does not exist), "repaired_byte" (outside the encoding; read as Windows-1252), "repaired_character" (one
            that XML does not allow; U+FFFD), "repaired_ampersand" and "repaired_less_than" (bare; the plain sign).
    """
    text = _decode(data, repairs)
    text, num_replaced = _NOT_A_CHARACTER.subn(_REPLACEMENT, text)
    _count(repairs, "repaired_character", num_replaced)
    pieces = _VERBATIM.split(text)
    pieces[::2] = [_repair_markup(piece, repairs) for piece in pieces[::2]]  # the others are separators
    return _DECLARATION.sub("", "".join(pieces), count=1).encode() if repairs else data


def escape_entities(data: bytes, names: Collection[str], repairs: Counter[str]) -> bytes:
    """The document with these entities as plain text, counted as "unknown_entity"."""
    pattern = re.compile(b"&(?=(?:" + b"|".join(re.escape(name.encode()) for name in sorted(names)) + b");)")
    pieces = _VERBATIM_BYTES.split(data)
    for i in range(0, len(pieces), 2):
        pieces[i], num_escaped = pattern.subn(b"&amp;", pieces[i])
        _count(repairs, "unknown_entity", num_escaped)
    return b"".join(pieces)


def _decode(data: bytes, repairs: Counter[str]) -> str:
    """The text in the encoding that the document declares, or UTF-8; a byte outside it is read as Windows-1252.

    A document that is UTF-8 and not in the encoding it declares is read as UTF-8.
    """
    declared = _ENCODING.match(data)
    encoding = declared[1].decode().lower() if declared else "utf-8"
    if encoding.startswith(("utf-16", "utf-32", "ucs")):  # a declaration that can be read as bytes is in neither
        encoding = "utf-8"
    try:
        text = data.decode(encoding, "surrogateescape")
        is_of_declared = encoding in {"utf-8", "utf8"} or not (_ESCAPED_BYTE.search(text) and _is_utf_8(data))
    except (LookupError, UnicodeError):
        is_of_declared = False
    if not is_of_declared:
        text = data.decode("utf-8", "surrogateescape")
        _count(repairs, "repaired_encoding", 1)
    text, num_bytes = _ESCAPED_BYTE.subn(_windows_1252, text)
    _count(repairs, "repaired_byte", num_bytes)
    return text


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _windows_1252(match: re.Match[str]) -> str:
    """The character of a byte that could not be decoded."""
    return match[0].encode("ascii", "surrogateescape").decode("cp1252", "replace")


def _repair_markup(text: str, repairs: Counter[str]) -> str:
    """A stretch of elements and text without characters that are not XML and without bare markup signs."""
    text = _substitute(_NUMERIC_REFERENCE, _allowed_reference, text, repairs, "repaired_character")
    text, num_ampersands = _BARE_AMPERSAND.subn("&amp;", text)
    text, num_less_than = _BARE_LESS_THAN.subn("&lt;", text)
    _count(repairs, "repaired_ampersand", num_ampersands)
    _count(repairs, "repaired_less_than", num_less_than)
    return text


def _allowed_reference(match: re.Match[str]) -> str:
    """A numeric reference as it is, or U+FFFD if its number is not a character of XML."""
    number = int(match[1]) if match[1] else int(match[2], 16)
    if number > 0x10FFFF or _NOT_A_CHARACTER.match(chr(number)):
        return _REPLACEMENT
    return match[0].replace("&#X", "&#x")


def _substitute(
    pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str, repairs: Counter[str], what: str
) -> str:
    """The text with every match replaced; those that changed are counted."""

    def counted(match: re.Match[str]) -> str:
        replacement = replace(match)
        _count(repairs, what, replacement != match[0])
        return replacement

    return pattern.sub(counted, text)


def _count(repairs: Counter[str], what: str, num: int) -> None:
    """Add to a count, which is not there at all as long as it is 0."""
    if num:
        repairs[what] += num
