"""Surroundings that several patents share: each claims another article, at a corner of the same unclaimed one.

Patents of one firm are often like this: they draw the same machine around every new part of it. If all lines are
compared, such patents look alike whatever they claim. They show what comparing the claimed lines alone is worth.
"""

from __future__ import annotations

import numpy as np

from patentdata.specimens.explained import Explained
from patentdata.specimens.line_statements import DrawnLines
from patentdata.specimens.shapes import articles
from patentdata.specimens.shapes.solids import Part

_HOSTS = {
    "cabinet": "a cabinet",
    "printer": "a printer",
    "mailbox": "a letter box",
    "trash_can": "a waste container",
    "cart": "a cart",
    "car": "a vehicle",
    "table": "a table",
    "fan": "an electric fan",
    "clock": "a clock",
    "speaker": "a loudspeaker",
}
_CLAIMED_SIZE = (0.35, 0.55)  # largest extent of the claimed article, as a share of that of its surroundings
_OVERHANG = 0.2  # how far its centre is beyond the corner, as a share of its own size: no side of it is quite hidden


def surrounded(parts: list[Part], number: int, seed: int, num_sharing: int) -> Explained:
    """An article in the surroundings that it shares with the patents of its group of `num_sharing` numbers.

    Args:
        parts: Parts of the article.
        number: Number of the patent.
        seed: Seed of the week.
        num_sharing: Number of consecutive patents that share surroundings.
    """
    group = np.random.default_rng([seed, number // num_sharing, 10])
    name = list(_HOSTS)[int(group.integers(len(_HOSTS)))]
    host = [part.as_environment() for part in articles.build(name, group)]
    low, high = extents(host)
    own_low, own_high = extents(parts)
    size = np.random.default_rng([seed, number, 10]).uniform(*_CLAIMED_SIZE) * (high - low).max()
    scale = size / (own_high - own_low).max()
    # At the upper right corner in front, beyond it in all three directions.
    beyond = np.array([1, -1, 1]) * _OVERHANG * (own_high - own_low) * scale
    corner = np.array([high[0], low[1], high[2]]) + beyond
    x, y, z = corner - scale * (own_low + own_high) / 2
    claimed = [part.stretched(scale, scale, scale).moved(x, y, z) for part in parts]
    lines = DrawnLines(lines="broken", meaning="environment", thing=_HOSTS[name])
    return Explained([*claimed, *host], (lines,))


def extents(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x, y and z of the surfaces of some parts."""
    points = np.concatenate([patch.grid.reshape(-1, 3) for part in parts for patch in part.patches])
    return points.min(axis=0), points.max(axis=0)
