"""Class symbols and patent numbers: the forms that grants print, converted to one canonical form each.

One class is printed in many ways ("D 2840", "D2/840"), so printed forms cannot be compared, counted or used as labels;
everything downstream uses the canonical one. The printed forms have a fixed width and are ambiguous once their blanks
are removed, so every function takes the text exactly as it is in the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

USPC_TITLES: dict[str, str] = {
    "D1": "Edible Products",
    "D2": "Apparel and Haberdashery",
    "D3": "Travel Goods, Personal Belongings, and Storage or Carrying Articles",
    "D4": "Brushware",
    "D5": "Textile or Paper Yard Goods; Sheet Material",
    "D6": "Furnishings",
    "D7": "Equipment for Preparing or Serving Food or Drink Not Elsewhere Specified",
    "D8": "Tools and Hardware",
    "D9": "Packages and Containers for Goods",
    "D10": "Measuring, Testing or Signaling Instruments",
    "D11": "Jewelry, Symbolic Insignia, and Ornaments",
    "D12": "Transportation",
    "D13": "Equipment for Production, Distribution, or Transformation of Energy",
    "D14": "Recording, Communication, or Information Retrieval Equipment",
    "D15": "Machines Not Elsewhere Specified",
    "D16": "Photography and Optical Equipment",
    "D17": "Musical Instruments",
    "D18": "Printing and Office Machinery",
    "D19": "Office Supplies; Artists' and Teachers' Materials",
    "D20": "Sales and Advertising Equipment",
    "D21": "Games, Toys and Sports Goods",
    "D22": "Arms, Pyrotechnics, Hunting and Fishing Equipment",
    "D23": "Environmental Heating and Cooling, Fluid Handling and Sanitary Equipment",
    "D24": "Medical and Laboratory Equipment",
    "D25": "Building Units and Construction Elements",
    "D26": "Lighting",
    "D27": "Tobacco and Smokers' Supplies",
    "D28": "Cosmetic Products and Toilet Articles",
    "D29": "Equipment for Safety, Protection and Rescue",
    "D30": "Animal Husbandry",
    "D32": "Washing, Cleaning or Drying Machines",
    "D34": "Material or Article Handling Equipment",
    "D99": "Miscellaneous",
}
"""The 33 design classes of the US Patent Classification, in their fixed order."""

LOCARNO_TITLES: dict[str, str] = {
    "01": "Foodstuffs",
    "02": "Articles of clothing and haberdashery",
    "03": "Travel goods, cases, parasols and personal belongings, not elsewhere specified",
    "04": "Brushware",
    "05": "Textile piece goods, artificial and natural sheet material",
    "06": "Furnishing",
    "07": "Household goods, not elsewhere specified",
    "08": "Tools and hardware",
    "09": "Packaging and containers for the transport or handling of goods",
    "10": "Clocks and watches and other measuring instruments, checking and signalling instruments",
    "11": "Articles of adornment",
    "12": "Means of transport or hoisting",
    "13": "Equipment for production, distribution or transformation of electricity",
    "14": "Recording, telecommunication or data processing equipment",
    "15": "Machines, not elsewhere specified",
    "16": "Photographic, cinematographic and optical apparatus",
    "17": "Musical instruments",
    "18": "Printing and office machinery",
    "19": "Stationery and office equipment, artists' and teaching materials",
    "20": "Sales and advertising equipment, signs",
    "21": "Games, toys, tents and sports goods",
    "22": "Arms, pyrotechnic articles, articles for hunting, fishing and pest killing",
    "23": "Fluid distribution equipment, sanitary, heating, ventilation and air-conditioning equipment, solid fuel",
    "24": "Medical and laboratory equipment",
    "25": "Building units and construction elements",
    "26": "Lighting apparatus",
    "27": "Tobacco and smokers' supplies",
    "28": "Pharmaceutical and cosmetic products, toilet articles and apparatus",
    "29": "Devices and equipment against fire hazards, for accident prevention and for rescue",
    "30": "Articles for the care and handling of animals",
    "31": "Machines and appliances for preparing food or drink, not elsewhere specified",
    "32": "Graphic symbols and logos, surface patterns, ornamentation",
}
"""The 32 classes of the Locarno Classification, in their fixed order."""

_USPC_INDEX = {name: index for index, name in enumerate(USPC_TITLES)}
_LOCARNO_INDEX = {name: index for index, name in enumerate(LOCARNO_TITLES)}


def uspc_index(uspc_class: str) -> int:
    """Index of a design class such as "D14" in `USPC_TITLES`. Raises KeyError for a class that is not in it."""
    return _USPC_INDEX[uspc_class]


def locarno_index(locarno_class: str) -> int:
    """Index of a Locarno class, "14" or "14-02", in `LOCARNO_TITLES`. Raises KeyError for a class that is not in it."""
    return _LOCARNO_INDEX[locarno_class[:2]]


# Nearly every symbol: class and subclass of a design or utility patent in their columns, then the decimal digits.
_COMMON = re.compile(r"(D[ \d]\d|[1-9]\d\d| [1-9]\d|  [1-9])([1-9]\d\d| [1-9]\d|  [1-9])(\d*)$")
_WRITTEN_OUT = re.compile(r"\s*([A-Z]{0,3})\s*(\d{1,3})\s*/\s*([A-Z]*\s*\d[\d.]*)\s*([A-Z]{0,3})\s*$")
# Class and subclass have three columns each, padded with blanks on the left. The extension follows: digits after the
# decimal point, or letters. A misplaced blank (" D5 57") is common among further classes.
_FIXED_CLASS = re.compile(r"(?:D ?[1-9]\d?| D[1-9]| {0,2}[1-9]\d{0,2}|[A-Z]{3})$")
_SUBCLASS = re.compile(r"(?:[A-Z]{0,2}[1-9]\d{0,2}|[1-9]\d{0,2}[A-Z]{0,2}|DIG|FOR)$")
_EXTENSION = re.compile(r"\d*[A-Z]{0,3}$")
# A class of one digit may have a zero in place of its blank, and then a blank before its subclass as well: "D02 750".
_ZERO_PADDED = re.compile(r"^\s*D0([1-9])(?: +(?=\d{3}$))?")
# The field of search also holds international classes, in the same columns: "A43B 1314" is A43B 13/14.
_INTERNATIONAL = re.compile(r"([A-H]\d\d[A-Z])\s*(\d{1,3}?)\s*(\d{2,5})$")


@lru_cache(maxsize=2**16)  # a week repeats the same few thousand symbols
def canonical_uspc(printed: str | None) -> str | None:
    """US class and subclass: "D14/209.1" for the printed "D142091"; None if the text is not a readable symbol.

    A range is written with both ends in full: "D14/485-D14/495" for "D14485-495".

    >>> [canonical_uspc(text) for text in ("D 2840", "D28 40", "D07511", "D14138AD", "455FOR 121")]
    ['D2/840', 'D28/40', 'D7/511', 'D14/138AD', '455/FOR121']
    """
    if (common := _COMMON.match(printed or "")) and (
        (name := common[1].replace(" ", "")) in USPC_TITLES or name.isdigit()
    ):
        return f"{name}/{common[2].lstrip()}{'.' + common[3] if common[3] else ''}"
    text = (printed or "").strip("\r\n\t").rstrip().upper()
    if "D0" in text:
        text = _ZERO_PADDED.sub(r"D \1", text)
    if not text.strip():
        return None
    if "/" in text:
        return "-".join(end for end in map(_written_out, text.split("-")) if end) or None
    if match := _INTERNATIONAL.match(text):
        return _international(match)
    first, dash, last = text.partition("-")
    start = _from_fixed_width(first)
    if start is None or not dash:
        return start
    uspc_class, subclass = start.split("/")
    end = _complete_range_end(_from_fixed_width("  1" + last.rjust(3)), subclass)
    return f"{start}-{uspc_class}/{end}" if end else start


def read_symbols(texts: Iterable[str | None], canonical: Callable[[str | None], str | None]) -> tuple[list[str], int]:
    """The symbols in canonical form, and the number of those that are printed but cannot be read.

    >>> read_symbols(["D 2840", " ", "2/84-0/1"], canonical_locarno)
    ([], 2)
    """
    symbols: list[str] = []
    num_unreadable = 0
    for text in texts:
        if symbol := canonical(text):
            symbols.append(symbol)
        elif text and text.strip():
            num_unreadable += 1
    return symbols, num_unreadable


def uspc_design_class(uspc: str | None) -> str | None:
    """The class of a canonical symbol if it is a design class: "D14" for "D14/209.1"; None for any other class.

    >>> uspc_design_class("D28/47"), uspc_design_class("428/156")
    ('D28', None)
    """
    name = (uspc or "").partition("/")[0]
    return name if name in USPC_TITLES else None


def _written_out(text: str) -> str | None:
    """A symbol that is printed with its slash, without its blanks and leading zeros; None if it is not one."""
    match = _WRITTEN_OUT.match(text)
    if match is None:
        return None
    letters, number, subclass, suffix = match.groups()
    return f"{letters}{int(number)}/{subclass.replace(' ', '').lstrip('0') or '0'}{suffix}"


def _international(match: re.Match[str]) -> str:
    """An international symbol from its columns: three for the group, then the subgroup."""
    section, rest = match[1], match.string[4:].ljust(5)
    group, subgroup = rest[:3].strip(), rest[3:].strip()
    return f"{section} {group.lstrip('0') or '0'}/{subgroup.ljust(2, '0')}"


def _from_fixed_width(text: str) -> str | None:
    """One symbol from its fixed-width columns, even if the leading blanks were lost; None if it is not one."""
    padded = text.strip().rjust(6)
    for candidate in (text, padded, f" {text}") if len(text) >= 6 else (padded, text):
        if symbol := _split_columns(candidate):
            return symbol
    return None


def _split_columns(text: str) -> str | None:
    """One symbol whose class, subclass and extension are exactly in their columns; None if they are not."""
    head, subclass, extension = text[:3], text[3:6].strip(), text[6:].replace(" ", "")
    if not (_FIXED_CLASS.match(head) and _SUBCLASS.match(subclass) and _EXTENSION.match(extension)):
        return None
    uspc_class = head.replace(" ", "")
    if uspc_class.startswith("D") and uspc_class not in USPC_TITLES:
        return None
    return f"{uspc_class}/{subclass}{_dotted(subclass, extension)}"


def _dotted(subclass: str, extension: str) -> str:
    """The extension with its decimal point: ".1", "AD", ".1R"."""
    return f".{extension}" if extension[:1].isdigit() and subclass not in {"DIG", "FOR"} else extension


def _complete_range_end(end: str | None, start: str) -> str | None:
    """The last subclass of a range, with the leading digits that print omits ("485-95" ends at 495)."""
    if end is None:
        return None
    subclass = end.partition("/")[2]
    first, last = re.match(r"\d+", start), re.match(r"\d+", subclass)
    if first and last and int(last[0]) < int(first[0]) and last.end() < first.end():
        return start[: first.end() - last.end()] + subclass
    return subclass


_LOCARNO = re.compile(r"\s*(?:LOC[^)]*\)?\s*(?:CL\.?)?\s*)?(\d{1,2})\s*[-–./ ]?\s*(\d{2})\s*$", re.IGNORECASE)


def canonical_locarno(printed: str | None) -> str | None:
    """Locarno class and subclass, "02-03" for the printed "0203"; None if the text is not a Locarno class.

    >>> canonical_locarno("0203"), canonical_locarno("2-03"), canonical_locarno("none")
    ('02-03', '02-03', None)
    """
    match = _LOCARNO.match(printed or "")
    return f"{int(match[1]):02d}-{match[2]}" if match else None


_DESIGN_KINDS = {"S", "S1"}
_CANONICAL_STARTS = set("D123456789")
_US_NUMBER = re.compile(r"(?:US)?\s*(DES|D|RE|PP|H|T|AI|X|RX)?[.\s]*0*(\d[\d,]*)(?:\s*[A-Z]\d?)?(?:-\d{8})?$")


def canonical_patent_number(printed: str | None) -> str | None:
    """One form for a US patent number: "D915935" for "D0915935", "D. 915,935", "Des. 915935" or "USD915935S1".

    Reissues and utility patents lose their leading zeros ("RE12345", "4621424"). Published applications and anything
    else that is not a US patent number are returned as printed. None if the text is empty.

    >>> [canonical_patent_number(text) for text in ("D0915935", "Des. 99999", "RE012345", "07157420", "2011/0232101")]
    ['D915935', 'D99999', 'RE12345', '7157420', '2011/0232101']
    """
    if not printed:
        return None
    if printed[0] in _CANONICAL_STARTS and printed[1:].isdigit() and printed[1] != "0":
        return printed  # most numbers are canonical already
    text = " ".join(printed.split())
    if not text:
        return None
    match = _US_NUMBER.match(text.upper())
    if match is None:
        return text
    series = "D" if match[1] == "DES" else match[1] or ""
    return series + match[2].replace(",", "")


def cited_patent_number(printed: str | None, kind: str | None) -> str | None:
    """The canonical number of a cited US patent; kind "S" makes a bare number that of a design.

    >>> cited_patent_number("0447022", "S"), cited_patent_number("4621424", "A")
    ('D447022', '4621424')
    """
    number = canonical_patent_number(printed)
    return f"D{number}" if kind in _DESIGN_KINDS and number is not None and number.isdigit() else number
