"""Lines of a specimen that stand for something else than its claimed shape, and that its grant therefore explains.

More than half of all real patents have such lines: parts of the article that are not claimed, what is around it, the
bounds of the claim, stitching, folds, or a break in a long article. Some builders of articles draw environment of their
own accord; `explain_lines` adds the other kinds to a share of the articles that do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from patentdata.specimens.line_statements import DrawnLines
from patentdata.specimens.shapes.solids import BROKEN, Part, on_plane, rectangle

DASH_DOT = (0.03, 0.008, 0.004, 0.008)
"""Lengths along dash-dot lines, as shares of the drawing: a long stroke, a gap, a short one, a gap."""

# What builders draw in broken lines of their own accord: article → thing, or whole of which the article is a portion.
_OWN_ENVIRONMENT = {
    "screen": "an electronic device",
    "plug": "a cable",
    "printer": "a sheet of paper",
    "mailbox": "a post",
    "bottle": "a cap",
    "candle_holder": "a candle",
}
_SEWN = {"handbag"}
_FOLDED = {"carton"}
_LONG = 3.0  # length over width of an article of which a piece may be left out
_SUPPORTS = ("a shelf", "a tabletop", "a floor")


class Explained(NamedTuple):
    """An article with lines that its grant explains.

    Attributes:
        parts: Its parts.
        drawn_lines: The lines; empty if there are none.
        has_break: A piece of each long drawing is left out, between break lines.
    """

    parts: list[Part]
    drawn_lines: tuple[DrawnLines, ...] = ()
    has_break: bool = False


def explain_lines(parts: list[Part], article: str, share: float, rng: np.random.Generator) -> Explained:
    """The article as it is, or in a share of the cases with lines that a grant explains.

    Args:
        parts: Parts of the article.
        article: Name of its builder.
        share: Share of the articles that get such lines.
        rng: Chooses the kind of lines.
    """
    if any(part.broken or any(curve.style == BROKEN for curve in part.curves) for part in parts):
        thing = _OWN_ENVIRONMENT.get(article)
        return Explained(parts, (DrawnLines(lines="broken", meaning="environment", thing=thing),))
    if rng.random() >= share:
        return Explained(parts)
    kinds = ["environment", "boundary"]
    kinds += ["unclaimed_portion"] * 2 if sum(bool(part.patches) for part in parts) > 1 else []
    kinds += ["stitching"] * 4 if article in _SEWN else []
    kinds += ["fold_or_hidden"] * 4 if article in _FOLDED else []
    size = np.sort(np.subtract(*_extents(parts)[::-1]))
    kinds += ["break"] * 2 if size[2] > _LONG * size[1] else []
    return _with_lines(parts, kinds[int(rng.integers(len(kinds)))], rng)


def _with_lines(parts: list[Part], meaning: str, rng: np.random.Generator) -> Explained:
    """The article with lines of one meaning."""
    if meaning == "break":
        return Explained(parts, (DrawnLines(lines="other", meaning="break", is_claimed=None),), has_break=True)
    if meaning == "unclaimed_portion":
        return Explained(_partly_broken(parts, rng), (DrawnLines(lines="broken", meaning=meaning),))
    low, high = _extents([parts[_largest(parts)]] if meaning in {"stitching", "fold_or_hidden"} else parts)
    size, middle = high - low, (low + high) / 2
    if meaning == "environment":
        thing = _SUPPORTS[int(rng.integers(len(_SUPPORTS)))]
        support = _level([rectangle(*(size[:2] * rng.uniform(1.3, 1.7))), rectangle(*(size[:2] * 1.2))], middle, low[2])
        return Explained([*parts, support], (DrawnLines(lines="broken", meaning=meaning, thing=thing),))
    if meaning == "boundary":
        rings = [_level([rectangle(*(size[:2] * 1.04))], middle, low[2] + share * size[2]) for share in (0.3, 0.7)]
        return Explained([*parts, *rings], (DrawnLines(lines="dash_dot", meaning=meaning),))
    if meaning == "stitching":
        rows = [rectangle(*(size[[0, 2]] * share)) for share in (0.72, 0.64)]
        is_claimed = bool(rng.random() < 0.5)
    else:
        rows = [np.array([(-size[0] / 2, 0), (size[0] / 2, 0)]), np.array([(0, -size[2] / 2), (0, size[2] / 2)])]
        is_claimed = True
    front = (middle[0], low[1] - 0.005 * size.max(), middle[2])
    lines = on_plane([_closed(row) for row in rows], front, (1, 0, 0), (0, 0, 1), BROKEN)
    return Explained([*parts, Part((), lines)], (DrawnLines(lines="broken", meaning=meaning, is_claimed=is_claimed),))


def _partly_broken(parts: list[Part], rng: np.random.Generator) -> list[Part]:
    """The article with some of its parts in broken lines, but not its largest one."""
    others = [i for i, part in enumerate(parts) if part.patches and i != _largest(parts)]
    chosen = set(rng.permutation(others)[: int(rng.integers(1, len(others) + 1))].tolist())
    return [part.as_environment() if i in chosen else part for i, part in enumerate(parts)]


def _largest(parts: list[Part]) -> int:
    """Index of the part that fills most room."""
    rooms = [float(np.prod(np.ptp(_points(part), axis=0) + 1e-6)) if part.patches else 0.0 for part in parts]
    return int(np.argmax(rooms))


def _level(outlines: list[np.ndarray], middle: np.ndarray, height: float) -> Part:
    """Closed broken lines in a level plane around the axis of the article."""
    origin = (middle[0], middle[1], height)
    return Part((), on_plane([_closed(outline) for outline in outlines], origin, (1, 0, 0), (0, 1, 0), BROKEN))


def _closed(outline: np.ndarray) -> np.ndarray:
    """The outline with its first point at its end too; a line of two points as it is."""
    return np.concatenate([outline, outline[:1]]) if len(outline) > 2 else outline


def _extents(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x, y and z of the article."""
    points = np.concatenate([_points(part) for part in parts if part.patches])
    return points.min(axis=0), points.max(axis=0)


def _points(part: Part) -> np.ndarray:
    """(num_points, 3) points of the surfaces of a part."""
    return np.concatenate([patch.grid.reshape(-1, 3) for patch in part.patches])
