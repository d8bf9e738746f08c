"""Articles by name: each is built from a random generator, widely varied, and always of its kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from patentdata.specimens.solids import Part
from patentdata.specimens import vessels

BUILDERS: dict[str, Callable[[np.random.Generator], list[Part]]] = {**vessels.BUILDERS}


def build(article: str, rng: np.random.Generator) -> list[Part]:
    """The parts of an article, in units of about 1 to 10."""
    return BUILDERS.get(article, vessels.bottle)(rng)
