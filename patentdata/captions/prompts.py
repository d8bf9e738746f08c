"""What a model is asked about a view: prompts, each read from a TOML file.

A prompt is a Jinja template over the fields of the grant, and the named fields of the answer. The two prompts of this
package are such files as well (in `prompt_files/`). A captioned week costs hours of GPU time, so a file is checked
whole before the first request: its template is rendered for a view with and one without every field, and a name that
does not exist is an error that says which names do.

Answers are only comparable if the question was the same, so the hash of the file is part of the identity of a prompt.
The package's own prompts are identified by name and version alone; a test pins their words.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pyarrow as pa
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from patentdata.captions.answer_fields import AnswerField, check_fields
from patentdata.captions.captioner import Row
from patentdata.captions.prompt_variables import VARIABLES, variables_of
from patentdata.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "prompt_files"
BUILT_IN = ("views", "impact")

_MAX_FILE_BYTES = 65_536
_MAX_QUESTION_CHARS = 16_000
_MIN_ECHO_WORDS = 5  # words of a constant part of the question; an answer may have fewer of them by chance
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"[\w.-]{1,60}/[\w.-]{1,20}")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")

# Two views, for which a template is rendered to find its errors: one with every field of the grant, one with none.
_FULL_VIEW: Row = {
    "title": "Chair",
    "viewpoint": "perspective",
    "viewpoint_direction": "top front",
    "description": "FIG. 1 is a top front perspective view of a chair;",
    "figure_label": "1",
    "is_front_page": False,
    "uspc_class": "D6",
    "locarno_class": "06-01",
    "claim": "The ornamental design for a chair, as shown and described.",
    "other_paragraphs": ["The broken lines form no part of the claimed design."],
}
_BARE_VIEW: Row = {**dict.fromkeys(_FULL_VIEW), "viewpoint": "none", "is_front_page": False}
_LONG = "word " * 1_000  # longer than any variable of a template
_LONGEST_VIEW: Row = _FULL_VIEW | {
    "title": _LONG,
    "description": _LONG,
    "claim": _LONG,
    "other_paragraphs": [f"Broken {_LONG}"],
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about one view.

    Attributes:
        text: The prompt sent with the image; part of the cache key.
        plain_text: The same for a server that does not support JSON schemas.
        shorter: What is added to the prompt after an answer that was too long; empty if any length will do.
    """

    text: str
    plain_text: str
    shorter: str = ""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt, as read from its file.

    Attributes:
        name: Name and version, such as "views/1".
        identity: The name, and for a prompt from outside of this package "@" and the hash of its file.
        fields: Name of each field of the answer → its type; empty if the answer is one free text.
        caption: The fields whose texts, in this order, make the caption.
        instructions: The parts of the question that are the same for every view; an answer that repeats one of them is
            an echo.
    """

    name: str
    identity: str
    fields: Mapping[str, AnswerField]
    caption: tuple[str, ...]
    instructions: tuple[str, ...]
    _template: jinja2.Template = field(repr=False, compare=False)
    _requests: tuple[str, str, str]  # for JSON, for labelled lines, for a shorter answer

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """JSON schema of the answer; None if the answer is one free text."""
        if not self.fields:
            return None
        return {
            "type": "object",
            "properties": {name: of.schema for name, of in self.fields.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }

    @property
    def other_fields(self) -> pa.StructType | None:
        """Type of the column "fields": every field but shape and function; None if there are no others."""
        others = [(name, of.arrow_type) for name, of in self.fields.items() if name not in ("shape", "function")]
        return pa.struct(others) if others else None

    def max_chars(self) -> int:
        """Length of the longest question in characters."""
        question = self.ask(_LONGEST_VIEW)
        return max(len(question.text), len(question.plain_text)) + len(question.shorter)

    def ask(self, view: Row) -> Question:
        """The question about a view, a row with the columns named in `captioner`.

        Raises:
            ConfigError: The template fails for this view.
        """
        question = _render(self._template, view, self.name)
        as_json, as_lines, shorter = self._requests
        if not self.fields:
            return Question(text=question, plain_text=question, shorter=shorter)
        return Question(text=f"{question}\n{as_json}", plain_text=f"{question}\n{as_lines}", shorter=shorter)


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """The keys of a prompt's TOML file.

    Attributes:
        name: Name and version, such as "legs/1".
        text: The question: a Jinja template over `prompt_variables.VARIABLES`.
        fields: Name of each field of the answer → its type; leave it out for one free text.
        caption: The text fields that make the caption, in order; all of them, in the order of `fields`, by default.
        json_request: The last line of the question, for a server that supports JSON schemas.
        lines_request: The last line for one that does not: it asks for a labelled line for each field.
        shorter: What is added after an answer that was too long.
        echoes: Words of the question that no answer may repeat; its lines of five words or more by default.
    """

    name: str
    text: str
    fields: dict[str, AnswerField] = field(default_factory=dict)
    caption: tuple[str, ...] | None = None
    json_request: str | None = None
    lines_request: str | None = None
    shorter: str = ""
    echoes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f'name is {self.name!r}; choose a name and a version, such as "legs/1"')


def load_prompt(name: str) -> Prompt:
    """The prompt that a setting names: one of `BUILT_IN`, or the path of a TOML file.

    Raises:
        ConfigError: There is no such prompt, or its file cannot be used; the message says which part of it.
    """
    if name in BUILT_IN:
        return _built_in(name)
    path = Path(name)
    if path.suffix != ".toml":
        raise ConfigError(
            f"unknown prompt {name!r}; choose one of {', '.join(BUILT_IN)}, or name a TOML file such as legs.toml"
        )
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the prompt {path}: {error.strerror or error}") from error
    return _read_prompt(content, str(path), is_built_in=False)


@lru_cache
def _built_in(name: str) -> Prompt:
    path = _FOLDER / f"{name}.toml"
    return _read_prompt(path.read_bytes(), str(path), is_built_in=True)


@lru_cache(maxsize=8)
def _read_prompt(content: bytes, source: str, *, is_built_in: bool) -> Prompt:
    """The prompt in a TOML file, its template checked. Raises ConfigError, which begins with `source`."""
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"{source}: a prompt has at most {_MAX_FILE_BYTES:,} bytes")
    try:
        values = tomllib.loads(content.decode())
    except ValueError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    keys = _checked(values, source)
    caption = tuple(name for name, of in keys.fields.items() if of.type == "text")
    caption = caption if keys.caption is None else keys.caption
    try:
        check_fields(keys.fields, caption)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    template, constant_parts = _compiled(keys.text, source)
    as_json, as_lines = keys.json_request or _json_request(keys), keys.lines_request or _lines_request(keys)
    requests = (as_json, as_lines, keys.shorter)
    echoes = (*constant_parts, *(requests if keys.fields else ())) if keys.echoes is None else keys.echoes
    prompt = Prompt(
        name=keys.name,
        identity=keys.name if is_built_in else f"{keys.name}@{hashlib.sha256(content).hexdigest()[:16]}",
        fields=keys.fields,
        caption=caption,
        instructions=tuple(part for part in echoes if len(_WORD.findall(part)) >= _MIN_ECHO_WORDS),
        _template=template,
        _requests=requests,
    )
    for view in (_FULL_VIEW, _BARE_VIEW):
        if not _render(template, view, source):
            raise ConfigError(f"{source}: the question is empty for a view; say in text what is asked")
    return prompt


def _checked(values: dict[str, Any], source: str) -> PromptFile:
    """The keys of a file, names and types checked."""
    import pydantic  # here, since most processes read no prompt

    # A config that forbids unknown names counts for a tuple's items at any depth, and not for a dataclass alone.
    adapter = pydantic.TypeAdapter(tuple[PromptFile], config=pydantic.ConfigDict(extra="forbid"))
    try:
        return adapter.validate_python((values,))[0]
    except pydantic.ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
        message = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source}: {f'{name}: ' if name else ''}{message}") from None


def _compiled(text: str, source: str) -> tuple[jinja2.Template, tuple[str, ...]]:
    """A template, and the lines of it that are the same for every view. Raises ConfigError."""
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()  # a question needs no range() and no lipsum()
    try:
        tree = environment.parse(text)
        template = environment.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"{source}: line {error.lineno} of text is not a Jinja template: {error.message}") from error
    if unknown := sorted(meta.find_undeclared_variables(tree) - VARIABLES.keys()):
        raise ConfigError(
            f"{source}: text names {', '.join(unknown)}, which is not a field of a view; choose from "
            f"{', '.join(VARIABLES)}"
        )
    return template, tuple(_constant_lines(tree))


def _constant_lines(tree: nodes.Template) -> Iterator[str]:
    """Each line of a template's own words, cut at its variables."""
    for part in tree.find_all(nodes.TemplateData):
        yield from part.data.splitlines()


