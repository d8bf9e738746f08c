"""The fast tokenizer gives the tokens of open_clip."""

from __future__ import annotations

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.clip.tokenizer import fast_tokenizer, num_words_read

ORIGINAL = open_clip.get_tokenizer("ViT-B-32")
FAST = fast_tokenizer(ORIGINAL)
SHORT = open_clip.SimpleTokenizer(context_length=6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "A small   hatched circle, front view.",
        "the seat's back; it's 12-fold",
        "<start_of_text> and <END_OF_TEXT>",
        "R&D &amp;amp; &lt;x&gt;",
        "naïve café, “quoted” ½ √",
        "tab\tand\nline",
        "\x1b[31mred",
        "word " * 200,
        "ﬁnish Ｗｉｄｅ",
    ],
)
def test_a_text_has_the_same_tokens(text):
    assert torch.equal(FAST([text]), ORIGINAL([text]))
    assert torch.equal(fast_tokenizer(SHORT)([text]), SHORT([text]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.text(), st.text(st.characters(max_codepoint=127))), min_size=1, max_size=4))
def test_any_texts_have_the_same_tokens(texts):
    assert torch.equal(FAST(texts), ORIGINAL(texts))


def test_a_tokenizer_of_another_kind_is_returned_unchanged():
    canonical = open_clip.SimpleTokenizer(clean="canonicalize")

    assert fast_tokenizer(canonical) is canonical
    assert fast_tokenizer(len) is len


@pytest.mark.parametrize(
    ("text", "num_read"),
    [
        ("chair", 1),
        ("a chair with legs", 4),  # fills the context of four words exactly
        ("a chair with four legs", 4),
        ("a chair " * 50, 4),
        ("a chair with unquestionableness", 4),  # the last word fits in part
        ("", 0),
    ],
)
def test_the_words_that_fit_into_the_context_are_counted(text, num_read):
    assert num_words_read(SHORT, text) == num_read
