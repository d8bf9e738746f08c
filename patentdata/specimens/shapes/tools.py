"""Builders of tools, cutlery, brushes, weapons and toys."""

# ruff: noqa: RUF005 - `+` adds offsets to arrays here, it does not join lists

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
    on_plane,
    prism,
    ring_prism,
    rounded_rectangle,
    soft_box,
    spline,
    star,
    superellipse,
    torus,
    tube,
)
from patentdata.specimens.shapes.vessels import bands, flutes

Rng = np.random.Generator


def along_x(
    widths: np.ndarray, heights: np.ndarray, centres: np.ndarray, power: float = 2.4, **options: object
) -> Part:
    """A body along x: at each x of `centres` (num, 2: x, z) a rounded section of that width (y) and height (z)."""
    unit = superellipse(2, 2, power, 28)
    rings = [
        np.stack([np.full(28, x), unit[:, 0] * w / 2, unit[:, 1] * h / 2 + z], axis=1)
        for w, h, (x, z) in zip(widths, heights, centres, strict=True)
    ]
    return loft(np.stack(rings), **options)  # type: ignore[arg-type]


def screwdriver(rng: Rng) -> list[Part]:
    grip, radius, blade = rng.uniform(2, 2.8), rng.uniform(0.35, 0.5), rng.uniform(2, 4.5)
    wall = spline(
        [
            (radius * 0.8, 0),
            (radius, 0.5),
            (radius * rng.uniform(0.75, 0.95), grip * 0.6),
            (radius * 0.9, grip * 0.85),
            (radius * 0.5, grip),
        ],
        20,
    )
    handle = lathe(np.concatenate([[(0, 0)], wall, [(0, grip)]]), rims=(1, 20))
    handle = handle.with_curves(flutes(wall, int(rng.integers(8, 16)), 0.08, 0.7))
    handle = handle.with_curves(bands(wall, np.array([0.8, 0.9]) * grip))
    shaft = lathe([(0.1, grip), (0.1, grip + blade)], num_sides=16)
    tip_ring = superellipse(0.34, 0.05, 8, 16)
    tip = loft(
        np.stack(
            [
                lifted(ellipse(0.2, 0.2, 16), grip + blade),
                lifted(tip_ring, grip + blade + 0.3),
                lifted(tip_ring * [0.8, 1], grip + blade + 0.5),
            ]
        )
    )
    return [part.turned("y", 90) for part in (handle, shaft, tip)]


def hammer(rng: Rng) -> list[Part]:
    length = rng.uniform(4, 6)
    t = np.linspace(0, length, 16)
    thick = 0.3 + 0.12 * np.cos(t / length * rng.uniform(4, 8))
    handle = along_x(thick, thick * 1.4, np.stack([t, 0 * t], axis=1))
    grooves = [
        Curve(np.stack([np.full(21, x), *(loop(ellipse(0.47, 0.64, 20)).T)], axis=1), FINE)
        for x in np.linspace(0.3, 1.6, 6)
    ]
    head_length, size = rng.uniform(1.2, 1.8), rng.uniform(0.5, 0.75)
    poll = [
        (0, -head_length / 2),
        (size * 0.55, -head_length / 2),
        (size * 0.55, -head_length * 0.3),
        (size * 0.42, -head_length * 0.2),
        (size * 0.42, head_length * 0.2),
    ]
    face = lathe([*poll, (0, head_length * 0.2)], rims=(1, 2, 3, 4))
    if rng.random() < 0.5:
        x = np.linspace(0, 1, 10)
        claw = [np.array([(-0.3, 0), (0.3, 0), (0.3, 0.3), (-0.3, 0.3)]) * [1, 1 - 0.85 * s] + [0, 0] for s in x]
        rings = [
            np.stack([c[:, 1] - 0.15 - 0.6 * s**2, c[:, 0], np.full(4, head_length * (0.2 + 0.55 * s))], axis=1)
            for c, s in zip(claw, x, strict=True)
        ]
        rear = loft(np.stack(rings), ridges=(0, 1, 2, 3))
    else:
        rear = lathe(
            [(0, 0), (size * 0.42, 0), (size * 0.55, 0.15), (size * 0.55, 0.5), (0, 0.5)], rims=(1, 2, 3)
        ).moved(z=head_length * 0.2)
    return [handle.with_curves(grooves), *(p.moved(x=length + 0.1) for p in (face, rear))]


