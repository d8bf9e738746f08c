"""One drawing sheet as a contact sheet shows it: reduced, its views marked and described in plain words."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from patentdata.pages import LONGEST_LABEL, shortened
from patentdata.store.report import Drop
from patentdata.views.sheets import turn, turn_box

SECTIONS = ("doubtful", "left_out", "plain")  # in the order of the page
FLAG_WORDS = {
    "broken_lines_not_explained": "the grant does not say what its broken lines mean",
    "broken_lines_not_seen": "the grant speaks of broken lines, and none were found",
    "close_figures": "figures are so close together that their parts may be mixed up",
    "copies_no_figure": "does not match any figure on the other sheets",
    "inferred_label": "its label was not read but inferred from the others",
    "inverted_sheet": "the sheet is white on black and was turned over",
    "label_without_number": "its label has no number that could be read",
    "nothing_recognised": "no label was recognised",
    "repeated_label": "another view has the same label",
    "separate_parts": "consists of parts far apart, which may be two figures",
    "touching_figures": "touches a neighbour, so the cut may be wrong",
    "uncertain_label": "a character of its label is uncertain",
    "undeclared_label": "the grant does not declare such a figure",
}
DROP_WORDS = {
    "broken_sheet": "the drawing cannot be read",
    "no_grant": "the grant of its patent cannot be read",
    "repeated_sheet": "another drawing has the same sheet number",
    "sheet_missing": "the grant lists it, but the archive lacks it",
    "sheet_without_ink": "no ink was found on it",
}
_GREY_LEVELS = 16  # enough for reduced thin lines, and half the bytes of 256
_INK_GAIN = 1.7  # lines of 3 px fade when a sheet is reduced six times; this factor darkens them again
_BROKEN_COLOUR = (214, 0, 108)  # of broken lines, red, green, blue; the page's key has it too
_NUM_COLOURS = 5
_LABEL_HEIGHT_PX, _LABEL_WIDTH_PX = 13, 90  # largest size of a label's picture, CSS pixels


@dataclass(frozen=True, kw_only=True)
class ContactSheetsConfig:
    """Settings of the page.

    Attributes:
        limit: Largest number of sheets on the page; the doubtful ones come first, and the page says how many are not
            shown.
        doubtful_below: A view with a lower score is doubtful even without a flag.
        doubtful_px: Longest side of a doubtful sheet on the page, in CSS pixels.
        plain_px: The same for the other sheets.
    """

    limit: int = 600
    doubtful_below: float = 0.5
    doubtful_px: int = 400
    plain_px: int = 240

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit is {self.limit}; show at least 1 sheet")
        if not 0 <= self.doubtful_below <= 1:
            raise ValueError(f"doubtful_below is {self.doubtful_below}; scores are between 0 and 1")
        if not (32 <= self.doubtful_px <= 2000 and 32 <= self.plain_px <= 2000):
            raise ValueError(
                f"doubtful_px is {self.doubtful_px} and plain_px {self.plain_px}; give both between 32 and 2000"
            )


class Missing(NamedTuple):
    """A figure that the grant declares and that was not found on any sheet."""

    patent_number: str
    label: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet of a week and what became of it.

    Attributes:
        week: The week ("I20210105").
        patent_number: Canonical number, or the member's name if its grant was not read.
        title: Title of the patent; empty if its grant was not read.
        number: Number of the sheet as printed, from 1; 0 is the front-page drawing.
        member: Member of the kept archive that contains it.
        views: Rows of `schemas.VIEWS` of the views on it, without the images.
        missing: Declared figures that were not found and whose neighbours in the grant are on this sheet.
        drop: Why it gave no views; None if it gave some.
    """

    week: str
    patent_number: str
    title: str
    number: int
    member: str
    views: tuple[dict[str, Any], ...] = ()
    missing: tuple[Missing, ...] = ()
    drop: Drop | None = None

    @property
    def name(self) -> str:
        """Name of the sheet within its week."""
        return f"{self.patent_number}-sheet-{self.number}"

    @property
    def lowest_score(self) -> float:
        """Lowest score of its views; 0 if a figure is missing."""
        return 0.0 if self.missing else min((view["score"] for view in self.views), default=0.0)

    def section(self, config: ContactSheetsConfig) -> str:
        """Which of `SECTIONS` it belongs to."""
        if self.drop:
            return "left_out"
        return "doubtful" if self.missing or any(doubts_of(view, config) for view in self.views) else "plain"


