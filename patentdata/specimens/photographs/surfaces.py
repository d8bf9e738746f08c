"""What a camera sees of a solid: for every pixel the nearest triangle, and where on it the line of sight ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CANDIDATES = 2_000_000  # pixels in the boxes of the triangles that are tested at a time
_TOLERANCE = -1e-4  # a shared edge belongs to both triangles, so that there is no gap between them


@dataclass(frozen=True)
class Seen:
    """The nearest surface in every pixel of a picture.

    Attributes:
        triangle: (height_px, width_px) index of the triangle; -1 where there is none.
        shares: (height_px, width_px, 3) float32 shares of its three corners, whose sum is 1; 0 where there is none.
        depth: (height_px, width_px) float32 depth in the units of the points; infinite where there is none.
    """

    triangle: np.ndarray
    shares: np.ndarray
    depth: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(height_px, width_px) bool, True where there is a surface."""
        return self.triangle >= 0

    @property
    def hits(self) -> np.ndarray:
        """(num_hits,) triangle of each pixel that has one, row by row."""
        return self.triangle[self.mask]

    def of_points(self, values: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """(num_hits, num_values) of (num_points, num_values), interpolated in each pixel that has a surface."""
        corners = values[triangles[self.hits]]  # (num_hits, 3, num_values)
        return (self.shares[self.mask][:, :, None] * corners).sum(axis=1)


def rasterise(points: np.ndarray, triangles: np.ndarray, shape: tuple[int, int]) -> Seen:
    """The nearest triangle in every pixel.

    Args:
        points: (num_points, 3) column, row and depth of each point, in pixels; smaller depths are nearer.
        triangles: (num_triangles, 3) indices of corners.
        shape: Height and width of the picture.
    """
    height, width = shape
    corners = points[triangles].astype(np.float64)  # (num, 3, 3)
    factors = _share_factors(corners)
    low = np.clip(np.ceil(corners[:, :, :2].min(axis=1)), 0, [width, height]).astype(np.int64)
    high = np.clip(np.floor(corners[:, :, :2].max(axis=1)), -1, [width - 1, height - 1]).astype(np.int64)
    span = np.maximum(high - low + 1, 0)
    shown = np.flatnonzero((span.prod(axis=1) > 0) & np.isfinite(factors).all(axis=(1, 2)))
    pixels, depths, owners = [], [], []
    for chunk in _chunks(shown, span.prod(axis=1)):
        num = span[chunk].prod(axis=1)
        owner = np.repeat(chunk, num)
        step = np.arange(len(owner)) - np.repeat(np.cumsum(num) - num, num)
        column = low[owner, 0] + step % span[owner, 0]
        row = low[owner, 1] + step // span[owner, 0]
        shares = _shares_at(factors[owner], column, row)
        inside = (shares >= _TOLERANCE).all(axis=1)
        pixels.append((row * width + column)[inside])
        depths.append((shares * corners[owner, :, 2]).sum(axis=1)[inside])
        owners.append(owner[inside])
    return _nearest(pixels, depths, owners, factors, shape)


def _chunks(chosen: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """The triangles in groups whose boxes together have about `_CANDIDATES` pixels."""
    if not len(chosen):
        return []
    group = np.cumsum(sizes[chosen]) // _CANDIDATES
    return np.split(chosen, np.flatnonzero(np.diff(group)) + 1)


def _share_factors(corners: np.ndarray) -> np.ndarray:
    """(num, 3, 3): for each corner, the factors of column, row and 1 whose sum is its share; not finite if flat."""
    x, y = corners[:, :, 0], corners[:, :, 1]
    second, third = np.roll(np.arange(3), -1), np.roll(np.arange(3), -2)
    across = y[:, second] - y[:, third]
    down = x[:, third] - x[:, second]
    constant = -(across * x[:, second] + down * y[:, second])
    area = (across * x + down * y + constant)[:, :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([across, down, constant], axis=2) / np.where(np.abs(area) < 1e-9, np.nan, area)[:, :, None]


def _shares_at(factors: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(num, 3) shares of the corners at the given pixels, each with the factors of its triangle."""
    return factors[:, :, 0] * column[:, None] + factors[:, :, 1] * row[:, None] + factors[:, :, 2]


def _nearest(
    pixels: list[np.ndarray],
    depths: list[np.ndarray],
    owners: list[np.ndarray],
    factors: np.ndarray,
    shape: tuple[int, int],
) -> Seen:
    """The nearest of all hits in every pixel; among equal depths the triangle that comes first."""
    height, width = shape
    triangle = np.full(height * width, -1, np.int64)
    depth = np.full(height * width, np.inf, np.float32)
    shares = np.zeros((height * width, 3), np.float32)
    if pixels:
        pixel, far, owner = np.concatenate(pixels), np.concatenate(depths), np.concatenate(owners)
        order = np.lexsort((-owner, -far))  # the nearest is written last
        triangle[pixel[order]] = owner[order]
        depth[pixel[order]] = far[order]
        hit = np.flatnonzero(triangle >= 0)
        shares[hit] = _shares_at(factors[triangle[hit]], hit % width, hit // width)
    return Seen(triangle.reshape(shape), shares.reshape(height, width, 3), depth.reshape(shape))
