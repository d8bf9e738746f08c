"""Which views are asked about together: one at a time, or all views of a patent, divided if they are many.

A model that sees all views of an article describes what is common to them once and knows what a detail belongs to; one
request then takes the place of seven. A question has a bound on its pictures, since a long one costs the model its
attention and the server its memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from patentdata.captions.captioner import Row
from patentdata.captions.prompt_variables import clean_words

_MAX_LABEL_CHARS = 12


def patents_of(views: Iterable[Row]) -> Iterator[list[Row]]:
    """The views of each patent; those of a patent must be consecutive."""
    for _, group in itertools.groupby(views, key=lambda view: view["patent_number"]):
        yield list(group)


def in_questions(views: Sequence[Row], most: int) -> list[list[Row]]:
    """The views of a patent, in parts of `most` or fewer: perspectives first, the front page, which is a copy, last.

    The parts are of nearly equal size, so that no question is about a single view if it can be avoided.
    """
    ordered = sorted(views, key=lambda view: (bool(view["is_front_page"]), view["viewpoint"] != "perspective"))
    num = -(-len(ordered) // most)
    ends = [round(len(ordered) * part / num) for part in range(num + 1)]
    return [ordered[start:end] for start, end in itertools.pairwise(ends)]


def labels_of(views: Sequence[Row]) -> list[str]:
    """What each view is called in a question: its figure, or its number if that has no label or shares it.

    >>> labels_of([{"figure_label": "2A"}, {"figure_label": None}, {"figure_label": "1"}, {"figure_label": "1"}])
    ['FIG. 2A', 'picture 2', 'picture 3', 'picture 4']
    """
    figures = [clean_words(view.get("figure_label"), _MAX_LABEL_CHARS).replace('"', "") for view in views]
    nums = Counter(figures)
    return [
        f"FIG. {figure}" if figure and nums[figure] == 1 else f"picture {number}"
        for number, figure in enumerate(figures, start=1)
    ]
