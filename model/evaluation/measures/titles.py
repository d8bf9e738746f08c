"""Titles of patents in captions: whether a caption contains one, and captions with them removed.

A caption that contains the title can be matched by its words alone. Retrieval is therefore measured a second time on
captions without titles.
"""

from __future__ import annotations

import functools
import re

PLACEHOLDER = "design"
WITHOUT_TITLE_RULE = (
    f'the title of the patent, wherever it stands in its caption, is replaced by the word "{PLACEHOLDER}"'
)


def contains_title(text: str, title: str | None) -> bool:
    """Whether the text contains the words of the title, in any case, with any blanks or hyphens between them.

    >>> contains_title("Front view of a wine-glass stand", "Wine glass"), contains_title("A glasshouse", "Glass")
    (True, False)
    """
    pattern = _pattern(title or "")
    return pattern is not None and pattern.search(text) is not None


def without_title(text: str, title: str | None) -> str:
    """The text with every occurrence of the title replaced by a neutral word.

    >>> without_title("Front view of two wine glasses, classed under tableware", "Wine glass")
    'Front view of two design, classed under tableware'
    """
    pattern = _pattern(title or "")
    return text if pattern is None else pattern.sub(PLACEHOLDER, text)


@functools.lru_cache(maxsize=4096)
def _pattern(title: str) -> re.Pattern[str] | None:
    """The title's words in their order, the last one also in the plural; None for a title without words."""
    words = [re.escape(word) for word in re.findall(r"\w+", title)]
    if not words:
        return None
    in_order = r"[\W_]+".join(words)
    return re.compile(rf"\b{in_order}(?:s|es)?\b", re.IGNORECASE)