def doubts_of(view: Mapping[str, Any], config: ContactSheetsConfig) -> list[str]:
    """Why a view is doubtful, in plain words; empty if it is not."""
    doubts = [FLAG_WORDS.get(flag, flag.replace("_", " ")) for flag in view["flags"]]
    if not doubts and view["score"] < config.doubtful_below:
        doubts.append("its score is low")
    return doubts


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A part of an upright sheet, reduced.

    Attributes:
        width: Width of the part in pixels of the sheet.
        height: Height of the part in pixels of the sheet.
        shown_width: Width on the page in CSS pixels.
        shown_height: Height on the page in CSS pixels.
        uri: The image as a data URI.
    """

    width: int
    height: int
    shown_width: int
    shown_height: int
    uri: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How one view is marked and described; boxes are x, y, width, height in pixels of the upright sheet.

    Attributes:
        colour: CSS class of its colour.
        box: Box of the figure.
        label_box: Box of its label; None if it has none.
        label_picture: The label as drawn; None if it has none.
        tag: Short text at the figure's corner.
        left_percent: Left edge of the tag, in percent of the sheet's width.
        top_percent: Bottom edge of the tag, in percent of the sheet's height.
        name: "FIG. 3", "Front page" or "No label".
        is_front_page: Whether it is the front-page drawing.
        viewpoint: Viewpoint in words; for the front page, the figures it copies.
        score: Its score, 0 to 1.
        sentence: What the grant says of the figure.
        broken: How much of its lines is broken, in words; empty if none is.
        doubts: Why it is doubtful.
    """

    colour: str
    box: tuple[int, int, int, int]
    label_box: tuple[int, int, int, int] | None
    label_picture: Picture | None
    tag: str
    left_percent: float
    top_percent: float
    name: str
    is_front_page: bool
    viewpoint: str
    score: float
    sentence: str
    broken: str
    doubts: list[str]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One sheet on the page.

    Attributes:
        sheet: The sheet.
        is_doubtful: Whether it is in the section of doubtful sheets.
        heading: Patent and sheet number in words.
        marks: Its views.
        doubts: What is wrong with the sheet as a whole.
        alt: Text in place of the picture.
        picture: The reduced sheet; None if it cannot be shown.
        trouble: Why it cannot be shown.
    """

    sheet: Sheet
    is_doubtful: bool
    heading: str
    marks: list[Mark]
    doubts: list[str]
    alt: str
    picture: Picture | None
    trouble: str


def make_card(
    sheet: Sheet,
    page: np.ndarray | None,
    trouble: str,
    config: ContactSheetsConfig,
    broken: Mapping[str, np.ndarray] | None = None,
) -> Card:
    """The card of one sheet.

    Args:
        sheet: The sheet and its views.
        page: (height_px, width_px) uint8 as published; None if it cannot be shown.
        trouble: Why there is no page.
        config: Settings.
        broken: `view_id` → (height_px, width_px) bool, the broken lines of a view, which are coloured.
    """
    is_doubtful = sheet.section(config) == "doubtful"
    rotation_cw = sheet.views[0]["rotation_cw"] if sheet.views else 0
    picture, marks = None, []
    if page is not None:
        upright = turn(page, rotation_cw)
        scale = (config.doubtful_px if is_doubtful else config.plain_px) / max(upright.shape)
        picture = _picture(upright, scale, broken=_broken_on(upright, sheet.views, broken or {}))
        marks = [_mark(index, view, upright, config) for index, view in enumerate(sheet.views)]
    doubts = []
    for figure in sheet.missing:
        label, text = shortened(figure.label, LONGEST_LABEL), shortened(figure.text)
        doubts.append(f"FIG. {label} is declared, but was not found on any sheet{': ' if text else ''}{text}")
    if sheet.drop:
        doubts.append(f"Left out: {DROP_WORDS.get(sheet.drop.reason, sheet.drop.reason.replace('_', ' '))}")
    name = "front page" if sheet.number == 0 else f"sheet {sheet.number}"
    shown = "; ".join(f"{mark.name}, {mark.viewpoint}" if mark.viewpoint else mark.name for mark in marks)
    return Card(
        sheet=sheet,
        is_doubtful=is_doubtful,
        heading=f"{sheet.patent_number}, {name}",
        marks=marks,
        doubts=doubts,
        alt=f"{sheet.patent_number}, {name}: {shown or 'no views'}",
        picture=picture,
        trouble=trouble,
    )


def _broken_on(
    upright: np.ndarray, views: Iterable[Mapping[str, Any]], broken: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """(height_px, width_px) bool, the broken lines of all views on an upright sheet; None if there are none."""
    whole = None
    for view in views:
        if view["view_id"] not in broken:
            continue
        whole = np.zeros(upright.shape, bool) if whole is None else whole
        left, top, right, bottom = turn_box(view["box"], view["rotation_cw"], _published_shape(upright, view))
        part = whole[top:bottom, left:right]
        part |= broken[view["view_id"]][: part.shape[0], : part.shape[1]]
    return whole


def _published_shape(upright: np.ndarray, view: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the sheet as published."""
    height, width = upright.shape
    return (height, width) if view["rotation_cw"] % 180 == 0 else (width, height)


