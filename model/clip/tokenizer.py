"""A tokenizer several times faster than open_clip's own, with identical tokens.

Training tokenizes a batch of captions a step. open_clip repairs mangled Unicode and HTML in each text and merges byte
pairs word by word; captions are plain ASCII with few distinct words, so the repair can be skipped and words cached.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer

Tokenizer = Callable[[list[str]], torch.Tensor]


def fast_tokenizer(tokenizer: Any) -> Tokenizer:
    """A tokenizer with the same output that caches words; any tokenizer but CLIP's own is returned unchanged.

    Texts of printable ASCII without "&" skip the repair of mangled Unicode and of HTML, which would not change them and
    takes most of the time.
    """
    is_plain = type(tokenizer) is SimpleTokenizer and tokenizer.reduction_fn is None
    if not is_plain or getattr(tokenizer.clean_fn, "__name__", "") != "_clean_lower":
        return tokenizer  # type: ignore[no-any-return]
    return _WordTokens(tokenizer)


def num_words_read(tokenizer: Tokenizer, text: str) -> int:
    """Number of words of a text that fit into the tokenizer's context; the last one may fit only in part.

    Tokenizers cut a longer text without a word. They differ in what they add and normalise, so the limit is found from
    outside: the context is full if further words change no token, and then it ends in the first word after which
    nothing changes.

    Args:
        tokenizer: Texts → (num_texts, context_length) int64, cut to the context.
        text: Words separated by single blanks.
    """
    words = text.split()
    whole = tokenizer([text])
    if not torch.equal(tokenizer([f"{text} a b c"]), whole):
        return len(words)
    return (
        bisect.bisect_left(
            range(1, len(words)), True, key=lambda num: torch.equal(tokenizer([" ".join(words[:num])]), whole)
        )
        + 1
    )


class _WordTokens:
    def __init__(self, tokenizer: SimpleTokenizer) -> None:
        self._original = tokenizer
        self._words = functools.lru_cache(maxsize=200_000)(self._encode_word)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Token ids: (num_texts, context_length) int64, truncated to that length with the end token last."""
        length, start, end = self._original.context_length, self._original.sot_token_id, self._original.eot_token_id
        tokens = np.zeros((len(texts), length), np.int64)  # type: ignore[arg-type]
        for row, text in zip(tokens, texts, strict=True):
            ids = [start, *self._encode(text)][: length - 1]  # type: ignore[operator]
            row[: len(ids)] = ids
            row[len(ids)] = end
        return torch.from_numpy(tokens)

    def _encode(self, text: str) -> list[int]:
        if not (text.isascii() and text.isprintable()) or "&" in text:
            return self._original.encode(text)
        words = self._original.pat.findall(" ".join(text.split()).lower())
        return [number for word in words for number in self._words(word)]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        original = self._original
        letters = "".join(original.byte_encoder[byte] for byte in word.encode())
        return tuple(original.encoder[part] for part in original.bpe(letters).split(" "))
