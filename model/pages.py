"""What the HTML pages of this package share: templates that escape values, and pictures embedded in the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2


def page_environment(folder: Path) -> jinja2.Environment:
    """The templates in a folder. Every value is escaped, and an undefined name is an error."""
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
    """A data: address that contains the bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def toml_table(name: str, settings: Mapping[str, Any]) -> str:
    """Settings as a table of a TOML file; a setting that is None is left out, since TOML has no null."""
    # TOML writes strings, numbers, booleans and lists of them in the same way as JSON.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items() if value is not None]
    return "\n".join([f"[{name}]", *lines])
