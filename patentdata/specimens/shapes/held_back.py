"""Builders of articles that weeks of specimens show only if they are asked for, such as in data for an experiment.

They keep some kinds of article new: what was chosen or tuned on the usual kinds can still be tried on these.
"""

# ruff: noqa: RUF005 - `+` adds offsets to arrays here, it does not join lists

from __future__ import annotations

import numpy as np

from patentdata.specimens.lettering import text_strokes
from patentdata.specimens.shapes.devices import panel
from patentdata.specimens.shapes.furnishings import legs
from patentdata.specimens.shapes.solids import (
    FINE,
    SOLID,
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
    rounded_rectangle,
    soft_box,
    spline,
    superellipse,
    torus,
    tube,
)
from patentdata.specimens.shapes.vessels import bands, flutes, hollow

Rng = np.random.Generator


def headphones(rng: Rng) -> list[Part]:
    span, rise, radius = rng.uniform(2.2, 2.8), rng.uniform(2.0, 2.8), rng.uniform(0.5, 0.8)
    angle = np.linspace(0, np.pi, 24)
    arch = np.stack([np.cos(angle) * span / 2, 0 * angle, np.sin(angle) * rise], axis=1)
    thick = rng.uniform(0.3, 0.5)
    profile = [(0, 0), (radius, 0), (radius, thick * 0.6), (radius * rng.uniform(0.6, 0.9), thick), (0, thick)]
    cup = lathe(profile, rims=(1, 2, 3))
    cushion = torus(radius * 0.75, rng.uniform(0.2, 0.35))
    parts = [tube(arch, rng.uniform(0.09, 0.18))]
    for side in (-1, 1):
        parts += [piece.turned("y", 90 * side).moved(x=side * span / 2) for piece in (cup, cushion)]
    return parts


def sofa(rng: Rng) -> list[Part]:
    num_seats = int(rng.integers(2, 5))
    seat, depth, height = rng.uniform(1.2, 1.6), rng.uniform(1.5, 2.0), rng.uniform(0.6, 0.9)
    width, arm, rise = num_seats * seat, rng.uniform(0.25, 0.6), rng.uniform(0.8, 1.4)
    foot, soft = rng.uniform(0.15, 0.4), rng.uniform(0.05, 0.3)
    base = box(width, depth, height * 0.6, z=foot)
    cushions = [
        soft_box(seat * 0.97, depth * 0.8, height * 0.4, soft, chamfer=0.06).moved(
            (i + 0.5) * seat - width / 2, -depth * 0.1, foot + height * 0.6
        )
        for i in range(num_seats)
    ]
    back = soft_box(width, depth * 0.22, rise, soft, chamfer=0.05).moved(y=depth * 0.4, z=foot + height * 0.6)
    tall = height * rng.uniform(1.2, 1.8)
    arms = [
        soft_box(arm, depth, tall, soft, chamfer=0.05).moved(x=side * (width + arm) / 2, z=foot) for side in (-1, 1)
    ]
    return [base, back, *cushions, *arms, *legs(width, depth * 0.9, foot, 0.2, 0.0, is_round=bool(rng.random() < 0.5))]


def jar(rng: Rng) -> list[Part]:
    height, radius = rng.uniform(2, 3.5), rng.uniform(1.0, 1.7)
    wall = spline([(radius * 0.95, 0), (radius, height * 0.3), (radius * rng.uniform(0.85, 1.05), height)], 14)
    body = lathe(np.concatenate([[(0, 0)], wall, [(0, height)]]), rims=(1, len(wall)), shade=int(rng.integers(0, 16)))
    body = body.with_curves(bands(wall, np.sort(rng.uniform(0.1, 0.9, int(rng.integers(1, 4)))) * height))
    lid_height, reach = rng.uniform(0.4, 0.8), radius * rng.uniform(1.0, 1.12)
    lid = lathe([(0, 0), (reach, 0), (reach, lid_height), (0, lid_height)], rims=(1, 2)).moved(z=height)
    ribs = flutes(np.array([(reach, height + 0.06), (reach, height + lid_height - 0.06)]), 36, 0, 1)
    knob = lathe([(0.0, 0.0), (0.2, 0.0), (0.32, 0.3), (0.0, 0.4)], rims=(1, 2)).moved(z=height + lid_height)
    return [body, lid.with_curves(ribs), *([knob] if rng.random() < 0.5 else [])]


