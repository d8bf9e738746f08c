"""What the HTML pages of this package share: templates whose values are escaped."""

from __future__ import annotations

from pathlib import Path

import jinja2

LONGEST_LABEL = 24  # characters shown
_LONGEST_TEXT = 240


def page_environment(folder: Path) -> jinja2.Environment:
    """The templates of a folder; values are escaped, and a name that is not defined is an error.

    Filters are `count`, a number with thousands separators, and `short`, a text of bounded length.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["short"] = shortened
    return environment


def shortened(text: str, num_characters: int = _LONGEST_TEXT) -> str:
    """A text, or its beginning and an ellipsis if it is longer than `num_characters`."""
    return text if len(text) <= num_characters else text[: num_characters - 1] + "…"
