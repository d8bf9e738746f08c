"""The bar that the recipe has to meet against the uncorrected arm, written down before anything was trained."""

from __future__ import annotations

from dataclasses import dataclass

from bench.evidence.comparison import ALL
from model.dataset.thirds import HEAD, MIDDLE, TAIL

CLASSIFIER = "classifier"

HEAD_SHARE = 1 / 3
"""Curves are compared from the head accuracy of the uncorrected arm down to this share of it."""


@dataclass(frozen=True)
class Requirement:
    """The recipe minus the uncorrected arm has to be at least `floor`, in one measure on one part of the classes.

    Attributes:
        text: What is required, in words.
        measure: `CLASSIFIER`, or one of `features.VALUES`.
        part: A third of the classes, or all.
        floor: Smallest difference, as a share.
        needs_interval: Whether the whole 95 % interval has to be above the floor; else the mean has to be.
    """

    text: str
    measure: str
    part: str
    floor: float
    needs_interval: bool = False

    def is_met(self, verdict: str) -> bool:
        """Whether a verdict of `Difference.verdict` meets it."""
        return verdict == "holds" or (verdict == "holds on the mean" and not self.needs_interval)


BAR = (
    Requirement("classification: the head loses at most 3 points", CLASSIFIER, HEAD, -0.03, needs_interval=True),
    Requirement("classification: tail + 40", CLASSIFIER, TAIL, 0.40),
    Requirement("classification: middle + 40", CLASSIFIER, MIDDLE, 0.40),
    Requirement("classification: all + 25", CLASSIFIER, ALL, 0.25),
    Requirement("class prompts: tail + 8", "zero_shot", TAIL, 0.08),
    Requirement("class prompts: the head loses at most 3 points", "zero_shot", HEAD, -0.03),
    Requirement("class prompts: all not lower", "zero_shot", ALL, 0.0),
    Requirement("other views of the same patent: mAP + 1.5", "same_patent", ALL, 0.015),
    Requirement("text in new words: mAP + 3", "text_neutral", ALL, 0.03),
    Requirement("bare titles: mAP not lower", "text_title", ALL, 0.0),
)
