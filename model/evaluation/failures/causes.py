"""The causes that misses are counted by: what each means, and for which queries it holds.

A cause is a property that a query has whether it was missed or not, so that its share among the misses can be compared
with its share among all queries. It is not proof: it says which queries are missed more often, and a person who looks
at the examples finds out why. Each cause is defined in a sentence that names its threshold, since "few lines" means
nothing without one. Thresholds that depend on the drawings or captions are tenths of what is measured here: no fixed
amount of ink would be extreme in every dataset.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.dataset.thirds import TAIL, THIRDS
from model.evaluation.failures.drawings import DrawingMeasures, likeness
from model.evaluation.failures.queries import NOTHING, AnsweredQueries

_EXTREME = 0.1  # share of the queries that are called extreme
_MOSTLY_BROKEN = 0.5
_ALIKE = 0.5  # two drawings with this likeness are nearly the same; drawings of different kinds of article reach 0.4
_CLASSES = ("uspc_class", "locarno_class")
_WORD = re.compile(r"[^\W\d_]+")
_SAYS_NOTHING = frozenset(
    [
        *("article", "articles", "device", "apparatus", "product", "object", "item", "thing", "design", "assembly"),
        *("system", "unit", "component", "element", "part", "member", "structure", "body", "piece", "equipment"),
        *("appliance", "accessory", "instrument", "machine", "implement", "module", "set", "kit", "goods", "good"),
        *("ornamental", "decorative", "functional", "improved", "combined", "combination", "multi", "purpose"),
        *("portion", "a", "an", "the", "of", "for", "or", "and", "with", "in", "thereof", "therefor", "same", "new"),
    ]
)


@dataclass(frozen=True)
class Cause:
    """One property of queries.

    Attributes:
        name: Its name in `evaluation.json`.
        title: Its name on the page.
        definition: For which queries it holds, in a sentence.
        holds: (num_queries,) bool.
        is_partition: Whether it is one of several that together hold for every query, and so explains no miss alone.
    """

    name: str
    title: str
    definition: str
    holds: np.ndarray
    is_partition: bool = False


def find_causes(
    queries: AnsweredQueries, drawings: DrawingMeasures, near_duplicates: Mapping[str, set[str]] | None
) -> tuple[list[Cause], dict[str, str]]:
    """The causes that can be looked for among the queries of a table.

    Args:
        queries: The queries.
        drawings: Measures of the queries' own drawings.
        near_duplicates: View → views that are nearly the same drawing; None if the dataset has no list of them.

    Returns:
        The causes; and name → why it was not looked for, of the others.
    """
    causes: list[Cause] = []
    missing: dict[str, str] = {}
    if not queries.is_of_patents:
        causes += _viewpoints(queries)
    if queries.wrong is not None:
        causes += [_alike_sibling(queries), _same_family(queries)]
        if near_duplicates is None:
            missing["near_duplicate"] = "the dataset has no list of near-duplicates; build it again"
        else:
            causes.append(_near_duplicate(queries, near_duplicates))
    causes += _extreme_drawings(drawings)
    causes.append(_vague_title(queries))
    if queries.captions is not None:
        causes += _extreme_captions(queries.captions)
    broken = queries.values("broken_share")
    if all(share is None for share in broken):
        missing["broken_lines"] = "the dataset does not say how much of a drawing is broken lines; build it again"
    else:
        causes.append(_broken_lines(broken))
    if queries.thirds is None:
        missing["tail_class"] = "no view has a class"
    else:
        causes.append(_tail_class(queries.thirds))
    return causes, missing


def _viewpoints(queries: AnsweredQueries) -> list[Cause]:
    """One cause for each viewpoint that occurs."""
    viewpoints = np.array([value or "none" for value in queries.values("viewpoint")])
    return [
        Cause(
            f"viewpoint_{name}",
            f"viewpoint: {name.replace('_', ' ')}" if name != "none" else "viewpoint: not stated",
            f"the grant calls the query's view a {name.replace('_', ' ')} view"
            if name != "none"
            else "the grant does not say from where the query's view is seen",
            viewpoints == name,
            is_partition=True,
        )
        for name in sorted(set(viewpoints.tolist()))
    ]


def _alike_sibling(queries: AnsweredQueries) -> Cause:
    """Only pairs of one class are compared, since only their drawings have to be decoded."""
    assert queries.wrong is not None
    is_sibling = np.zeros(len(queries), bool)
    for column in _CLASSES:
        own, found = queries.values(column), queries.found_values(column)
        is_sibling |= (own == found) & np.array([value is not None for value in own])
    is_sibling &= (queries.wrong != NOTHING) & (
        queries.values("patent_number") != queries.found_values("patent_number")
    )
    compared = np.flatnonzero(is_sibling)
    pairs = (
        (queries.pool.jpeg(int(queries.views[row])), queries.pool.jpeg(int(queries.wrong[row]))) for row in compared
    )
    holds = np.zeros(len(queries), bool)
    holds[compared] = likeness(pairs) >= _ALIKE
    return Cause(
        "alike_sibling",
        "nearly the same drawing of its class",
        "the highest-scoring wrong candidate is another patent of the query's class, and its drawing is nearly that of "
        f"the query (correlation of their details at least {_ALIKE:g})",
        holds,
    )


def _same_family(queries: AnsweredQueries) -> Cause:
    own, found = queries.values("family"), queries.found_values("family")
    is_patent = queries.values("patent_number") == queries.found_values("patent_number")
    return Cause(
        "same_family",
        "same patent or family",
        "the highest-scoring wrong candidate is of the query's own patent, or of another patent of its family",
        ((own == found) & np.array([value is not None for value in own])) | is_patent,
    )


def _near_duplicate(queries: AnsweredQueries, near_duplicates: Mapping[str, set[str]]) -> Cause:
    assert queries.wrong is not None
    names = queries.pool.column("view_id")
    number_of = {name: number for number, name in enumerate(names)} if near_duplicates else {}
    holds = np.zeros(len(queries), bool)
    for row, wrong in enumerate(queries.wrong.tolist()):
        twins = near_duplicates.get(names[wrong], set()) if wrong != NOTHING else set()
        holds[row] = any(queries.is_right(row, number_of[twin]) for twin in twins if twin in number_of)
    return Cause(
        "near_duplicate",
        "near-duplicate of the right answer",
        "the highest-scoring wrong candidate and a right answer are a pair in the dataset's list of near-duplicates",
        holds,
    )


def _extreme_drawings(drawings: DrawingMeasures) -> list[Cause]:
    ink, lines = drawings.ink_shares, drawings.num_crossings
    light, dark, few = (np.quantile(values, share) for values, share in _ends(ink, lines))
    return [
        Cause(
            "little_ink",
            "little ink",
            f"less than {100 * light:.3g} % of the box around the query's drawing is ink, as in the lightest tenth",
            ink < light,
        ),
        Cause(
            "much_ink",
            "much ink",
            f"more than {100 * dark:.3g} % of the box around the query's drawing is ink, as in the darkest tenth",
            ink > dark,
        ),
        Cause(
            "few_lines",
            "few lines",
            f"a straight line across the query's drawing crosses fewer than {few:.3g} lines on average, as in the "
            "tenth with the fewest",
            lines < few,
        ),
    ]


def _ends(ink: np.ndarray, lines: np.ndarray) -> list[tuple[np.ndarray, float]]:
    return [(ink, _EXTREME), (ink, 1 - _EXTREME), (lines, _EXTREME)]


def says_nothing(title: str | None) -> bool:
    """Whether a title fits any article, or there is none.

    >>> says_nothing("Article"), says_nothing("Portion of a device"), says_nothing("Exercise device")
    (True, True, False)
    """
    return _SAYS_NOTHING.issuperset(_WORD.findall((title or "").lower()))


def _vague_title(queries: AnsweredQueries) -> Cause:
    return Cause(
        "vague_title",
        "title that says nothing",
        'the title of the query\'s patent fits any article, such as "Article" or "Portion of a device", or is missing',
        np.array([says_nothing(title) for title in queries.values("title")], dtype=bool),
    )


def _extreme_captions(captions: Sequence[str]) -> list[Cause]:
    rarity = rarity_of_words(captions)
    common, rare = np.quantile(rarity, _EXTREME), np.quantile(rarity, 1 - _EXTREME)
    return [
        Cause(
            "generic_caption",
            "generic caption",
            "the caption is in the tenth with the commonest words: a word of it is on average in more than 1 of "
            f"{np.exp(common):,.3g} captions",
            rarity < common,
        ),
        Cause(
            "unusual_caption",
            "unusual caption",
            "the caption is in the tenth with the rarest words: a word of it is on average in less than 1 of "
            f"{np.exp(rare):,.3g} captions",
            rarity > rare,
        ),
    ]


def rarity_of_words(captions: Sequence[str]) -> np.ndarray:
    """(num_captions,) how rare the words of each caption are among all of them; 0 for a caption without words.

    It is the mean over the caption's different words of log(number of captions / number of captions with the word).
    """
    words_of = {caption: sorted(set(_WORD.findall(caption.lower()))) for caption in set(captions)}
    counts: Counter[str] = Counter()
    for caption, num in Counter(captions).items():
        counts.update(dict.fromkeys(words_of[caption], num))
    rarity = {
        caption: float(np.mean([np.log(len(captions) / counts[word]) for word in words])) if words else 0.0
        for caption, words in words_of.items()
    }
    return np.array([rarity[caption] for caption in captions])


def _broken_lines(shares: np.ndarray) -> Cause:
    return Cause(
        "broken_lines",
        "broken lines dominate",
        f"more than {100 * _MOSTLY_BROKEN:g} % of the length of the lines of the query's drawing is broken",
        np.array([share is not None and share > _MOSTLY_BROKEN for share in shares], dtype=bool),
    )


def _tail_class(thirds: np.ndarray) -> Cause:
    return Cause(
        "tail_class",
        "class of the tail",
        "the query's class is in the third of the classes with the fewest training views",
        thirds == THIRDS.index(TAIL),
    )
