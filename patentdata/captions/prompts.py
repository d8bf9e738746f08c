"""What a model is asked about a view, or about all views of a patent: prompts, each read from a TOML file.

A prompt is a Jinja template over the fields of the grant, and the named fields of the answer. The prompts of this
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
from collections.abc import Iterable, Mapping, Sequence
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
from patentdata.captions.prompt_variables import PATENT_VARIABLES, VARIABLES, patent_variables_of, variables_of
from patentdata.errors import ConfigError
from patentdata.store.schemas import LINE_MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent / "prompt_files"
BUILT_IN = ("views", "impact", "patent", "judge")

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
    "claim_scope": [{"meaning": "environment", "is_claimed": False, "figures": []}],
    "claimed_image": b"PNG",
    "caption": "A seat on four legs.",
}
_BARE_VIEW: Row = {**dict.fromkeys(_FULL_VIEW), "viewpoint": "none", "is_front_page": False}
_LONG = "word " * 1_000  # longer than any variable of a template
_LONGEST_VIEW: Row = _FULL_VIEW | {
    "title": _LONG,
    "description": _LONG,
    "claim": _LONG,
    "other_paragraphs": [f"Broken {_LONG}"],
    "claim_scope": [{"meaning": name, "is_claimed": False, "figures": []} for name in LINE_MEANINGS],
    "caption": _LONG,
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about one view, or about several of a patent.

    Attributes:
        text: The prompt sent with the images; part of the cache key.
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
        view_fields: Those of them that are answered for each view of a patent; empty if the prompt is about one view.
        caption: The fields whose texts, in this order, make the caption.
        instructions: The parts of the question that are the same for every view; an answer that repeats one of them is
            an echo.
        keeps_remarks: Whether remarks about the picture instead of the article stay in the caption.
    """

    name: str
    identity: str
    fields: Mapping[str, AnswerField]
    view_fields: tuple[str, ...] = ()
    caption: tuple[str, ...]
    instructions: tuple[str, ...]
    keeps_remarks: bool = False
    _template: jinja2.Template = field(repr=False, compare=False)
    _variables: frozenset[str]  # those that the template uses
    _requests: tuple[str, str, str]  # for JSON, for labelled lines, for a shorter answer

    @property
    def patent_fields(self) -> tuple[str, ...]:
        """The fields that are answered once, for a view or for all views of a patent."""
        return tuple(name for name in self.fields if name not in self.view_fields)

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """JSON schema of the answer about one view; None if the answer is one free text."""
        return _object_of({name: of.schema for name, of in self.fields.items()}) if self.fields else None

    def patent_schema(self, labels: Iterable[str]) -> Mapping[str, Any]:
        """JSON schema of the answer about several views: the fields of the patent, and "views" by their labels."""
        view = _object_of({name: self.fields[name].schema for name in self.view_fields})
        patent = {name: self.fields[name].schema for name in self.patent_fields}
        return _object_of({**patent, "views": _object_of(dict.fromkeys(labels, view))})

    @property
    def other_fields(self) -> pa.StructType | None:
        """Type of the column "fields": every field but shape and function; None if there are no others."""
        others = [(name, of.arrow_type) for name, of in self.fields.items() if name not in ("shape", "function")]
        return pa.struct(others) if others else None

    def max_chars(self, num_views: int = 1) -> int:
        """Length in characters of the longest question about `num_views` views."""
        if self.view_fields:
            labels = [f"picture {number}" for number in range(num_views)]
            question = self.ask_patent([_LONGEST_VIEW] * num_views, labels)
        else:
            question = self.ask(_LONGEST_VIEW)
        return max(len(question.text), len(question.plain_text)) + len(question.shorter)

    def ask(self, view: Row) -> Question:
        """The question about a view, a row with the columns named in `captioner`.

        Raises:
            ConfigError: The template fails for this view.
        """
        question = _render(self._template, variables_of(view, self._variables), self.name, view)
        as_json, as_lines, shorter = self._requests
        if not self.fields:
            return Question(text=question, plain_text=question, shorter=shorter)
        return Question(text=f"{question}\n{as_json}", plain_text=f"{question}\n{as_lines}", shorter=shorter)

    def ask_patent(self, views: Sequence[Row], labels: Sequence[str]) -> Question:
        """The question about several views of a patent, of a prompt with `view_fields`.

        Args:
            views: Rows with the columns named in `captioner`, in the order of their pictures.
            labels: What each of them is called, in the question and in the answer.

        Raises:
            ConfigError: The template fails for these views.
        """
        question = _render(self._template, patent_variables_of(views, labels), self.name, views[0])
        text = f"{question}\n{_patent_request(self, labels)}"
        return Question(text=text, plain_text=text, shorter=self._requests[2])


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of an object with all of these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """The keys of a prompt's TOML file.

    Attributes:
        name: Name and version, such as "legs/1".
        text: The question: a Jinja template over `prompt_variables.VARIABLES`, or with `view_fields` over
            `PATENT_VARIABLES`.
        fields: Name of each field of the answer → its type; leave it out for one free text.
        view_fields: Fields that are answered for each view of a patent; all its views are then asked about at once.
        caption: The text fields that make the caption, in order; by default all of them, those of views first.
        json_request: The last line of the question, for a server that supports JSON schemas.
        lines_request: The last line for one that does not: it asks for a labelled line for each field.
        shorter: What is added after an answer that was too long.
        echoes: Words of the question that no answer may repeat; its lines of five words or more by default.
        keeps_remarks: Keep remarks about the picture instead of the article ("The background is white.").
    """

    name: str
    text: str
    fields: dict[str, AnswerField] = field(default_factory=dict)
    view_fields: dict[str, AnswerField] = field(default_factory=dict)
    caption: tuple[str, ...] | None = None
    json_request: str | None = None
    lines_request: str | None = None
    shorter: str = ""
    echoes: tuple[str, ...] | None = None
    keeps_remarks: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f'name is {self.name!r}; choose a name and a version, such as "legs/1"')
        if both := sorted(self.fields.keys() & self.view_fields.keys()):
            raise ConfigError(
                f"{both[0]} is in fields and in view_fields; a field is answered either once or for each view"
            )
        if "views" in self.fields:
            raise ConfigError('a field is named "views", which holds the answers for each view; choose another name')


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
    fields = {**keys.view_fields, **keys.fields}
    caption = tuple(name for name, of in fields.items() if of.type == "text")
    caption = caption if keys.caption is None else keys.caption
    try:
        check_fields(fields, caption)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    template, used, constant_parts = _compiled(keys.text, source, PATENT_VARIABLES if keys.view_fields else VARIABLES)
    as_json, as_lines = keys.json_request or _json_request(keys), keys.lines_request or _lines_request(keys)
    requests = (as_json, as_lines, keys.shorter)
    own = (keys.shorter,) if keys.view_fields else requests
    echoes = (*constant_parts, *own) if keys.echoes is None else keys.echoes
    prompt = Prompt(
        name=keys.name,
        identity=keys.name if is_built_in else f"{keys.name}@{hashlib.sha256(content).hexdigest()[:16]}",
        fields=fields,
        view_fields=tuple(keys.view_fields),
        keeps_remarks=keys.keeps_remarks,
        caption=caption,
        instructions=tuple(part for part in echoes if len(_WORD.findall(part)) >= _MIN_ECHO_WORDS),
        _template=template,
        _variables=used,
        _requests=requests,
    )
    for view in (_FULL_VIEW, _BARE_VIEW):
        variables = patent_variables_of([view, view], ["FIG. 1", "FIG. 2"]) if keys.view_fields else variables_of(view)
        if not _render(template, variables, source, view):
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


