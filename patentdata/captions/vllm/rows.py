"""Rows of captions by a model: what an answer makes of them, and whether an earlier row would still be the same."""

from __future__ import annotations

from collections.abc import Mapping

from patentdata.captions import clip_tokens
from patentdata.captions.answers import Texts, UnusableAnswerError, read_answer, read_patent_answer
from patentdata.captions.captioner import Row
from patentdata.captions.prompts import Prompt


def set_texts(row: Row, texts: Texts) -> None:
    row |= {
        "text": texts.text,
        "shape": texts.shape,
        "function": texts.function,
        "num_tokens": clip_tokens.num_tokens(texts.text),
        "finish_reason": "length" if texts.is_shortened else "stop",
    }
    if texts.fields is not None:
        row["fields"] = dict(texts.fields)


def read_by_label(
    answer: str, prompt: Prompt, labels: list[str], *, is_cut: bool
) -> Mapping[str, Texts | UnusableAnswerError]:
    """Label of each view that was asked about → its texts, or why it has none."""
    if prompt.view_fields:
        return read_patent_answer(answer, prompt, labels, is_cut=is_cut)
    try:
        return {label: read_answer(answer, prompt, is_cut=is_cut) for label in labels}
    except UnusableAnswerError as error:
        return dict.fromkeys(labels, error)


def reads_the_same(row: Row, prompt: Prompt, labels: list[str], label: str) -> bool:
    """Whether the answer in an earlier row still gives the same caption or the same reason.

    Answers are expensive and are reused. How they are read may have changed with the program; a view whose answer
    gives something else now is asked about again.
    """
    if row["answer"] is None:
        return True
    names = ("text", "shape", "function", "fields", "finish_reason")
    earlier = tuple(row.get(name) for name in names)
    return any(
        tuple(_read(row["answer"], prompt, labels, label, is_cut=is_cut).get(name) for name in names) == earlier
        for is_cut in (False, True)  # the row does not say whether the model was cut off
    )


def _read(answer: str, prompt: Prompt, labels: list[str], label: str, *, is_cut: bool) -> Row:
    """The columns of the texts and the reason of a view in an answer."""
    row: Row = {"text": None, "shape": None, "function": None}
    texts = read_by_label(answer, prompt, labels, is_cut=is_cut)[label]
    if isinstance(texts, UnusableAnswerError):
        row["finish_reason"] = texts.reason
    shown = texts.shortened if isinstance(texts, UnusableAnswerError) else texts
    if shown is not None:
        set_texts(row, shown)
    return row
