"""The class tables that models are trained on: fixed, and saved with every checkpoint.

The number of a class is its index in such a table, never its index among the classes that occur in a dataset, so that
the weights of a trained head have the same meaning on every dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.errors import ConfigError

UNKNOWN = -1  # the number of a class that is not in the table

_LOCARNO = re.compile(r"(\d{1,2})(?:[-./ ]?\d{2})?")


@dataclass(frozen=True)
class ClassTable:
    """The classes of one classification, in their fixed order.

    Attributes:
        scheme: "uspc" or "locarno".
        codes: Codes of the classes: "D1", "D2", … or "01", "02", …
        titles: One title for each code, as printed in the classification.
    """

    scheme: str
    codes: tuple[str, ...]
    titles: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {code: index for index, code in enumerate(self.codes)}

    def index_of(self, code: str | None) -> int:
        """Index of a class in the table; -1 if it is not in the table. A subclass counts as its class.

        >>> USPC.index_of("D14"), USPC.index_of("D14/209.1"), USPC.index_of("428/156"), USPC.index_of(None)
        (13, 13, -1, -1)
        >>> [LOCARNO.index_of(code) for code in ("06", "06-01", "0601", "33")]
        [5, 5, 5, -1]
        """
        if not code:
            return UNKNOWN
        if self.scheme == "locarno":
            match = _LOCARNO.fullmatch(code.strip())
            name = f"{int(match[1]):02d}" if match else ""
        else:
            name = code.partition("/")[0].strip().upper()
        return self._indices.get(name, UNKNOWN)

    def indices_of(self, codes: Iterable[str | None]) -> np.ndarray:
        """`index_of` for many codes: (num_codes,) int64."""
        return np.array([self.index_of(code) for code in codes], dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint or JSON; `from_dict` reads them."""
        return {"scheme": self.scheme, "codes": list(self.codes), "titles": list(self.titles)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ClassTable:
        """The table from the values of `to_dict`."""
        return cls(values["scheme"], tuple(values["codes"]), tuple(values["titles"]))


USPC = ClassTable(
    "uspc",
    *zip(
        ("D1", "Edible Products"),
        ("D2", "Apparel and Haberdashery"),
        ("D3", "Travel Goods, Personal Belongings, and Storage or Carrying Articles"),
        ("D4", "Brushware"),
        ("D5", "Textile or Paper Yard Goods; Sheet Material"),
        ("D6", "Furnishings"),
        ("D7", "Equipment for Preparing or Serving Food or Drink Not Elsewhere Specified"),
        ("D8", "Tools and Hardware"),
        ("D9", "Packages and Containers for Goods"),
        ("D10", "Measuring, Testing or Signaling Instruments"),
        ("D11", "Jewelry, Symbolic Insignia, and Ornaments"),
        ("D12", "Transportation"),
        ("D13", "Equipment for Production, Distribution, or Transformation of Energy"),
        ("D14", "Recording, Communication, or Information Retrieval Equipment"),
        ("D15", "Machines Not Elsewhere Specified"),
        ("D16", "Photography and Optical Equipment"),
        ("D17", "Musical Instruments"),
        ("D18", "Printing and Office Machinery"),
        ("D19", "Office Supplies; Artists' and Teachers' Materials"),
        ("D20", "Sales and Advertising Equipment"),
        ("D21", "Games, Toys and Sports Goods"),
        ("D22", "Arms, Pyrotechnics, Hunting and Fishing Equipment"),
        ("D23", "Environmental Heating and Cooling, Fluid Handling and Sanitary Equipment"),
        ("D24", "Medical and Laboratory Equipment"),
        ("D25", "Building Units and Construction Elements"),
        ("D26", "Lighting"),
        ("D27", "Tobacco and Smokers' Supplies"),
        ("D28", "Cosmetic Products and Toilet Articles"),
        ("D29", "Equipment for Safety, Protection and Rescue"),
        ("D30", "Animal Husbandry"),
        ("D32", "Washing, Cleaning or Drying Machines"),
        ("D34", "Material or Article Handling Equipment"),
        ("D99", "Miscellaneous"),
        strict=True,
    ),
)
"""The 33 design classes of the US Patent Classification."""

LOCARNO = ClassTable(
    "locarno",
    *zip(
        ("01", "Foodstuffs"),
        ("02", "Articles of clothing and haberdashery"),
        ("03", "Travel goods, cases, parasols and personal belongings, not elsewhere specified"),
        ("04", "Brushware"),
        ("05", "Textile piece goods, artificial and natural sheet material"),
        ("06", "Furnishing"),
        ("07", "Household goods, not elsewhere specified"),
        ("08", "Tools and hardware"),
        ("09", "Packaging and containers for the transport or handling of goods"),
        ("10", "Clocks and watches and other measuring instruments, checking and signalling instruments"),
        ("11", "Articles of adornment"),
        ("12", "Means of transport or hoisting"),
        ("13", "Equipment for production, distribution or transformation of electricity"),
        ("14", "Recording, telecommunication or data processing equipment"),
        ("15", "Machines, not elsewhere specified"),
        ("16", "Photographic, cinematographic and optical apparatus"),
        ("17", "Musical instruments"),
        ("18", "Printing and office machinery"),
        ("19", "Stationery and office equipment, artists' and teaching materials"),
        ("20", "Sales and advertising equipment, signs"),
        ("21", "Games, toys, tents and sports goods"),
        ("22", "Arms, pyrotechnic articles, articles for hunting, fishing and pest killing"),
        (
            "23",
            "Fluid distribution equipment, sanitary, heating, ventilation and air-conditioning equipment, solid fuel",
        ),
        ("24", "Medical and laboratory equipment"),
        ("25", "Building units and construction elements"),
        ("26", "Lighting apparatus"),
        ("27", "Tobacco and smokers' supplies"),
        ("28", "Pharmaceutical and cosmetic products, toilet articles and apparatus"),
        ("29", "Devices and equipment against fire hazards, for accident prevention and for rescue"),
        ("30", "Articles for the care and handling of animals"),
        ("31", "Machines and appliances for preparing food or drink, not elsewhere specified"),
        ("32", "Graphic symbols and logos, surface patterns, ornamentation"),
        strict=True,
    ),
)
"""The 32 classes of the Locarno Classification."""

PROMPTS = (
    "a patent drawing of {}.",
    "a line drawing of {}.",
    "a design for {}.",
    "the ornamental design of an article: {}.",
)
"""Texts for a class, with {} for its title; their features are averaged."""

SCHEMES = (USPC.scheme, LOCARNO.scheme)


def prompts_of(table: ClassTable, prompts: tuple[str, ...]) -> list[str]:
    """The texts of all classes: first those of the first class, then those of the second, and so on."""
    return [prompt.replace("{}", title.lower()) for title in table.titles for prompt in prompts]


def class_table(scheme: str) -> ClassTable:
    """The table of a classification, "uspc" or "locarno"; ConfigError for any other name."""
    for table in (USPC, LOCARNO):
        if table.scheme == scheme:
            return table
    raise ConfigError(f"class_scheme is {scheme!r}; use one of {', '.join(SCHEMES)}")
