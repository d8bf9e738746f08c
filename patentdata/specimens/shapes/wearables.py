"""Builders of watches, jewellery, spectacles, soles and headgear."""

# ruff: noqa: RUF005 - `+` adds offsets to arrays here, it does not join lists

from __future__ import annotations

import numpy as np

from patentdata.specimens.shapes.solids import (
    FINE,
    SOLID,
    Curve,
    Part,
    ellipse,
    lathe,
    lifted,
    loft,
    loop,
    on_plane,
    ring_prism,
    rounded_rectangle,
    spline,
    superellipse,
    torus,
    tube,
)

Rng = np.random.Generator


def watch(rng: Rng) -> list[Part]:
    size, square = rng.uniform(1.5, 2), rng.random() < 0.35
    outline = rounded_rectangle(size, size * 1.15, 0.35, 10) if square else ellipse(size, size, 40)
    case = loft(
        np.stack([lifted(outline * s, z) for s, z in ((0.9, 0), (1, 0.08), (1, 0.3), (0.88, 0.42))]), rims=(1, 2)
    )
    dial = [loop(outline) * 0.8]
    ticks = [
        np.array([0.66, 0.75])[:, None] * size / 2 * np.array([np.cos(a), np.sin(a)])
        for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ]
    h, m = rng.uniform(0, 6.28, 2)
    hands = [
        np.array([(0, 0), (0.35 * size / 2 * np.sin(h), 0.35 * size / 2 * np.cos(h))]),
        np.array([(0, 0), (0.55 * size / 2 * np.sin(m), 0.55 * size / 2 * np.cos(m))]),
    ]
    case = case.with_curves(on_plane([*dial, *ticks, *hands], (0, 0, 0.423), (1, 0, 0), (0, 1, 0), SOLID))
    crown = lathe([(0.1, 0), (0.1, 0.16), (0, 0.16)], rims=(1,), num_sides=18).turned("y", 90).moved(size / 2, 0, 0.2)
    width, t = size * rng.uniform(0.5, 0.68), np.linspace(0, 1, 18)
    straps = []
    for s in (-1, 1):
        y = size * 0.5 + 1.5 * np.sin(t * 1.9) - 0.1
        z = 0.2 - 2.2 * (1 - np.cos(t * 1.7)) * 0.75
        w = width * (1 - 0.25 * t) / 2
        rings = np.stack(
            [
                np.stack([[-a, a, a, -a], [s * b] * 4, [c, c, c + 0.1, c + 0.1]], axis=1)
                for a, b, c in zip(w, y, z, strict=True)
            ]
        )
        strap = loft(rings, ridges=(0, 1, 2, 3))
        if rng.random() < 0.6:
            strap = strap.with_curves(
                Curve(rings[1:, 2:4].mean(axis=1) + [dx, 0, 0.01], FINE) for dx in (-width * 0.3, width * 0.3)
            )
        straps.append(strap)
    return [part.turned("x", 60) for part in (case, crown, *straps)]


