"""What the pages of this package share: templates whose values are escaped, pictures within the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2


def page_environment(folder: Path) -> jinja2.Environment:
    """The templates of this package; every value is escaped, and a name that is not there is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["short"] = lambda text, num: text if len(text) <= num else text[: num - 1] + "…"
    return environment


def data_uri(media_type: str, data: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def toml_table(name: str, settings: Mapping[str, Any]) -> str:
    """Settings as the table of a TOML file; one that is not set is left out, since TOML has no word for it."""
    # Plain strings, numbers, booleans and lists of them are written in TOML as they are in JSON.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items() if value is not None]
    return "\n".join([f"[{name}]", *lines])
