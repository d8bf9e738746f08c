"""What a model answered, read strictly, cleaned, and kept within what CLIP reads."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from patentdata.captions import clip_tokens, quality
from patentdata.captions.prompts import Prompt

# Why a view has no caption. The first group is the server's doing, and is asked again on occasion.
TRANSIENT_REASONS = ("timeout", "server_error", "bad_response")
LASTING_REASONS = (
    "empty",
    "repetition",
    "refused",
    "unparsable",
    "too_long",
    "rejected",
    "broken_image",
    "no_ink",
)

_MAX_CHARS = 8000  # of an answer that is looked at
_SPECIAL = re.compile(r"</?s>|<\|[a-z_]{1,30}\|>|<(?:image|pad|unk)>", re.IGNORECASE)
_FENCED = re.compile(r"\A```[a-z]*\s*(.*?)\s*```\Z", re.DOTALL)
_PLAIN = re.compile(
    r"\A\W*shape\W{0,3}:\W{0,3}\s*(?P<shape>.*?)\s*\bfunction\W{0,3}:\W{0,3}\s*(?P<function>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_REFUSAL = re.compile(
    r"\A(?:i'?m (?:very )?sorry|sorry,|i am sorry|as an ai|"
    r"i(?:'m| am)? (?:cannot|can't|can not|unable to|not able to) (?:help|assist|see|view|provide|describe|identify))",
    re.IGNORECASE,
)
_PICTURE = r"(?:image|drawing|picture|illustration|figure|sketch|diagram|photo|photograph|view)"
_ADJECTIVES = r"(?:(?:simple|detailed|black|white|grey|gray|and|line|black-and-white|technical|patent|square)[ -])*"
_OPENERS = (
    re.compile(
        rf"\A(?:the|this) {_ADJECTIVES}{_PICTURE} (?:shows|depicts|features|displays|presents|illustrates|"
        rf"is of|is an? {_ADJECTIVES}{_PICTURE} of) ",
        re.IGNORECASE,
    ),
    re.compile(rf"\A(?:an? )?{_ADJECTIVES}(?:image|drawing|picture|illustration|sketch|diagram) of ", re.IGNORECASE),
)
_ON_WHITE = re.compile(
    r",?\s*(?:(?:is |are )?(?:set|shown|placed|isolated|drawn|displayed|depicted|presented|positioned)\s+)?"
    r"(?:on|against|over|in|with) (?:a|an|the) (?:(?:plain|solid|pure|blank|clean|simple|empty) )*"
    r"(?:white|blank|grey|gray|plain) (?:square )?(?:background|canvas|backdrop|page|paper)",
    re.IGNORECASE,
)
_CANVAS = re.compile(
    r"\b(?:background|backdrop|(?:the|this|blank|white|square) canvas|line drawing|black[ -]and[ -]white)\b|"
    rf"\b(?:the|this|whole|entire) {_PICTURE} (?:is|has|itself|appears)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"“'(]?[A-Z0-9])")
_DANGLING = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "of",
        "with",
        "on",
        "in",
        "at",
        "to",
        "for",
        "from",
        "by",
        "as",
        "into",
        "over",
        "under",
        "its",
        "their",
        "his",
        "her",
        "that",
        "which",
        "while",
        "where",
        "is",
        "are",
        "has",
        "have",
    ]
)
_CHARACTER_RUN = re.compile(r"([^\d\s])\1{7,}")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of one caption.

    Attributes:
        text: The caption whole.
        shape, function: The two apart; None where the prompt asks for one free text.
        is_shortened: Whether words of the answer were left out to fit.
    """

    text: str
    shape: str | None
    function: str | None
    is_shortened: bool = False


