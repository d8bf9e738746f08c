"""What the pages of this package share: templates whose values are escaped."""

from __future__ import annotations

from pathlib import Path

import jinja2

_LONGEST_TEXT, LONGEST_LABEL = 240, 24  # characters shown


def page_environment(folder: Path) -> jinja2.Environment:
    """The templates of a folder, default: of this package; values are escaped, a name that is not there is an error."""
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
    """`text` whole, or its beginning and an ellipsis."""
    return text if len(text) <= num_characters else text[: num_characters - 1] + "…"
