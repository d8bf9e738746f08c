"""Builders of vessels and other turned articles: surfaces of revolution with parts attached."""

from __future__ import annotations

import numpy as np

from patentdata.specimens.shapes.solids import (
    FINE,
    Curve,
    Part,
    box,
    ellipse,
    lathe,
    lifted,
    loft,
    loop,
    prism,
    rounded_rectangle,
    soft_box,
    spline,
    superellipse,
    torus,
    tube,
)

Rng = np.random.Generator


def bands(profile: np.ndarray, heights: np.ndarray) -> list[Curve]:
    """Lines around a turned wall, (num, 2) of (radius, height), at the given heights."""
    radii = np.interp(heights, profile[:, 1], profile[:, 0]) * 1.005
    return [Curve(loop(lifted(ellipse(2 * r, 2 * r, 48), z)), FINE) for r, z in zip(radii, heights, strict=True)]


def flutes(profile: np.ndarray, num: int, start: float, end: float) -> list[Curve]:
    """Upright lines on a turned wall between two shares of its length."""
    wall = profile[int(start * len(profile)) : max(int(end * len(profile)), int(start * len(profile)) + 2)]
    lines = []
    for angle in np.linspace(0, 2 * np.pi, num, endpoint=False):
        radius = wall[:, 0] * 1.003
        lines.append(Curve(np.stack([radius * np.cos(angle), radius * np.sin(angle), wall[:, 1]], axis=1), FINE))
    return lines


def hollow(outer: np.ndarray, thickness: float, floor: float) -> tuple[np.ndarray, tuple[int, ...]]:
    """Profile of an open vessel with this outer wall, and its rims."""
    inner = outer[::-1] - [thickness, 0]
    inner[:, 1] = np.maximum(inner[:, 1], floor)
    profile = np.concatenate([[(0, outer[0, 1]), outer[0]], outer[1:], inner, [(0, floor)]])
    return profile, (1, len(outer), len(outer) + 1)


def bottle(rng: Rng) -> list[Part]:
    height, radius, neck = rng.uniform(4, 8), rng.uniform(0.9, 1.6), rng.uniform(0.3, 0.5)
    shoulder = height * rng.uniform(0.45, 0.8)
    waist = radius * rng.uniform(0.8, 1.02)
    shape = [(radius, 0.15), (waist, shoulder * 0.5), (radius, shoulder), (neck * 1.1, height * 0.9), (neck, height)]
    wall = spline(shape, 22)
    wall[:, 0] = np.maximum(wall[:, 0], neck)
    profile = np.concatenate([[(0, 0), (radius * 0.9, 0)], wall])
    if rng.random() < 0.3:  # a flat-sided bottle
        outline = rounded_rectangle(2, rng.uniform(1.1, 2), rng.uniform(0.2, 0.7), 8)
        body = loft(
            np.stack([lifted(outline * max(r, 1e-9), z) for r, z in profile]),
            rims=(1, 2),
            shade=int(rng.integers(0, 20)),
        )
    else:
        body = lathe(profile, rims=(1, 2), shade=int(rng.integers(0, 30)))
        body = body.with_curves(bands(wall, np.sort(rng.uniform(0.1, 0.9, int(rng.integers(0, 4)))) * shoulder))
        if rng.random() < 0.3:
            body = body.with_curves(flutes(wall, int(rng.integers(10, 24)), 0.1, rng.uniform(0.3, 0.6)))
    top, cap_height = neck * rng.uniform(1.15, 1.4), rng.uniform(0.4, 1.0)
    cap = lathe([(0, 0), (top, 0), (top, cap_height), (0, cap_height)], rims=(1, 2)).moved(z=height)
    ribs = flutes(np.array([(top, height + 0.06), (top, height + cap_height - 0.06)]), 28, 0, 1)
    cap = cap.with_curves(ribs)
    return [body, cap.as_environment() if rng.random() < 0.15 else cap]


def mug(rng: Rng) -> list[Part]:
    height, low, high = rng.uniform(1.8, 3.2), rng.uniform(0.7, 1.2), rng.uniform(0.9, 1.3)
    outer = spline([(low, 0), ((low + high) / 2 + rng.uniform(-0.15, 0.3), height * 0.5), (high, height)], 16)
    profile, rims = hollow(outer, 0.1, 0.2)
    body = lathe(profile, rims=rims)
    body = body.with_curves(bands(outer, np.sort(rng.uniform(0.08, 0.95, int(rng.integers(0, 4)))) * height))
    if rng.random() < 0.3:
        body = body.with_curves(flutes(outer, int(rng.integers(12, 30)), rng.uniform(0, 0.2), rng.uniform(0.5, 0.9)))
    reach = rng.uniform(0.5, 0.9)
    z0, z1 = height * rng.uniform(0.15, 0.3), height * rng.uniform(0.7, 0.88)
    side0, side1 = np.interp([z0, z1], outer[:, 1], outer[:, 0]) - 0.05
    path = [(side0, 0, z0), (side0 + reach * 0.8, 0, z0 + 0.1), (max(side0, side1) + reach, 0, (z0 + z1) / 2),
            (side1 + reach * 0.8, 0, z1 - 0.1), (side1, 0, z1)]  # fmt: skip
    return [body.named("opening"), tube(spline(path, 18), rng.uniform(0.09, 0.16)).named("handle")]