def _compiled(
    text: str, source: str, known: Mapping[str, str]
) -> tuple[jinja2.Template, frozenset[str], tuple[str, ...]]:
    """A template over `known` variables, those that it uses, and its lines that are the same for every view.

    Raises:
        ConfigError: It is not a template, or uses a name that is not known.
    """
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()  # a question needs no range() and no lipsum()
    try:
        tree = environment.parse(text)
        template = environment.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"{source}: line {error.lineno} of text is not a Jinja template: {error.message}") from error
    used = frozenset(meta.find_undeclared_variables(tree))
    if unknown := sorted(used - known.keys()):
        raise ConfigError(
            f"{source}: text names {', '.join(unknown)}, which is not a field of a view; choose from {', '.join(known)}"
        )
    return template, used, tuple(_constant_lines(tree))


def _constant_lines(tree: nodes.Template) -> Iterator[str]:
    """Each line of a template's own words, cut at its variables."""
    for part in tree.find_all(nodes.TemplateData):
        yield from part.data.splitlines()


def _render(template: jinja2.Template, variables: Mapping[str, Any], source: str, view: Row) -> str:
    """The question about a view, at most `_MAX_QUESTION_CHARS` long. Raises ConfigError."""
    question = ""
    try:
        for part in template.generate(variables):
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


def _patent_request(prompt: Prompt, labels: Sequence[str]) -> str:
    """The request for JSON about several views."""
    once = [f'"{name}"' for name in (*prompt.patent_fields, "views")]
    for_each = [f'"{name}"' for name in prompt.view_fields]
    keys = _listed([f'"{label}"' for label in labels])
    return (
        f"Answer with a JSON object with the {'key' if len(once) == 1 else 'keys'} {_listed(once)}; views is an object "
        f"with the {'key' if len(labels) == 1 else 'keys'} {keys}, each of them an object with the "
        f"{'key' if len(for_each) == 1 else 'keys'} {_listed(for_each)}."
    )


def label_of(field_name: str) -> str:
    """The label of a field in an answer of labelled lines: its name with blanks."""
    return field_name.replace("_", " ")


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
