"""Builders of articles by name: each builds many different articles of one kind from a random generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from patentdata.specimens.shapes import devices, furnishings, held_back, tools, vessels, wearables
from patentdata.specimens.shapes.solids import Part

BUILDERS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    **vessels.BUILDERS,
    **furnishings.BUILDERS,
    **tools.BUILDERS,
    **devices.BUILDERS,
    **wearables.BUILDERS,
    **held_back.BUILDERS,
}


def build(article: str, rng: np.random.Generator) -> list[Part]:
    """The parts of an article, a few units in size; the axes are those of `solids`."""
    return BUILDERS[article](rng)
