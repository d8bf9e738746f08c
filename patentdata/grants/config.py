"""Settings of the grants stage."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from patentdata.classes import canonical_patent_number
from patentdata.errors import ConfigError

_DESIGN_NUMBER = re.compile(r"D?([1-9]\d*)$")
_SEPARATORS = re.compile(r"[;\s]+|,(?!\d{3}(?!\d))")
_WORDS_OF_NUMBERS = re.compile(r"\b(US|D|DES)\.?\s+(?=[D\d])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class GrantsConfig:
    """Which patents are left out, such as those that were withdrawn after their week was published.

    Attributes:
        exclude: Numbers of patents that do not become rows, in any usual spelling: "D907292", "USD0907292S1",
            "Des. 907,292", "0907292".
        exclude_file: A text file of further numbers, separated by line breaks, blanks or commas; what follows a "#" is
            a comment.
    """

    exclude: tuple[str, ...] = ()
    exclude_file: str | None = None

    def __post_init__(self) -> None:
        for number in self.exclude:
            design_number(number)

    @property
    def excluded(self) -> frozenset[str]:
        """Canonical numbers of the excluded patents, those of the file included.

        Raises:
            ConfigError: The file cannot be read, or holds something that is not the number of a design patent.
        """
        return frozenset(map(design_number, (*self.exclude, *self._numbers_of_file())))

    def without_file(self) -> GrantsConfig:
        """The same settings with the numbers of the file among the others, for workers that cannot read it."""
        return replace(self, exclude=tuple(sorted(self.excluded)), exclude_file=None)

    def _numbers_of_file(self) -> list[str]:
        if self.exclude_file is None:
            return []
        try:
            lines = Path(self.exclude_file).expanduser().read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read exclude_file {self.exclude_file} ({error}); name a text file of numbers"
            ) from error
        text = "\n".join(line.partition("#")[0] for line in lines)
        return [number for number in _SEPARATORS.split(_WORDS_OF_NUMBERS.sub(r"\1", text)) if number]


def design_number(printed: str) -> str:
    """The canonical number of a design patent: "D907292". Raises ConfigError if the text is not one.

    >>> [design_number(text) for text in ("USD0907292S1", "Des. 907,292", "907292", "USD907292-20210105")]
    ['D907292', 'D907292', 'D907292', 'D907292']
    """
    match = _DESIGN_NUMBER.match(canonical_patent_number(printed) or "")
    if match is None:
        raise ConfigError(f"{printed!r} is not the number of a design patent; write it as D907292")
    return f"D{match[1]}"