def spoon(rng: Rng) -> list[Part]:
    length, bowl, width = rng.uniform(3.5, 5), rng.uniform(1.2, 1.8), rng.uniform(0.8, 1.2)
    x = np.linspace(0, 1, 16)
    half = width / 2 * np.sin(np.pi * np.clip(x, 0.02, 0.97)) ** rng.uniform(0.5, 0.8)
    angle = np.linspace(np.pi, 2 * np.pi, 14)
    depth = rng.uniform(0.25, 0.4)
    rings = np.stack(
        [
            np.stack([np.full(14, bowl * s), h * np.cos(angle), depth * (h / (width / 2)) * np.sin(angle)], axis=1)
            for s, h in zip(x, half, strict=True)
        ]
    )
    cup = loft(rings, closed=False, caps=(False, False))
    t = np.linspace(0, length, 18)
    handle_width = 0.14 + rng.uniform(0.1, 0.3) * (t / length) ** 2
    rise = 0.5 * np.sin(np.pi * t / length) * rng.uniform(0.3, 1)
    handle = along_x(handle_width, np.full(18, 0.09), np.stack([bowl * 0.98 + t, rise - 0.02], axis=1), 3.5)
    return [cup, handle]


def knife(rng: Rng) -> list[Part]:
    blade, grip, high = rng.uniform(2.5, 4), rng.uniform(2, 2.8), rng.uniform(0.5, 0.9)
    x = np.linspace(0, 1, 16)
    spine = high / 2 * (1 - np.clip((x - 0.6) / 0.4, 0, 1) ** 2 * rng.uniform(0.5, 1.4))
    edge = -high / 2 * (1 - np.clip((x - 0.5) / 0.5, 0, 1) ** 2.2 * 0.6)
    end = (spine[-1] + edge[-1]) / 2
    spine[-1], edge[-1] = end + 0.02, end - 0.02
    rings = [
        np.array([(x0 * blade, -0.04, s), (x0 * blade, 0.04, s), (x0 * blade, 0.002, e), (x0 * blade, -0.002, e)])
        for x0, s, e in zip(x, spine, edge, strict=True)
    ]
    steel = loft(np.stack(rings), ridges=(0, 1, 2))
    t = np.linspace(0, grip, 14)
    height = high * (0.75 + 0.15 * np.sin(t * rng.uniform(2, 4)))
    handle = along_x(np.full(14, 0.3), height, np.stack([-t, -0.1 * (t / grip) ** 2], axis=1), 4)
    rivets = [
        np.stack([loop(ellipse(0.16, 0.16, 16))[:, 0] - c, loop(ellipse(0.16, 0.16, 16))[:, 1]], axis=1)
        for c in np.linspace(0.4, grip - 0.4, 3)
    ]
    return [
        steel,
        handle.with_curves(on_plane(rivets, (0, -0.155, 0), (1, 0, 0), (0, 0, 1))),
        box(0.12, 0.4, high * 1.2, z=-high * 0.6),
    ]


def toothbrush(rng: Rng) -> list[Part]:
    length = rng.uniform(6, 8)
    t = np.linspace(0, length, 26)
    width = np.interp(
        t / length, [0, 0.1, 0.4, 0.6, 0.8, 0.85, 1], [0.3, 0.5, rng.uniform(0.45, 0.7), 0.3, 0.24, 0.5, 0.3]
    )
    z = 0.12 * np.sin(t / length * rng.uniform(2, 7))
    body = along_x(width, np.interp(t / length, [0, 0.4, 0.7, 1], [0.3, 0.45, 0.25, 0.2]), np.stack([t, z], axis=1))
    pads = [loop(superellipse(length * 0.3, 0.3, 3, 30)) + [length * 0.25, 0]]
    grip = on_plane(pads, (0, 0, float(z[8]) + 0.24), (1, 0, 0), (0, 1, 0))
    tufts = []
    top = float(z[-3])
    for i in range(int(rng.integers(4, 7))):
        for j in (-1, 0, 1):
            tufts.append(
                lathe([(0.06, 0.08), (0.06, rng.uniform(0.4, 0.46))], num_sides=10).moved(
                    length * (0.86 + 0.024 * i), j * 0.14, top
                )
            )
    return [body.with_curves(grip), *tufts]


