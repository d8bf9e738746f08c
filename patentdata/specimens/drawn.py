"""What was drawn: the family of an article's shape and the number of its parts, for checking captions against it.

Builders name the parts that a person counts, so their numbers are those of the drawing and not of a table. For which
kinds of part an article's number is known is decided here: a kind that a builder draws without naming it, such as the
knobs of a cabinet, which may be called handles, is left out rather than called absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from patentdata.specimens.shapes.solids import Part

ROUND, BOX = "round", "box"
PART_NAMES = ("leg", "handle", "wheel", "opening")

_SHAPES = {
    **dict.fromkeys(("mug", "urn", "pet_bowl", "bucket", "jar", "drum", "pan"), ROUND),
    **dict.fromkeys(("cabinet", "carton", "toy_block", "phone", "calculator"), BOX),
}
"""Article → family of its shape, for the articles that always have one of the two."""

_KNOWN: dict[str, tuple[str, ...]] = {
    "chair": ("leg", "handle", "wheel"),
    "table": ("leg", "handle", "wheel"),
    "sofa": ("leg", "handle", "wheel"),
    "cabinet": ("leg", "wheel"),
    "carton": ("leg", "handle", "wheel"),
    "mug": ("leg", "handle", "wheel", "opening"),
    "vase": ("leg", "handle", "wheel"),
    "urn": ("leg", "handle", "wheel"),
    "jar": ("leg", "wheel"),
    "bottle": ("leg", "handle", "wheel"),
    "pet_bowl": ("leg", "handle", "wheel", "opening"),
    "bucket": ("leg", "handle", "wheel", "opening"),
    "pan": ("leg", "handle", "wheel", "opening"),
    "lamp": ("leg", "handle", "wheel"),
    "handbag": ("leg", "handle", "wheel"),
    "cart": ("leg", "handle", "wheel"),
    "organizer": ("leg", "handle", "wheel", "opening"),
    "phone": ("leg", "handle", "wheel"),
}
"""Article → kinds of part of which its builder names every one."""


@dataclass(frozen=True)
class DrawnArticle:
    """What was drawn of a patent.

    Attributes:
        article: Name of the builder.
        shape: "round", "box", or "" if it is neither or not always one of them.
        parts: Kind of part, of `PART_NAMES` → how many there are, for the kinds that are known.
    """

    article: str
    shape: str = ""
    parts: dict[str, int] = field(default_factory=dict)


def describe_drawing(article: str, parts: Sequence[Part]) -> DrawnArticle:
    """What was drawn, from the parts of an article; those that are drawn in broken lines count too.

    Args:
        article: Name of the builder.
        parts: What it has built.
    """
    counts = {name: sum(part.name == name for part in parts) for name in _KNOWN.get(article, ())}
    return DrawnArticle(article, _SHAPES.get(article, ""), counts)
