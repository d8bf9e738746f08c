"""Tokens of captions, several times faster than open_clip's tokenizer makes them, and the very same."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer

Tokenizer = Callable[[list[str]], torch.Tensor]


def fast_tokenizer(tokenizer: Any) -> Tokenizer:
    """A tokenizer that gives what `tokenizer` gives, and remembers words; one that is not CLIP's own is given back.

    Texts of printable ASCII without "&" skip the repair of mangled Unicode and of HTML, which leaves them as they are
    and takes most of the time.
    """
    is_plain = type(tokenizer) is SimpleTokenizer and tokenizer.reduction_fn is None
    if not is_plain or getattr(tokenizer.clean_fn, "__name__", "") != "_clean_lower":
        return tokenizer  # type: ignore[no-any-return]
    return _WordTokens(tokenizer)


class _WordTokens:
    def __init__(self, tokenizer: SimpleTokenizer) -> None:
        self._whole = tokenizer
        self._words = functools.lru_cache(maxsize=200_000)(self._encode_word)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """(num_texts, context_length) int64, cut to the length with the end mark last."""
        length, first, last = self._whole.context_length, self._whole.sot_token_id, self._whole.eot_token_id
        tokens = np.zeros((len(texts), length), np.int64)  # type: ignore[arg-type]
        for row, text in zip(tokens, texts, strict=True):
            ids = [first, *self._encode(text)][: length - 1]  # type: ignore[operator]
            row[: len(ids)] = ids
            row[len(ids)] = last
        return torch.from_numpy(tokens)

    def _encode(self, text: str) -> list[int]:
        if not (text.isascii() and text.isprintable()) or "&" in text:
            return self._whole.encode(text)
        words = self._whole.pat.findall(" ".join(text.split()).lower())
        return [number for word in words for number in self._words(word)]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        whole = self._whole
        letters = "".join(whole.byte_encoder[byte] for byte in word.encode())
        return tuple(whole.encoder[part] for part in whole.bpe(letters).split(" "))
