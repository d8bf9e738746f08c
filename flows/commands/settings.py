"""Settings from TOML files and command-line options, checked by type and name."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from patentdata.errors import ConfigError

SettingsT = TypeVar("SettingsT")
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}  # pydantic's words for a name that it does not know


def read_toml(path: Path | None) -> dict[str, Any]:
    """The tables of a settings file; empty if there is none. Raises ConfigError."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def build(kind: type[SettingsT], values: dict[str, Any]) -> SettingsT:
    """Settings from plain values, types and names checked. Raises ConfigError that names the setting."""
    try:
        return _strict_adapter(kind).validate_python((values,))[0]
    except pydantic.ValidationError as error:
        shown = []
        for problem in error.errors(include_url=False):
            path = [part for part in problem["loc"] if isinstance(part, str)]
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] in _UNKNOWN and path:
                message = _unknown_setting(kind, path)
            shown.append(f"{'.'.join(path)}: {message}" if path else message)
        raise ConfigError("; ".join(shown)) from None


def _unknown_setting(kind: type, path: list[str]) -> str:
    """What to write instead of a name that is not a setting: those most like it, or all if none is."""
    *tables, unknown = path
    for table in tables:
        kind = typing.get_type_hints(kind).get(table, kind)
    names = [setting.name for setting in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    similar = difflib.get_close_matches(unknown, names, n=3)
    if not names:
        return "there is no such setting"
    return f"there is no such setting; use {' or '.join(similar) if similar else 'one of ' + ', '.join(names)}"


def _strict_adapter(kind: type[SettingsT]) -> pydantic.TypeAdapter[tuple[SettingsT]]:
    """An adapter that refuses unknown names at any depth.

    Pydantic takes such a config for a container of a dataclass and not for the dataclass, so this is a tuple of one.
    """
    return pydantic.TypeAdapter(tuple[kind], config=pydantic.ConfigDict(extra="forbid"))  # type: ignore[valid-type, arg-type]


def parse_years(text: str) -> tuple[int, ...]:
    """Years from "2021", "2007-2022" or "2007-2010,2015". Raises ConfigError.

    >>> parse_years("2007-2009,2015")
    (2007, 2008, 2009, 2015)
    """
    years: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(\d{4})(?:\s*[-–]\s*(\d{4}))?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(f"{part!r} names no years; write 2021, 2007-2022 or 2007-2010,2015")
        years.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(years))
