"""Length of texts in CLIP tokens, counted as open_clip's tokenizer counts them, without loading a model library.

CLIP reads 77 tokens, start and end tokens included, and silently drops the rest. The byte-pair vocabulary is the file
that open_clip ships; it is found on disk without importing the package, which would load torch.
"""

from __future__ import annotations

import gzip
import html
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import ftfy
import regex
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from patentdata.errors import PatentDataError

CONTEXT_LENGTH = 77  # tokens that CLIP reads, start and end included
_NUM_MARKS = 2  # <start_of_text> and <end_of_text>, which enclose every text
_NUM_BYTES = 256
_VOCABULARY_FILE = "bpe_simple_vocab_16e6.txt.gz"
_NUM_MERGES = 49152 - _NUM_BYTES - 2  # CLIP uses the head of the list: 49,152 entries less the bytes and the marks
# CLIP's definition of a word, within which bytes are merged. It is matched by `regex` rather than by the tokenizers
# library, whose letter tables follow another Unicode version.
_WORD = regex.compile(
    r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def num_tokens(text: str) -> int:
    """Length of `text` in CLIP tokens, start and end included.

    >>> num_tokens("Top front perspective view of a chair")
    9
    """
    words = _WORD.findall(_clean(text))
    return len(_tokenizer().encode(words, is_pretokenized=True, add_special_tokens=False).ids) + _NUM_MARKS


def fits(texts: Iterable[str | None], max_tokens: int = CONTEXT_LENGTH) -> bool:
    """Whether none of `texts` is longer than `max_tokens`; None counts as fitting."""
    return all(text is None or num_tokens(text) <= max_tokens for text in texts)


def _clean(text: str) -> str:
    """`text` as CLIP reads it: broken encodings repaired, entities resolved, white space merged, lower case."""
    if not text.isascii() or "&" in text or not text.isprintable():  # plain text passes through the rest unchanged
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


@cache
def _tokenizer() -> Tokenizer:
    """A byte-pair tokenizer with CLIP's merges."""
    merges: list[tuple[str, str]] = []
    for line in _vocabulary_lines()[1 : _NUM_MERGES + 1]:  # the first line is a comment
        left, right = line.split()
        merges.append((left, right))
    alphabet = sorted(ByteLevel.alphabet())
    entries = [*alphabet, *(character + "</w>" for character in alphabet), *(left + right for left, right in merges)]
    entries += ["<start_of_text>", "<end_of_text>"]
    # The token ids are not CLIP's, whose order of bytes differs; the merges, and so the counts, are the same.
    tokenizer = Tokenizer(
        BPE({entry: number for number, entry in enumerate(entries)}, merges, end_of_word_suffix="</w>")
    )
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens(["<start_of_text>", "<end_of_text>"])
    return tokenizer


def _vocabulary_lines() -> list[str]:
    """Lines of the vocabulary file in the installed open_clip package."""
    package = importlib.util.find_spec("open_clip")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / _VOCABULARY_FILE
        if path.is_file():
            return gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    raise PatentDataError(
        f"{_VOCABULARY_FILE} is missing, so CLIP tokens cannot be counted; install open_clip_torch, which ships it"
    )