def razor(rng: Rng) -> list[Part]:
    length = rng.uniform(4, 5.5)
    t = np.linspace(0, length, 22)
    width = np.interp(t / length, [0, 0.2, 0.6, 0.9, 1], [0.4, rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.5), 0.3, 0.45])
    body = along_x(width, width * 0.7, np.stack([t, 0.5 * np.sin(t / length * 2.4)], axis=1))
    rings = [
        loop(superellipse(0.5, 0.24, 2)) + [x, 0] for x in np.linspace(0.6, length * 0.45, int(rng.integers(3, 8)))
    ]
    body = body.with_curves(on_plane(rings, (0, 0, 0.42), (1, 0, 0.12), (0, 1, 0)))
    head = soft_box(0.55, 2.1, 0.2, rng.uniform(0.06, 0.26))
    blades = [np.array([(x, -0.9), (x, 0.9)]) for x in np.linspace(-0.16, 0.16, int(rng.integers(3, 6)))]
    head = head.with_curves(on_plane(blades, (0, 0, 0.203), (1, 0, 0), (0, 1, 0)))
    return [body, head.turned("y", rng.uniform(10, 40)).moved(length + 0.05, 0, 0.42)]


def broom(rng: Rng) -> list[Part]:
    width, length = rng.uniform(2, 3), rng.uniform(4, 7)
    outline = rounded_rectangle(width, 0.5, 0.2)
    block = loft(np.stack([lifted(outline, 0), lifted(outline, 0.3), lifted(outline * [0.6, 0.7], 0.6)]), rims=(1,))
    spread = rng.uniform(1.02, 1.3)
    bristle_height = rng.uniform(0.7, 1.4)
    skirt = loft(np.stack([lifted(outline * 0.95, 0), lifted(outline * [0.95 * spread, 1.1], -bristle_height)]))
    hairs = [
        Curve(np.array([(x, -0.26, 0), (x * spread, -0.29, -bristle_height)]), FINE)
        for x in np.linspace(-width * 0.42, width * 0.42, int(rng.integers(14, 30)))
    ]
    pole = tube(np.array([(0, 0, 0.5), (0, 0, length)]), 0.1)
    return [block, skirt.with_curves(hairs), pole]


def pen(rng: Rng) -> list[Part]:
    length, radius = rng.uniform(5, 6.5), rng.uniform(0.2, 0.3)
    faceted = rng.random() < 0.3
    body = lathe([(radius, 1.0), (radius, length)], num_sides=6 if faceted else 32, faceted=faceted)
    tip = lathe(spline([(0.02, 0), (0.08, 0.15), (radius * 0.9, 0.9), (radius, 1.0)], 10), rims=(3,))
    rings = bands(
        np.array([(radius, 0), (radius, length)]),
        np.linspace(1.1, 1.1 + rng.uniform(0.3, 1.2), int(rng.integers(2, 8))),
    )
    button = lathe([(radius * 0.5, length), (radius * 0.5, length + 0.4), (0, length + 0.45)], rims=(1,), num_sides=20)
    clip = box(0.12, 0.06, 1.6, y=-radius - 0.1, z=length - 1.65)
    joint = box(0.12, 0.16, 0.12, y=-radius - 0.05, z=length - 0.15)
    return [part.turned("y", 65) for part in (body.with_curves(rings), tip, button, clip, joint)]


def lure(rng: Rng) -> list[Part]:
    length, high = rng.uniform(3, 4.5), rng.uniform(0.7, 1.1)
    t = np.linspace(0, 1, 24)
    girth = high * np.interp(t, [0, 0.1, 0.35, 0.8, 0.92, 1], [0.1, 0.6, 1, 0.4, 0.25, 0.1])
    body = along_x(girth * 0.6, girth, np.stack([t * length, 0.05 * np.sin(6 * t)], axis=1))
    eye = [loop(ellipse(d, d, 20)) + [length * 0.1, 0.08] for d in (0.26, 0.12)]
    scales = [
        np.stack([length * c + 0.1 * np.cos(a := np.linspace(-1.4, 1.4, 9)), 0.25 * np.sin(a)], axis=1)
        for c in np.linspace(0.25, 0.65, int(rng.integers(4, 9)))
    ]
    marks = on_plane([*eye, *scales], (0, -high * 0.31, 0), (1, 0, 0), (0, 0, 1))
    tail = (
        prism(np.array([(0, 0.1), (0, -0.1), (0.8, -0.5), (0.6, 0), (0.8, 0.5)]), -0.02, 0.02, ridges=range(5))
        .turned("x", 90)
        .moved(x=length * 0.98)
    )
    hooks = []
    for x in (0.35, 0.75):
        path = spline([(0, 0, 0), (0, 0, -0.5), (0.15, 0, -0.7), (0.32, 0, -0.5), (0.3, 0, -0.35)], 14)
        hooks.append(tube(path, 0.03, num_sides=8).moved(x=length * x, z=-high * 0.42))
    fin = loft(
        np.stack([np.array([(0, y, 0), (0.9, y, 0), (0.7, y, 0.35), (0.2, y, 0.4)]) for y in (-0.02, 0.02)]),
        ridges=range(4),
    ).moved(x=length * 0.3, z=high * 0.42)
    return [body.with_curves(marks), tail, *hooks, fin]


