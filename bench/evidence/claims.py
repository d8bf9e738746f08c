"""The claims, and when a claim holds. They were written down before any run was measured."""

from __future__ import annotations

from dataclasses import dataclass

from bench.evidence.arms import BOTH, EVEN, TITLES, multi_view
from bench.evidence.comparison import ALL, HEAD, TAIL
from bench.evidence.measures import ACCURACIES, SAME_PATENT
from bench.evidence.scale import Scale

MAX_HEAD_LOSS = 0.03
"""Accuracy that class-aware sampling and loss may cost the head third: three points."""


@dataclass(frozen=True)
class Claim:
    """The claim that an arm beats its baseline by more than `floor`, in one measure on one part of the classes.

    It holds if the whole 95 % interval of the paired difference is above `floor`, does not hold if none of it is, and
    is not decided otherwise. Intervals are not widened for the number of claims.

    Attributes:
        text: The claim in words.
        arm: Name of the arm.
        baseline: Name of the arm that it is compared with.
        measure: One of `MEASURES`.
        part: A third of the classes, or all.
        floor: Difference that has to be exceeded.
    """

    text: str
    arm: str
    baseline: str
    measure: str
    part: str = ALL
    floor: float = 0.0


def claims(scale: Scale) -> list[Claim]:
    """All claims that are tested at a scale."""
    points = f"{100 * MAX_HEAD_LOSS:g} points"
    of_accuracy = [
        claim
        for measure in ACCURACIES
        for claim in (
            Claim("class-aware sampling and loss lift the tail third", BOTH, EVEN, measure, TAIL),
            Claim(f"… and cost the head third less than {points}", BOTH, EVEN, measure, HEAD, -MAX_HEAD_LOSS),
        )
    ]
    other_views = [
        Claim(f"multi-view of weight {weight:g} lifts same-patent retrieval", multi_view(weight), BOTH, SAME_PATENT)
        for weight in scale.multi_view_weights
    ]
    captions = [
        Claim(f"shape and function beat titles, {what}", BOTH, TITLES, measure)
        for measure, what in (
            ("text_neutral", "asked in words new to both"),
            ("text_title", "asked by the bare title"),
            ("zero_shot", "class by prompts"),
            ("classifier", "class by the classification head"),
        )
    ]
    return [*of_accuracy, *other_views, *captions]
