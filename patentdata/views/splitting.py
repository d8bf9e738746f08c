"""Splits one drawing sheet: finds and reads its labels, gives each its ink, and cuts the figures out.

The sheet is first read quickly. More is read only on evidence that something was missed: if no label is found, small
pieces of letters are joined and read again; if a figure is in separate parts, another label is searched for. Each flag
lowers the score of a figure by a fixed factor, so that doubtful views can be filtered by score alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from patentdata.views.grouping import CELL, Box, Group, group_ink
from patentdata.views.ink import SCALE, Ink, find_ink, with_joined_pieces
from patentdata.views.labels.labels import Label, LabelSearch, find_labels, normalised
from patentdata.views.labels.leaders import has_leader
from patentdata.views.sheets import MAX_PIXELS, PAPER, is_inverted, turn, turn_box

_MIN_CONFIDENCE = 0.6  # a label is flagged if the least certain character of its number has less
TRUST = {  # flag → factor of the score
    "nothing_recognised": 0.5,
    "label_without_number": 0.7,
    "uncertain_label": 0.8,
    "separate_parts": 0.9,
    "close_figures": 0.7,
    "touching_figures": 0.4,
    "undeclared_label": 0.5,
    "inferred_label": 0.6,
    "repeated_label": 0.5,
    "inverted_sheet": 0.8,
    "copies_no_figure": 0.5,
}
_JOINED_READINGS = 12  # lines read again, with their pieces joined, if no label was found
_MORE_STRANGERS = 8  # lines read in search of another label if a figure is in separate parts


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """Settings of the splitter.

    Attributes:
        max_pixels: Sheets of more pixels are dropped without being decoded.
        search: Limits on how much is read in search of labels.
    """

    max_pixels: int = MAX_PIXELS
    search: LabelSearch = LabelSearch()

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels is {self.max_pixels}; give the largest sheet to read, such as {MAX_PIXELS}")


DEFAULT_CONFIG = ViewsConfig()


@dataclass(frozen=True, kw_only=True)
class SplitFigure:
    """One figure of a sheet; boxes are x0, y0, x1, y1 in pixels of the page as published, ends exclusive.

    Attributes:
        label: The label as read, such as "2A"; None if there is none, or only the word FIGURE.
        label_box: Box of the lettering; None if the figure has no label.
        box: Box of the figure's ink.
        score: Confidence that box and label are right, 0 to 1.
        flags: Reasons to doubt the figure, in alphabetical order.
    """

    label: str | None
    label_box: Box | None
    box: Box
    score: float
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SplitSheet:
    """The figures of a sheet in reading order, and the degrees clockwise that turn it upright."""

    rotation_cw: int
    figures: tuple[SplitFigure, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """A split sheet with what its views are cut from.

    Attributes:
        sheet: The figures.
        upright: (height_px, width_px) uint8: the page turned upright, labels erased.
        groups: Ink of each figure, in the order of `sheet.figures`.
    """

    sheet: SplitSheet
    upright: np.ndarray
    groups: tuple[Group, ...]


def split_sheet(
    page: np.ndarray,
    *,
    orientation: str | None = None,
    declared: Sequence[str] | None = None,
    config: ViewsConfig = DEFAULT_CONFIG,
) -> SplitSheet:
    """Find the figures of one drawing sheet, in reading order.

    Args:
        page: (height_px, width_px) uint8, 0 is ink and 255 is paper, as published.
        orientation: "landscape" or "portrait" as the grant says, used if the sheet has no lettering that shows it.
        declared: Labels that the grant declares, if known; other labels may be taken for call-outs.
        config: Settings.
    """
    return split_page(page, orientation, declared, config).sheet


def split_page(page: np.ndarray, orientation: str | None, declared: Sequence[str] | None, config: ViewsConfig) -> Split:
    """As `split_sheet`, with what is needed to cut the views out.

    A sheet of white lines on black is turned over first, and its figures are flagged.
    """
    if is_inverted(page):
        split = split_page(~page, orientation, declared, config)
        figures = tuple(_with_flag(figure, "inverted_sheet") for figure in split.sheet.figures)
        return replace(split, sheet=replace(split.sheet, figures=figures))
    known = frozenset(map(normalised, declared or ()))
    ink, labels, rotation_cw = _labels(page, config.search, known)
    if rotation_cw is None:
        rotation_cw = 90 if orientation == "landscape" else 0
    split = _without_call_outs(page, ink, labels, rotation_cw, known)
    if labels and any(group.num_parts > 1 for group in split.groups):
        more, _ = find_labels(page, ink, replace(config.search, is_thorough=True, max_strangers=_MORE_STRANGERS), known)
        if len(more) > len(labels):
            split = _without_call_outs(page, ink, more, more[0].rotation_cw, known)
    return split


def _without_call_outs(
    page: np.ndarray, ink: Ink, labels: list[Label], rotation_cw: int, known: frozenset[str | None]
) -> Split:
    """The sheet split by its labels, without those that prove to be call-outs."""
    split, call_out = _split_by(page, ink, labels, rotation_cw, known)
    while call_out is not None:
        labels = labels[:call_out] + labels[call_out + 1 :]
        split, call_out = _split_by(page, ink, labels, rotation_cw, known)
    return split


def _labels(page: np.ndarray, search: LabelSearch, known: frozenset[str | None]) -> tuple[Ink, list[Label], int | None]:
    """The ink, its labels, and the degrees clockwise that turn the sheet upright (None if unknown).

    If no label is found, small pieces of ink are joined and searched again.
    """
    ink = find_ink(page)
    labels, rotation_cw = find_labels(page, ink, search, known)
    if not labels:
        joined = with_joined_pieces(ink)
        labels, joined_cw = find_labels(page, joined, replace(search, max_readings=_JOINED_READINGS), known)
        ink, rotation_cw = (joined, joined_cw) if labels else (ink, rotation_cw)
    return ink, labels, rotation_cw


def _split_by(
    page: np.ndarray, ink: Ink, labels: list[Label], rotation_cw: int, known: frozenset[str | None]
) -> tuple[Split, int | None]:
    """The sheet split by its labels, and the index of a label that must be a call-out, if there is one."""
    half = ink.cells.copy()
    # The padding keeps the half-resolution ink aligned with the page when both are turned.
    bottom, right = -page.shape[0] % SCALE, -page.shape[1] % SCALE
    bare = cv2.copyMakeBorder(page, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=PAPER)
    boxes = [_erase(bare, half, ink, label) for label in labels]
    upright = turn(bare, rotation_cw)
    upright_boxes = [turn_box(box, rotation_cw, bare.shape) for box in boxes]
    # Leaders and labels that the grant does not declare make a call-out possible; the grouping decides.
    suspects = [
        index
        for index, label in enumerate(labels)
        if has_leader(ink, label.box, label.members, label.height) or (known and normalised(label.number) not in known)
    ]
    grouping = group_ink(upright, upright_boxes, turn(half, rotation_cw), suspects)
    groups = [grouping.groups[index] for index in reading_order([group.box for group in grouping.groups])]
    figures = []
    for group in groups:
        label = labels[group.label] if group.label is not None else None
        flags = _flags(group, label)
        figures.append(
            SplitFigure(
                label=label.number if label else None,
                label_box=boxes[group.label] if group.label is not None else None,
                box=turn_box(group.box, -rotation_cw, upright.shape),
                score=_score(label, flags),
                flags=tuple(sorted(flags)),
            )
        )
    sheet = SplitSheet(rotation_cw=rotation_cw, figures=tuple(figures))
    return Split(sheet=sheet, upright=upright, groups=tuple(groups)), grouping.call_out


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Indices of boxes on an upright sheet in reading order: left to right within a row, rows from top to bottom.

    Two boxes are in one row if they share at least half the height of the less tall one, whether or not their tops are
    level.

    >>> reading_order([(500, 100, 800, 400), (100, 110, 400, 390), (100, 600, 800, 900)])
    [1, 0, 2]
    """
    remaining = sorted(range(len(boxes)), key=lambda index: (boxes[index][1], boxes[index][0]))
    order = []
    while remaining:
        first = (a for a in remaining if not any(_precedes(boxes[b], boxes[a]) for b in remaining))
        order.append(next(first, remaining[0]))  # boxes that overlap diagonally may precede each other in a cycle
        remaining.remove(order[-1])
    return order