class UnusableAnswerError(Exception):
    """An answer that is no caption.

    Attributes:
        reason: One of `LASTING_REASONS`.
        shortened: With "too_long", the caption that is left when it is cut to fit; else None.
    """

    def __init__(self, reason: str, shortened: Texts | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.shortened = shortened


def read_answer(answer: str | None, prompt: Prompt, *, is_cut: bool = False) -> Texts:
    """The texts of an answer.

    Args:
        answer: As the model gave it.
        prompt: What was asked; its schema says what an answer has.
        is_cut: Whether the model came to its bound of tokens before it was done.

    Raises:
        UnusableAnswerError: It is empty, repeats itself, declines, cannot be read, or is longer than CLIP reads.
    """
    given = (answer or "").strip()
    if not given:
        raise UnusableAnswerError("empty")
    if prompt.schema is None:
        return _free_text(given, is_cut)
    parts = _parts(given, prompt, is_cut)
    schema: Any = prompt.schema["properties"]
    is_cut = is_cut or any(len(part) >= schema[name]["maxLength"] for name, part in parts.items())
    texts = {name: clean(part) for name, part in parts.items()}
    if is_cut:
        texts = {name: _without_torn_end(text) for name, text in texts.items()}
    texts = {name: without_canvas_talk(text) for name, text in texts.items()}
    for text in texts.values():
        _check(text)
    shape, function = texts["shape"], texts["function"]
    if shape.casefold() == function.casefold():
        raise UnusableAnswerError("repetition")
    caption = _fitted(shape, function)
    if is_cut or not clip_tokens.fits((shape, function)):
        raise UnusableAnswerError("too_long", replace(caption, is_shortened=True))
    return caption


def _free_text(given: str, is_cut: bool) -> Texts:
    """An answer whose length is left as it is; one that the model could not end loses its last, torn sentence."""
    text = clean(given)
    _check(text)
    if is_cut:
        return Texts(text=_without_torn_end(text), shape=None, function=None, is_shortened=True)
    return Texts(text=text, shape=None, function=None)


def _parts(given: str, prompt: Prompt, is_cut: bool) -> dict[str, str]:
    """Shape and function as the model gave them: JSON by the schema, or two labelled lines."""
    given = given[:_MAX_CHARS]
    fenced = _FENCED.match(given)
    given = fenced[1] if fenced else given
    names = tuple(prompt.schema["required"]) if prompt.schema else ()
    values = _json_object(given, is_cut)
    if values is not None:
        is_whole = set(values) == set(names) and all(isinstance(value, str) for value in values.values())
        if is_whole:
            return values
        raise UnusableAnswerError("too_long" if is_cut else "unparsable")
    if match := _PLAIN.match(given):
        return match.groupdict()
    if _REFUSAL.match(clean(given)):
        raise UnusableAnswerError("refused")
    raise UnusableAnswerError("too_long" if is_cut else "unparsable")


def _json_object(given: str, is_cut: bool) -> dict[str, Any] | None:
    if not given.startswith("{"):
        return None
    try:
        values = json.loads(given)
    except (ValueError, RecursionError):
        if not is_cut:
            return None
        import pydantic_core

        try:  # the end is missing: what stands is read as far as it goes
            values = pydantic_core.from_json(given, allow_partial="trailing-strings")
        except ValueError:
            return None
    return values if isinstance(values, dict) else None


def clean(text: str) -> str:
    """`text` on one line: composed Unicode, no control, formatting or stray characters, no quotes around it.

    >>> clean(' "A\\u200b tall\\n\\n body" </s>')
    'A tall body'
    """
    text = unicodedata.normalize("NFC", _SPECIAL.sub(" ", text[:_MAX_CHARS]))
    # Cc and Zl are breaks of some kind; Cf (zero width), Cs (halves of pairs), Co and Cn have no look.
    kept = "".join(
        " " if category in ("Cc", "Zl", "Zp") else "" if category[0] == "C" or char == "\ufffd" else char
        for char in text
        for category in (unicodedata.category(char),)
    )
    line = " ".join(kept.split())
    if len(line) > 1 and line[0] in "\"“'‘" and line[-1] in "\"”'’":
        line = line[1:-1].strip()
    return line.strip("*_#` ")


def without_canvas_talk(text: str) -> str:
    """`text` without what it says of the picture instead of the article; the first letter large, a full stop behind.

    >>> without_canvas_talk("The image shows a round lid on a white background. The image is square.")
    'A round lid.'
    """
    for opener in _OPENERS:
        text = opener.sub("", text)
    text = _ON_WHITE.sub("", text)
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if not _CANVAS.search(sentence)]
    return _sentence(" ".join(sentences))


