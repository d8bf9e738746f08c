"""The figures of a specimen: which ones it has, how they are labelled and inked, and how they are put on sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.drawing import pen as inking
from patentdata.specimens.drawing.pen import Pen, ink_lines
from patentdata.specimens.drawing.projection import VIEWS, Camera, Lines, project
from patentdata.specimens.drawing.sheets import (
    FRONT_PAGE_MARGIN_PX,
    MARGIN_PX,
    MAX_HEIGHT_PX,
    MAX_WIDTH_PX,
    Figure,
    Sheet,
    fit_scale,
    published,
    set_diagonally,
    set_rows,
    split_rows,
)
from patentdata.specimens.explained import DASH_DOT, Explained
from patentdata.specimens.lettering import STROKED, LabelStyle, draw_label
from patentdata.specimens.line_statements import DrawnLines
from patentdata.specimens.shapes.solids import Part, assemble
from patentdata.specimens.wording import PERSPECTIVES

_ROOM_PX = (1750.0, 2450.0)  # the drawing area of a sheet held upright, a little less than the office allows
_OPPOSITE = {"left": "right", "right": "left"}
_FLAT = {"screen": ("front",), "fabric": ("front",), "lace": ("front",)}  # articles that one view shows completely
_FRONT_AND_EDGES = {"tile": ("perspective", "top", "front", "right")}


@dataclass(frozen=True, kw_only=True)
class PlannedFigure:
    """A figure before it is drawn.

    Attributes:
        number: The number as printed; empty for a sole figure without one.
        viewpoint: One of `schemas.VIEWPOINTS`.
        camera: From where the article is seen.
        direction: Direction of a perspective, such as "top front"; empty if it is not named.
        mirror: The opposite side, if the figure stands for that side too.
        is_exploded: Whether the parts of the article are drawn apart.
    """

    number: str
    viewpoint: str
    camera: Camera
    direction: str = ""
    mirror: str | None = None
    is_exploded: bool = False


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a patent's sheets look.

    Attributes:
        label: Lettering of the labels; None if there are no labels.
        pen: Widths of the lines.
        label_position: Position of a label relative to its drawing: "below", "above", "beside" or "inside".
        dash: Lengths of the strokes and gaps of broken lines in turn, as shares of the drawing.
        per_sheet: Usual number of figures on a sheet.
        drawn_lines: Lines of the drawings that the grant explains.
        has_break: A piece of each long drawing is left out, between break lines.
    """

    label: LabelStyle | None
    pen: Pen
    label_position: str
    dash: tuple[float, ...]
    per_sheet: int
    drawn_lines: tuple[DrawnLines, ...] = ()
    has_break: bool = False


_SURROUNDINGS = DrawnLines(lines="broken", meaning="environment")
_FACE_SHARES = {
    "times": 22, "times_bold": 14, "sans": 16, "sans_bold": 12, "sans_bold_italic": 4, "times_italic": 4, "serif": 4,
    "mono": 1, "roman": 6, "gothic": 8, "times_bold_italic": 4, STROKED: 5,
}  # fmt: skip
_PATTERNS = ("FIG. {}", "FIG. {}", "FIG. {}", "FIG. {}", "FIG.{}", "Fig. {}", "Fig.{}", "FIG {}", "Fig {}")
_LABELS_OF_HAZARDS: dict[str, dict] = {
    "underlined_label": {"underline": True, "face": "times_bold"},
    "italic_label": {"face": "times_italic"},
    "stencil_label": {"stencil": True, "face": "sans_bold", "pattern": "FIG. {}"},
    "handwritten_label": {"face": STROKED, "pattern": "FIG. {}", "wobble": 0.035},
    "dash_label": {"underline": True, "face": "sans", "pattern": "FIG - {}"},
    "figure_word_label": {"face": "times", "pattern": "Figure {}"},
    "hague_label": {"face": "times_bold", "pattern": "{}"},
}