def vase(rng: Rng) -> list[Part]:
    height = rng.uniform(3, 6)
    radii = rng.uniform([0.6, 0.9, 0.5, 0.6], [1.0, 1.9, 1.2, 1.4])
    outer = spline(list(zip(radii, np.array([0, 0.4, 0.8, 1]) * height, strict=True)), 26)
    profile, rims = hollow(outer, 0.12, 0.3)
    faceted = rng.random() < 0.3
    body = lathe(profile, rims=rims, num_sides=int(rng.integers(6, 13)) if faceted else 40, faceted=faceted)
    if not faceted and rng.random() < 0.6:
        body = body.with_curves(flutes(outer, int(rng.integers(14, 34)), 0.05, 0.95))
    return [body]


def urn(rng: Rng) -> list[Part]:
    height = rng.uniform(2.6, 4)
    outer = spline([(0.6, 0), (0.45, 0.15 * height), (rng.uniform(1.1, 1.6), 0.6 * height), (0.7, height)], 26)
    body = lathe(np.concatenate([[(0, 0)], outer, [(0, height)]]), rims=(1, 26), shade=20)
    body = body.with_curves(bands(outer, np.array([0.55, 0.6, 0.65]) * height))
    lid = spline([(0.8, 0), (0.7, 0.25), (0.2, 0.5), (0.28, 0.75), (0, 0.95)], 16)
    return [body, lathe(np.concatenate([[(0, 0)], lid]), rims=(1,), shade=12).moved(z=height)]


def pet_bowl(rng: Rng) -> list[Part]:
    height, top, low = rng.uniform(0.8, 1.4), rng.uniform(1.5, 1.9), rng.uniform(1.7, 2.6)
    outer = spline([(low, 0), ((low + top) / 2 + rng.uniform(-0.2, 0.1), height * 0.5), (top, height)], 12)
    profile, rims = hollow(outer, 0.22, height * 0.35)
    bone = superellipse(1.0, 0.3, 2.5, 24)
    bone[:, 1] *= 1 + 1.2 * np.abs(bone[:, 0]) ** 2
    mark = Curve(
        np.stack([loop(bone)[:, 0], np.full(25, -(low + top) / 2 - 0.03), loop(bone)[:, 1] + height / 2], axis=1), FINE
    )
    return [lathe(profile, rims=rims, shade=24).with_curves([mark]).named("opening")]


def bucket(rng: Rng) -> list[Part]:
    height, low, top = rng.uniform(2.2, 3), rng.uniform(0.9, 1.1), rng.uniform(1.25, 1.6)
    outer = np.array([(low, 0), (top * 0.97, height * 0.93), (top, height * 0.93), (top, height)])
    profile, _ = hollow(outer, 0.06, 0.1)
    body = lathe(profile, rims=(1, 2, 3, 4, 5)).with_curves(
        bands(outer[:2], np.array([rng.uniform(0.5, 0.7)]) * height)
    )
    angle = np.linspace(0, np.pi, 24)
    lean = np.deg2rad(rng.uniform(20, 90))
    arc = np.sin(angle) * top * 1.05
    path = np.stack([np.cos(angle) * top * 1.02, -arc * np.cos(lean), height * 0.9 + arc * np.sin(lean)], axis=1)
    return [body.named("opening"), tube(path, 0.05).named("handle")]


def trash_can(rng: Rng) -> list[Part]:
    height, size = rng.uniform(2.6, 4), rng.uniform(1.3, 1.9)
    outline = rounded_rectangle(size, size * rng.uniform(0.8, 1.2), rng.uniform(0.15, 0.65), 8)
    taper = rng.uniform(0.75, 1.0)
    rings = [lifted(outline * (taper + (1 - taper) * t), height * t) for t in (0, 1)]
    body = loft(np.stack(rings), shade=0)
    slots = [
        Curve(lifted(loop(outline * (taper + (1 - taper) * t) * 1.004), height * t), FINE)
        for t in rng.uniform(0.1, 0.9, 2)
    ]
    rim = prism(outline * 1.05, height, height + 0.18)
    dome = [lifted(outline * 1.03 * r, height + 0.18 + z) for r, z in ((1, 0), (0.92, 0.3), (0.6, 0.5), (0.01, 0.55))]
    flap = box(size * 0.6, 0.04, 0.24, y=-size * 0.42, z=height + 0.2)
    pedal = box(0.4, 0.4, 0.08, y=-size * 0.55 * taper, z=0.05)
    return [
        body.with_curves(slots),
        rim,
        loft(np.stack(dome), caps=(False, False)),
        pedal if rng.random() < 0.6 else flap,
    ]


