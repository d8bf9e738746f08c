"""The named fields of an answer: which values they take, their JSON schema, and how an answer becomes a value.

A server that supports JSON schemas keeps to the type of a field; one that does not may write "four" or "Yes." instead
of 4 or true. Both are read, and everything else is an answer that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from patentdata.captions.quality import number_of
from patentdata.errors import ConfigError

MAX_FIELDS = 16
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_YES = frozenset(["yes", "true", "1"])
_NO = frozenset(["no", "false", "0", "none"])
_ARROW_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "choice": pa.string(),
    "texts": pa.list_(pa.string()),
}


@dataclass(frozen=True, kw_only=True)
class AnswerField:
    """A named field of an answer.

    Attributes:
        type: "text", "integer", "boolean", "choice" (one of `choices`) or "texts" (a list of short texts).
        max_chars: Longest text, or longest item of a list, in characters; a text this long was cut by the schema.
        minimum, maximum: Bounds of an integer, both included.
        choices: The values of a choice.
        max_items: Most items of a list.
    """

    type: Literal["text", "integer", "boolean", "choice", "texts"] = "text"
    max_chars: int = 320
    minimum: int = 0
    maximum: int = 1_000
    choices: tuple[str, ...] = ()
    max_items: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.max_chars <= 4_000:
            raise ConfigError(f"max_chars is {self.max_chars}; choose 1 to 4000")
        if not -(1 << 53) <= self.minimum <= self.maximum <= 1 << 53:
            raise ConfigError(f"no integer is between minimum {self.minimum} and maximum {self.maximum}")
        if not 1 <= self.max_items <= 64:
            raise ConfigError(f"max_items is {self.max_items}; choose 1 to 64")
        if (self.type == "choice") != bool(self.choices):
            raise ConfigError('choices belong to the type "choice"; name at least one there, and none elsewhere')
        if len({_plain(choice) for choice in self.choices}) < len(self.choices):
            raise ConfigError("two choices are equal, ignoring case; leave one out")

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the field."""
        text = {"type": "string", "maxLength": self.max_chars}
        schemas: dict[str, dict[str, Any]] = {
            "text": text,
            "integer": {"type": "integer", "minimum": self.minimum, "maximum": self.maximum},
            "boolean": {"type": "boolean"},
            "choice": {"type": "string", "enum": list(self.choices)},
            "texts": {"type": "array", "items": text, "maxItems": self.max_items},
        }
        return schemas[self.type]

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the field in the column "fields"."""
        return _ARROW_TYPES[self.type]

    def value_of(self, answered: Any) -> Any:
        """The value that a model means: a value of JSON, or its text in an answer of labelled lines.

        Raises:
            ValueError: It is not a value of this field.

        >>> AnswerField(type="integer").value_of("Four."), AnswerField(type="boolean").value_of("yes")
        (4, True)
        """
        if self.type == "text":
            return _text_of(answered)
        if self.type == "texts":
            items = re.split(r"[,;]", answered) if isinstance(answered, str) else answered
            if not isinstance(items, list):
                raise ValueError
            return [_text_of(item).strip() for item in items if _text_of(item).strip()][: self.max_items]
        if self.type == "boolean":
            return _boolean_of(answered)
        if self.type == "integer":
            return self._integer_of(answered)
        return self._choice_of(_plain(_text_of(answered)))

    def _choice_of(self, said: str) -> str:
        for choice in self.choices:
            if _plain(choice) == said:
                return choice
        raise ValueError

    def _integer_of(self, answered: Any) -> int:
        number = number_of(_plain(answered)) if isinstance(answered, str) else answered
        if not isinstance(number, int) or isinstance(number, bool) or not self.minimum <= number <= self.maximum:
            raise ValueError
        return number


def check_fields(fields: Mapping[str, AnswerField], caption: tuple[str, ...]) -> None:
    """Raise ConfigError unless the names can be columns, and the fields of the caption are texts."""
    if len(fields) > MAX_FIELDS:
        raise ConfigError(f"{len(fields)} fields are named; at most {MAX_FIELDS} are read")
    for name in fields:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"a field is named {name!r}; use lower-case letters, digits and _, up to 40 characters")
    for name in caption:
        if name not in fields or fields[name].type != "text":
            raise ConfigError(f'caption names {name!r}, which is not a field of the type "text"')
    if fields and not caption:
        raise ConfigError('no field has the type "text", so there would be no caption; add one')


def _text_of(answered: Any) -> str:
    if not isinstance(answered, str):
        raise ValueError
    return answered


def _boolean_of(answered: Any) -> bool:
    word = str(answered).casefold() if isinstance(answered, bool) else _plain(_text_of(answered))
    if word not in _YES | _NO:
        raise ValueError
    return word in _YES


def _plain(text: str) -> str:
    """`text` without case, outer white space and punctuation around it."""
    return text.casefold().strip(" \t\r\n.,;:!*_\"'`“”")