def dumbbell(rng: Rng) -> list[Part]:
    length, radius, wide = rng.uniform(2.6, 4), rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.2)
    sides = int(rng.choice([6, 8, 40]))
    parts = [tube(np.array([(-length / 2, 0, 0), (length / 2, 0, 0)]), rng.uniform(0.14, 0.22))]
    for s in (-1, 1):
        chamfer = rng.uniform(0.08, 0.2)
        profile = [
            (0, 0),
            (radius - chamfer, 0),
            (radius, chamfer),
            (radius, wide - chamfer),
            (radius - chamfer, wide),
            (0, wide),
        ]
        weight = lathe(profile, rims=(1, 2, 3, 4), num_sides=sides, faceted=sides < 20)
        weight = weight.with_curves([Curve(loop(lifted(ellipse(radius, radius), wide + 0.003)), FINE)])
        parts.append(weight.turned("y", 90 * s).moved(x=s * length * 0.3))
    return parts


def pet_toy(rng: Rng) -> list[Part]:
    if rng.random() < 0.5:  # a bone
        length, girth = rng.uniform(2.5, 3.5), rng.uniform(0.35, 0.6)
        bar = lathe(
            np.concatenate(
                [
                    [(0, -length / 2)],
                    spline([(girth * 1.2, -length / 2), (girth, 0), (girth * 1.2, length / 2)], 14),
                    [(0, length / 2)],
                ]
            ),
            rims=(),
        ).turned("y", 90)
        angle = np.linspace(0, np.pi, 14)
        ball = np.stack([np.sin(angle) * girth * 1.35 + 1e-6, -np.cos(angle) * girth * 1.35], axis=1)
        knobs = [
            lathe(ball, caps=(False, False), shade=16).moved(sx * length / 2, 0, sz * girth)
            for sx in (-1, 1)
            for sz in (-1, 1)
        ]
        return [bar, *knobs]
    rings = [
        torus(rng.uniform(0.9, 1.2), rng.uniform(0.4, 0.6)).moved(z=0.42 * k) for k in range(int(rng.integers(1, 4)))
    ]
    angle = np.linspace(0, np.pi, 16)
    return [
        *rings,
        lathe(np.stack([np.sin(angle) * 0.6 + 1e-6, -np.cos(angle) * 0.6], axis=1), caps=(False, False), shade=18),
    ]


def gear(rng: Rng) -> list[Part]:
    teeth, thick = int(rng.integers(12, 32)), rng.uniform(0.4, 0.9)
    outline = star(teeth, 2.0, rng.uniform(1.65, 1.8), flat=rng.uniform(0.35, 0.5))
    count = len(outline)
    wheel = ring_prism(outline, ellipse(0.8, 0.8, count), 0, thick, ridges=range(count))
    hub = ring_prism(ellipse(1.5, 1.5, 40), ellipse(0.8, 0.8, 40), -thick * 0.4, thick * 1.4)
    lines = []
    for k in range(int(rng.integers(3, 7))):
        spot = ellipse(0.5, 0.5, 24) @ np.eye(2) + 1.2 * np.array([np.cos(k * 1.05), np.sin(k * 1.05)])
        lines.append(loop(spot))
    wheel = wheel.with_curves(on_plane([loop(ellipse(3.1, 3.1))], (0, 0, thick + 0.002), (1, 0, 0), (0, 1, 0)))
    if rng.random() < 0.6:
        wheel = wheel.with_curves(on_plane(lines, (0, 0, thick + 0.002), (1, 0, 0), (0, 1, 0)))
    return [part.turned("x", 90) for part in (wheel, hub)]