def _mark(index: int, view: Mapping[str, Any], upright: np.ndarray, config: ContactSheetsConfig) -> Mark:
    """The mark of the view at `index` of its sheet."""
    published = _published_shape(upright, view)
    x0, y0, x1, y1 = turn_box(view["box"], view["rotation_cw"], published)
    label_box = label_picture = None
    if view["label_box"]:
        left, top, right, bottom = turn_box(view["label_box"], view["rotation_cw"], published)
        label_box = (left, top, right - left, bottom - top)
        lettering = upright[top:bottom, left:right]
        scale = min(_LABEL_HEIGHT_PX / (bottom - top), _LABEL_WIDTH_PX / (right - left))
        label_picture = _picture(lettering, scale, density=2)
    doubts = doubts_of(view, config)
    name, viewpoint, label = _words(view)
    return Mark(
        colour="doubt" if doubts else f"c{index % _NUM_COLOURS}",
        box=(x0, y0, x1 - x0, y1 - y0),
        label_box=label_box,
        label_picture=label_picture,
        tag=f"{'⚠ ' if doubts else ''}{label}{' · ' if viewpoint else ''}{viewpoint}",
        left_percent=round(100 * x0 / upright.shape[1], 2),
        top_percent=round(100 * y0 / upright.shape[0], 2),
        name=name,
        is_front_page=view["is_front_page"],
        viewpoint=viewpoint,
        score=view["score"],
        sentence=shortened(view["description"] or ""),
        broken=f"{max(1, round(100 * view['broken_share']))} % broken" if view["broken_share"] else "",
        doubts=doubts,
    )


def _words(view: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, viewpoint and short label of a view."""
    if view["is_front_page"]:
        copied = ", ".join(name.removeprefix(f"{view['patent_number']}-") for name in view["front_page_of"])
        return "Front page", f"copies FIG. {shortened(copied, LONGEST_LABEL)}" if copied else "", "front page"
    viewpoint = "" if view["viewpoint"] == "none" else view["viewpoint"].replace("_", " ")
    if view["viewpoint_direction"]:
        viewpoint += f", {shortened(view['viewpoint_direction'], LONGEST_LABEL)}"
    if view["figure_label"] is None:
        return "No label", viewpoint, "?"
    label = shortened(view["figure_label"], LONGEST_LABEL)
    return f"FIG. {label}", viewpoint, label


def _picture(part: np.ndarray, scale: float, density: int = 1, broken: np.ndarray | None = None) -> Picture:
    """A part of an upright sheet.

    Args:
        part: (height_px, width_px) uint8.
        scale: CSS pixels for each pixel of the sheet.
        density: Pixels of the image for each CSS pixel, in each direction.
        broken: (height_px, width_px) bool, ink that is coloured.
    """
    height, width = part.shape
    shown_width, shown_height = max(1, round(width * scale)), max(1, round(height * scale))
    png = thumbnail(part, shown_width * density, shown_height * density, broken)
    return Picture(
        width=width,
        height=height,
        shown_width=shown_width,
        shown_height=shown_height,
        uri=f"data:image/png;base64,{base64.b64encode(png).decode()}",
    )


def thumbnail(page: np.ndarray, width: int, height: int, broken: np.ndarray | None = None) -> bytes:
    """PNG of a page reduced by area, in few shades, with thin lines kept dark; equal pages give equal bytes.

    Args:
        page: (height_px, width_px) uint8.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        broken: (height_px, width_px) bool, ink that is coloured.
    """
    ink = _reduced(255 - page, width, height)
    if broken is None:
        image = Image.fromarray(255 - np.round(ink * (255 / (_GREY_LEVELS - 1))).astype(np.uint8))
    else:
        coloured = np.minimum(_reduced(np.where(broken, 255 - page, 0).astype(np.uint8), width, height), ink)
        image = Image.fromarray((ink * _GREY_LEVELS + coloured).astype(np.uint8), "P")
        image.putpalette(_palette())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=False, compress_level=6)
    return stream.getvalue()


def _reduced(ink: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) whole numbers from 0, paper, to `_GREY_LEVELS` - 1: the darkness of ink after reduction."""
    small = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.round(np.minimum(small * _INK_GAIN, 255) * ((_GREY_LEVELS - 1) / 255)).astype(np.int32)


def _palette() -> bytes:
    """Red, green and blue of each pair of levels, of all ink and of the coloured ink in it."""
    level = np.arange(_GREY_LEVELS**2)
    ink, coloured = level // _GREY_LEVELS / (_GREY_LEVELS - 1), level % _GREY_LEVELS / (_GREY_LEVELS - 1)
    black = np.maximum(ink - coloured, 0)
    missing = 1 - np.array(_BROKEN_COLOUR) / 255
    light = 1 - black[:, None] - coloured[:, None] * missing
    return np.round(255 * np.clip(light, 0, 1)).astype(np.uint8).tobytes()
