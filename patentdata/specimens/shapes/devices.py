"""Builders of devices, machines and vehicles."""

# ruff: noqa: RUF005 - `+` adds offsets to arrays here, it does not join lists

from __future__ import annotations

import numpy as np

from patentdata.specimens.lettering import text_strokes
from patentdata.specimens.shapes.solids import (
    BROKEN,
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
    rectangle,
    rounded_rectangle,
    soft_box,
    spline,
    tube,
)
from patentdata.specimens.shapes.vessels import flutes

Rng = np.random.Generator
_WORDS = (
    "HOME", "MAIL", "MENU", "START", "PLAY", "NEXT", "SEARCH", "PROFILE", "SETTINGS", "WEATHER", "MUSIC", "TODAY",
    "BALANCE", "ORDERS", "SHARE", "CANCEL", "STATUS", "ROUTE", "LEVEL 3", "12:45", "98%", "TOTAL", "EDIT",
)  # fmt: skip


def panel(width: float, height: float, radius: float, at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A closed rounded rectangle, (num, 2), around `at`."""
    return loop(rounded_rectangle(width, height, radius)) + np.array(at)


def screen_content(width: float, height: float, rng: Rng, *, density: float = 1.0) -> list[np.ndarray]:
    """Lines, each (num, 2), of a graphical user interface in a frame of this size around the origin."""
    lines = [panel(width, height, 0.02 * width)]
    y = height / 2
    row_height = max(width * 0.16, height * 0.07) / density
    while y - row_height > -height / 2 + row_height * 0.3:
        y -= row_height
        middle, size = y + row_height * 0.5, row_height * 0.34
        style = int(rng.integers(5))
        if style == 0:
            lines.append(np.array([(-width * 0.46, y), (width * 0.46, y)]))
        if style in (0, 1, 2):
            x = -width * 0.44
            while x < width * 0.3:
                word = _WORDS[int(rng.integers(len(_WORDS)))]
                strokes = text_strokes(word, size)
                end = max(float(stroke[:, 0].max()) for stroke in strokes)
                if x + end > width * 0.46:
                    break
                lines += [stroke + [x, middle - size / 2] for stroke in strokes]
                x += end + size * 1.2
                if rng.random() < 0.5 / density:
                    break
        elif style == 3:
            num = int(rng.integers(3, 6))
            for x in np.linspace(-width * 0.36, width * 0.36, num):
                lines.append(panel(size * 1.6, size * 1.6, size * 0.4, (float(x), middle)))
                lines.append(loop(ellipse(size, size, 20)) + [x, middle])
        else:
            lines.append(panel(width * 0.86, row_height * 0.7, row_height * 0.3, (0, middle)))
            knob = rng.uniform(-0.35, 0.35) * width
            lines += [
                np.array([(-width * 0.38, middle), (width * 0.38, middle)]),
                loop(ellipse(size * 0.8, size * 0.8, 20)) + [knob, middle],
            ]
    return lines


def phone(rng: Rng) -> list[Part]:
    width, height, thick = rng.uniform(1.7, 2.4), rng.uniform(3.6, 4.8), rng.uniform(0.14, 0.35)
    radius = rng.uniform(0.12, 0.5)
    body = soft_box(width, height, thick, radius, chamfer=thick * 0.2).turned("x", 90).moved(y=thick / 2, z=height / 2)
    front, middle = -thick / 2 - 0.003, height / 2
    lines = [panel(width * 0.9, height * 0.94, radius * 0.8), panel(width * 0.22, 0.06, 0.03, (0, height * 0.435))]
    if rng.random() < 0.4:
        lines.append(loop(ellipse(0.26, 0.26, 24)) + [0, -height * 0.43])
    shine = [
        np.array([(-0.3, 0.0), (0.3, 0.5)]) * s + [dx, dz]
        for s, dx, dz in ((1, -0.1, 0.2), (0.7, 0.15, -0.2), (0.4, -0.3, -0.5))
    ]
    face = on_plane(lines, (0, front, middle), (1, 0, 0), (0, 0, 1), SOLID) + on_plane(
        shine, (0, front, middle), (1, 0, 0), (0, 0, 1)
    )
    lens = [
        loop(ellipse(0.3, 0.3, 24)) + [-width * 0.3, height * 0.38 - 0.42 * k] for k in range(int(rng.integers(1, 4)))
    ]
    bump = panel(0.62, 0.5 + 0.42 * len(lens), 0.2, (-width * 0.3, height * 0.38 - 0.21 * (len(lens) - 1)))
    rear = on_plane(
        [*lens, *(((lens[0] - lens[0].mean(0)) * 0.5 + c.mean(0)) for c in lens), bump],
        (0, thick / 2 + 0.003, middle),
        (-1, 0, 0),
        (0, 0, 1),
        SOLID,
    )
    keys = [box(0.04, thick * 0.4, h, x=width / 2 + 0.01, z=z) for h, z in ((0.4, height * 0.7), (0.25, height * 0.6))]
    return [body.with_curves(face + rear), *keys]


def screen(rng: Rng) -> list[Part]:
    """A graphical user interface; the device around it is environment."""
    if rng.random() < 0.5:
        width, height = rng.uniform(1.8, 2.4), rng.uniform(3.4, 4.4)
    else:
        width, height = rng.uniform(4, 5), rng.uniform(2.4, 3)
    device = box(width * 1.1, 0.2, height * 1.12).moved(z=-height * 0.56)
    outline = on_plane([panel(width * 1.1, height * 1.12, 0.2)], (0, -0.104, 0), (1, 0, 0), (0, 0, 1), BROKEN)
    content = on_plane(
        screen_content(width, height, rng, density=rng.uniform(0.9, 1.6)), (0, -0.105, 0), (1, 0, 0), (0, 0, 1), FINE
    )
    return [Part(device.patches, (), broken=True), Part((), (*outline, *content))]


def speaker(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(1.4, 3.2), rng.uniform(1, 1.6), rng.uniform(1.6, 3.4)
    body = soft_box(width, depth, height, rng.uniform(0.05, depth / 2.2), chamfer=0.06)
    cones = int(rng.integers(1, 4))
    lines = []
    for k in range(cones):
        z = height * (k + 0.7) / (cones + 0.4)
        size = min(width, height / cones) * (0.72 - 0.12 * k)
        lines += [loop(ellipse(size * s, size * s)) + [0, z] for s in (1, 0.88, 0.4)]
    face = on_plane(lines, (0, -depth / 2 - 0.003, 0), (1, 0, 0), (0, 0, 1), SOLID)
    feet = [box(0.2, 0.2, 0.12, x=s * width * 0.38, y=t * depth * 0.3, z=-0.12) for s in (-1, 1) for t in (-1, 1)]
    return [body.with_curves(face), *feet]


def camera(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(2.6, 3.4), rng.uniform(0.8, 1.2), rng.uniform(1.6, 2.1)
    body = soft_box(width, depth, height, rng.uniform(0.1, 0.4), chamfer=0.06)
    radius, out = rng.uniform(0.55, 0.8), rng.uniform(0.5, 1.4)
    wall = np.array(
        [
            (radius, 0),
            (radius, out * 0.5),
            (radius * 0.9, out * 0.5),
            (radius * 0.9, out),
            (radius * 0.7, out),
            (radius * 0.5, out - 0.1),
            (0, out - 0.15),
        ]
    )
    lens = lathe(wall, rims=tuple(range(6))).with_curves(
        flutes(np.array([(radius, 0.08), (radius, out * 0.45)]), 36, 0, 1)
    )
    hump = loft(
        np.stack([lifted(rectangle(1.0, depth * 0.8), 0), lifted(rectangle(0.6, depth * 0.6), rng.uniform(0.25, 0.5))]),
        ridges=(0, 1, 2, 3),
    ).moved(z=height)
    dial = lathe([(0, 0), (0.26, 0), (0.26, 0.18), (0, 0.18)], rims=(1, 2)).moved(width * 0.34, 0, height)
    button = lathe([(0, 0), (0.13, 0), (0.13, 0.1), (0, 0.1)], rims=(1, 2)).moved(-width * 0.36, -0.1, height)
    display = on_plane(
        [
            panel(width * 0.55, height * 0.55, 0.05, (0.2, height * 0.48)),
            loop(ellipse(0.4, 0.4)) + [-width * 0.35, height * 0.4],
        ],
        (0, depth / 2 + 0.003, 0),
        (-1, 0, 0),
        (0, 0, 1),
        SOLID,
    )
    grip = soft_box(width * 0.2, 0.35, height * 0.85, 0.12).moved(-width * 0.38, -depth * 0.55, 0.05)
    return [
        body.with_curves(display),
        lens.turned("x", 90).moved(0.1, -depth / 2, height * 0.5),
        hump,
        dial,
        button,
        grip,
    ]


def plug(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(1, 1.6), rng.uniform(0.7, 1.3), rng.uniform(1.2, 1.8)
    body = soft_box(width, depth, height, rng.uniform(0.1, 0.4), chamfer=rng.uniform(0.05, 0.2))
    pins = [box(0.08, 0.28, 0.7, x=s * width * 0.2, z=height) for s in (-1, 1)]
    if rng.random() < 0.5:
        pins = [
            lathe([(0.1, height), (0.1, height + 0.7), (0, height + 0.78)], rims=(1,), num_sides=16).moved(
                x=s * width * 0.22
            )
            for s in (-1, 1)
        ]
    cable = tube(spline([(0, 0, 0.02), (0, 0, -0.8), (0.3, 0, -1.6), (0.1, 0, -2.4)], 24), 0.12)
    sleeve = lathe([(0.2, -0.7), (0.3, 0)], num_sides=24)
    mark = on_plane(
        [panel(width * 0.5, height * 0.4, 0.1, (0, height * 0.5))], (0, -depth / 2 - 0.003, 0), (1, 0, 0), (0, 0, 1)
    )
    return [body.with_curves(mark), *pins, sleeve, cable.as_environment() if rng.random() < 0.5 else cable]


def printer(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(2.4, 3.6), rng.uniform(1.8, 2.6), rng.uniform(0.9, 1.8)
    body = soft_box(width, depth, height, rng.uniform(0.06, 0.3), chamfer=0.08)
    slot = on_plane(
        [panel(width * 0.7, 0.18, 0.05, (0, height * 0.3)), panel(width * 0.8, height * 0.4, 0.08, (0, height * 0.32))],
        (0, -depth / 2 - 0.003, 0),
        (1, 0, 0),
        (0, 0, 1),
        SOLID,
    )
    keys = [
        loop(ellipse(0.16, 0.16, 20)) + [width * 0.3, -depth * 0.3 + 0.3 * k] for k in range(int(rng.integers(2, 5)))
    ]
    top = on_plane(
        [*keys, panel(width * 0.3, depth * 0.25, 0.04, (-width * 0.25, -depth * 0.25))],
        (0, 0, height + 0.003),
        (1, 0, 0),
        (0, 1, 0),
    )
    tray = box(width * 0.66, 0.9, 0.06, y=-depth / 2 - 0.4, z=height * 0.14)
    paper = box(width * 0.6, 0.05, 1.2).turned("x", -rng.uniform(10, 30)).moved(y=depth * 0.35, z=height - 0.05)
    return [body.with_curves(slot + top), tray, paper.as_environment() if rng.random() < 0.4 else paper]


def stamp(rng: Rng) -> list[Part]:
    width, depth = rng.uniform(1.2, 2), rng.uniform(0.8, 1.2)
    base = soft_box(width, depth, 0.35, 0.05)
    neck = spline([(0.3, 0.35), (0.2, 0.8), (rng.uniform(0.35, 0.6), 1.5), (0.3, 1.9), (0.01, 2.0)], 20)
    return [base, lathe(neck, caps=(False, False), shade=14), box(width * 0.95, depth * 0.95, 0.1, z=-0.1)]


def pump(rng: Rng) -> list[Part]:
    length, radius = rng.uniform(1.6, 2.6), rng.uniform(0.6, 0.9)
    motor = lathe([(0, 0), (radius * 0.8, 0), (radius, 0.15), (radius, length), (0, length)], rims=(1, 2, 3))
    fins = flutes(np.array([(radius, 0.25), (radius, length - 0.1)]), int(rng.integers(20, 40)), 0, 1)
    body = motor.with_curves(fins).turned("y", 90).moved(z=radius + 0.3)
    head_radius = radius * rng.uniform(1.1, 1.35)
    head = (
        lathe([(0, 0), (head_radius, 0), (head_radius, 0.6), (head_radius * 0.6, 0.85), (0, 0.85)], rims=(1, 2, 3))
        .turned("y", 90)
        .moved(x=length, z=radius + 0.3)
    )
    outlet = lathe([(0.22, 0), (0.22, 0.7), (0.36, 0.7), (0.36, 0.85), (0, 0.85)], rims=(1, 2, 3)).moved(
        length + 0.3, 0, radius + 0.3 + head_radius * 0.85
    )
    feet = [box(0.3, radius * 2, 0.3, x=x) for x in (length * 0.2, length * 0.8)]
    return [body, head, outlet, *feet, box(length * 0.35, 0.6, 0.35, x=length * 0.45, z=radius * 2 + 0.25)]


def wheel(rng: Rng) -> list[Part]:
    radius, wide, spokes = 2.0, rng.uniform(0.9, 1.3), int(rng.integers(5, 11))
    rim = lathe(
        [(radius, 0), (radius, 0.1), (radius * 0.93, 0.18), (radius * 0.9, wide), (radius, wide)],
        rims=(1, 2, 3),
        caps=(False, False),
        num_sides=56,
    )
    inner = lathe([(radius * 0.86, 0.02), (radius, 0.0)], caps=(False, False), num_sides=56)
    hub = lathe([(0, 0.05), (0.3, 0.05), (0.36, 0.15), (0.4, 0.5), (0, 0.5)], rims=(1, 2, 3))
    bar_start, bar_end = rng.uniform(0.2, 0.36), rng.uniform(0.12, 0.4)
    lean = rng.uniform(-0.5, 0.5) if rng.random() < 0.4 else 0.0
    bars = []
    for angle in np.linspace(0, 360, spokes, endpoint=False):
        rings = []
        for t in np.linspace(0, 1, 8):
            w = bar_start + (bar_end - bar_start) * t
            x, shift = 0.3 + t * (radius * 0.88 - 0.3), lean * t * (1 - t) * 3
            rings.append(
                np.array(
                    [
                        (x, shift - w / 2, 0.1),
                        (x, shift + w / 2, 0.1),
                        (x, shift + w / 2, 0.35),
                        (x, shift - w / 2, 0.35),
                    ]
                )
            )
        bars.append(loft(np.stack(rings), ridges=(0, 1, 2, 3)).turned("z", float(angle)))
    bolts = Part(
        (),
        on_plane(
            [
                loop(ellipse(0.09, 0.09, 14)) + 0.2 * np.array([np.cos(a), np.sin(a)])
                for a in np.linspace(0, 6.28, 5, endpoint=False)
            ],
            (0, 0, 0.045),
            (1, 0, 0),
            (0, 1, 0),
        ),
    )
    return [part.turned("x", -90) for part in (rim, inner, hub, bolts, *bars)]


def car(rng: Rng) -> list[Part]:
    length, width = rng.uniform(4.2, 5.2), rng.uniform(1.8, 2.1)
    hood, roof = rng.uniform(0.75, 0.95), rng.uniform(1.35, 1.8)
    windscreen, cabin_end = rng.uniform(0.28, 0.36), rng.uniform(0.7, 0.95)
    x = np.linspace(0, 1, 30)
    top = np.interp(
        x,
        [0, 0.04, 0.2, windscreen, windscreen + 0.17, cabin_end - 0.15, cabin_end, 1],
        [hood * 0.7, hood * 0.9, hood, hood * 1.05, roof, roof * 0.98, hood * 1.15, hood * 0.95],
    )
    top = np.asarray(np.convolve(np.pad(top, 2, mode="edge"), np.ones(5) / 5, "valid"), dtype=float)
    plan = np.interp(x, [0, 0.08, 0.3, 0.85, 1], [0.78, 0.95, 1, 0.98, 0.85]) * width / 2
    shoulder = hood * 0.85
    rings = []
    for s, t, w in zip(x, top, plan, strict=True):
        tumble = 1 - 0.28 * np.clip((t - shoulder) / (roof - shoulder + 1e-6), 0, 1)
        side = [(w, 0.25), (w, min(shoulder, t * 0.9)), (w * tumble, max(t - 0.08, 0.3)), (w * tumble * 0.85, t)]
        half = spline(side, 9)
        section = np.concatenate([half, half[::-1] * [-1, 1]])
        rings.append(np.stack([section[:, 0], np.full(18, (s - 0.5) * length), section[:, 1]], axis=1))
    shell = loft(np.stack(rings), ridges=(0, 17))
    radius = rng.uniform(0.36, 0.44)
    parts, lines = [], []
    pillar, sill, head = (windscreen + cabin_end) / 2, hood + 0.12, roof - 0.12
    glass = [
        ((windscreen + 0.1, sill), (windscreen + 0.19, head - 0.02), (pillar, head), (pillar, sill)),
        (
            (pillar + 0.02, sill),
            (pillar + 0.02, head),
            (cabin_end - 0.14, head - 0.04),
            (cabin_end - 0.08, sill + 0.02),
        ),
    ]
    for pane in glass:
        corners = loop(np.array(pane))
        for s in (-1, 1):
            z = corners[:, 1]
            y = (corners[:, 0] - 0.5) * length
            inset = width / 2 * (1 - 0.28 * np.clip((z - shoulder) / (roof - shoulder), 0, 1)) + 0.07
            lines.append(Curve(np.stack([s * inset, y, z], axis=1)))
    for s in (-1, 1):
        for door in ((windscreen + cabin_end) / 2 + 0.01,):
            lines.append(
                Curve(
                    np.array(
                        [
                            (s * (width / 2 + 0.02), (door - 0.5) * length, 0.3),
                            (s * (width / 2 + 0.02), (door - 0.5) * length, shoulder),
                        ]
                    )
                )
            )
        for at in (0.17, 0.8):
            tyre = lathe(
                [(0, 0), (radius * 0.6, 0.02), (radius, 0), (radius, 0.25), (0, 0.25)], rims=(1, 2, 3), num_sides=36
            )
            spokes = on_plane(
                [
                    np.array(
                        [(0.1 * np.cos(a), 0.1 * np.sin(a)), (radius * 0.58 * np.cos(a), radius * 0.58 * np.sin(a))]
                    )
                    for a in np.linspace(0, 6.28, 6)[:-1]
                ],
                (0, 0, -0.002),
                (1, 0, 0),
                (0, 1, 0),
            )
            parts.append(
                tyre.with_curves(spokes)
                .turned("y", 90 if s < 0 else -90)
                .moved(s * (width / 2 + 0.04), (at - 0.5) * length, radius)
            )
    lamps = [panel(0.42, 0.16, 0.07, (s * width * 0.28, hood * 0.62)) for s in (-1, 1)] + [
        panel(0.7, 0.22, 0.05, (0, hood * 0.42))
    ]
    lines += on_plane(lamps, (0, -length / 2 - 0.01, 0), (1, 0, 0), (0, 0, 1), SOLID)
    lines += on_plane(lamps[:2], (0, length / 2 + 0.01, 0.1), (1, 0, 0), (0, 0, 1), SOLID)
    return [shell.with_curves(lines), *parts]


def clock(rng: Rng) -> list[Part]:
    size, sides = rng.uniform(2, 3), int(rng.choice([4, 6, 8, 40, 40]))
    outline = ellipse(size, size, sides)
    if sides == 4:
        outline = rectangle(size, size)
    ridges = range(sides) if sides < 20 else ()
    case = loft(
        np.stack([lifted(outline, 0), lifted(outline, 0.3), lifted(outline * 0.88, 0.38), lifted(outline * 0.86, 0.3)]),
        rims=(1, 2),
        ridges=ridges,
    )
    marks = []
    for hour in range(12):
        a = np.pi / 2 - (hour + 1) * np.pi / 6
        centre = 0.33 * size * np.array([np.cos(a), np.sin(a)]) * (0.85 if sides == 4 else 1)
        number = text_strokes(str(hour + 1), size * 0.07)
        wide = max(float(stroke[:, 0].max()) for stroke in number)
        marks += [stroke + centre - [wide / 2, size * 0.035] for stroke in number]
    h, m = rng.uniform(0, 6.28, 2)
    for angle, reach in ((h, 0.2), (m, 0.3)):
        tip = reach * size * np.array([np.sin(angle), np.cos(angle)])
        across = np.array([tip[1], -tip[0]]) * 0.08
        marks.append(np.array([across, tip, -across, across]))
    case = case.with_curves(on_plane(marks, (0, 0, 0.303), (1, 0, 0), (0, 1, 0)))
    parts = [case.turned("x", 90)]
    if rng.random() < 0.4:
        parts += [box(0.25, 0.5, 0.3, x=s * size * 0.3, y=-0.15, z=-size * 0.55) for s in (-1, 1)]
    return parts


_ARTICLES = (
    phone,
    screen,
    speaker,
    camera,
    plug,
    printer,
    stamp,
    pump,
    wheel,
    car,
    clock,
)
BUILDERS = {article.__name__: article for article in _ARTICLES}