def _precedes(a: Box, b: Box) -> bool:
    """Whether `a` is read before `b`."""
    shared = min(a[3], b[3]) - max(a[1], b[1])
    is_row = shared >= 0.5 * min(a[3] - a[1], b[3] - b[1])
    return a[0] + a[2] < b[0] + b[2] if is_row else a[1] + a[3] < b[1] + b[3]


def _flags(group: Group, label: Label | None) -> set[str]:
    """Reasons why a figure may be wrong."""
    flags = set(group.flags)
    if label is None or label.number is None:
        flags.add("nothing_recognised" if label is None else "label_without_number")
    elif label.confidence < _MIN_CONFIDENCE:
        flags.add("uncertain_label")
    if group.num_parts > 1:
        flags.add("separate_parts")
    return flags


def _score(label: Label | None, flags: set[str]) -> float:
    """Confidence that box and label are right: that of the least certain character, lowered by each flag."""
    score = label.confidence if label is not None else 1.0
    for flag in flags:
        score *= TRUST[flag]
    return round(score, 4)


def _with_flag(figure: SplitFigure, flag: str) -> SplitFigure:
    flags = {*figure.flags, flag}
    return replace(figure, flags=tuple(sorted(flags)), score=score_with(figure, flags))


def score_with(figure: SplitFigure, flags: set[str]) -> float:
    """The figure's score if its flags are replaced by `flags`, those it has after comparison with the grant."""
    score = figure.score
    for flag in flags ^ set(figure.flags):
        score = score * TRUST[flag] if flag in flags else score / TRUST[flag]
    return round(min(score, 1.0), 4)


