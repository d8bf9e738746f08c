"""What the grants of specimens say about the lines of their drawings.

Real grants say it in many ways: what lines of a kind stand for, whether that is claimed, in all figures or in some, in
one paragraph or several, and at times for all lines at once at the end. Specimens do so, too, and know what they say,
so that what is read from a grant can be compared with what was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class DrawnLines:
    """Lines that stand for something else than the claimed shape, so that the grant explains them.

    Attributes:
        lines: Their kind: "broken", "dash_dot", or "other" for break lines; as in `schemas.LINES`.
        meaning: What they stand for: "environment", "unclaimed_portion", "boundary", "stitching", "fold_or_hidden" or
            "break"; as in `schemas.LINE_MEANINGS`.
        is_claimed: Whether that is part of the claimed design; None if the grant does not say.
        thing: For environment, what is shown, with its article: "a wall"; None if the grant does not say.
        figures: Labels of the figures that have such lines; empty if all have.
    """

    lines: str
    meaning: str
    is_claimed: bool | None = False
    thing: str | None = None
    figures: tuple[str, ...] = ()


_NAMES = {
    "broken": ("broken lines", "broken lines", "broken lines", "dashed lines", "evenly spaced broken lines"),
    "dash_dot": ("dash-dot lines", "dot-dash broken lines", "long and short broken lines", "dash-dot-dash lines"),
    "other": ("break lines",),
}
# {lines} names the lines and their figures, {article} the article, {thing} what is around it.
_SENTENCES: dict[tuple[str, bool | None], tuple[str, ...]] = {
    ("environment", False): (
        "The {lines} show the environment of the {article} and form no part of the claimed design.",
        "The {lines} are directed to environmental structure, which is not claimed.",
        "The {lines} depict environmental subject matter only and do not form part of the claimed design.",
        "The {lines} are for the purpose of illustrating the surroundings; they form no part of the claim.",
    ),
    ("unclaimed_portion", False): (
        "The {lines} depict portions of the {article} that form no part of the claimed design.",
        "The {lines} illustrate those parts of the {article} for which no protection is sought.",
        "The {lines} represent unclaimed portions of the {article}.",
        "The {lines} show portions of the {article} for illustrative purposes only; they form no part of the claim.",
    ),
    ("boundary", False): (
        "The {lines} define the bounds of the claimed design and form no part thereof.",
        "The {lines} mark the boundary between the claimed and the unclaimed portion and are not claimed themselves.",
        "The {lines} delineate the claimed portion of the {article} and form no part of the claimed design.",
    ),
    ("stitching", False): (
        "The {lines} represent unclaimed stitching.",
        "The {lines} depict stitching on the {article}, and form no part of the claimed design.",
    ),
    ("stitching", True): (
        "The {lines} represent stitching and are part of the claimed design.",
        "The {lines} depict claimed stitching.",
    ),
    ("stitching", None): ("The {lines} are understood to represent stitching.",),
    ("fold_or_hidden", True): ("The {lines} indicate fold lines, which form part of the claimed design.",),
    ("fold_or_hidden", False): ("The {lines} represent fold lines and form no part of the claimed design.",),
    ("break", None): ("The {lines} indicate that the {article} is of indeterminate length.",),
    ("break", False): (
        "The {lines} indicate a symbolic break in the length of the {article}. The appearance of any portion between "
        "the break lines forms no part of the claimed design.",
    ),
}
_OF_A_THING = (
    "The {lines} showing {thing} are for illustrative purposes only and form no part of the claimed design.",
    "The {lines} depict {thing} and form no part of the claimed design.",
    "The {lines} represent {thing}, which is environment and is not claimed.",
)
_IN_ALL = ("", "", " in the drawings", " shown in the figures")


def draw_statements(drawn: Sequence[DrawnLines], title: str, rng: np.random.Generator) -> list[str]:
    """The paragraphs that explain the lines of a patent's drawings: one for all statements, or one for each.

    Args:
        drawn: The lines, at most one of each kind and meaning.
        title: Title of the patent.
        rng: Chooses the words.
    """
    sentences = [_sentence(lines, title, rng) for lines in drawn]
    if len(sentences) > 1 and rng.random() < 0.5:
        return sentences
    return [" ".join(sentences)] if sentences else []


def _sentence(drawn: DrawnLines, title: str, rng: np.random.Generator) -> str:
    """What one kind of lines stands for."""
    options = _OF_A_THING if drawn.thing else _SENTENCES[drawn.meaning, drawn.is_claimed]
    names = _NAMES[drawn.lines]
    name = names[int(rng.integers(len(names)))]
    figures = f" in {_reference(drawn.figures)}" if drawn.figures else _IN_ALL[int(rng.integers(len(_IN_ALL)))]
    return options[int(rng.integers(len(options)))].format(
        lines=name + figures, article=title[0].lower() + title[1:], thing=drawn.thing
    )


def _reference(labels: Sequence[str]) -> str:
    """ "FIG. 2", "FIGS. 1 and 2", "FIGS. 1, 2, and 5"."""
    if len(labels) == 1:
        return f"FIG. {labels[0]}"
    comma = "," if len(labels) > 2 else ""
    return f"FIGS. {', '.join(labels[:-1])}{comma} and {labels[-1]}"
