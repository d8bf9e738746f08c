"""The benchmark of searches, on few views."""

from __future__ import annotations

import pytest

from bench.search import measure


@pytest.mark.slow
def test_every_kind_of_search_is_timed_and_finds_what_the_reference_finds(tmp_path):
    result = measure(1_000, 16, 3, tmp_path)
    for name in ("text", "picture", "four_pictures", "model_text", "model_picture", "reference_text"):
        assert 0 < result[name]["p50_ms"] <= result[name]["p95_ms"], name
    assert result["same_first_text"] == result["same_first_picture"] == "3 of 3"
    assert result["memory_over_vectors"] > 0