def solar_panel(rng: Rng) -> list[Part]:
    columns, rows = int(rng.integers(3, 8)), int(rng.integers(3, 8))
    cell, tilt = rng.uniform(0.5, 0.8), rng.uniform(15, 55)
    width, length = columns * cell, rows * cell
    lines = [np.array([(x, -length / 2), (x, length / 2)]) for x in np.linspace(-width / 2, width / 2, columns + 1)]
    lines += [np.array([(-width / 2, y), (width / 2, y)]) for y in np.linspace(-length / 2, length / 2, rows + 1)]
    plate = box(width + 0.2, length + 0.2, 0.15).with_curves(on_plane(lines, (0, 0, 0.155), (1, 0, 0), (0, 1, 0)))
    rise = length / 2 * np.sin(np.deg2rad(tilt))
    posts = [box(0.12, 0.12, rise * 2, x=side * width * 0.4, y=length * 0.35) for side in (-1, 1)]
    return [plate.turned("x", tilt).moved(z=rise), *posts, box(width, 0.15, 0.1, y=length * 0.35)]


def candle_holder(rng: Rng) -> list[Part]:
    num_arms = int(rng.integers(1, 6))
    height, foot = rng.uniform(2, 4), rng.uniform(0.8, 1.3)
    stem = spline([(foot, 0), (foot * 0.4, 0.25), (0.14, height * 0.4), (0.25, height * 0.7), (0.12, height)], 24)
    parts = [lathe(np.concatenate([[(0, 0)], stem, [(0, height)]]), rims=(1,), shade=8)]
    cup_wall = np.array([(0.16, 0), (0.34, 0.12), (0.3, 0.5)])
    cup = lathe(np.concatenate([[(0, 0)], cup_wall, [(0.2, 0.5), (0, 0.4)]]), rims=(2, 3))
    candle = lathe([(0.18, 0.4), (0.18, rng.uniform(0.9, 1.8))], rims=()).as_environment()
    reach = rng.uniform(1.0, 1.6) if num_arms > 1 else 0.0
    for angle in np.linspace(0, 2 * np.pi, num_arms, endpoint=False):
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        if num_arms > 1:
            path = [(0, 0, height * 0.7), (x * 0.6, y * 0.6, height * 0.6), (x, y, height)]
            parts.append(tube(spline(path, 12), 0.07))
        parts += [piece.moved(x, y, height) for piece in (cup, candle)]
    return parts


def test_tube(rng: Rng) -> list[Part]:
    height, radius = rng.uniform(5, 8), rng.uniform(0.4, 0.7)
    outer = np.concatenate(
        [
            np.stack([radius * np.sin(a := np.linspace(0.1, np.pi / 2, 8)), radius * (1 - np.cos(a))], axis=1),
            [(radius, height)],
        ]
    )
    body = lathe(np.concatenate([[(0, 0)], outer, [(radius * 1.3, height), (radius * 1.3, height + 0.15)]]), rims=(9,))
    marks = bands(
        np.array([(radius, radius), (radius, height)]), np.linspace(0.3, 0.8, int(rng.integers(4, 12))) * height
    )
    parts = [body.with_curves(marks)]
    if rng.random() < 0.6:
        plug = [(0, 0), (radius * 0.9, 0), (radius * 1.1, 0.9), (radius * 1.3, 0.9), (radius * 1.3, 1.3), (0, 1.3)]
        parts.append(lathe(plug, rims=(2, 3, 4)).moved(z=height))
    return parts


def umbrella(rng: Rng) -> list[Part]:
    num_ribs, radius, rise = int(rng.integers(6, 11)), rng.uniform(2.4, 3.4), rng.uniform(0.8, 1.5)
    length = rng.uniform(2.5, 4)
    angle = np.linspace(0, 2 * np.pi, num_ribs * 4, endpoint=False)
    scallop = 1 - 0.06 * (1 - np.cos(num_ribs * angle))
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1) * scallop[:, None]
    rings = [lifted(unit * radius * t, rise * (1 - t**2)) for t in np.linspace(0.02, 1, 10)]
    canopy = loft(np.stack(rings), ridges=range(0, num_ribs * 4, 4), caps=(True, False))
    handle = [(0, 0, rise * 0.95), (0, 0, -length * 0.6), (0, 0, -length)]
    hook = [(0.2, 0, -length - 0.35), (0.55, 0, -length - 0.3), (0.6, 0, -length)] if rng.random() < 0.6 else []
    return [canopy, tube(spline([*handle, *hook], 30), 0.07), box(0.1, 0.1, 0.4, z=rise)]


