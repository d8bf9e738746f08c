"""View words as grants misprint them: "persepctive", "botom", "veiw".

A misprint is one letter left out, doubled, or swapped with its neighbour, and in the long words also one wrong letter.
All of these are listed once, so that reading a word costs one look-up. Words of the language that arise in this way
("font" from "front") are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from string import ascii_lowercase

_REAL_WORDS = {"font", "explored", "fontal", "sides", "sided", "dies", "ides", "ear", "era"}
_SHORTEST_WITHOUT_A_LETTER = 5
_SHORTEST_WITH_A_WRONG_LETTER = 8
_OF_VIEW = {
    "vie": "view",
    "vew": "view",
    "viw": "view",
    "iew": "view",
    "veiw": "view",
    "viewe": "view",
    "vies": "views",
}
_OTHERS = {"frnt": "front", "lft": "left", "rgt": "right", "prespective": "perspective", "elavation": "elevation"}


def misprints_of(words: Iterable[str]) -> dict[str, str]:
    """Misprint → the word that is meant, for every likely misprint of some view words.

    A misprint of two words is left out, and so is one that is a word itself.

    >>> found = misprints_of(["front", "perspective"])
    >>> found["fornt"], found["perspectlve"], "font" in found
    ('front', 'perspective', False)
    """
    known = set(words)
    found: dict[str, str] = {}
    ambiguous: set[str] = set()
    for word in sorted(known):
        for misprint in _variants(word):
            if found.setdefault(misprint, word) != word:
                ambiguous.add(misprint)
    refused = ambiguous | known | _REAL_WORDS
    return {misprint: word for misprint, word in found.items() if misprint not in refused} | _OF_VIEW | _OTHERS


def _variants(word: str) -> Iterator[str]:
    """The word with one slip of the typesetter."""
    if not word.isalpha():
        return
    for i, letter in enumerate(word):
        if len(word) >= _SHORTEST_WITHOUT_A_LETTER:
            yield word[:i] + word[i + 1 :]
            yield word[:i] + letter + word[i:]
        yield word[:i] + word[i + 1 : i + 2] + letter + word[i + 2 :]
        if len(word) >= _SHORTEST_WITH_A_WRONG_LETTER:
            yield from (word[:i] + other + word[i + 1 :] for other in ascii_lowercase)