def pan(rng: Rng) -> list[Part]:
    radius, height = rng.uniform(1.4, 2), rng.uniform(0.3, 0.7)
    outer = spline([(radius * 0.8, 0), (radius * 0.95, height * 0.5), (radius, height)], 8)
    profile, rims = hollow(outer, 0.08, 0.08)
    length = rng.uniform(1.8, 2.6)
    path = spline(
        [
            (radius * 0.94, 0, height * 0.7),
            (radius + length * 0.4, 0, height + 0.25),
            (radius + length, 0, height + 0.3),
        ],
        14,
    )
    handle = tube(path, np.linspace(0.1, rng.uniform(0.12, 0.2), 14)).stretched(y=1.6)
    eye = torus(0.12, 0.06).moved(radius + length + 0.1, 0, height + 0.3)
    ring = Curve(loop(lifted(ellipse(1.2 * radius, 1.2 * radius), 0.085)), FINE)
    return [lathe(profile, rims=rims).with_curves([ring]).named("opening"), handle.named("handle"), eye]


def lamp(rng: Rng) -> list[Part]:
    height = rng.uniform(3, 5)
    base_radius, shade_low, shade_top = rng.uniform(0.6, 1), rng.uniform(1.1, 1.8), rng.uniform(0.6, 1.1)
    if rng.random() < 0.5:
        stem = spline(
            [
                (base_radius, 0),
                (0.3, 0.5),
                (rng.uniform(0.3, 0.8), height * 0.35),
                (0.15, height * 0.6),
                (0.12, height * 0.75),
            ],
            24,
        )
        base = lathe(np.concatenate([[(0, 0)], stem]), rims=(1,), caps=(True, True), shade=14)
        parts = [base]
    else:
        plate = [(0, 0), (base_radius, 0), (base_radius, 0.15), (0.1, 0.22)]
        parts = [lathe(plate, rims=(1, 2)), lathe([(0.08, 0.2), (0.08, height * 0.75)], num_sides=20)]
    outer = np.array([(shade_low, height * 0.6), (shade_top, height)])
    profile = np.concatenate([outer, outer[::-1] - [0.05, 0]])
    cover = lathe(np.concatenate([profile, profile[:1]]), rims=(1, 2, 3), caps=(False, False), shade=0)
    if rng.random() < 0.6:
        cover = cover.with_curves(flutes(outer, int(rng.integers(16, 40)), 0, 1))
    return [*parts, cover]


def drum(rng: Rng) -> list[Part]:
    radius, height = rng.uniform(1.1, 1.8), rng.uniform(0.9, 2)
    rings = [lathe([(radius * 1.06, z), (radius * 1.06, z + 0.16)]) for z in (0, height - 0.16)]
    rods = []
    for angle in np.linspace(0, 360, int(rng.integers(6, 11)), endpoint=False):
        rod = box(0.14, 0.14, height * 0.5, z=height * 0.25).moved(x=radius * 1.08).turned("z", float(angle))
        wire = tube(np.array([(radius * 1.1, 0, 0.05), (radius * 1.1, 0, height - 0.05)]), 0.03, num_sides=8)
        rods += [rod, wire.turned("z", float(angle))]
    return [lathe([(0, 0), (radius, 0), (radius, height), (0, height)], rims=(1, 2)), *rings, *rods]


def lipstick(rng: Rng) -> list[Part]:
    width, height = rng.uniform(0.7, 1), rng.uniform(1.2, 1.8)
    square = rng.random() < 0.5
    outline = rounded_rectangle(width, width, width * 0.15) if square else ellipse(width, width)
    low = prism(outline, 0, height)
    collar = prism(outline * 0.86, height, height + 0.5)
    stick = lathe(
        [(0.24, height + 0.5), (0.24, height + 1.3), (0.2, height + 1.5), (0.02, height + 1.6)],
        rims=(1,),
        num_sides=28,
        shade=10,
    )
    band = [Curve(lifted(loop(outline * 1.006), height * t), FINE) for t in (0.85, 0.9)]
    return [low.with_curves(band), collar, stick]


