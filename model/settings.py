"""The base of all settings classes: reading from files, type checks, and the hash of what decides a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from model.errors import ConfigError
from model.files import read_json, sha256_of_json

RESULT_UNTOUCHED = {"changes_result": False}
"""Metadata of a field that does not change the result, so it may differ between a run and its resumption."""

ADDED_LATER = {"recorded_at_default": False}
"""Metadata of a field that was added when there were results already: its default says what these did, and is not
recorded, so that they stay done."""

_TYPES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", NoneType: "none"}

ConfigT = TypeVar("ConfigT", bound="Config")


@dataclass(frozen=True)
class Config:
    """Base of frozen settings classes whose fields are plain values."""

    @classmethod
    def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """Settings from plain values, such as parsed TOML or JSON.

        Raises:
            ConfigError: A name is unknown, or a value has the wrong type.
        """
        known = [setting.name for setting in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {', '.join(unknown)}; {cls.__name__} knows {', '.join(known)}")
        hints = get_type_hints(cls)
        for setting in fields(cls):
            value = values.get(setting.name, setting.default)
            is_unset = value is None and setting.default is None
            require(
                is_unset or _has_type(value, hints[setting.name]),
                f"{setting.name} is {value!r}; use {_in_words(hints[setting.name])}",
            )
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    @classmethod
    def from_file(cls: type[ConfigT], path: Path | None) -> ConfigT:
        """Settings from a JSON file, or the defaults if `path` is None. Raises ConfigError."""
        values = {} if path is None else read_json(path)
        if values is None:
            raise ConfigError(f"{path}: not a JSON object of settings")
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the order of the fields."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def result_settings(self) -> dict[str, Any]:
        """The settings that decide the result, without those of speed and housekeeping.

        A setting that was added later is in it only if it has another value than its default.
        """
        values = self.to_dict()
        return {
            setting.name: values[setting.name]
            for setting in fields(self)
            if setting.metadata.get("changes_result", True)
            and (setting.metadata.get("recorded_at_default", True) or values[setting.name] != setting.default)
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 of `result_settings`, hexadecimal."""
        return sha256_of_json(self.result_settings)


def _has_type(value: Any, hint: Any) -> bool:
    if get_origin(hint) is UnionType:
        return any(_has_type(value, choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(_has_type(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is dict:
        of_names, of_values = get_args(hint)
        return isinstance(value, dict) and all(
            _has_type(name, of_names) and _has_type(item, of_values) for name, item in value.items()
        )
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _in_words(hint: Any) -> str:
    if get_origin(hint) is UnionType:
        return " or ".join(_in_words(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list"
    if get_origin(hint) is dict:
        return "a table of numbers"
    return _TYPES[hint]


def require(holds: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `holds`."""
    if not holds:
        raise ConfigError(message)