def draw_look(rng: np.random.Generator, hazard: str | None, config: SpecimenConfig) -> Look:
    """Lettering, pen and layout of one patent."""
    names, shares = list(_FACE_SHARES), np.array(list(_FACE_SHARES.values()), dtype=float)
    face = str(rng.choice(names, p=shares / shares.sum()))
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
    style = LabelStyle(
        face=face,
        pattern=pattern.upper() if face == STROKED else pattern,
        cap_px=int(np.clip(rng.normal(54, 13), 32, 100)),
        stretch=float(rng.choice([1.0, 1.0, 0.88, 0.8])) if face.startswith("sans") else 1.0,
        underline=bool(rng.random() < 0.04),
    )
    if hazard in _LABELS_OF_HAZARDS:
        style = replace(style, underline=False, stretch=1.0)
        style = replace(style, **_LABELS_OF_HAZARDS[hazard])
    label_position = (
        "inside" if hazard == "label_inside" else str(rng.choice(["below", "above", "beside"], p=[0.82, 0.12, 0.06]))
    )
    solid = int(rng.choice([2, 3, 4, 4, 5, 6]))
    pen = Pen(
        solid_px=solid,
        broken_px=max(2, solid - 1),
        fine_px=max(2, solid - int(rng.integers(0, 2))),
        shade_px=max(1, solid // 2),
    )
    per_sheet = int(rng.choice([1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 6]))
    if hazard == "diagonal_neighbours":
        per_sheet = 2
    return Look(
        label=None if hazard == "no_label" else style,
        pen=pen,
        label_position=label_position,
        dash=(float(rng.uniform(0.012, 0.025)), float(rng.uniform(0.007, 0.012))),
        per_sheet=min(per_sheet, config.max_figures_per_sheet),
        drawn_lines=(_SURROUNDINGS,) if hazard == "dashed_surroundings" else (),
    )


def explain_look(look: Look, explained: Explained) -> Look:
    """The look of a patent whose article has lines that its grant explains."""
    is_dash_dot = any(lines.lines == "dash_dot" for lines in explained.drawn_lines)
    return replace(
        look,
        drawn_lines=(*look.drawn_lines, *explained.drawn_lines),
        dash=DASH_DOT if is_dash_dot else look.dash,
        has_break=explained.has_break,
    )


def choose_figures(
    parts: Sequence[Part], article: str, hazard: str | None, rng: np.random.Generator, config: SpecimenConfig
) -> list[PlannedFigure]:
    """The figures in order, with their numbers; at most `config.max_figures`."""
    if hazard == "no_label":
        return [_perspective("", rng)]
    if article in _FLAT and hazard != "call_out":
        figures = [PlannedFigure(number="", viewpoint=view, camera=VIEWS[view]) for view in _FLAT[article]]
        return _numbered(figures, hazard) if len(figures) > 1 or rng.random() < 0.7 else figures
    views: list[PlannedFigure] = [_perspective("", rng)]
    if article in _FRONT_AND_EDGES:
        views += [PlannedFigure(number="", viewpoint=v, camera=VIEWS[v]) for v in _FRONT_AND_EDGES[article][1:]]
    else:
        views += _six_sides(rng)
        if rng.random() < 0.35:
            views.append(_perspective("", rng, rear=True))
    if hazard in ("exploded_brace", "exploded_dashes"):
        camera = Camera() if hazard == "exploded_dashes" else views[0].camera
        views.insert(1, PlannedFigure(number="", viewpoint="exploded", camera=camera, is_exploded=True))
    if hazard == "diagonal_neighbours":
        views = [
            replace(_perspective("", rng), camera=Camera(azimuth=20, elevation=10, roll=roll))
            for roll in (40, 40, 40, 40)
        ]
    return _numbered(views[: config.max_figures], hazard)


def _perspective(number: str, rng: np.random.Generator, *, rear: bool = False) -> PlannedFigure:
    names = [name for name in PERSPECTIVES if ("rear" in name or "bottom" in name) == rear]
    direction = names[int(rng.integers(len(names)))]
    azimuth, elevation = PERSPECTIVES[direction] + rng.normal(0, 4, 2)
    distance = float("inf") if rng.random() < 0.5 else float(rng.uniform(2.0, 5.0))
    camera = Camera(azimuth=float(azimuth), elevation=float(elevation), distance=distance)
    return PlannedFigure(number=number, viewpoint="perspective", camera=camera, direction=direction)


def _six_sides(rng: np.random.Generator) -> list[PlannedFigure]:
    """The orthogonal views in one of the usual orders; some patents leave out a mirror image or a view."""
    order = [["front", "rear", "left", "right", "top", "bottom"], ["front", "rear", "right", "left", "top", "bottom"],
             ["top", "bottom", "left", "right", "front", "rear"]][int(rng.integers(3))]  # fmt: skip
    figures = [PlannedFigure(number="", viewpoint=view, camera=VIEWS[view]) for view in order]
    if rng.random() < 0.2:
        side = next(figure for figure in figures if figure.viewpoint in _OPPOSITE)
        kept = replace(side, mirror=_OPPOSITE[side.viewpoint])
        figures = [kept if f is side else f for f in figures if f.viewpoint != kept.mirror]
    if rng.random() < 0.2:
        figures = [figure for figure in figures if figure.viewpoint != "bottom"]
    if rng.random() < 0.1:
        figures = figures[: int(rng.integers(1, 4))]
    return figures


def _numbered(figures: Sequence[PlannedFigure], hazard: str | None) -> list[PlannedFigure]:
    prefix = "1." if hazard == "hague_label" else ""
    return [replace(figure, number=f"{prefix}{index}") for index, figure in enumerate(figures, start=1)]


def draw_lines(parts: Sequence[Part], shown: Sequence[PlannedFigure], look: Look) -> dict[str, Lines]:
    """Number of each figure → its line drawing."""
    model = assemble(parts)
    apart = assemble(_pulled_apart(parts)) if any(figure.is_exploded for figure in shown) else model
    return {
        figure.number: project(apart if figure.is_exploded else model, figure.camera, dash=look.dash)
        for figure in shown
    }


def draw_sheets(
    lines: dict[str, Lines],
    shown: Sequence[PlannedFigure],
    look: Look,
    hazard: str | None,
    rng: np.random.Generator,
    config: SpecimenConfig,
) -> list[Sheet]:
    """The sheets as published, in order; `lines` are the drawings by figure number."""
    sheets = [
        _draw_sheet(group, [lines[figure.number] for figure in group], look, hazard, rng, config)
        for group in _groups(shown, look, hazard, rng)
    ]
    if hazard == "blank_sheet":
        sheets.append(Sheet(np.zeros((1800, 1300), dtype=bool), hard_why=("blank_sheet",)))
    return sheets


def _groups(
    shown: Sequence[PlannedFigure], look: Look, hazard: str | None, rng: np.random.Generator
) -> list[list[PlannedFigure]]:
    groups, index = [], 0
    while index < len(shown):
        fewer = int(rng.random() < 0.25 and hazard != "diagonal_neighbours")
        size = max(1, look.per_sheet - fewer)
        groups.append(list(shown[index : index + size]))
        index += size
    return groups


def _pulled_apart(parts: Sequence[Part]) -> list[Part]:
    """The parts from the lowest to the highest, each moved up until there is a gap to the one below."""
    solid = [part for part in parts if part.patches]

    def span(part: Part) -> tuple[float, float]:
        heights = np.concatenate([patch.grid[..., 2].ravel() for patch in part.patches])
        return float(heights.min()), float(heights.max())

    ordered = sorted(solid, key=lambda part: sum(span(part)))
    total = max(span(part)[1] for part in ordered) - min(span(part)[0] for part in ordered)
    moved, floor = [], None
    for part in ordered:
        low, high = span(part)
        shift = 0.0 if floor is None else max(0.0, floor + 0.18 * total - low)
        moved.append(part.moved(z=shift))
        floor = high + shift
    return moved


def _draw_sheet(
    group: Sequence[PlannedFigure],
    lines: Sequence[Lines],
    look: Look,
    hazard: str | None,
    rng: np.random.Generator,
    config: SpecimenConfig,
) -> Sheet:
    extents = [line.extent for line in lines]
    wide = float(np.mean([e[0] / max(e[1], 1e-6) for e in extents])) > 1.3
    rows = split_rows(len(group), rng, wide=wide)
    label_px = (look.label.cap_px if look.label else 0) + 130.0
    turned_by, room = _orientation(extents, rows, label_px, hazard, rng)
    scale = fit_scale(extents, rows, room, label_px, 150.0) * config.drawing_scale
    scale *= rng.uniform(0.55, 1.0) if len(group) == 1 else rng.uniform(0.8, 1.0)
    while True:
        sheet = _set_sheet(group, lines, rows, scale, look, hazard, rng)
        if _fits_paper(sheet, turned_by):
            break
        scale *= 0.85  # labels next to drawings, and what is added to drawings, need room too
    sheet = replace(sheet, hard_why=(hazard,) if hazard else ())
    return published(sheet, rotation_cw=turned_by, specks=60 if hazard == "speckle" else 0, rng=rng)


def _set_sheet(
    group: Sequence[PlannedFigure],
    lines: Sequence[Lines],
    rows: Sequence[int],
    scale: float,
    look: Look,
    hazard: str | None,
    rng: np.random.Generator,
) -> Sheet:
    figures = []
    for figure, line in zip(group, lines, strict=True):
        drawing = _adorned(ink_lines(line, scale, look.pen), figure, look, hazard, rng)
        label = draw_label(figure.number, look.label, rng) if look.label else None
        figures.append(Figure(figure.number, drawing, _sole(label, figure, look, rng)))
    if hazard == "diagonal_neighbours" and len(figures) == 2:
        return set_diagonally(figures[0], figures[1], "below", rng)
    return set_rows(figures, rows, look.label_position, rng)


def _sole(label: np.ndarray | None, figure: PlannedFigure, look: Look, rng: np.random.Generator) -> np.ndarray | None:
    """The label of a figure; that of a sole figure is the word FIGURE, or None if the patent has no labels."""
    if figure.number or label is None or look.label is None:
        return label
    return draw_label("", replace(look.label, pattern="FIGURE"), rng)


def _orientation(
    extents: Sequence[np.ndarray], rows: Sequence[int], label_px: float, hazard: str | None, rng: np.random.Generator
) -> tuple[int, tuple[float, float]]:
    """Degrees clockwise that turn the published sheet upright, and the room for drawings (width, height) when it is."""
    portrait, landscape = _ROOM_PX, _ROOM_PX[::-1]
    if hazard in ("landscape", "landscape_unsaid"):
        return 90, landscape
    if hazard == "upside_down":
        return 180, portrait
    gain = fit_scale(extents, rows, landscape, label_px, 150.0) / fit_scale(extents, rows, portrait, label_px, 150.0)
    if gain > 1.15 and rng.random() < 0.75:
        return 90, landscape
    return 0, portrait


def _fits_paper(sheet: Sheet, turned_by: int) -> bool:
    """Whether the published sheet is not larger than the largest real ones."""
    height, width = sheet.ink.shape if turned_by % 180 == 0 else sheet.ink.shape[::-1]
    return height + 2 * MARGIN_PX <= MAX_HEIGHT_PX and width + 2 * MARGIN_PX <= MAX_WIDTH_PX


def _adorned(
    ink: np.ndarray, figure: PlannedFigure, look: Look, hazard: str | None, rng: np.random.Generator
) -> np.ndarray:
    """The drawing, with whatever its hazard adds."""
    note = replace(look.label or LabelStyle(), underline=False, cap_px=40)
    if look.has_break:
        ink = inking.with_break(ink)
    if hazard == "call_out" and figure.number == "2":
        return inking.with_call_out(ink, note.pattern.format("3"), note, rng)
    if hazard == "section_mark" and figure.number in ("", "2"):
        return inking.with_section_marks(ink, "8", note, rng)
    if hazard == "exploded_brace" and figure.is_exploded:
        return inking.with_brace(ink)
    if hazard == "exploded_dashes" and figure.is_exploded:
        return inking.with_axis(ink)
    if hazard == "dashed_surroundings":
        return inking.with_surroundings(ink, rng)
    if hazard == "halftone":
        return inking.halftone(ink, rng)
    return ink


def front_page(
    drawn: dict[str, Lines],
    shown: Sequence[PlannedFigure],
    look: Look,
    rng: np.random.Generator,
    config: SpecimenConfig,
) -> tuple[np.ndarray, list[str]]:
    """The front-page drawing, and the numbers of the figures that it copies.

    It copies one figure or, now and then, two, upright and without labels.
    """
    num = 2 if len(shown) > 1 and rng.random() < 0.12 and not shown[1].is_exploded else 1
    lines = [drawn[figure.number] for figure in shown[:num]]
    room = (1500.0, 1700.0 / num)
    scale = (
        min(fit_scale([line.extent], [1], room, 0, 0) for line in lines) * rng.uniform(0.7, 1.0) * config.drawing_scale
    )
    drawings = [ink_lines(line, scale, look.pen) for line in lines]
    if look.has_break:
        drawings = [inking.with_break(drawing) for drawing in drawings]
    figures = [Figure(f.number, drawing, None) for f, drawing in zip(shown, drawings, strict=False)]
    sheet = set_rows(figures, [1] * num, "below", rng)
    return np.pad(sheet.ink, FRONT_PAGE_MARGIN_PX), [figure.number for figure in shown[:num]]
