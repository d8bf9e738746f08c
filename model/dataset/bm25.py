"""BM25 between texts, from the library bm25s: a ranking by words that does not use the drawings.

Evaluation shows with it how much of a retrieval result can be had from the words of captions and titles alone; search
can add it to the ranking of the model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import bm25s
import numpy as np
import torch

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG

RULE = "bm25s with its defaults (Lucene's BM25, k1 1.5, b 0.75, English stop words, no stemming)"


class Bm25:
    """BM25 over a gallery of texts; equal texts are scored once."""

    def __init__(self, gallery: Sequence[str]) -> None:
        distinct = list(dict.fromkeys(gallery))
        index_of = {text: index for index, text in enumerate(distinct)}
        self._columns = np.array([index_of[text] for text in gallery], dtype=np.int64)
        self._num_distinct = len(distinct)
        tokens = bm25s.tokenize(distinct, return_ids=False, show_progress=False)
        self._index: bm25s.BM25 | None = None
        if any(tokens):  # a gallery of empty texts has no vocabulary to index
            self._index = bm25s.BM25()
            self._index.index(tokens, show_progress=False)

    def scores(self, queries: Sequence[str]) -> Callable[[int, int], torch.Tensor]:
        """Scores of a range of queries against the whole gallery; 0 if a query shares no word with a text."""
        tokens = bm25s.tokenize(list(queries), return_ids=False, show_progress=False)
        last_words: tuple[str, ...] | None = None
        last_row = np.zeros(self._num_distinct, dtype=np.float32)

        def score_range(first: int, last: int) -> torch.Tensor:
            nonlocal last_words, last_row
            rows = np.empty((last - first, len(self._columns)), dtype=np.float32)
            for row, words in enumerate(tokens[first:last]):
                if tuple(words) != last_words:  # consecutive views of one patent often have the same text
                    last_words, last_row = tuple(words), self._score(words)
                rows[row] = last_row[self._columns]
            return torch.from_numpy(rows)

        return score_range

    def _score(self, words: Sequence[str]) -> np.ndarray:
        known = [word for word in words if self._index is not None and word in self._index.vocab_dict]
        if not known or self._index is None:
            return np.zeros(self._num_distinct, dtype=np.float32)
        return np.asarray(self._index.get_scores(known), dtype=np.float32)
