"""Titles found in captions and removed from them."""

from __future__ import annotations

import pytest

from model.evaluation.measures.titles import contains_title, without_title


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("Front view of a wine glass.", "Wine glass", "Front view of a design."),
        ("Two WINE-GLASSES beside a wine  glass", "Wine glass", "Two design beside a design"),
        ("A glasshouse", "Glass", "A glasshouse"),
        ("A cup (large), top view", "Cup (large)", "A design), top view"),
        ("A lamp", None, "A lamp"),
        ("A lamp", "–", "A lamp"),
        ("Étui à lunettes, vue", "Étui à lunettes", "design, vue"),
    ],
)
def test_the_title_is_removed_wherever_it_occurs(text, title, expected):
    assert without_title(text, title) == expected
    assert contains_title(text, title) == (text != expected)