def paint_roller(rng: Rng) -> list[Part]:
    width, radius, drop = rng.uniform(2.4, 4), rng.uniform(0.35, 0.6), rng.uniform(1.2, 2)
    wall = np.array([(radius, 0), (radius, width)])
    sleeve = lathe([(0, 0), (radius, 0), (radius, width), (0, width)], rims=(1, 2))
    sleeve = sleeve.with_curves(bands(wall, np.array([0.08, 0.92]) * width)).turned("y", 90).moved(x=-width / 2)
    wire = [
        (width / 2, 0, 0),
        (width / 2 + 0.3, 0, 0),
        (width / 2 + 0.3, 0, -drop * 0.5),
        (0, 0, -drop),
        (0, 0, -drop - 0.3),
    ]
    grip = spline([(0.2, 0), (rng.uniform(0.25, 0.4), 0.8), (0.22, 1.5), (0.3, 2.2)], 16)
    handle = lathe(np.concatenate([[(0, 0)], grip, [(0, 2.2)]]), rims=(1, len(grip))).turned("x", 180)
    return [sleeve, tube(np.array(wire), 0.07), handle.moved(z=-drop - 0.2)]


def ice_cream_cone(rng: Rng) -> list[Part]:
    height, radius = rng.uniform(2.4, 4), rng.uniform(0.7, 1.1)
    num, turns = int(rng.integers(6, 12)), rng.uniform(0.3, 0.8)
    t = np.linspace(0.03, 1, 24)
    spirals = [
        Curve(
            np.stack([radius * t * np.cos(a := k + way * turns * 2 * np.pi * t), radius * t * np.sin(a), height * t], 1)
            * [1.01, 1.01, 1],
            FINE,
        )
        for k in np.linspace(0, 2 * np.pi, num, endpoint=False)
        for way in (-1, 1)
    ]
    cone = lathe([(0.03, 0), (radius, height)]).with_curves(spirals)
    parts, z = [cone], height
    for size in np.linspace(1.05, 0.7, int(rng.integers(1, 4))):
        a = np.linspace(-np.pi / 2, np.pi / 2, 14)
        ball = np.stack([radius * size * np.cos(a), radius * size * (0.4 + 0.8 * np.sin(a))], axis=1)
        parts.append(lathe(ball).moved(z=z))
        z += radius * size * 0.9
    return parts


def lace(rng: Rng) -> list[Part]:
    """A ribbon with a scalloped edge; the cloth behind the pattern is environment."""
    num, width = int(rng.integers(5, 10)), rng.uniform(1.2, 2.4)
    petals = int(rng.integers(5, 9))
    a = np.linspace(0, 2 * np.pi, 8 * petals + 1)
    rosette = np.stack([np.cos(a), np.sin(a)], axis=1) * (0.3 + 0.1 * np.cos(petals * a))[:, None]
    half = np.linspace(0, np.pi, 14)
    scallop = np.stack([-0.5 * np.cos(half), 0.35 * np.sin(half)], axis=1)
    lines = []
    for i in range(num):
        lines += [
            rosette + [i, width / 2],
            rosette * 0.4 + [i, width / 2],
            scallop + [i, width],
            scallop * 0.6 + [i, width],
        ]
        if rng.random() < 0.5:
            lines.append(scallop * [1, -1] + [i, 0])
    lines += [np.array([(-0.5, y), (num - 0.5, y)]) for y in (0.0, 0.1, width)]
    cloth = box(num + 0.2, 0.01, width + 0.9, x=num / 2 - 0.5, z=-0.4).as_environment()
    return [cloth, Part((), on_plane(lines, (0, -0.02, 0), (1, 0, 0), (0, 0, 1), SOLID))]


def respirator(rng: Rng) -> list[Part]:
    width, height, depth = rng.uniform(1.8, 2.4), rng.uniform(1.6, 2.2), rng.uniform(0.8, 1.2)
    outline = superellipse(width, height, rng.uniform(2, 3), 40)
    rings = [lifted(outline * (1 - 0.75 * t**2), depth * t) for t in np.linspace(0, 1, 10)]
    shell = loft(np.stack(rings), rims=(3,), caps=(False, True)).turned("x", 90)
    radius = rng.uniform(0.25, 0.4)
    valve = lathe([(0, 0), (radius, 0), (radius, 0.2), (0, 0.2)], rims=(1, 2)).turned("x", 90).moved(y=-depth)
    straps = []
    for z in (-height * 0.25, height * 0.25):
        path = [
            (-width / 2, 0, z),
            (-width * 0.6, depth, z),
            (0, depth * 2, z),
            (width * 0.6, depth, z),
            (width / 2, 0, z),
        ]
        straps.append(tube(spline(path, 24), 0.05))
    return [shell, valve, *straps]


