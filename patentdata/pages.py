"""What the pages of this package share: templates whose values are escaped."""

from __future__ import annotations

from pathlib import Path

import jinja2

from patentdata.sheet_cards import shortened


def page_environment(folder: Path | None = None) -> jinja2.Environment:
    """The templates of a folder, default: of this package; values are escaped, a name that is not there is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder or Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["short"] = shortened
    return environment