def flashlight(rng: Rng) -> list[Part]:
    length, grip, head = rng.uniform(3.5, 6), rng.uniform(0.35, 0.5), rng.uniform(0.6, 0.95)
    profile = [
        (0, 0),
        (grip * 0.9, 0),
        (grip, 0.15),
        (grip, length * 0.65),
        (grip * 1.1, length * 0.68),
        (head, length * 0.85),
        (head, length),
        (head * 0.88, length),
        (0, length - 0.1),
    ]
    body = lathe(profile, rims=tuple(range(1, 8)))
    ribs = flutes(np.array([(grip, length * 0.12), (grip, length * 0.6)]), int(rng.integers(10, 22)), 0, 1)
    rings = bands(
        np.array([(grip, 0.2), (grip, length * 0.6)]),
        np.linspace(length * 0.12, length * 0.6, int(rng.integers(2, 12))),
    )
    button = soft_box(0.28, 0.4, 0.08, 0.12).turned("x", 90).moved(y=-grip * 0.98, z=length * 0.62)
    tail = lathe([(0, -0.35), (grip * 0.95, -0.35), (grip * 0.95, -0.02), (0, -0.02)], rims=(1, 2))
    return [body.with_curves(ribs if rng.random() < 0.5 else rings), button, tail]


def vaporizer(rng: Rng) -> list[Part]:
    length, radius = rng.uniform(5, 8), rng.uniform(0.3, 0.45)
    flat = rng.random() < 0.5
    outline = superellipse(2 * radius * (1.7 if flat else 1), 2 * radius, 3 if flat else 2, 36)
    body = prism(outline, 0, length * 0.7)
    tip = loft(
        np.stack([lifted(outline * s, length * t) for s, t in ((0.97, 0.7), (0.9, 0.82), (0.6, 0.95), (0.5, 1))])
    )
    light = Curve(
        loop(
            np.stack(
                [
                    0.08 * np.cos(a := np.linspace(0, 6.2, 16)),
                    np.full(16, -radius - 0.01),
                    length * 0.15 + 0.08 * np.sin(a),
                ],
                axis=1,
            )
        ),
        FINE,
    )
    slots = [Curve(lifted(loop(outline * 1.005), length * t), FINE) for t in (0.03, 0.67)]
    return [body.with_curves([light, *slots]), tip]


def pipe(rng: Rng) -> list[Part]:
    bowl_height, radius = rng.uniform(1.2, 1.7), rng.uniform(0.5, 0.65)
    outer = spline([(0.25, 0), (radius, bowl_height * 0.35), (radius * 0.95, bowl_height)], 14)
    profile, rims = hollow(outer, radius * 0.3, bowl_height * 0.5)
    reach, rise = rng.uniform(2.5, 4), rng.uniform(0, 1.2)
    path = spline(
        [(0.2, 0, 0.25), (reach * 0.4, 0, 0.25 + rise * 0.2), (reach * 0.8, 0, rise), (reach, 0, rise + 0.05)], 18
    )
    return [lathe(profile, rims=rims, shade=16), tube(path, np.linspace(0.2, 0.09, 18))]


def syringe(rng: Rng) -> list[Part]:
    length, radius = rng.uniform(3.5, 5), rng.uniform(0.3, 0.45)
    barrel = lathe(
        [(0, 0), (0.1, 0), (0.1, 0.35), (radius, 0.45), (radius, length), (radius * 0.85, length)], rims=(1, 2, 3, 4)
    )
    marks = []
    for z in np.linspace(0.8, length * 0.85, int(rng.integers(10, 22))):
        angle = np.linspace(-0.5, 0.1, 6) - np.pi / 2
        marks.append(
            Curve(np.stack([radius * 1.01 * np.cos(angle), radius * 1.01 * np.sin(angle), np.full(6, z)], axis=1), FINE)
        )
    wings = prism(superellipse(radius * 5, radius * 2, 2.5), length, length + 0.1)
    out = rng.uniform(0.8, 1.6)
    rod = lathe([(radius * 0.4, length + 0.1), (radius * 0.4, length + out)], num_sides=16)
    knob = lathe(
        [
            (0, length + out),
            (radius * 1.1, length + out),
            (radius * 1.1, length + out + 0.12),
            (0, length + out + 0.12),
        ],
        rims=(1, 2),
    )
    needle = tube(np.array([(0, 0, 0), (0, 0, -1.4)]), 0.03, num_sides=8)
    return [barrel.with_curves(marks), wings, rod, knob, needle]


_ARTICLES = (
    bottle,
    mug,
    vase,
    urn,
    pet_bowl,
    bucket,
    trash_can,
    pan,
    lamp,
    drum,
    lipstick,
    flashlight,
    vaporizer,
    pipe,
    syringe,
)
BUILDERS = {article.__name__: article for article in _ARTICLES}