def price_tag(rng: Rng) -> list[Part]:
    width, height, cut = rng.uniform(1.6, 3.2), rng.uniform(1.2, 2), rng.uniform(0.2, 0.5)
    half = np.array([width / 2, height / 2])
    corners = [(-half[0], -half[1]), (half[0] - cut, -half[1]), (half[0], -half[1] + cut), (half[0], half[1] - cut)]
    outline = np.array([*corners, (half[0] - cut, half[1]), (-half[0], half[1])])
    plate = prism(outline, 0.0, 0.12, ridges=range(6)).turned("x", 90)
    price = f"{rng.integers(1, 100)}.{rng.integers(10, 100)}"
    hole = loop(ellipse(0.24, 0.24, 24)) + [half[0] - 0.35, 0]
    strokes = [stroke * 0.9 + [-half[0] * 0.8, -0.2] for stroke in text_strokes(price, height * 0.3)]
    frame = loop(rounded_rectangle(width * 0.62, height * 0.7, 0.1)) + [-width * 0.13, 0]
    face = on_plane([hole, frame, *strokes], (0, -0.125, 0), (1, 0, 0), (0, 0, 1), SOLID)
    string = [
        (half[0] - 0.35, -0.06, 0),
        (half[0] + 0.5, -0.3, 0.5),
        (half[0] + rng.uniform(0.8, 1.4), 0, rng.uniform(-0.4, 0.8)),
    ]
    return [plate.with_curves(face), tube(spline(string, 16), 0.04)]


def xylophone(rng: Rng) -> list[Part]:
    num, long, short = int(rng.integers(6, 13)), rng.uniform(2.2, 3), rng.uniform(1, 1.5)
    lengths = np.linspace(long, short, num)
    bars = []
    for i, length in enumerate(lengths):
        pegs = [loop(ellipse(0.1, 0.1, 12)) + [0, s * length * 0.35] for s in (-1, 1)]
        bar = soft_box(0.32, length, 0.12, 0.05).with_curves(on_plane(pegs, (0, 0, 0.125), (1, 0, 0), (0, 1, 0)))
        bars.append(bar.moved(x=(i - (num - 1) / 2) * 0.42, z=0.4))
    span = num * 0.21
    rails = [
        tube(np.array([(-span, s * long * 0.35, 0.2), (span, s * short * 0.35, 0.2)]), 0.12, num_sides=10)
        for s in (-1, 1)
    ]
    mallet = [tube(np.array([(-span, -long * 0.8, 0.1), (span * 0.4, -long * 0.75, 0.1)]), 0.05), torus(0.1, 0.16)]
    return [*bars, *rails, *(piece.moved(y=-0.2) for piece in mallet)]


def ashtray(rng: Rng) -> list[Part]:
    radius, height = rng.uniform(1.4, 2.2), rng.uniform(0.5, 0.9)
    outer = spline([(radius * rng.uniform(0.8, 1.0), 0), (radius, height * 0.5), (radius * 0.97, height)], 10)
    profile, rims = hollow(outer, radius * rng.uniform(0.12, 0.25), height * 0.3)
    faceted = bool(rng.random() < 0.4)
    bowl = lathe(profile, rims=rims, num_sides=int(rng.integers(4, 9)) if faceted else 40, faceted=faceted)
    rests = []
    for angle in np.linspace(0, 360, int(rng.integers(2, 5)), endpoint=False):
        groove = np.stack([np.linspace(radius * 0.7, radius * 1.02, 6), np.zeros(6), np.full(6, height * 0.95)], axis=1)
        rests.append(tube(groove, 0.14, num_sides=10).turned("z", float(angle) + 20))
    return [bowl, *rests]


