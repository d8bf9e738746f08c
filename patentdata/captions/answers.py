"""Reads a model's answer: strictly, cleaned, and shortened to what CLIP reads.

An answer is either a caption or has a reason for not being one; nothing is guessed. A caption that is wrong (a refusal,
a loop, a remark about the white background) harms training more than a view without a caption, so anything doubtful
becomes a reason, and the client asks again at a higher temperature.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from patentdata.captions import clip_tokens, quality
from patentdata.captions.prompts import Prompt

# Why a view has no caption. Transient reasons are the server's fault; such views may be asked about again.
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

_MAX_CHARS = 8000  # characters of an answer that are read
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
        text: The whole caption.
        shape, function: Its two parts; None if the prompt asks for one free text.
        is_shortened: Whether words of the answer were dropped to fit the context.
    """

    text: str
    shape: str | None
    function: str | None
    is_shortened: bool = False


class UnusableAnswerError(Exception):
    """An answer that is not a caption.

    Attributes:
        reason: One of `LASTING_REASONS`.
        shortened: With "too_long", the caption that remains when the answer is cut to fit; otherwise None.
    """

    def __init__(self, reason: str, shortened: Texts | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.shortened = shortened


def read_answer(answer: str | None, prompt: Prompt, *, is_cut: bool = False) -> Texts:
    """The texts of an answer.

    Args:
        answer: The model's output, unchanged.
        prompt: What was asked; its schema says which fields an answer has.
        is_cut: Whether the model reached its token limit before it finished.

    Raises:
        UnusableAnswerError: The answer is empty, repeats itself, is a refusal, cannot be parsed, or is longer than
            CLIP reads.
    """
    raw = (answer or "").strip()
    if not raw:
        raise UnusableAnswerError("empty")
    if prompt.schema is None:
        return _free_text(raw, is_cut)
    parts = _parts(raw, prompt, is_cut)
    # A part as long as the schema allows was cut by the schema.
    schema: Any = prompt.schema["properties"]
    is_cut = is_cut or any(len(part) >= schema[name]["maxLength"] for name, part in parts.items())
    texts = {name: clean(part) for name, part in parts.items()}
    if is_cut:
        texts = {name: _without_cut_end(text) for name, text in texts.items()}
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


def _free_text(raw: str, is_cut: bool) -> Texts:
    """A free text of any length; if the model was cut off, its last, incomplete sentence is dropped."""
    text = clean(raw)
    _check(text)
    if is_cut:
        return Texts(text=_without_cut_end(text), shape=None, function=None, is_shortened=True)
    return Texts(text=text, shape=None, function=None)


def _parts(raw: str, prompt: Prompt, is_cut: bool) -> dict[str, str]:
    """Shape and function as the model wrote them: JSON that follows the schema, or two labelled lines."""
    raw = raw[:_MAX_CHARS]
    fenced = _FENCED.match(raw)
    raw = fenced[1] if fenced else raw
    names = tuple(prompt.schema["required"]) if prompt.schema else ()
    values = _json_object(raw, is_cut)
    if values is not None:
        is_whole = set(values) == set(names) and all(isinstance(value, str) for value in values.values())
        if is_whole:
            return values
        raise UnusableAnswerError("too_long" if is_cut else "unparsable")
    if match := _PLAIN.match(raw):
        return match.groupdict()
    if _REFUSAL.match(clean(raw)):
        raise UnusableAnswerError("refused")
    raise UnusableAnswerError("too_long" if is_cut else "unparsable")


def _json_object(raw: str, is_cut: bool) -> dict[str, Any] | None:
    """The JSON object in an answer, or None if there is none; a cut one is read as far as it goes."""
    if not raw.startswith("{"):
        return None
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        if not is_cut:
            return None
        import pydantic_core

        try:
            values = pydantic_core.from_json(raw, allow_partial="trailing-strings")
        except ValueError:
            return None
    return values if isinstance(values, dict) else None


def clean(text: str) -> str:
    """`text` on one line: composed Unicode, without control, formatting or unassigned characters or outer quotes.

    >>> clean(' "A\\u200b tall\\n\\n body" </s>')
    'A tall body'
    """
    text = unicodedata.normalize("NFC", _SPECIAL.sub(" ", text[:_MAX_CHARS]))
    # Cc, Zl and Zp are breaks; Cf (zero width), Cs (lone surrogates), Co and Cn are not visible.
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
    """`text` without remarks about the picture instead of the article, as a sentence with capital and full stop.

    >>> without_canvas_talk("The image shows a round lid on a white background. The image is square.")
    'A round lid.'
    """
    for opener in _OPENERS:
        text = opener.sub("", text)
    text = _ON_WHITE.sub("", text)
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if not _CANVAS.search(sentence)]
    return _sentence(" ".join(sentences))