def ring(rng: Rng) -> list[Part]:
    radius, wide = 1.0, rng.uniform(0.2, 0.5)
    if rng.random() < 0.5:
        band = torus(radius, wide * 0.8)
    else:
        band = ring_prism(ellipse(2.3, 2.3, 44), ellipse(2, 2, 44), -wide / 2, wide / 2)
    band = band.turned("x", 90)
    gems = []
    for k in range(int(rng.choice([1, 1, 3, 5]))):
        size = rng.uniform(0.25, 0.5) if k == 0 else 0.18
        facets = int(rng.choice([6, 8, 10]))
        girdle = ellipse(2 * size, 2 * size, facets)
        rings = np.stack([lifted(girdle * 0.05, -size * 0.9), lifted(girdle, 0), lifted(girdle * 0.6, size * 0.35)])
        stone = loft(rings, rims=(1, 2), ridges=range(facets), caps=(False, True)).moved(
            z=radius + wide * 0.4 + size * 0.8
        )
        gems.append(stone.turned("y", 24.0 * ((k + 1) // 2) * (-1) ** k))
    prongs = [
        tube(
            np.array(
                [(0.2 * np.cos(a), 0.2 * np.sin(a), radius + 0.1), (0.34 * np.cos(a), 0.34 * np.sin(a), radius + 0.75)]
            ),
            0.05,
            num_sides=8,
        )
        for a in (0.8, 2.4, 3.9, 5.5)
    ]
    return [band, *gems, *prongs]


def eyeglasses(rng: Rng) -> list[Part]:
    wide, high, power = rng.uniform(1.2, 1.5), rng.uniform(0.8, 1.2), rng.uniform(1.8, 5)
    outline = superellipse(wide, high, power, 44)
    frame = rng.uniform(0.8, 0.92)
    parts = []
    for s in (-1, 1):
        lens = ring_prism(outline, outline * [frame, frame - 0.03], -0.05, 0.05).turned("x", 90)
        parts.append(lens.moved(x=s * (wide / 2 + 0.14)))
        hinge = s * (wide + 0.14)
        path = [
            (hinge, 0, 0.1),
            (hinge + s * 0.08, 0.2, 0.15),
            (hinge + s * 0.05, 2.2, 0.15),
            (hinge - s * 0.02, 2.7, -0.05),
            (hinge - s * 0.05, 3.0, -0.5),
        ]
        parts.append(tube(spline(path, 22), 0.06, num_sides=10).stretched(1, 1, 1.0))
    bridge = tube(spline([(-0.18, 0, 0.1), (0, -0.05, 0.22), (0.18, 0, 0.1)], 10), 0.06)
    return [*parts, bridge]


def sole(rng: Rng) -> list[Part]:
    """A sole, its tread upwards."""
    length, wide = rng.uniform(5, 5.6), rng.uniform(1.8, 2.1)
    waist = rng.uniform(0.55, 0.7)

    def half_width(share: np.ndarray) -> np.ndarray:  # share of the half length, -1 the heel and 1 the toe
        plan = spline([(-1, 0.72), (-0.6, 0.8), (-0.1, waist), (0.45, 1), (0.8, 0.85), (1, 0.62)], 60)
        return np.interp(share, plan[:, 0], plan[:, 1]) * wide / 2 * (1 - np.abs(share) ** 7) ** 0.5

    share = np.concatenate([np.sin(np.linspace(-1, 1, 32) * np.pi / 2), np.sin(np.linspace(1, -1, 32) * np.pi / 2)])
    side = np.repeat([1.0, -1.0], 32)
    keep = np.concatenate([np.arange(0, 31), np.arange(32, 63)])
    share, side = share[keep], side[keep]
    bend = 0.1 * np.cos(2.2 * share + 0.6)
    outline = np.stack([side * half_width(share) + bend, share * length / 2], axis=1)
    thick, toe = rng.uniform(0.3, 0.6), -0.2 * np.clip(share, 0, 1) ** 3
    rings = np.stack(
        [lifted(outline * s, z + toe) for s, z in ((0.96, 0), (1.02, thick * 0.2), (1, thick * 0.8), (0.96, thick))]
    )
    lines, style = [], int(rng.integers(3))
    lines.append(Curve(loop(lifted(outline * 0.86, thick + toe + 0.012)), FINE))
    for at in np.linspace(-0.88, 0.88, int(rng.integers(12, 24))):
        xs = np.linspace(-0.82, 0.82, 17)
        wave = {0: 0.0 * xs, 1: 0.05 * np.abs((np.arange(17) % 4) - 2.0), 2: 0.12 * np.abs(xs)}[style] - 0.05
        along = np.clip(at + wave, -0.95, 0.95)
        x = xs * half_width(along) + 0.1 * np.cos(2.2 * along + 0.6)
        lines.append(Curve(np.stack([x, along * length / 2, thick - 0.2 * np.clip(along, 0, 1) ** 3 + 0.012], axis=1)))
    return [loft(rings, rims=(1, 2)).with_curves(lines)]


def helmet(rng: Rng) -> list[Part]:
    outline = superellipse(2.2, 2.7, 2.2, 44)
    rise = rng.uniform(1.1, 1.5)
    t = np.linspace(0, np.pi / 2, 14)
    dome = loft(
        np.stack([lifted(outline * np.cos(a) ** 0.85 + 1e-6, rise * np.sin(a)) for a in t]), caps=(False, False)
    )
    brim_outline = outline * [1.12, 1.1] + np.where(outline[:, 1:] < -0.5, [0, -rng.uniform(0.1, 0.45)], [0, 0])
    brim = loft(
        np.stack(
            [
                lifted(outline, 0.02),
                lifted(brim_outline, -0.06),
                lifted(brim_outline, -0.12),
                lifted(outline * 0.96, -0.1),
            ]
        ),
        rims=(1, 2),
        caps=(False, False),
    )
    ridges = []
    for x in np.linspace(-0.5, 0.5, int(rng.integers(2, 5))):
        a = np.linspace(0.35, np.pi - 0.35, 24)
        y = np.cos(a) * 1.35
        z = rise * np.sqrt(np.clip(1 - (np.abs(y) / 1.36) ** 2.2 - (abs(x) / 1.12) ** 2.2, 0, 1)) * 1.01
        ridges.append(Curve(np.stack([np.full(24, x), y, z], axis=1)))
    return [dome.with_curves(ridges), brim]


def hat(rng: Rng) -> list[Part]:
    outline = ellipse(2, 2.3, 44)
    height = rng.uniform(0.9, 1.3)
    soft = rng.random() < 0.5
    shape = (
        [(1, 0), (0.98, 0.4), (0.88, 0.8), (0.55, 1), (0.01, 1.02)]
        if soft
        else [(1, 0), (0.95, 0.5), (0.9, 0.92), (0.8, 1), (0.01, 0.93)]
    )
    crown = loft(
        np.stack([lifted(outline * s, z * height) for s, z in spline(shape, 14).clip(0.005)]), caps=(False, False)
    )
    crown = crown.with_curves(Curve(lifted(loop(outline * 0.995), 0.22 * height), FINE) for _ in range(1))
    if soft:
        angle = np.linspace(-np.pi * 0.82, -np.pi * 0.18, 24)
        inner = np.stack([np.cos(angle), 1.15 * np.sin(angle), np.zeros(24)], axis=1)
        reach = rng.uniform(0.6, 0.95)
        outer = inner * [1.05, 1, 1] + np.stack(
            [0 * angle, -reach * np.sin(np.linspace(0, np.pi, 24)) ** 0.6, -0.2 * np.sin(np.linspace(0, np.pi, 24))],
            axis=1,
        )
        return [crown, loft(np.stack([inner, (inner + outer) / 2, outer]), closed=False, caps=(False, False))]
    width = rng.uniform(1.35, 1.8)
    edge = lifted(outline * width, 0.0)
    edge[:, 2] = 0.25 * np.abs(outline[:, 0]) ** 2
    return [crown, loft(np.stack([lifted(outline, 0), (lifted(outline, 0) + edge) / 2, edge]), caps=(False, False))]


_ARTICLES = (
    watch,
    ring,
    eyeglasses,
    sole,
    helmet,
    hat,
)
BUILDERS = {article.__name__: article for article in _ARTICLES}