def headstone(rng: Rng) -> list[Part]:
    width, height, thick = rng.uniform(1.6, 2.6), rng.uniform(2, 3.4), rng.uniform(0.3, 0.6)
    style = int(rng.integers(3))
    a = np.linspace(0, np.pi, 16)
    top = {
        0: np.stack([np.cos(a) * width / 2, height + np.sin(a) * width * rng.uniform(0.2, 0.5)], axis=1),
        1: np.array([(width / 2, height), (0, height + width * 0.4), (-width / 2, height)]),
        2: np.stack([np.cos(a) * width / 2, height + np.abs(np.sin(2 * a)) * width * 0.2], axis=1),
    }[style]
    outline = np.concatenate([[(-width / 2, 0), (width / 2, 0)], top])
    slab = prism(outline, 0.0, thick).turned("x", 90).moved(y=thick / 2)
    words = [stroke + [-width * 0.3, height * 0.6] for stroke in text_strokes("REST", width * 0.16)]
    words += [
        stroke + [-width * 0.3, height * 0.35] for stroke in text_strokes(str(rng.integers(1900, 2000)), width * 0.12)
    ]
    border = loop(outline - [0, height / 2]) * 0.85 + [0, height / 2]
    face = on_plane([*words, border], (0, -thick / 2 - 0.004, 0), (1, 0, 0), (0, 0, 1), SOLID)
    return [slab.with_curves(face), box(width * 1.35, thick * 2.2, rng.uniform(0.3, 0.5), z=-0.4)]


def calculator(rng: Rng) -> list[Part]:
    columns, rows = int(rng.integers(4, 6)), int(rng.integers(4, 7))
    width, height, thick = columns * 0.5 + 0.3, rows * 0.5 + 1.2, rng.uniform(0.15, 0.35)
    body = soft_box(width, height, thick, rng.uniform(0.05, 0.3), chamfer=thick * 0.2)
    window = panel(width * 0.85, 0.6, 0.05, (0, height / 2 - 0.5))
    digits = [stroke + [0, height / 2 - 0.65] for stroke in text_strokes(str(rng.integers(10, 100)), 0.3)]
    body = body.with_curves(on_plane([window, *digits], (0, 0, thick + 0.004), (1, 0, 0), (0, 1, 0), SOLID))
    is_round = bool(rng.random() < 0.4)
    key = (
        lathe([(0, 0), (0.18, 0), (0.18, 0.1), (0, 0.1)], rims=(1, 2), num_sides=16)
        if is_round
        else soft_box(0.36, 0.32, 0.1, 0.06)
    )
    keys = [
        key.moved((i - (columns - 1) / 2) * 0.5, (j + 0.5) * 0.5 - height / 2 + 0.1, thick)
        for i in range(columns)
        for j in range(rows)
    ]
    return [body, *keys]


def bird_feeder(rng: Rng) -> list[Part]:
    height, radius = rng.uniform(1.8, 3), rng.uniform(0.6, 1.0)
    roof = lathe([(0, 0), (radius * rng.uniform(1.5, 2), 0), (0.1, rng.uniform(0.6, 1.1))], rims=(1,)).moved(z=height)
    post_angles = np.linspace(0, 2 * np.pi, int(rng.integers(3, 7)), endpoint=False)
    posts = [box(0.08, 0.08, height, x=radius * np.cos(a), y=radius * np.sin(a)) for a in post_angles]
    reach = radius * rng.uniform(1.2, 1.6)
    tray = lathe(
        [(0, 0), (reach, 0), (reach, 0.3), (reach * 0.92, 0.3), (reach * 0.92, 0.1), (0, 0.1)], rims=(1, 2, 3, 4)
    )
    hook = torus(0.2, 0.07).turned("x", 90).moved(z=height + 1.2)
    perch = tube(np.array([(-reach * 1.4, 0, 0.5), (reach * 1.4, 0, 0.5)]), 0.05)
    core = lathe([(radius * 0.5, 0.1), (radius * 0.5, height)], rims=(), shade=10)
    return [roof, *posts, tray, hook, perch, core]


BUILDERS = {
    "headphones": headphones,
    "sofa": sofa,
    "jar": jar,
    "solar_panel": solar_panel,
    "candle_holder": candle_holder,
    "test_tube": test_tube,
    "umbrella": umbrella,
    "paint_roller": paint_roller,
    "ice_cream_cone": ice_cream_cone,
    "lace": lace,
    "respirator": respirator,
    "price_tag": price_tag,
    "xylophone": xylophone,
    "ashtray": ashtray,
    "headstone": headstone,
    "calculator": calculator,
    "bird_feeder": bird_feeder,
}
