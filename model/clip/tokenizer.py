"""A tokenizer several times faster than open_clip's own, with identical tokens.

Training tokenizes a batch of captions a step. open_clip repairs mangled Unicode and HTML in each text and merges byte
pairs word by word; captions are plain ASCII with few distinct words, so the repair can be skipped and words cached.
"""

from __future__ import annotations

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
