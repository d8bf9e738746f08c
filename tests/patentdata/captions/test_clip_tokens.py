"""Counts of CLIP tokens."""

import subprocess
import sys

import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patentdata.captions import clip_tokens


@pytest.fixture(scope="module")
def reference():
    """Length in tokens by open_clip itself."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    return lambda text: len(tokenizer.encode(text)) + 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Top front perspective view of a chair",
        "Display screen or portion thereof with a graphical user interface, FIG. 1(a)–1(c)",
        "Émincé de « fauteuil » — 1½″ naïve Türgriff",
        "It's the user's T-shirt, we'll say they've 3,141.59 of them!!!",
        "Fish &amp; chips &lt;b&gt; &amp;amp;",
        "椅子と机 стул 🪑🪑 ﬁnger",
        "line\nbreak\tand\x00control\x1b[31m",
        "<start_of_text>twice<END_OF_TEXT>",
        "schÃ¶n",
        "x" * 500,
        "'S 'ſ İstanbul ẞ",
    ],
)
def test_a_text_has_as_many_tokens_as_open_clip_counts(text, reference):
    assert clip_tokens.num_tokens(text) == reference(text)


@given(st.one_of(st.text(), st.text(alphabet=st.characters(max_codepoint=0x17F)), st.text(alphabet="ab'sT&;<_ .1-")))
@settings(max_examples=400, deadline=None)
def test_any_text_has_as_many_tokens_as_open_clip_counts(reference, text):
    assert clip_tokens.num_tokens(text) == reference(text)


def test_none_fits_and_a_long_text_does_not():
    assert clip_tokens.fits([None, "chair"])
    assert not clip_tokens.fits(["chair", "chair " * 76])
    assert clip_tokens.fits(["chair " * 75])  # 75 tokens, and the start and end tokens


def test_counting_loads_neither_torch_nor_open_clip():
    code = (
        "import sys; from patentdata.captions import clip_tokens; clip_tokens.num_tokens('chair'); "
        "print([name for name in ('torch', 'open_clip', 'transformers') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