def _render(template: jinja2.Template, view: Row, source: str) -> str:
    """The question about a view, at most `_MAX_QUESTION_CHARS` long. Raises ConfigError."""
    question = ""
    try:
        for part in template.generate(variables_of(view)):
            question += part
            if len(question) > _MAX_QUESTION_CHARS:
                raise ConfigError(f"{source}: the question has over {_MAX_QUESTION_CHARS:,} characters; shorten text")
    except ConfigError:
        raise
    except Exception as error:  # whatever a filter or a method raises that the template calls
        about = f" for the view {view['view_id']}" if view.get("view_id") else ""
        raise ConfigError(f"{source}: text cannot be filled in{about}: {error}") from error
    return question.strip()


def _json_request(keys: PromptFile) -> str:
    if not keys.fields:
        return ""
    names = [f'"{name}"' for name in keys.fields]
    return f"Answer with a JSON object with the {'key' if len(names) == 1 else 'keys'} {_listed(names)}."


def _lines_request(keys: PromptFile) -> str:
    """The request for labelled lines.

    >>> _lines_request(PromptFile(name="a/1", text="", fields={"shape": AnswerField(), "kind_of_leg": AnswerField()}))
    'Answer in two lines that begin with "Shape:" and "Kind of leg:".'
    """
    if not keys.fields:
        return ""
    labels = [f'"{label_of(name).capitalize()}:"' for name in keys.fields]
    num = len(labels)
    lines = "one line that begins" if num == 1 else f"{_NUMBERS[num] if num < len(_NUMBERS) else num} lines that begin"
    return f"Answer in {lines} with {_listed(labels)}."


def label_of(field_name: str) -> str:
    """The label of a field in an answer of labelled lines: its name with blanks."""
    return field_name.replace("_", " ")


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
