"""What a model is asked about a view: named prompts, each with a version.

Text from grants is untrusted and becomes part of the prompt, so it is bounded in length, put on one line, and stripped
of the signs from which a chat template or a processor could read its special tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from patentdata.captions.captioner import Row
from patentdata.captions.described import with_article, wording_of

_MAX_TITLE_CHARS = 200
_MAX_DESCRIPTION_CHARS = 400
MAX_SHAPE_CHARS = 320  # about 50 words, twice what is asked for; a text this long was cut by the schema
MAX_FUNCTION_CHARS = 240

VIEWS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "shape": {"type": "string", "maxLength": MAX_SHAPE_CHARS},
        "function": {"type": "string", "maxLength": MAX_FUNCTION_CHARS},
    },
    "required": ["shape", "function"],
    "additionalProperties": False,
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
    """A named prompt.

    Attributes:
        name: Name and version, such as "views/1"; the version is raised when a word changes.
        schema: JSON schema of the answer; None if the answer is one free text.
        instructions: The parts of the question that are the same for every view; an answer that repeats one of them is
            an echo.
        ask: Makes the question about a view, a row with the columns named in `captioner`.
    """

    name: str
    schema: Mapping[str, Any] | None
    instructions: tuple[str, ...]
    ask: Callable[[Row], Question]


def impact(view: Row) -> Question:
    """IMPACT's question, word for word, for comparison; its answer is one free text of any length."""
    title = clean_words(view.get("title"), _MAX_TITLE_CHARS) or "an article"
    text = f"This is the image of {title}. What is the shape of the image?What is the functionality of {title}?"
    return Question(text=text, plain_text=text)


def views(view: Row) -> Question:
    """A question about shape and function that gives title, viewpoint and the grant's sentence about the figure."""
    article = with_article(clean_words(view.get("title"), _MAX_TITLE_CHARS))
    direction = clean_words(view["viewpoint_direction"], _MAX_TITLE_CHARS)
    wording = wording_of(view["viewpoint"], direction, is_front_page=view["is_front_page"])
    description = clean_words(view.get("description"), _MAX_DESCRIPTION_CHARS)
    lines = [f"{wording.format(article)}, {_VIEWS_SOURCE}."]
    if description:
        lines.append(f"{_VIEWS_DESCRIPTION}: “{description}”")
    question = "\n".join([*lines, _VIEWS_QUESTION])
    return Question(
        text=f"{question}\n{_VIEWS_JSON}",
        plain_text=f"{question}\n{_VIEWS_PLAIN}",
        shorter=_VIEWS_SHORTER,
    )


_VIEWS_SOURCE = "from a United States design patent"
_VIEWS_DESCRIPTION = "The patent says of it"
_VIEWS_QUESTION = """\
Describe the article so that it can be told from others of its kind.
Shape: one sentence of at most 25 words on what is visible from this side: outline, proportions, number and place of \
the parts, curves and edges, openings, pattern of the surface.
Function: one sentence of at most 15 words on what the article is used for.
Use plain, concrete words. Say only what can be seen or follows from the name. Do not speak of the drawing, its lines, \
colours, background or frame, and do not repeat the name of the article under shape."""
_VIEWS_JSON = 'Answer with a JSON object with the keys "shape" and "function".'
_VIEWS_PLAIN = 'Answer in two lines; the first begins with "Shape:", the second with "Function:".'
_VIEWS_SHORTER = "At most 15 words for shape and at most 10 words for function."

_VIEWS_INSTRUCTIONS = (
    _VIEWS_SOURCE,
    _VIEWS_DESCRIPTION,
    *_VIEWS_QUESTION.splitlines(),
    _VIEWS_JSON,
    _VIEWS_PLAIN,
    _VIEWS_SHORTER,
)
_IMPACT_INSTRUCTIONS = ("What is the shape of the image?What is the functionality of",)

PROMPTS: Mapping[str, Prompt] = {
    "views": Prompt(name="views/1", schema=VIEWS_SCHEMA, instructions=_VIEWS_INSTRUCTIONS, ask=views),
    "impact": Prompt(name="impact/1", schema=None, instructions=_IMPACT_INSTRUCTIONS, ask=impact),
}


def clean_words(text: str | None, max_chars: int) -> str:
    """`text` of a grant on one line, without control characters and angle brackets, cut between words.

    >>> clean_words("FIG. 1 is\\n a <image> view\\x00;", 24)
    'FIG. 1 is a image view ;'
    """
    # Cut first, since the time for the rest is proportional to the length.
    text = unicodedata.normalize("NFC", (text or "")[: 4 * max_chars])
    kept = "".join(" " if char in "<>" or unicodedata.category(char)[0] == "C" else char for char in text)
    line = " ".join(kept.split())
    if len(line) <= max_chars:
        return line
    cut = line[: max_chars - 1]
    return (cut.rpartition(" ")[0] or cut).rstrip(" ,;:") + "…"