def _erase(page: np.ndarray, half: np.ndarray, ink: Ink, label: Label) -> Box:
    """Erase a label from the page and its half-resolution ink, together with its underline and the dust around it.

    Returns:
        Box of the lettering in pixels of the page.
    """
    margin = label.height
    x0, y0 = max(0, label.box[0] - margin), max(0, label.box[1] - margin)
    ids = ink.ids[y0 : label.box[3] + margin, x0 : label.box[2] + margin]
    near = np.unique(ids[ids > 0]) - 1
    members = np.union1d(label.members, near[_belongs(ink.boxes[near], label)])
    gone = np.isin(ids, members + 1)
    half[y0 : y0 + ids.shape[0], x0 : x0 + ids.shape[1]][gone] = 0
    fine = gone.repeat(SCALE, 0).repeat(SCALE, 1)
    part = page[y0 * SCALE : (y0 + ids.shape[0]) * SCALE, x0 * SCALE : (x0 + ids.shape[1]) * SCALE]
    part[fine[: part.shape[0], : part.shape[1]]] = PAPER
    left, top, right, bottom = label.box
    return left * SCALE, top * SCALE, min(right * SCALE, page.shape[1]), min(bottom * SCALE, page.shape[0])


def _belongs(boxes: np.ndarray, label: Label) -> np.ndarray:
    """(num_boxes,) bool: True for components near a label that belong to it: points, its underline, dust."""
    x0, y0, x1, y1 = label.box
    # Compare along and across the line of text, whichever way it runs.
    if label.rotation_cw in (90, 270):
        boxes, (x0, y0, x1, y1) = boxes[:, [1, 0, 3, 2]], (y0, x0, y1, x1)
    height, width = y1 - y0, x1 - x0
    own_width, own_height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    is_small = np.maximum(own_width, own_height) <= 0.5 * height
    inside = (boxes[:, 0] >= x0 - 2) & (boxes[:, 1] >= y0 - 2) & (boxes[:, 2] <= x1 + 2) & (boxes[:, 3] <= y1 + 2)
    is_dust = np.maximum(own_width, own_height) <= 0.1 * height
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    is_rule = (own_height <= 0.3 * height) & (own_width >= 0.4 * width) & (own_width <= 1.6 * width)
    is_rule &= (middle > x0) & (middle < x1) & ((boxes[:, 1] < y0) | (boxes[:, 3] > y1) | inside)
    return (is_small & inside) | is_dust | is_rule


def cut_view(split: Split, index: int) -> np.ndarray:
    """The figure at `index`, cropped to its box, without the ink of other figures."""
    group = split.groups[index]
    x0, y0, x1, y1 = group.box
    view = split.upright[y0:y1, x0:x1].copy()
    for other in split.groups:
        left, top = other.mask_origin[0] * CELL, other.mask_origin[1] * CELL
        bottom, right = top + other.mask.shape[0] * CELL, left + other.mask.shape[1] * CELL
        if other is group or left >= x1 or right <= x0 or top >= y1 or bottom <= y0:
            continue
        fine = other.mask.repeat(CELL, 0).repeat(CELL, 1)
        fine = fine[max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
        dy, dx = max(0, top - y0), max(0, left - x0)
        part = view[dy : dy + fine.shape[0], dx : dx + fine.shape[1]]
        part[fine[: part.shape[0], : part.shape[1]]] = PAPER
    return view
