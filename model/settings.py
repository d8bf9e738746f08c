"""What the settings of training and of evaluation have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from model.errors import ConfigError
from model.files import read_json, sha256_of_json

CAPTION_COLUMNS = ("text", "shape", "function", "title")


RESULT_UNTOUCHED = {"changes_result": False}  # such a setting may differ between a run and its resumption

ConfigT = TypeVar("ConfigT", bound="Config")


@dataclass(frozen=True)
class Config:
    """What both kinds of settings can do."""

    @classmethod
    def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
        """Settings from plain values, such as parsed TOML or JSON; unknown names are refused."""
        known = [setting.name for setting in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {', '.join(unknown)}; {cls.__name__} knows {', '.join(known)}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    @classmethod
    def from_file(cls: type[ConfigT], path: Path | None) -> ConfigT:
        """Settings from a JSON file; the defaults without one. Raises ConfigError."""
        values = {} if path is None else read_json(path)
        if values is None:
            raise ConfigError(f"{path}: no JSON object of settings there")
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the order of the fields."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def result_settings(self) -> dict[str, Any]:
        """The settings that decide the result; those of speed and housekeeping are left out."""
        values = self.to_dict()
        return {
            setting.name: values[setting.name]
            for setting in fields(self)
            if setting.metadata.get("changes_result", True)
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 of `result_settings`, hexadecimal."""
        return sha256_of_json(self.result_settings)


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
