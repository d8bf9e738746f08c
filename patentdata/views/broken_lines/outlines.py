"""Outlines of the ink of a view, and what they say about its size and shape.

An outline is a closed walk along the border pixels of a piece of ink, with the ink on one side. A stroke seen this way
is simple, whatever its curve: its two sides run next to each other, one stroke width apart, and meet at its ends. All
outlines are kept in one array, so that thousands of strokes are measured at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_SMOOTHED = 6  # points; what is shorter along an edge is a flaw of scanning
_PINHOLE = 14  # points; shorter outlines of paper inside ink are flaws of scanning


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """The outlines of a drawing, outer ones and those of holes.

    Attributes:
        points: (num_points,) complex64, x + iy in pixels; the points of one outline follow each other.
        starts: (num_outlines,) index of the first point of each outline.
        sizes: (num_outlines,) number of points of each outline.
        is_hole: (num_outlines,) True for the outline of paper enclosed by ink.
        has_hole: (num_outlines,) True for outer outlines around more than pinholes.
        around: (num_outlines,) index of the outer outline that a hole is in; its own index for outer outlines.
        perimeters: (num_outlines,) length in pixels.
        areas: (num_outlines,) area in pixels enclosed by the polygon of the points.
        lengths: (num_outlines,) longer side in pixels of the rectangle that has the same perimeter and area.
        widths: (num_outlines,) shorter side of that rectangle.
        contours: The outlines as OpenCV draws them.
    """

    points: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    is_hole: np.ndarray
    has_hole: np.ndarray
    around: np.ndarray
    perimeters: np.ndarray
    areas: np.ndarray
    lengths: np.ndarray
    widths: np.ndarray
    contours: Sequence[np.ndarray]

    def at(self, outlines: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Points that are `steps` after the first point of `outlines`, which are closed."""
        return self.points[self.starts[outlines] + steps % self.sizes[outlines]]

    def ink_areas(self) -> np.ndarray:
        """(num_outlines,) number of ink pixels of each outer outline, without its holes; 0 for holes."""
        # Pick's theorem; the points of a hole are ink, so only what is strictly inside is paper
        areas = np.where(self.is_hole, -(self.areas - self.sizes / 2 + 1), self.areas + self.sizes / 2 + 1)
        return np.bincount(self.around, areas, len(areas))

    def ink_perimeters(self) -> np.ndarray:
        """(num_outlines,) length of each outer outline and of the holes in it, frayed edges smoothed; 0 for holes."""
        far = np.append(self.points[_SMOOTHED:], self.points[:_SMOOTHED])
        step = np.abs(far - self.points)
        step[step > 1.5 * _SMOOTHED] = 0  # from one outline to the next
        lengths = np.add.reduceat(step, self.starts) / _SMOOTHED
        return np.bincount(self.around, np.where(self.sizes > 2 * _SMOOTHED, lengths, 0), len(self.perimeters))


def trace_outlines(ink: np.ndarray) -> Outlines:
    """The outlines of all ink.

    Args:
        ink: (height_px, width_px) uint8, 1 is ink.
    """
    contours, hierarchy = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    sizes = np.fromiter(map(len, contours), np.int64, len(contours))
    flat = np.concatenate(contours).reshape(-1, 2) if contours else np.zeros((0, 2), np.int32)
    points = flat.astype(np.float32).view(np.complex64).ravel()
    parents = hierarchy.reshape(-1, 4)[:, 3] if contours else np.zeros(0, np.int32)
    is_hole = parents >= 0
    has_hole = np.zeros(len(contours), bool)
    has_hole[parents[is_hole & (sizes > _PINHOLE)]] = True
    starts = np.cumsum(sizes) - sizes
    perimeters, areas = _sizes_of(points, starts, sizes)
    half = perimeters / 2
    root = np.sqrt(np.maximum(half**2 - 4 * areas, 0))
    return Outlines(
        points=points,
        starts=starts,
        sizes=sizes,
        is_hole=is_hole,
        has_hole=has_hole,
        around=np.where(is_hole, parents, np.arange(len(contours))),
        perimeters=perimeters,
        areas=areas,
        lengths=(half + root) / 2 + 1,  # the points are centres of pixels, half a pixel inside the border
        widths=(half - root) / 2 + 1,
        contours=contours,
    )


def _sizes_of(points: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Perimeter and enclosed area of each outline."""
    if not len(points):
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    following = np.empty_like(points)
    following[:-1] = points[1:]
    following[starts + sizes - 1] = points[starts]
    step = following - points
    diagonal = (step.real != 0) & (step.imag != 0)
    lengths = np.where(diagonal, np.float32(2**0.5), (step != 0).astype(np.float32))
    from_start = points - np.repeat(points[starts], sizes)  # small numbers keep their precision
    crossed = from_start.real * step.imag - from_start.imag * step.real
    return np.add.reduceat(lengths, starts), np.abs(np.add.reduceat(crossed, starts)) / 2