def shorten(text: str, max_tokens: int) -> str:
    """The longest beginning of `text` with at most `max_tokens` CLIP tokens, cut after a sentence, or else a word.

    >>> shorten("A round lid. It has a handle.", 7)
    'A round lid.'
    """
    if clip_tokens.num_tokens(text) <= max_tokens:
        return text
    # Whole sentences, as many as fit.
    sentences = _SENTENCE_END.split(text)
    for num in range(len(sentences) - 1, 0, -1):
        beginning = " ".join(sentences[:num])
        if clip_tokens.num_tokens(beginning) <= max_tokens:
            return beginning
    # Not even the first sentence fits: as many of its words as do, by binary search.
    words = sentences[0].split()
    low, high = 1, min(len(words), max_tokens)  # a word is one token or more
    while low < high:
        middle = (low + high + 1) // 2
        if clip_tokens.num_tokens(_as_sentence(words[:middle])) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    shortened = _as_sentence(words[:low])
    while clip_tokens.num_tokens(shortened) > max_tokens:  # a single word that is too long
        shortened = shortened[: len(shortened) // 2] + "."
    return shortened


def _fitted(shape: str, function: str) -> Texts:
    """Shape and function, each cut to what CLIP reads, and a joint text that fits as well."""
    shape_alone, function_alone = (shorten(text, clip_tokens.CONTEXT_LENGTH) for text in (shape, function))
    text = f"{shape_alone} {function_alone}"
    is_shortened = (shape_alone, function_alone) != (shape, function)
    if not clip_tokens.fits((text,)):
        # Function, usually the shorter one, may use up to half of the context; shape gets the rest.
        end = shorten(function_alone, clip_tokens.CONTEXT_LENGTH // 2)
        room = (
            clip_tokens.CONTEXT_LENGTH - clip_tokens.num_tokens(end) + 2
        )  # the joint text has one pair of start and end tokens
        text, is_shortened = f"{shorten(shape_alone, room)} {end}", True
    return Texts(text=text, shape=shape_alone, function=function_alone, is_shortened=is_shortened)


def _check(text: str) -> None:
    """Raise UnusableAnswerError if `text` has no letters, is a refusal or loops."""
    if not any(char.isalpha() for char in text):
        raise UnusableAnswerError("empty")
    if _REFUSAL.match(text):
        raise UnusableAnswerError("refused")
    if _loops(text):
        raise UnusableAnswerError("repetition")


def _loops(text: str) -> bool:
    """Whether a text repeats itself (as `quality` measures it), repeats one character, or has few distinct words."""
    words = [word.casefold() for word in _WORD.findall(text)]
    is_monotonous = len(words) >= 16 and len(set(words)) < 0.3 * len(words)
    return is_monotonous or bool(_CHARACTER_RUN.search(text)) or quality.repeats_itself(text)


def _seems_cut(part: str) -> bool:
    return not part.rstrip().endswith((".", "!", "?"))


def _without_cut_end(text: str) -> str:
    """`text` up to its last complete sentence, or its last complete word if it has only one sentence."""
    sentences = _SENTENCE_END.split(text)
    if len(sentences) > 1 and _seems_cut(text):
        return " ".join(sentences[:-1])
    return text if not _seems_cut(text) else _as_sentence(text.split()[:-1] or text.split())


def _as_sentence(words: list[str]) -> str:
    """Words as a sentence that does not end in an article or a preposition."""
    words = list(words)
    while len(words) > 1 and words[-1].strip(",;:").casefold() in _DANGLING:
        words.pop()
    return _sentence(" ".join(words).rstrip(",;:–— "))


def _sentence(text: str) -> str:
    """`text` with a capital letter and a final punctuation mark; "" if nothing is left of it."""
    text = text.strip(" ,;:")
    if not text:
        return ""
    if not text.endswith((".", "!", "?", "…", '."', ".”", ")")):
        text += "."
    return text[0].upper() + text[1:]
