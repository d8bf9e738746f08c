"""Vessels: surfaces of revolution and what is set on them."""

from __future__ import annotations

import numpy as np

from patentdata.specimens.solids import (
    FINE,
    Curve,
    Part,
    ellipse,
    lathe,
    lifted,
    loft,
    loop,
    merged,
    spline,
    tube,
)

Rng = np.random.Generator


def _bands(radii: list[float], heights: list[float]) -> list[Curve]:
    return [Curve(loop(lifted(ellipse(2.01 * r, 2.01 * r, 48), z)), FINE) for r, z in zip(radii, heights, strict=True)]


def bottle(rng: Rng) -> list[Part]:
    """A bottle with a cap."""
    height, radius, neck = rng.uniform(4, 8), rng.uniform(0.9, 1.6), rng.uniform(0.3, 0.5)
    shoulder = height * rng.uniform(0.45, 0.8)
    waist = radius * rng.uniform(0.8, 1.02)
    wall = spline(
        [(radius, 0.15), (waist, shoulder * 0.5), (radius, shoulder), (neck * 1.1, height * 0.9), (neck, height)], 22
    )
    wall[:, 0] = np.maximum(wall[:, 0], neck)
    body = lathe(np.concatenate([[(0, 0), (radius * 0.9, 0)], wall]), rims=(1, 2), shade=int(rng.integers(0, 30)))
    bands = np.sort(rng.uniform(0.15, 0.9, int(rng.integers(0, 4)))) * shoulder
    body = body.with_curves(_bands([float(np.interp(z, wall[:, 1], wall[:, 0])) for z in bands], list(bands)))
    top = neck * rng.uniform(1.15, 1.4)
    cap_height = rng.uniform(0.4, 1.0)
    cap = lathe([(0, 0), (top, 0), (top, cap_height), (0, cap_height)], rims=(1, 2), shade=32).moved(z=height)
    return [body, cap]


def mug(rng: Rng) -> list[Part]:
    """A mug with a handle."""
    height, low, high = rng.uniform(1.8, 3.2), rng.uniform(0.7, 1.2), rng.uniform(0.9, 1.3)
    belly = rng.uniform(-0.15, 0.3)
    outer = spline([(low, 0.1), ((low + high) / 2 + belly, height * 0.5), (high, height)], 16)
    inner = outer[::-1] - [0.1, 0]
    inner[:, 1] = np.maximum(inner[:, 1], 0.25)
    profile = np.concatenate([[(0, 0), (low * 0.92, 0)], outer, inner, [(0, 0.25)]])
    body = lathe(profile, rims=(1, 17, 18), shade=int(rng.integers(0, 24)))
    reach = rng.uniform(0.5, 0.9)
    side = float(np.interp(height * 0.5, outer[:, 1], outer[:, 0]))
    z0, z1 = height * rng.uniform(0.15, 0.3), height * rng.uniform(0.7, 0.88)
    path = spline([(side - 0.12, 0, z0), (side + reach * 0.8, 0, z0 + 0.1), (side + reach, 0, (z0 + z1) / 2),
                   (side + reach * 0.8, 0, z1 - 0.1), (side - 0.12, 0, z1)], 20)  # fmt: skip
    return [body, tube(path, rng.uniform(0.09, 0.16))]


BUILDERS = {"bottle": bottle, "mug": mug}
__all__ = ["BUILDERS", "loft", "merged"]
