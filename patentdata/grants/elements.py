"""Text, dates, counts and names read from XML elements.

Grants of two decades leave out or misprint nearly every field somewhere, so a missing or unreadable value is None here,
never an error; `parsing` decides which fields a row cannot do without.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import TypeAlias

from lxml import etree

Element: TypeAlias = etree._Element

_NO_ELEMENTS: dict[str, Element] = {}
_NO_TEXTS: dict[str, str] = {}
_BREAKS = {"br", "p", "li", "tr", "PARA", "BR"}  # elements that separate words; other markup is within words


def children(element: Element | None) -> dict[str, Element]:
    """Tag → the first child of that tag."""
    if element is None:
        return _NO_ELEMENTS
    found: dict[str, Element] = {}
    for child in element:
        found.setdefault(child.tag, child)
    return found


def each(element: Element | None, *tags: str) -> Iterator[Element]:
    """Children with these tags, in document order; nothing if the element is missing."""
    return iter(()) if element is None else element.iterchildren(*tags)


def text_of(element: Element | None) -> str | None:
    """All text within the element, markup removed and blanks collapsed; None if there is no text."""
    if element is None:
        return None
    if not len(element):
        return " ".join((element.text or "").split()) or None
    return " ".join(_joined(element).split()) or None


def _joined(element: Element) -> str:
    """Text within the element, with a blank wherever an element such as <br/> separates two words."""
    pieces = [element.text or ""]
    for child in element:
        blank = " " if child.tag in _BREAKS else ""
        pieces += [blank, _joined(child) if len(child) else child.text or "", blank, child.tail or ""]
    return "".join(pieces)


def printed(element: Element | None) -> str | None:
    """All text within the element, blanks kept, as class symbols need them; None if there is no text."""
    if element is None:
        return None
    return (element.text if not len(element) else "".join(map(str, element.itertext()))) or None


def texts_by_tag(element: Element | None) -> dict[str, str]:
    """Tag → text of the first descendant with that tag; only elements that hold text themselves."""
    if element is None:
        return _NO_TEXTS
    found: dict[str, str] = {}
    for part in element.iter():
        text = part.text
        if text and part.tag not in found and (text := text.strip()):
            found[part.tag] = text
    return found


def parse_date(printed_date: str | None) -> datetime.date | None:
    """The day of "20210105"; None if it is missing or not a day of the calendar ("20010500")."""
    text = (printed_date or "").strip()
    if not re.fullmatch(r"[0-9]{8}", text):
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def parse_count(printed_count: str | None, *, maximum: int = 1_000_000) -> int | None:
    """A whole number from 0 to `maximum`; None for anything else."""
    text = (printed_count or "").strip()
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return None
    return int(text) if int(text) <= maximum else None


_LEAD_OF_CLAIM = re.compile(
    r"\W*(?:(?:I|we|what|the invention|it|having (?:thus )?described)\b[^:]{0,80}?)?"
    r"\bclaim(?:ed|s)?(?: is| as)?[\s:;,.—–-]*",
    re.IGNORECASE,
)


def is_lead_of_claim(text: str) -> bool:
    """Whether a text only leads to the claim that follows it: "We claim:", "What is claimed is:", "CLAIM".

    >>> is_lead_of_claim("I claim:"), is_lead_of_claim("The ornamental design for a chair, as shown.")
    (True, False)
    """
    return _LEAD_OF_CLAIM.fullmatch(text) is not None


_MM_PER_UNIT = {"mm": 1.0, "": 1.0, "cm": 10.0, "in": 25.4}
_LENGTH = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(mm|cm|in|)\s*$")


def parse_length_mm(printed_length: str | None) -> float | None:
    """Millimetres of "139.26mm", "13.9cm" or "5.5in"; None for anything else."""
    match = _LENGTH.match(printed_length or "")
    return float(match[1]) * _MM_PER_UNIT[match[2]] if match else None


def person_name(parts: dict[str, str], first: str, middle: str, last: str, suffix: str) -> str | None:
    """ "First Middle Last, Suffix" from the texts of those tags; None if all of the names are missing."""
    names = [parts[tag] for tag in (first, middle, last) if tag in parts]
    if not names:
        return None
    name = " ".join(" ".join(names).split())
    return f"{name}, {parts[suffix]}" if suffix in parts else name