def shorten(text: str, max_tokens: int) -> str:
    """The longest beginning of `text` of at most `max_tokens` CLIP tokens, cut behind a sentence, or else a word.

    >>> shorten("A round lid. It has a handle.", 7)
    'A round lid.'
    """
    if clip_tokens.num_tokens(text) <= max_tokens:
        return text
    sentences = _SENTENCE_END.split(text)
    for num in range(len(sentences) - 1, 0, -1):
        beginning = " ".join(sentences[:num])
        if clip_tokens.num_tokens(beginning) <= max_tokens:
            return beginning
    words = sentences[0].split()
    low, high = 1, min(len(words), max_tokens)  # a word is a token or more
    while low < high:
        middle = (low + high + 1) // 2
        if clip_tokens.num_tokens(_ended(words[:middle])) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    shortened = _ended(words[:low])
    while clip_tokens.num_tokens(shortened) > max_tokens:  # one endless word
        shortened = shortened[: len(shortened) // 2] + "."
    return shortened


def _fitted(shape: str, function: str) -> Texts:
    """Each text, and both together, within what CLIP reads."""
    shape_alone, function_alone = (shorten(text, clip_tokens.CONTEXT_LENGTH) for text in (shape, function))
    text = f"{shape_alone} {function_alone}"
    is_shortened = (shape_alone, function_alone) != (shape, function)
    if not clip_tokens.fits((text,)):
        # Function, as a rule the shorter one, is kept as far as half of the room; shape takes what is left.
        end = shorten(function_alone, clip_tokens.CONTEXT_LENGTH // 2)
        room = clip_tokens.CONTEXT_LENGTH - clip_tokens.num_tokens(end) + 2  # one pair of marks stands around both
        text, is_shortened = f"{shorten(shape_alone, room)} {end}", True
    return Texts(text=text, shape=shape_alone, function=function_alone, is_shortened=is_shortened)


def _check(text: str) -> None:
    if not any(char.isalpha() for char in text):
        raise UnusableAnswerError("empty")
    if _REFUSAL.match(text):
        raise UnusableAnswerError("refused")
    if _runs_in_circles(text):
        raise UnusableAnswerError("repetition")


def _runs_in_circles(text: str) -> bool:
    """Whether a text loops, in the sense of the measured quality, by single characters, or by too few words."""
    words = [word.casefold() for word in _WORD.findall(text)]
    is_poor = len(words) >= 16 and len(set(words)) < 0.3 * len(words)
    return is_poor or bool(_CHARACTER_RUN.search(text)) or quality.repeats_itself(text)


def _seems_cut(part: str) -> bool:
    return not part.rstrip().endswith((".", "!", "?"))


def _without_torn_end(text: str) -> str:
    """`text` up to its last whole sentence, or, where there is none, its last whole word."""
    sentences = _SENTENCE_END.split(text)
    if len(sentences) > 1 and _seems_cut(text):
        return " ".join(sentences[:-1])
    return text if not _seems_cut(text) else _ended(text.split()[:-1] or text.split())


def _ended(words: list[str]) -> str:
    """Words as a sentence, without an article or preposition at its end."""
    words = list(words)
    while len(words) > 1 and words[-1].strip(",;:").casefold() in _DANGLING:
        words.pop()
    return _sentence(" ".join(words).rstrip(",;:–— "))


def _sentence(text: str) -> str:
    text = text.strip(" ,;:")
    if not text:
        return ""
    if not text.endswith((".", "!", "?", "…", '."', ".”", ")")):
        text += "."
    return text[0].upper() + text[1:]
