"""Builders of furniture, fittings and other articles made of boards, bars and panels."""

# ruff: noqa: RUF005 - `+` adds offsets to arrays here, it does not join lists

from __future__ import annotations

import numpy as np

from patentdata.specimens.lettering import text_strokes
from patentdata.specimens.shapes.solids import (
    Curve,
    Part,
    box,
    ellipse,
    lathe,
    lifted,
    loft,
    merged,
    on_plane,
    prism,
    rectangle,
    ring_prism,
    rounded_rectangle,
    soft_box,
    spline,
    superellipse,
    tube,
)

Rng = np.random.Generator


def legs(width: float, depth: float, height: float, thickness: float, splay: float, *, is_round: bool) -> list[Part]:
    """Four legs under a board of `width` by `depth`, spread outwards by `splay` at the floor."""
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            top = np.array([sx * (width / 2 - thickness), sy * (depth / 2 - thickness), height])
            foot = np.array([top[0] + sx * splay, top[1] + sy * splay, 0.0])
            if is_round:
                leg = tube(np.stack([foot, top]), np.array([thickness * 0.35, thickness * 0.5]), num_sides=12)
            else:
                square = rectangle(thickness, thickness)
                rings = np.stack([lifted(square * 0.75, 0) + foot, lifted(square, 0) + top])
                leg = loft(rings, ridges=(0, 1, 2, 3))
            parts.append(leg.named("leg"))
    return parts


def chair(rng: Rng) -> list[Part]:
    width, depth, seat = rng.uniform(1.5, 2.1), rng.uniform(1.5, 2), rng.uniform(1.4, 1.8)
    thick, rise = rng.uniform(0.1, 0.3), rng.uniform(1.3, 2.2)
    radius = rng.uniform(0.05, 0.6)
    parts = [soft_box(width, depth, thick, radius, chamfer=thick * 0.25).moved(z=seat)]
    parts += legs(width, depth, seat, rng.uniform(0.12, 0.24), rng.uniform(0, 0.25), is_round=bool(rng.random() < 0.5))
    lean, back = rng.uniform(4, 16), depth / 2 - 0.12
    style = rng.integers(3)
    if style == 0:
        panel = [soft_box(width * 0.95, rise * 0.75, 0.14, radius).turned("x", 90).moved(z=rise * 0.62)]
        panel += [
            tube(np.array([(s * width * 0.38, -0.05, -0.1), (s * width * 0.38, -0.05, rise * 0.4)]), 0.06)
            for s in (-1, 1)
        ]
    else:
        posts = [box(0.14, 0.14, rise, x=s * (width / 2 - 0.1)) for s in (-1, 1)]
        if style == 1:
            slats = [box(width - 0.3, 0.08, 0.16, z=z) for z in np.linspace(0.35, rise - 0.2, int(rng.integers(3, 6)))]
        else:
            slats = [
                box(0.1, 0.06, rise - 0.3, x=x, z=0.1)
                for x in np.linspace(-width / 2 + 0.35, width / 2 - 0.35, int(rng.integers(3, 7)))
            ]
            slats.append(box(width, 0.12, 0.24, z=rise - 0.2))
        panel = posts + slats
    parts += [piece.turned("x", -lean).moved(y=back, z=seat + thick * 0.5) for piece in panel]
    if rng.random() < 0.35:
        for s in (-1, 1):
            path = [
                (s * width / 2, back, seat + 0.8),
                (s * (width / 2 + 0.05), 0, seat + 0.85),
                (s * width / 2, -depth * 0.4, seat + 0.75),
                (s * width / 2, -depth * 0.42, seat + 0.1),
            ]
            parts.append(tube(spline(path, 14), 0.08))
    return parts


