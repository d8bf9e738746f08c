"""Titles of patents in captions: whether they stand there, and captions with them taken out."""

from __future__ import annotations

import functools
import re

STAND_IN = "design"
WITHOUT_TITLE_RULE = f'the title of the patent, wherever it stands in its caption, is replaced by the word "{STAND_IN}"'


def holds_title(text: str, title: str | None) -> bool:
    """True where the words of the title stand in the text, in any case, with any blanks or hyphens between them.

    >>> holds_title("Front view of a wine-glass stand", "Wine glass"), holds_title("A glasshouse", "Glass")
    (True, False)
    """
    pattern = _pattern(title or "")
    return pattern is not None and pattern.search(text) is not None


def without_title(text: str, title: str | None) -> str:
    """The text with every occurrence of the title replaced by a word that says nothing.

    >>> without_title("Front view of two wine glasses, classed under tableware", "Wine glass")
    'Front view of two design, classed under tableware'
    """
    pattern = _pattern(title or "")
    return text if pattern is None else pattern.sub(STAND_IN, text)


@functools.lru_cache(maxsize=4096)
def _pattern(title: str) -> re.Pattern[str] | None:
    """The title's words in their order, the last one in the plural too; None for a title without a word."""
    words = [re.escape(word) for word in re.findall(r"\w+", title)]
    if not words:
        return None
    in_order = r"[\W_]+".join(words)
    return re.compile(rf"\b{in_order}(?:s|es)?\b", re.IGNORECASE)
