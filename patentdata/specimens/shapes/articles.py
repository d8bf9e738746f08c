"""Articles by name: each is built from a random generator, widely varied, and always of its kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from patentdata.specimens.shapes import devices, furnishings, tools, vessels, wearables
from patentdata.specimens.shapes.solids import Part

BUILDERS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    **vessels.BUILDERS,
    **furnishings.BUILDERS,
    **tools.BUILDERS,
    **devices.BUILDERS,
    **wearables.BUILDERS,
}


def build(article: str, rng: np.random.Generator) -> list[Part]:
    """The parts of an article, a few units long; the axes are those of `solids`."""
    return BUILDERS[article](rng)