def table(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(2, 5), rng.uniform(1.6, 2.4), rng.uniform(1.2, 2.4)
    thick = rng.uniform(0.08, 0.25)
    style = rng.integers(3)
    if style == 0:
        top = lathe([(0, 0), (depth * 0.6, 0), (depth * 0.6, thick), (0, thick)], rims=(1, 2)).moved(z=height)
        foot = spline([(depth * 0.35, 0), (0.3, 0.15), (0.12, 0.5), (0.12, height * 0.7), (0.3, height)], 18)
        return [top, lathe(np.concatenate([[(0, 0)], foot]), rims=(1,), shade=10)]
    top = soft_box(width, depth, thick, rng.uniform(0.02, depth / 2), chamfer=thick * rng.uniform(0.1, 0.3)).moved(
        z=height
    )
    if style == 1:
        parts = legs(
            width * 0.92,
            depth * 0.92,
            height,
            rng.uniform(0.14, 0.28),
            rng.uniform(0, 0.3),
            is_round=bool(rng.random() < 0.5),
        )
        if rng.random() < 0.5:
            parts.append(box(width * 0.8, depth * 0.8, 0.08, z=height * 0.25))
        return [top, *parts]
    panels = [box(thick * 1.3, depth * 0.8, height, x=s * width * 0.38) for s in (-1, 1)]
    return [top, *panels, box(width * 0.74, thick, height * 0.4, z=height * 0.4)]


def cabinet(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(1.6, 4), rng.uniform(1, 1.5), rng.uniform(1.4, 4.5)
    foot = rng.uniform(0.1, 0.5)
    body = box(width, depth, height, z=foot)
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    fronts: list[Curve] = []
    knobs = []
    for i in range(columns):
        for j in range(rows):
            x = (i + 0.5) / columns * width - width / 2
            z = foot + (j + 0.5) / rows * height
            w, h = width / columns - 0.08, height / rows - 0.08
            fronts += on_plane(
                [np.concatenate([rectangle(w, h), rectangle(w, h)[:1]])],
                (x, -depth / 2 - 0.002, z),
                (1, 0, 0),
                (0, 0, 1),
                0,
            )
            if w > 0.5 and h > 0.5 and i == 0:
                fronts += on_plane(
                    [np.concatenate([rectangle(w, h), rectangle(w, h)[:1]]) * 0.8],
                    (x, -depth / 2 - 0.002, z),
                    (1, 0, 0),
                    (0, 0, 1),
                )
            knobs.append(
                box(0.3, 0.08, 0.06, x=x, y=-depth / 2 - 0.04, z=z + h * 0.3) if rng.random() < 2 else box(1, 1, 1)
            )
    feet = legs(width, depth, foot, 0.14, 0.0, is_round=False)
    return [body.with_curves(fronts), box(width + 0.12, depth + 0.1, 0.1, z=foot + height), *knobs, *feet]


def carton(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(1.5, 3.5), rng.uniform(1, 2.5), rng.uniform(0.6, 3)
    window = np.concatenate(
        [
            superellipse(width * 0.6, height * 0.5, rng.uniform(2, 9), 40),
            superellipse(width * 0.6, height * 0.5, 9, 40)[:1] * 0 + [width * 0.3, 0],
        ]
    )
    lines = on_plane([window], (0, -depth / 2 - 0.002, height / 2), (1, 0, 0), (0, 0, 1))
    lines += on_plane([np.array([(-width / 2, 0), (width / 2, 0)])], (0, 0, height + 0.002), (1, 0, 0), (0, 1, 0))
    body = box(width, depth, height).with_curves(lines)
    if rng.random() < 0.4:  # an open lid
        lid = (
            box(width, depth, 0.05).moved(y=-depth / 2).turned("x", -rng.uniform(35, 110)).moved(y=depth / 2, z=height)
        )
        return [body, lid]
    if rng.random() < 0.5:  # a lift-off lid
        return [body, box(width * 1.03, depth * 1.03, height * 0.25, z=height * 0.78)]
    return [body]


def bracket(rng: Rng) -> list[Part]:
    width, reach, rise, thick = rng.uniform(0.5, 1.2), rng.uniform(1.4, 3), rng.uniform(1.4, 3), rng.uniform(0.1, 0.22)
    holes = int(rng.integers(1, 4))
    ring = np.concatenate([ellipse(0.3, 0.3, 24), ellipse(0.3, 0.3, 24)[:1]])
    upright_holes = [ring * s + [0, z] for z in np.linspace(rise * 0.3, rise * 0.85, holes) for s in (1, 0.55)]
    flat_holes = [ring * s + [0, -y] for y in np.linspace(reach * 0.35, reach * 0.85, holes) for s in (1, 0.55)]
    wall = box(width, thick, rise).with_curves(
        on_plane(upright_holes, (0, -thick / 2 - 0.002, 0), (1, 0, 0), (0, 0, 1))
    )
    shelf = box(width, reach, thick, y=-reach / 2).with_curves(
        on_plane(flat_holes, (0, 0, thick + 0.002), (1, 0, 0), (0, 1, 0))
    )
    parts = [wall, shelf]
    if rng.random() < 0.7:
        tri = np.array([(0, 0), (-reach * 0.75, 0), (0, rise * 0.75)])
        rib = loft(
            np.stack([np.stack([np.full(3, x), tri[:, 0], tri[:, 1] + thick], axis=1) for x in (-0.05, 0.05)]),
            ridges=(0, 1, 2),
        )
        parts += [rib.moved(x=s * width * 0.4) for s in ((-1, 1) if rng.random() < 0.5 else (0,))]
    return parts


def faucet(rng: Rng) -> list[Part]:
    height, reach, radius = rng.uniform(2, 4.5), rng.uniform(1.6, 2.8), rng.uniform(0.14, 0.25)
    base = lathe(
        [(0, 0), (radius * 2.2, 0), (radius * 2.2, 0.1), (radius * 1.5, 0.2), (radius * 1.5, 1.0)], rims=(1, 2, 3)
    )
    bend = [
        (0, 0, 0.9),
        (0, 0, height * 0.8),
        (0, -reach * 0.3, height),
        (0, -reach * 0.8, height * 0.97),
        (0, -reach, height * rng.uniform(0.6, 0.8)),
    ]
    if rng.random() < 0.4:
        spout = soft_box(radius * 2.4, reach, radius * 1.6, 0.06).moved(y=-reach / 2, z=1.0)
        spout = merged(spout, box(radius * 1.2, 0.2, 0.12, y=-reach * 0.9, z=0.9))
        grip = [box(radius * 1.6, reach * 0.5, 0.1, y=-reach * 0.1, z=1.0 + radius * 1.6 + 0.1)]
    else:
        spout = tube(spline(bend, 26), radius)
        lever = [(radius * 1.4, 0, 0.65), (radius * 1.4 + 0.5, 0, 0.72), (radius * 1.4 + rng.uniform(0.7, 1.2), 0, 1.0)]
        grip = [tube(spline(lever, 10), 0.09)]
    return [base, spout, *grip]


def fan(rng: Rng) -> list[Part]:
    radius, stand = rng.uniform(1.2, 1.7), rng.uniform(1.8, 2.6)
    parts = [lathe([(0, 0), (0.9, 0), (0.9, 0.12), (0.15, 0.25), (0.1, stand)], rims=(1, 2, 3))]
    centre = stand + radius * 0.4
    rings: list[Curve] = []
    for r in np.linspace(0.25, radius, int(rng.integers(4, 8))):
        circle = np.concatenate([ellipse(2 * r, 2 * r, 48), ellipse(2 * r, 2 * r, 48)[:1]])
        rings += on_plane([circle], (0, -0.45 - 0.12 * (1 - r / radius), centre), (1, 0, 0), (0, 0, 1))
    spokes = [
        np.array([(0.25 * np.cos(a), 0.25 * np.sin(a)), (radius * np.cos(a), radius * np.sin(a))])
        for a in np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ]
    guard = on_plane(spokes, (0, -0.46, centre), (1, 0, 0), (0, 0, 1))
    cage = (
        lathe([(radius, -0.4), (radius, 0.25), (radius * 0.5, 0.4), (0, 0.42)], rims=(1,), caps=(True, False))
        .turned("x", -90)
        .moved(z=centre)
    )
    hub = lathe([(0, 0), (0.25, 0), (0.25, 0.1), (0, 0.1)], rims=(1, 2)).turned("x", 90).moved(y=-0.42, z=centre)
    return [*parts, cage.with_curves([*rings, *guard]), hub]


def sign(rng: Rng) -> list[Part]:
    width, height = rng.uniform(1.5, 2.5), rng.uniform(1.8, 3)
    words = ["SALE", "OPEN", "MENU", "NEW", "INFO", "EXIT"][int(rng.integers(6))]
    text = [line + [-width * 0.36, -0.1] for line in text_strokes(words, width * 0.2)]
    frame = rectangle(width * 0.86, height * 0.86)
    lines = on_plane([*text, np.concatenate([frame, frame[:1]])], (0, -0.062, height / 2), (1, 0, 0), (0, 0, 1))
    board = box(width, 0.12, height).with_curves(lines).turned("x", -rng.uniform(0, 18)).moved(z=0.2)
    if rng.random() < 0.5:
        return [board, box(width * 0.8, rng.uniform(0.7, 1.2), 0.2)]
    post = tube(np.array([(0, 0.12, -2.2), (0, 0.12, 0.4)]), 0.09)
    return [board, post, lathe([(0, 0), (0.9, 0), (0.9, 0.12), (0, 0.2)], rims=(1, 2)).moved(y=0.12, z=-2.3)]


def mailbox(rng: Rng) -> list[Part]:
    width, length, height = rng.uniform(0.9, 1.3), rng.uniform(1.6, 2.4), rng.uniform(0.6, 0.9)
    angle = np.linspace(0, np.pi, 20)
    arch = np.stack([np.cos(angle) * width / 2, np.sin(angle) * width / 2 + height], axis=1)
    outline = np.concatenate([arch, [(-width / 2, 0), (width / 2, 0)]])
    body = loft(
        np.stack([np.stack([outline[:, 0], np.full(22, y), outline[:, 1]], axis=1) for y in (-length / 2, length / 2)]),
        ridges=(20, 21),
    )
    door = np.concatenate([outline, outline[:1]]) * 0.88 + [0, 0.06]
    body = body.with_curves(on_plane([door], (0, -length / 2 - 0.003, 0), (1, 0, 0), (0, 0, 1)))
    flag = merged(
        box(0.05, 0.5, 0.1, x=width / 2 + 0.05, z=height * 0.6),
        box(0.05, 0.2, 0.35, x=width / 2 + 0.05, y=0.2, z=height * 0.6),
    )
    knob = box(0.15, 0.1, 0.08, y=-length / 2 - 0.05, z=height + width * 0.25)
    post = box(0.35, 0.35, 2.2, z=-2.2)
    return [body, flag, knob, post.as_environment() if rng.random() < 0.7 else post]


def profile(rng: Rng) -> list[Part]:
    """An extruded bar whose section is a row of steps, drawn as pieces side by side."""
    length = rng.uniform(3, 6)
    parts, x = [], 0.0
    for _ in range(int(rng.integers(3, 7))):
        wide, high = rng.uniform(0.15, 0.7), rng.uniform(0.2, 1.2)
        parts.append(box(wide, length, high, x=x + wide / 2))
        x += wide
    lip = box(x, length, 0.12, x=x / 2, z=-0.12)
    return [*parts, lip]


def tile(rng: Rng) -> list[Part]:
    size, thick = rng.uniform(3, 4), rng.uniform(0.03, 0.08)
    sides = int(rng.choice([4, 4, 6]))
    if sides == 4:
        plate = box(size, size * rng.uniform(0.6, 1), thick)
    else:
        plate = prism(ellipse(size, size, 6), 0, thick, ridges=range(6))
    lines, style = [], rng.integers(3)
    for k in range(int(rng.integers(2, 6))):
        r = size * (0.14 + 0.075 * k)
        shape = {
            0: ellipse(2 * r, 2 * r, 40),
            1: rectangle(1.6 * r, 1.2 * r),
            2: superellipse(1.7 * r, 1.1 * r, 1.0, 40),
        }[int(style)]
        lines.append(np.concatenate([shape, shape[:1]]) * 0.8)
    return [plate.with_curves(on_plane(lines, (0, 0, thick + 0.002), (1, 0, 0), (0, 1, 0)))]


def organizer(rng: Rng) -> list[Part]:
    parts, x = [], 0.0
    for _ in range(int(rng.integers(2, 5))):
        size, high = rng.uniform(0.7, 1.2), rng.uniform(0.7, 2)
        if rng.random() < 0.4:
            outer, inner = ellipse(size, size, 32), ellipse(size * 0.86, size * 0.86, 32)
            cup = ring_prism(outer, inner, 0, high)
        else:
            cup = ring_prism(
                rectangle(size, 1), rectangle(size * 0.86, 0.86), 0, high, ridges=range(4), inner_ridges=range(4)
            )
        parts.append(cup.moved(x + size / 2).named("opening"))
        x += size
    return [*parts, box(x, 1.1, 0.08, x=x / 2, z=-0.08)]


def cart(rng: Rng) -> list[Part]:
    width, length, height = rng.uniform(1.3, 1.8), rng.uniform(2, 3), rng.uniform(2.2, 3)
    parts = [box(width, length, 0.12, z=0.5)]
    arc = [
        (-width * 0.45, length / 2, 0.6),
        (-width * 0.45, length / 2 + 0.1, height),
        (0, length / 2 + 0.15, height + 0.12),
        (width * 0.45, length / 2 + 0.1, height),
        (width * 0.45, length / 2, 0.6),
    ]
    parts.append(tube(spline(arc, 40), 0.06).named("handle"))
    if rng.random() < 0.5:
        parts.append(
            tube(
                np.array(
                    [(-width * 0.45, length / 2 + 0.05, height * 0.6), (width * 0.45, length / 2 + 0.05, height * 0.6)]
                ),
                0.05,
            )
        )
    else:
        parts.append(box(width, length, 0.12, z=height * 0.7))
        parts += [box(0.08, 0.08, height * 0.7 - 0.5, x=s * width * 0.45, y=-length * 0.45, z=0.55) for s in (-1, 1)]
    wheel = (
        lathe([(0, 0), (0.24, 0), (0.24, 0.14), (0, 0.14)], rims=(1, 2), num_sides=28).turned("y", 90).named("wheel")
    )
    parts += [wheel.moved(sx * width * 0.42 - 0.07, sy * length * 0.4, 0.24) for sx in (-1, 1) for sy in (-1, 1)]
    return parts


def toy_block(rng: Rng) -> list[Part]:
    nx, ny, high = int(rng.integers(1, 5)), int(rng.integers(1, 4)), rng.uniform(0.5, 1.4)
    studs = []
    for i in range(nx):
        for j in range(ny):
            stud = lathe([(0.28, 0), (0.28, 0.2), (0, 0.2)], rims=(1,), num_sides=28, caps=(False, False))
            studs.append(stud.moved(i - (nx - 1) / 2, j - (ny - 1) / 2, high))
    return [box(nx, ny, high), *studs]


def fabric(rng: Rng) -> list[Part]:
    """A sheet covered by a repeated unit; the sheet itself is environment."""
    nx, ny = int(rng.integers(4, 9)), int(rng.integers(4, 9))
    style, r = int(rng.integers(4)), 0.36
    petals = int(rng.integers(4, 9))
    angle = np.linspace(0, 2 * np.pi, 6 * petals + 1)
    flower = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (r * (0.7 + 0.3 * np.cos(petals * angle)))[:, None]
    diamond = np.array([(0, r), (r, 0), (0, -r), (-r, 0), (0, r)])
    units = {
        0: [flower, flower * 0.45],
        1: [diamond, diamond * 0.5],
        2: [
            np.stack([np.linspace(-r, r, 20), 0.15 * np.sin(np.linspace(0, 6.3, 20)) + d], axis=1)
            for d in (-0.15, 0.15)
        ],
        3: [np.concatenate([ellipse(s, s, 24), ellipse(s, s, 24)[:1]]) for s in (0.7, 0.45, 0.2)],
    }[style]
    shift = 0.5 if rng.random() < 0.5 else 0.0
    lines = [unit + [i + shift * (j % 2), j] for i in range(nx) for j in range(ny) for unit in units]
    cloth = box(nx + 0.6, 0.01, ny + 0.2, x=nx / 2 - 0.25, z=-0.6).as_environment()
    return [cloth, Part((), on_plane(lines, (0, -0.02, 0), (1, 0, 0), (0, 0, 1), 0))]


def handbag(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(2, 3.2), rng.uniform(0.7, 1.2), rng.uniform(1.6, 2.4)
    taper = rng.uniform(0.7, 1.05)
    outline = rounded_rectangle(width, depth, rng.uniform(0.1, 0.4), 7)
    rings = [lifted(outline * [1 + (taper - 1) * t, 1 - 0.6 * t], height * t) for t in np.linspace(0, 1, 6)]
    body = loft(np.stack(rings))
    stitch = rectangle(width * 0.7 * min(taper, 1), height * 0.35)
    body = body.with_curves(
        on_plane([np.concatenate([stitch, stitch[:1]])], (0, -depth / 2 - 0.02, height * 0.3), (1, 0, 0), (0, 0.15, 1))
    )
    drop = rng.uniform(0.7, 1.6)
    parts = [body]
    for s in (-1, 1):
        arc = [
            (-width * 0.25, s * depth * 0.12, height * 0.95),
            (-width * 0.2, s * depth * 0.14, height + drop * 0.8),
            (0, s * depth * 0.16, height + drop),
            (width * 0.2, s * depth * 0.14, height + drop * 0.8),
            (width * 0.25, s * depth * 0.12, height * 0.95),
        ]
        parts.append(tube(spline(arc, 22), 0.06).named("handle"))
    flap = soft_box(width * 0.3, 0.06, 0.3, 0.02).moved(y=-depth * 0.36, z=height * 0.6)
    return [*parts, flap]


_ARTICLES = (
    chair,
    table,
    cabinet,
    carton,
    bracket,
    faucet,
    fan,
    sign,
    mailbox,
    profile,
    tile,
    organizer,
    cart,
    toy_block,
    fabric,
    handbag,
)
BUILDERS = {article.__name__: article for article in _ARTICLES}
