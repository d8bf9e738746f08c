"""BM25 between texts."""

from __future__ import annotations

import numpy as np
import pytest

from model.dataset.bm25 import Bm25


def test_scores_equal_the_formula_worked_by_hand():
    gallery = ["wine glass", "wine bottle rack", "table lamp"]
    scores = Bm25(gallery).scores(["glass", "wine", "spoon", ""])(0, 4).numpy()

    def bm25(num_with_word, length):  # Lucene's BM25, k1 1.5, b 0.75, each word once in a text
        mean_length = 7 / 3
        idf = np.log(1 + (3 - num_with_word + 0.5) / (num_with_word + 0.5))
        return idf / (1 + 1.5 * (0.25 + 0.75 * length / mean_length))

    expected = [[bm25(1, 2), 0, 0], [bm25(2, 2), bm25(2, 3), 0], [0, 0, 0], [0, 0, 0]]
    assert scores.tolist() == [pytest.approx(row, rel=1e-5) for row in expected]


def test_equal_texts_have_equal_scores_and_rows_are_in_the_order_of_the_queries():
    gallery = ["a chair", "a lamp", "a chair"]
    scores = Bm25(gallery).scores(["lamp", "lamp", "chair"])

    whole = scores(0, 3).numpy()
    assert whole[2, 0] == whole[2, 2] > whole[2, 1] == 0
    np.testing.assert_array_equal(scores(1, 3).numpy(), whole[1:])


def test_in_a_gallery_without_words_every_score_is_zero():
    assert Bm25(["", "the"]).scores(["chair"])(0, 1).tolist() == [[0.0, 0.0]]
