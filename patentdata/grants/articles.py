"""The article that the sentence of a figure names: "chair" in "is a perspective view of a chair showing my new design".

A name has no end mark: "holder with tray" is one name, and "holder with a tray" is a holder and something about it. So
the name is read from its first word up to the first word that cannot be part of a name, and the title of the patent,
which is the same article in a fixed form, overrules that.
"""

from __future__ import annotations

import re

_MAX_NUM_WORDS = 20

# From the view to its article: "of a chair", ", taken along line 4-4 shown in FIG. 2, of the chair", "the chair".
_BEFORE_ARTICLE = re.compile(
    r"\s+(?=(?:an?|the)\s)"
    r"|\s*[,(]?\s*(?:(?:FIGS?\.\s*\d|[\w\s,()-]){0,60}?\b)?(?:of|for|showing|illustrating|depicting)\s+",
    re.IGNORECASE,
)
_SHOWS = re.compile(r"\s*[:.\-–—]?\s*(?:is|are|shows?|illustrates?|depicts?|represents?)\s+", re.IGNORECASE)
_THEREOF = re.compile(r"\bthereof\b", re.IGNORECASE)

# What comes before the name and is not part of it: determiners, and "the second embodiment of", "a portion of".
_DETERMINERS = {
    "a", "an", "the", "my", "our", "his", "her", "its", "one", "this", "another", "said", "each", "first", "second",
    "third", "fourth", "fifth", "sixth", "seventh", "eighth", "new", "novel", "present", "preferred", "ornamental",
    "alternative", "alternate", "exemplary", "single", "different", "original", "claimed", "inventive", "other", "same",
    "overall", "entire", "of", "for",
}  # fmt: skip
_WRAPPER = re.compile(
    r"(?:[\w/,-]+\s+){0,4}?(?:embodiments?|versions?|variations?|variants?|examples?|configurations?|portions?|parts?|"
    r"sections?|designs?|views?|sides?|surface|front|back|rear|top|bottom|end|interior|exterior|inside|outside|"
    r"underside|states?|forms?|modifications?|appearance|images?(?:\s+in\s+(?:a|the)\s+sequence)?)"
    r"\s+(?:of|for|(?:as\s+)?applied\s+to)\s+",
    re.IGNORECASE,
)

# Words that end the name, and words that end it only before certain others: "holder with tray" is one name, but in
# "holder with a tray" only the first word is.
_ENDS = {
    "showing", "shown", "show", "shows", "embodying", "illustrating", "illustrated", "depicting", "depicted",
    "incorporating", "according", "in", "as", "taken", "seen", "viewed", "having", "where", "wherein", "which", "that",
    "when", "while", "constructed", "made", "along", "from", "being", "thereof", "therefor", "comprising", "including",
    "is", "are", "on", "upon", "at", "under", "without", "attached", "used", "positioned", "disclosed", "disclosing",
    "displayed", "displaying", "similar", "by", "per", "embodiment", "fig", "figs", "figure", "drawn", "looking",
    "removed", "mounted", "rotated", "separate", "separated", "separately", "enlarged", "prior", "via", "claimed",
}  # fmt: skip
_ENDS_BEFORE = {
    "with": {"a", "an", "its", "my", "our", "the", "portion", "portions", "part", "parts", "certain", "some"},
    "for": {"the", "use"},
    "or": {"a", "portion", "portions"},
    "and": {"showing", "a"},
}
_NAMELESS = re.compile(
    r"(?:present\s+)?(?:invention|design|embodiments?|article|figures?|figs?|subject matter|same|line|lines?\s.*|it|"
    r"them|views?|images?|portions?|area|claimed design|use|usage|\W.*|\d.*)?",
    re.IGNORECASE,
)


def name_article(text: str, *, title: str = "", follows_view: bool = True) -> str | None:
    """The name of the article in the words of the sentence; None if it does not name one, as after "thereof".

    Args:
        text: The sentence after the words that name the view, " of a chair showing my new design;", or after its
            reference if it does not name a view, " shows a chair;".
        title: Title of the patent. If the name begins with it, the name is exactly the title.
        follows_view: Whether the words that name a view come before `text`.

    >>> name_article(" of a second embodiment of the mobile phone holder for vehicle shown in FIG. 1;")
    'mobile phone holder for vehicle'
    """
    if text.startswith(" thereof"):
        return None
    match = (_BEFORE_ARTICLE if follows_view else _SHOWS).match(text)
    if match is None or _THEREOF.search(match[0]):
        return None
    words = _without_lead(text[match.end() :].split())
    if title and _begins_with(words, title.split()):
        name = " ".join(words[: len(title.split())]).rstrip(",;:.")
    else:
        name = " ".join(words[: _num_name_words(words)]).rstrip(",;:.").strip(" -–")
    return None if _NAMELESS.fullmatch(name) else name


def _without_lead(words: list[str]) -> list[str]:
    """The words from the first word of the name on, without determiners and wrappers ("the second embodiment of")."""
    while words:
        start = next((index for index, word in enumerate(words) if word.lower() not in _DETERMINERS), len(words))
        words = words[start:]
        ahead = " ".join(words[:8]) + " "
        wrapper = _WRAPPER.match(ahead) if {"of", "for", "to"}.intersection(words[:8]) else None
        if wrapper is None:
            return words
        words = words[len(wrapper[0].split()) :]
    return words


def _begins_with(words: list[str], title: list[str]) -> bool:
    """Whether the first words are those of the title, whatever their case and punctuation."""
    return [word.rstrip(",;:.").lower() for word in words[: len(title)]] == [
        word.rstrip(",;:.").lower() for word in title
    ]


def _num_name_words(words: list[str]) -> int:
    """Number of the words, from the first one on, that are the name."""
    for index, word in enumerate(words[:_MAX_NUM_WORDS]):
        bare = word.rstrip(",;:.)").lower()
        following = words[index + 1].lower() if index + 1 < len(words) else ""
        previous = words[index - 1].lower() if index else ""
        if bare in _ENDS or word[0] in "(—[" or following.rstrip(",;:.)") in _ENDS_BEFORE.get(bare, ()):
            return index
        if (bare == "of" and previous not in {"set", "pair"}) or (bare == "to" and not previous.endswith("able")):
            return index
        if word[-1] in ";:." or (word[-1] == "," and "and" not in words[index + 2 : index + 3]):
            return index + 1
    return min(len(words), _MAX_NUM_WORDS)