def pasta(rng: Rng) -> list[Part]:
    points, size = int(rng.integers(5, 12)), rng.uniform(1.4, 2)
    angle = np.linspace(0, 2 * np.pi, 10 * points, endpoint=False)
    radius = size * (1 + rng.uniform(0.06, 0.25) * np.cos(points * angle))
    outline = np.stack([np.cos(angle) * radius, np.sin(angle) * radius], axis=1)
    if rng.random() < 0.5:  # a tube, twisted
        twist, length = rng.uniform(0, 1.2), rng.uniform(3, 5)
        rings = []
        for t in np.linspace(0, 1, 14):
            cos, sin = np.cos(twist * t), np.sin(twist * t)
            rings.append(lifted(outline @ np.array([[cos, sin], [-sin, cos]]) * 0.5, length * t))
        valleys = [k * 10 + 5 for k in range(points)]
        return [loft(np.stack(rings), ridges=valleys).turned("y", 90)]
    thick = rng.uniform(0.25, 0.5)
    plate = loft(
        np.stack([lifted(outline * s, z) for s, z in ((0.94, 0), (1, thick * 0.3), (1, thick * 0.7), (0.94, thick))])
    )
    holes = [
        loop(ellipse(0.34, 0.34, 20)) + 0.55 * size * np.array([np.cos(a), np.sin(a)])
        for a in np.linspace(0, 6.28, points, endpoint=False)
    ]
    inner = [loop(outline) * rng.uniform(0.7, 0.85)]
    return [plate.with_curves(on_plane(holes + inner, (0, 0, thick + 0.003), (1, 0, 0), (0, 1, 0)))]


def guitar(rng: Rng) -> list[Part]:
    length, lower, upper = rng.uniform(2.6, 3.2), rng.uniform(1.1, 1.3), rng.uniform(0.8, 1.0)
    angle = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    x = np.cos(angle)
    half = np.interp(x, [-1, -0.5, 0.1, 0.6, 1], [0.9, lower, upper * rng.uniform(0.6, 0.8), upper, 0.7])
    half = np.convolve(np.pad(half, 3, mode="wrap"), np.ones(7) / 7, "valid")
    outline = np.stack([x * length / 2, half * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.7], axis=1)
    body = prism(outline, 0, 0.4)
    hole = [loop(ellipse(d, d)) + [0.3, 0] for d in (0.75, 0.65)]
    neck_length = rng.uniform(2.6, 3.2)
    end = length / 2 + neck_length
    bridge = box(0.16, 0.9, 0.1, x=-length * 0.25, z=0.4)
    neck = box(neck_length + 0.5, 0.32, 0.2, x=length / 2 + neck_length / 2 - 0.25, z=0.36)
    head = soft_box(0.8, 0.55, 0.18, 0.1).moved(end + 0.35, 0, 0.34)
    frets = [np.array([(x0, -0.16), (x0, 0.16)]) for x0 in np.linspace(length * 0.42, end, 16)]
    strings = [np.array([(-length * 0.25, y), (end, y * 0.8)]) for y in np.linspace(-0.12, 0.12, 6)]
    body = body.with_curves(on_plane(hole, (0, 0, 0.403), (1, 0, 0), (0, 1, 0)))
    neck = neck.with_curves(on_plane(frets, (0, 0, 0.563), (1, 0, 0), (0, 1, 0)))
    cords = Part((), on_plane(strings, (0, 0, 0.6), (1, 0, 0), (0, 1, 0)))
    pegs = [box(0.12, 0.2, 0.08, x=end + 0.15 + 0.25 * k, y=s * 0.36, z=0.38) for k in range(3) for s in (-1, 1)]
    return [part.turned("y", -90).turned("z", -90) for part in (body, neck, head, bridge, cords, *pegs)]


_ARTICLES = (
    screwdriver,
    hammer,
    spoon,
    knife,
    toothbrush,
    razor,
    broom,
    pen,
    lure,
    dumbbell,
    pet_toy,
    gear,
    pasta,
    guitar,
)
BUILDERS = {article.__name__: article for article in _ARTICLES}
