"""Reads a model's answer: strictly, cleaned, and shortened to what CLIP reads.

An answer is either a caption or has a reason for not being one; nothing is guessed. A caption that is wrong (a refusal,
a loop, a remark about the white background) harms training more than a view without a caption, so anything doubtful
becomes a reason, and the client asks again at a higher temperature.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from patentdata.captions import clip_tokens, quality
from patentdata.captions.prompts import Prompt, label_of

# Why a view has no caption. Without an answer, the cause may be the server's; such views may be asked about again.
UNANSWERED_REASONS = ("timeout", "server_error", "bad_response", "rejected")
LASTING_REASONS = (
    "empty",
    "repetition",
    "refused",
    "unparsable",
    "missing",
    "too_long",
    "broken_image",
    "no_ink",
)

_MAX_ANSWER_CHARS = 65_536  # characters of an answer that are read, thoughts included
_MAX_CHARS = 8000  # characters of it that are read without the thoughts
_JSON = json.JSONDecoder(strict=False)  # line breaks within texts are forgiven
_SPECIAL = re.compile(r"</?s>|<\|[a-z_]{1,30}\|>|<(?:image|pad|unk)>", re.IGNORECASE)
_FENCED = re.compile(r"\A```[a-z]*\s*(.*?)\s*```\Z", re.DOTALL)
# Signs around the thoughts of a reasoning model: <think> of most, [THINK] of Magistral, ◁think▷ of Kimi, and others.
_THOUGHT = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis)"
_THINKING = re.compile(
    rf"(?P<end></(?:\w+:)?{_THOUGHT}>|<\|(?:/|end_of_){_THOUGHT}\|>|\[/{_THOUGHT}\]|◁/{_THOUGHT}▷|"
    r"<\|channel\|>final(?:<\|message\|>)?)|"
    rf"<(?:\w+:)?{_THOUGHT}>|<\|(?:begin_of_)?{_THOUGHT}\|>|\[{_THOUGHT}\]|◁{_THOUGHT}▷|"
    r"<\|channel\|>(?:analysis|commentary)(?:<\|message\|>)?",
    re.IGNORECASE,
)
_ANSWER_TAG = re.compile(r"</?(?:answer|response|output|final)>", re.IGNORECASE)
# A flat object of texts, as JSON or as a Python dict, perhaps with a comma after its last value.
_TEXT = r"""(?:"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')"""
_PAIR = rf"(?P<name>{_TEXT})\s*+:\s*+(?P<value>{_TEXT})"
_ANY_PAIR = rf"{_TEXT}\s*+:\s*+{_TEXT}\s*+"
_LOOSE_OBJECT = re.compile(rf"\{{\s*+{_ANY_PAIR}(?:,\s*+{_ANY_PAIR})*+(?:,\s*+)?\}}", re.DOTALL)
_LOOSE_PAIR = re.compile(_PAIR, re.DOTALL)
_REFUSAL = re.compile(
    r"\A(?:i'?m (?:very )?sorry|sorry,|i am sorry|i apologi[sz]e|as an ai|as a (?:large )?language model|"
    r"(?:unfortunately,? )?i(?:'m| am)? (?:cannot|can't|can not|unable to|not able to|do not|don't) "
    r"(?:help|assist|see|view|provide|describe|identify|have))",
    re.IGNORECASE,
)
_NO_PICTURE = re.compile(
    r"\bno (?:\w+ )?(?:image|picture|drawing|photo|photograph|figure|attachment|file)s? "
    r"(?:(?:was|is|were|are|has been|have been) )?(?:actually |currently )?"
    r"(?:provided|attached|included|given|uploaded|supplied|shared|sent|received|available|visible|present|found|"
    r"to (?:describe|see|view|analy[sz]e))\b|"
    r"\A(?:the )?(?:image|picture|drawing|photo|photograph|figure) (?:(?:was )?not found|"
    r"(?:is|appears to be|seems to be) (?:completely |entirely )?(?:blank|empty|missing))\b|"
    r"\b(?:image|picture|drawing|photo|photograph|figure)s? (?:was|is|were|are|has|have)(?:n't| not)(?: been)? "
    r"(?:provided|attached|included|given|uploaded|supplied|shared|sent|received|available|visible|present|found)\b|"
    r"\b(?:do not|don't|cannot|can't|unable to|not able to) (?:see|view|find|access|open|have) "
    r"(?:an|any|the|your)(?: \w+)? (?:image|picture|drawing|photo|photograph|figure|attachment)\b|"
    r"\b(?:please|could you|can you) (?:re-?)?(?:provide|upload|attach|share|send|supply)\b",
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
_NEXT_BULLET = re.compile(
    r"\n[ \t]*(?:[-+*•·>#–—]+|\(?\d{1,2}[.)])[\s*_]*\Z"
)  # "2. " before the label of the next line
_MOST_OBJECTS = 8  # braces of an answer at which an object is looked for
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
_SYMBOL_RUN = re.compile(r"(?:[^\w\s]\s*+){8}")  # dashes, emoji, and other signs without a word between them
_ECHO_WORDS = 7  # consecutive words of the instructions that no description has by chance
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of one caption.

    Attributes:
        text: The whole caption.
        shape, function: Its two parts; None if the prompt does not ask for them.
        is_shortened: Whether words of the answer were dropped to fit the context.
        fields: Name of each other field of the prompt → its value; None if the prompt has no others.
    """

    text: str
    shape: str | None
    function: str | None
    is_shortened: bool = False
    fields: Mapping[str, Any] | None = None


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
    raw, is_cut = _without_thinking((answer or "")[:_MAX_ANSWER_CHARS], is_cut)
    if not raw:
        raise UnusableAnswerError("too_long" if is_cut else "empty")
    if not prompt.fields:
        return _free_text(raw, prompt, is_cut)
    return _caption(_values(raw, prompt, is_cut), prompt, is_cut)


def read_patent_answer(
    answer: str | None, prompt: Prompt, labels: Iterable[str], *, is_cut: bool = False
) -> dict[str, Texts | UnusableAnswerError]:
    """The texts of an answer about several views of a patent, of a prompt with `view_fields`.

    Args:
        answer: The model's output, unchanged.
        prompt: What was asked.
        labels: The labels of the views that were asked about.
        is_cut: Whether the model reached its token limit before it finished.

    Returns:
        Label → texts of the view, or why it has none: every reason of `read_answer`, or "missing" if the answer does
        not have the view.
    """
    raw, is_cut = _without_thinking((answer or "")[:_MAX_ANSWER_CHARS], is_cut)
    labels = tuple(labels)
    raw = raw[: _MAX_CHARS * max(1, len(labels))]
    fenced = _FENCED.match(raw)
    found = _first_object(fenced[1] if fenced else raw, is_cut)
    if is_cut and (found is None or "views" not in found):  # the first whole object is that of a view
        found = _cut_object(raw[max(0, raw.find("{")) :])
    views = found.get("views") if isinstance(found, Mapping) else None
    if found is None or not isinstance(views, Mapping):
        is_refused = _is_refusal(clean(raw))
        reason = "empty" if not raw else "refused" if is_refused else "too_long" if is_cut else "unparsable"
        return {label: UnusableAnswerError("too_long" if is_cut and not raw else reason) for label in labels}
    return {label: _view_caption(found, views, label, prompt, is_cut) for label in labels}


def _view_caption(
    found: Mapping[str, Any], views: Mapping[str, Any], label: str, prompt: Prompt, is_cut: bool
) -> Texts | UnusableAnswerError:
    """The texts of one view in an answer about several, or why it has none."""
    if label not in views:
        return UnusableAnswerError("too_long" if is_cut else "missing")
    view = views[label]
    # Of a cut answer, only the last view is incomplete.
    is_cut = is_cut and label == list(views)[-1]
    try:
        if not isinstance(view, Mapping) or set(view) != set(prompt.view_fields):
            raise UnusableAnswerError("too_long" if is_cut else "unparsable")
        values = {name: found[name] for name in prompt.patent_fields} | dict(view)
        return _caption(_typed(values, prompt, is_cut), prompt, is_cut)
    except KeyError:
        return UnusableAnswerError("unparsable")
    except UnusableAnswerError as error:
        return error


def _caption(values: Mapping[str, Any], prompt: Prompt, is_cut: bool) -> Texts:
    """The texts of a caption from the values of its fields. Raises UnusableAnswerError."""
    parts = {name: values[name] for name in prompt.caption}
    # A part as long as the schema allows was cut by the schema.
    is_cut = is_cut or any(len(part) >= prompt.fields[name].max_chars for name, part in parts.items())
    texts = {name: clean(part) for name, part in parts.items()}
    # Before remarks about the picture are removed: that there is none is one of them.
    if any(_is_refusal(text) for text in texts.values()):
        raise UnusableAnswerError("refused")
    if is_cut:
        texts = {name: _without_cut_end(text) for name, text in texts.items()}
    tidy = _sentence if prompt.keeps_remarks else without_canvas_talk
    texts = {name: tidy(text) for name, text in texts.items()}
    for text in texts.values():
        _check(text, prompt)
    if len({text.casefold() for text in texts.values()}) < len(texts):
        raise UnusableAnswerError("repetition")
    caption = _fitted(texts, _other_values(values, prompt))
    if is_cut or not clip_tokens.fits(texts.values()):
        raise UnusableAnswerError("too_long", replace(caption, is_shortened=True))
    return caption


def _without_thinking(raw: str, is_cut: bool) -> tuple[str, bool]:
    """An answer without the thoughts of a reasoning model, and whether it was cut, perhaps in the middle of them.

    >>> _without_thinking("<think>Legs? Four.</think> A stool.", False), _without_thinking("[THINK] Legs?", False)
    (('A stool.', False), ('', True))
    """
    kept: list[str] = []
    start, is_thought = 0, False
    for sign in _THINKING.finditer(raw):
        if sign["end"]:
            if not is_thought:  # the first sign is part of the chat template, so all of this is thought
                kept.clear()
            start, is_thought = sign.end(), False
        elif not is_thought:
            kept.append(raw[start : sign.start()])
            is_thought = True
    kept.append("" if is_thought else raw[start:])
    return _ANSWER_TAG.sub("", "".join(kept)).strip(), is_cut or is_thought


def _free_text(raw: str, prompt: Prompt, is_cut: bool) -> Texts:
    """A free text of any length; if the model was cut off, its last, incomplete sentence is dropped."""
    text = clean(raw)
    _check(text, prompt)
    if text.startswith(("{", "[{")):  # values under names of the model's own are not a sentence
        raise UnusableAnswerError("unparsable")
    if is_cut:
        return Texts(text=_without_cut_end(text), shape=None, function=None, is_shortened=True)
    return Texts(text=text, shape=None, function=None)


def _values(raw: str, prompt: Prompt, is_cut: bool) -> dict[str, Any]:
    """The value of each field as the model wrote it: in labelled lines, or in an object that follows the schema."""
    raw = raw[:_MAX_CHARS]
    fenced = _FENCED.match(raw)
    raw = fenced[1] if fenced else raw
    values: Mapping[str, Any] | None = _labelled_parts(raw, tuple(prompt.fields))
    if values is None:
        values = _by_field(_first_object(raw, is_cut), prompt)
    if values is None and _is_refusal(clean(raw)):
        raise UnusableAnswerError("refused")
    if values is None or set(values) != set(prompt.fields):
        raise UnusableAnswerError("too_long" if is_cut else "unparsable")
    return _typed(values, prompt, is_cut)


def _by_field(values: dict[str, Any] | None, prompt: Prompt) -> dict[str, Any] | None:
    """The values under the names of the fields; "Shape" and " shape" are "shape"."""
    names = {name.casefold(): name for name in prompt.fields}
    return values and {names.get(name.strip().casefold(), name): value for name, value in values.items()}


def _typed(values: Mapping[str, Any], prompt: Prompt, is_cut: bool) -> dict[str, Any]:
    """The values of all fields of a prompt, each of its type. Raises UnusableAnswerError."""
    try:
        return {name: of.value_of(values[name]) for name, of in prompt.fields.items()}
    except ValueError:
        raise UnusableAnswerError("too_long" if is_cut else "unparsable") from None


def _labelled_parts(raw: str, names: tuple[str, ...]) -> dict[str, str] | None:
    """What follows each label in an answer of labelled lines; None if it has not all labels in their order.

    >>> _labelled_parts("**Shape:** A lid. Function: To cover.", ("shape", "function"))
    {'shape': 'A lid.', 'function': 'To cover.'}
    """
    parts: dict[str, str] = {}
    previous, start = "", 0
    for name in names:
        words = r"[\s_]".join(label_of(name).split())
        label = rf"{words}\W{{0,3}}:\W{{0,3}}\s*"
        start_of_label = r"\b" if previous else r"\A[^\w{]*+(?:\d{1,2}[.)])?[^\w{]*"
        found = re.compile(start_of_label + label, re.IGNORECASE).search(raw, start)
        if found is None:
            return None
        if previous:
            parts[previous] = _NEXT_BULLET.sub("", raw[start : found.start()]).rstrip()
        previous, start = name, found.end()
    parts[previous] = raw[start:]
    return parts


def _other_values(values: Mapping[str, Any], prompt: Prompt) -> dict[str, Any] | None:
    """The values of the fields other than shape and function, their texts cleaned; None if there are no others."""
    if prompt.other_fields is None:
        return None
    return {field.name: _cleaned(values[field.name]) for field in prompt.other_fields}


def _cleaned(value: Any) -> Any:
    if isinstance(value, list):
        return [text for text in map(clean, value) if text]
    return clean(value) if isinstance(value, str) else value


def _first_object(raw: str, is_cut: bool) -> dict[str, Any] | None:
    r"""The first JSON object in an answer, whatever is before and after it; a cut one is read as far as it goes.

    Line breaks within texts, a comma after the last value and the spelling of a Python dict are forgiven.

    Returns:
        Its values; None if there is no object that can be read.

    >>> _first_object("Here: [{'shape': 'A lid.', 'function': \"A pot's lid.\",}]", False)
    {'shape': 'A lid.', 'function': "A pot's lid."}
    """
    starts = [match.start() for match in itertools.islice(re.finditer(r"\{", raw), _MOST_OBJECTS)]
    for start in starts:
        try:
            return _JSON.raw_decode(raw, start)[0]
        except (ValueError, RecursionError):
            if loose := _LOOSE_OBJECT.match(raw, start):
                return _loose_values(loose[0])
    return _cut_object(raw[starts[0] :]) if is_cut and starts else None


def _cut_object(raw: str) -> dict[str, Any] | None:
    """The JSON object that an answer begins with, as far as it goes; None if it cannot be read.

    >>> _cut_object('{"shape": "A lid.", "function": "To co')
    {'shape': 'A lid.', 'function': 'To co'}
    """
    import pydantic_core

    try:
        return pydantic_core.from_json(raw, allow_partial="trailing-strings")
    except ValueError:
        return None


def _loose_values(text: str) -> dict[str, Any] | None:
    """The values of an object that `_LOOSE_OBJECT` matches; None if one of its texts cannot be read."""
    try:
        return {_text_of(pair["name"]): _text_of(pair["value"]) for pair in _LOOSE_PAIR.finditer(text)}
    except ValueError:
        return None


def _text_of(literal: str) -> str:
    """The text of a literal of JSON or Python. Raises ValueError if it has an escape that JSON does not know."""
    if literal[0] == "'":
        inner = re.sub(r"""\\(.)|(")""", _with_json_escape, literal[1:-1], flags=re.DOTALL)
        literal = f'"{inner}"'
    text: str = _JSON.decode(literal)
    return text


def _with_json_escape(match: re.Match[str]) -> str:
    """An escape or a double quote of a Python literal in single quotes, as it is within double quotes in JSON."""
    if match[2]:
        return '\\"'
    return "'" if match[1] == "'" else match[0]


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


def _fitted(texts: Mapping[str, str], other_values: Mapping[str, Any] | None) -> Texts:
    """The parts of a caption, each cut to what CLIP reads, and a joint text that fits as well."""
    parts = {name: shorten(text, clip_tokens.CONTEXT_LENGTH) for name, text in texts.items()}
    first, *others = parts.values()
    text = " ".join(parts.values())
    is_shortened = parts != texts
    if not clip_tokens.fits((text,)):
        # Each part after the first, such as function, which is usually short, may use an equal share of the context;
        # the first gets the rest. The joint text has one pair of start and end tokens.
        ends = [shorten(part, clip_tokens.CONTEXT_LENGTH // len(parts)) for part in others]
        room = clip_tokens.CONTEXT_LENGTH - sum(clip_tokens.num_tokens(end) - 2 for end in ends)
        text, is_shortened = " ".join([shorten(first, room), *ends]), True
    return Texts(
        text=text,
        shape=parts.get("shape"),
        function=parts.get("function"),
        is_shortened=is_shortened,
        fields=other_values,
    )


def _check(text: str, prompt: Prompt) -> None:
    """Raise UnusableAnswerError if `text` has no letters, is a refusal, loops or echoes the prompt."""
    if not any(char.isalpha() for char in text):
        raise UnusableAnswerError("empty")
    if _is_refusal(text):
        raise UnusableAnswerError("refused")
    if _loops(text) or _echoes(text, prompt.instructions):
        raise UnusableAnswerError("repetition")


def _is_refusal(text: str) -> bool:
    """Whether a text says that the model does not answer, or that it was shown no picture."""
    return bool(_REFUSAL.match(text) or _NO_PICTURE.search(text))


def _echoes(text: str, instructions: tuple[str, ...]) -> bool:
    """Whether a text has seven consecutive words of the instructions, or is, or has, one shorter phrase of them.

    >>> _echoes("One sentence of at most 25 words on a chair", ("Shape: one sentence of at most 25 words on what",))
    True
    """
    words = _normal_words(text)
    for phrase in map(_normal_words, instructions):
        length = min(_ECHO_WORDS, len(phrase), max(2, len(words)))
        if not _runs(words, length).isdisjoint(_runs(phrase, length)):
            return True
    return False


def _runs(words: tuple[str, ...], length: int) -> set[tuple[str, ...]]:
    """Every run of `length` consecutive words."""
    return {words[start : start + length] for start in range(len(words) - length + 1)}


def _normal_words(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in _WORD.findall(text))


def _loops(text: str) -> bool:
    """Whether a text repeats itself (as `quality` measures it), has a run of signs, or has few distinct words."""
    words = _normal_words(text)
    is_monotonous = len(words) >= 16 and len(set(words)) < 0.3 * len(words)
    has_run = _CHARACTER_RUN.search(text) or _SYMBOL_RUN.search(text)
    return is_monotonous or has_run is not None or quality.repeats_itself(text)


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
