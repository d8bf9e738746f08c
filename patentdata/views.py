"""Sheets split into views: every figure found, named and cut out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patentdata.errors import SheetError
from patentdata.front_page import Silhouette, copied_figures, silhouette
from patentdata.grouping import CELL, Box, Group, group_ink
from patentdata.ink import SCALE, Ink, find_ink, mended
from patentdata.labels import Label, LabelSearch, find_labels, normalised
from patentdata.report import Report
from patentdata.sheets import MAX_PIXELS, PAPER, read_sheet, to_png, turn, turn_box

_MIN_CONFIDENCE = 0.6  # of a number's least certain character; below, the label is flagged
_TRUST = {  # what a flag leaves of the score
    "nothing_recognised": 0.5,
    "label_without_number": 0.7,
    "uncertain_label": 0.8,
    "separate_parts": 0.9,
    "close_figures": 0.7,
    "touching_figures": 0.4,
    "undeclared_label": 0.5,
    "inferred_label": 0.6,
    "repeated_label": 0.5,
}
_MENDED_READINGS = 12  # lines read again where no label was found, the letters mended
_MORE_STRANGERS = 8  # lines read in search of another label where a figure is in parts
_MIN_LEADER = 0.002  # share of other ink beside a label that may be the leader of a call-out
VERSION = 1  # raise it when equal sheets give other views


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """Settings of the splitter.

    Attributes:
        max_pixels: Sheets of more pixels are dropped unread.
        search: How much is read in search of labels.
    """

    max_pixels: int = MAX_PIXELS
    search: LabelSearch = LabelSearch()

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels is {self.max_pixels}; give the largest sheet to read, such as {MAX_PIXELS}")


@dataclass(frozen=True, kw_only=True)
class SplitFigure:
    """One figure of a sheet; boxes are x0, y0, x1, y1 in pixels of the page as published, ends exclusive."""

    label: str | None
    label_box: Box | None
    box: Box
    score: float
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SplitSheet:
    """A sheet split: how to turn it upright, and its figures in reading order."""

    rotation_cw: int
    figures: tuple[SplitFigure, ...]


@dataclass(frozen=True, kw_only=True)
class _Split:
    """A sheet split, and what its views are cut from: `groups` stand in the order of `sheet.figures`."""

    sheet: SplitSheet
    upright: np.ndarray
    groups: tuple[Group, ...]


def split_sheet(
    page: np.ndarray,
    *,
    orientation: str | None = None,
    declared: Sequence[str] | None = None,
    config: ViewsConfig = ViewsConfig(),
) -> SplitSheet:
    """Find the figures of one drawing sheet, in reading order.

    Args:
        page: (height_px, width_px) uint8, 0 is ink and 255 is paper, as published.
        orientation: "landscape" or "portrait" as the grant says, used where the sheet itself does not tell.
        declared: Labels the grant declares, if known.
        config: Settings.
    """
    return _split(page, orientation, declared, config).sheet


def _split(page: np.ndarray, orientation: str | None, declared: Sequence[str] | None, config: ViewsConfig) -> _Split:
    ink, labels, rotation_cw = _labels(page, config.search)
    if rotation_cw is None:
        rotation_cw = 90 if orientation == "landscape" else 0
    split = _without_call_outs(page, ink, labels, rotation_cw)
    if labels and any(group.num_parts > 1 for group in split.groups):
        more, _ = find_labels(page, ink, replace(config.search, is_thorough=True, max_strangers=_MORE_STRANGERS))
        if len(more) > len(labels):
            split = _without_call_outs(page, ink, more, more[0].rotation_cw)
    return split


def _without_call_outs(page: np.ndarray, ink: Ink, labels: list[Label], rotation_cw: int) -> _Split:
    split, call_out = _split_by(page, ink, labels, rotation_cw)
    while call_out is not None:
        labels = labels[:call_out] + labels[call_out + 1 :]
        split, call_out = _split_by(page, ink, labels, rotation_cw)
    return split


def _labels(page: np.ndarray, search: LabelSearch) -> tuple[Ink, list[Label], int | None]:
    """The ink, its labels and how to turn the sheet upright; letters mended where no label is found otherwise."""
    ink = find_ink(page)
    labels, rotation_cw = find_labels(page, ink, search)
    if not labels:
        whole = mended(ink)
        labels, other_cw = find_labels(page, whole, replace(search, max_readings=_MENDED_READINGS))
        ink, rotation_cw = (whole, other_cw) if labels else (ink, rotation_cw)
    return ink, labels, rotation_cw


def _split_by(page: np.ndarray, ink: Ink, labels: list[Label], rotation_cw: int) -> tuple[_Split, int | None]:
    """The sheet split by its labels, and the place of a label that must be a call-out, if there is one."""
    half = (ink.ids > 0).astype(np.uint8)
    # the padding keeps cells of the half-resolution ink on those of the page when both are turned
    bottom, right = -page.shape[0] % SCALE, -page.shape[1] % SCALE
    bare = cv2.copyMakeBorder(page, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=PAPER)
    boxes = [_erase(bare, half, ink, label) for label in labels]
    upright = turn(bare, rotation_cw)
    upright_boxes = [turn_box(box, rotation_cw, bare.shape) for box in boxes]
    suspects = [place for place, label in enumerate(labels) if label.foreign > _MIN_LEADER]
    grouping = group_ink(upright, upright_boxes, turn(half, rotation_cw), suspects)
    groups = sorted(grouping.groups, key=lambda group: (group.box[1], group.box[0]))
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
    return _Split(sheet=sheet, upright=upright, groups=tuple(groups)), grouping.call_out


def _flags(group: Group, label: Label | None) -> set[str]:
    """Why a figure may be wrong."""
    flags = set(group.flags)
    if label is None or label.number is None:
        flags.add("nothing_recognised" if label is None else "label_without_number")
    elif label.confidence < _MIN_CONFIDENCE:
        flags.add("uncertain_label")
    if group.num_parts > 1:
        flags.add("separate_parts")
    return flags


def _score(label: Label | None, flags: set[str]) -> float:
    """Confidence that box and label are right: what the least certain character has, less for each flag."""
    score = label.confidence if label is not None else 1.0
    for flag in flags:
        score *= _TRUST[flag]
    return round(score, 4)


def _score_with(figure: SplitFigure, flags: set[str]) -> float:
    """The figure's score, its flags exchanged for those it has beside the grant."""
    score = figure.score
    for flag in flags ^ set(figure.flags):
        score = score * _TRUST[flag] if flag in flags else score / _TRUST[flag]
    return round(min(score, 1.0), 4)


def _erase(page: np.ndarray, half: np.ndarray, ink: Ink, label: Label) -> Box:
    """Paint a label over, on the page and on its half-resolution ink, with its underline and the dust around it.

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
    """Which components near a label go with it: its points, its underline, dust."""
    x0, y0, x1, y1 = label.box
    if label.rotation_cw in (90, 270):
        boxes, (x0, y0, x1, y1) = boxes[:, [1, 0, 3, 2]], (y0, x0, y1, x1)
    height, width = y1 - y0, x1 - x0
    own_width, own_height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    is_small = np.maximum(own_width, own_height) <= 0.5 * height
    inside = (boxes[:, 0] >= x0 - 2) & (boxes[:, 1] >= y0 - 2) & (boxes[:, 2] <= x1 + 2) & (boxes[:, 3] <= y1 + 2)
    dust = np.maximum(own_width, own_height) <= 0.1 * height
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    is_rule = (own_height <= 0.3 * height) & (own_width >= 0.4 * width) & (own_width <= 1.6 * width)
    is_rule &= (middle > x0) & (middle < x1) & ((boxes[:, 1] < y0) | (boxes[:, 3] > y1) | inside)
    return (is_small & inside) | dust | is_rule


def _cut(split: _Split, place: int) -> np.ndarray:
    """One figure cut at its box, ink of other figures taken out of it."""
    group = split.groups[place]
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


_SHEET_FILE = re.compile(r"(?P<patent>(?:US)?D0*(?P<number>\d+))(?:-\d{8})?-D(?P<sheet>\d{5})\.TIFF?$", re.IGNORECASE)


def sheet_number(file_name: str) -> int | None:
    """Number of the sheet in a drawing's name, 0 for the front page; null where the name has none.

    >>> sheet_number("USD0907292-20210105-D00003.TIF")
    3
    """
    match = _SHEET_FILE.search(file_name)
    return int(match["sheet"]) if match else None


def patent_views(
    grant: Mapping[str, Any],
    drawings: Mapping[str, bytes],
    *,
    config: ViewsConfig = ViewsConfig(),
    report: Report | None = None,
) -> list[dict[str, Any]]:
    """Every view of one grant: the front-page drawing first, then sheet by sheet in reading order.

    Args:
        grant: A row with the keys of `records.GRANTS`.
        drawings: File name → bytes of the TIFF, in order.
        config: Settings.
        report: Gets the tallies "sheets", "front_pages" and "figures", and counts of flags.

    Returns:
        Rows with the keys of `records.VIEWS`. A view is named by patent and label ("D907292-3"), the front page
        "D907292-0", a view without a label by sheet and place ("D907292-s5.1"), and a second view with a label that an
        earlier one bears by both ("D907292-3-s5.1").
    """
    report = Report("views") if report is None else report
    return _PatentSplitter(grant, config, report).rows(drawings)


class _PatentSplitter:
    """The views of one grant, with the accounts they are entered in."""

    def __init__(self, grant: Mapping[str, Any], config: ViewsConfig, report: Report) -> None:
        self.grant, self.config, self.report = grant, config, report
        self.number = grant["patent_number"]
        self.figures = {normalised(figure["label"]): figure for figure in grant["figures"]}
        self.declared = [figure["label"] for figure in grant["figures"]]

    def rows(self, drawings: Mapping[str, bytes]) -> list[dict[str, Any]]:
        self._count_missing(drawings)
        front: tuple[str, np.ndarray] | None = None
        splits: list[tuple[int, _Split]] = []
        for place, (file_name, data) in enumerate(drawings.items()):
            number = sheet_number(file_name)
            number = place if number is None else number
            tally = self.report.tally("sheets" if number else "front_pages")
            tally.num_in += 1
            try:
                page = read_sheet(data, name=file_name, max_pixels=self.config.max_pixels)
            except SheetError as error:
                tally.drop("broken_sheet", file_name, str(error))
                continue
            if number == 0:
                front = (file_name, page)
                continue
            split = _split(page, self._orientation(file_name), self.declared, self.config)
            if not split.groups:
                tally.drop("sheet_without_ink", file_name)
                continue
            tally.num_out += 1
            splits.append((number, split))
        rows, silhouettes = self._view_rows(splits)
        self._count_figures(rows)
        return self._front_rows(front, rows, silhouettes) + rows

    def _orientation(self, file_name: str) -> str | None:
        for image in self.grant["images"]:
            if image["file_name"].lower() == file_name.lower():
                return image["orientation"]
        return None

    def _count_missing(self, drawings: Mapping[str, bytes]) -> None:
        """Sheets that the grant lists and the archive lacks come in and are dropped; unlisted ones are counted."""
        there = {name.lower() for name in drawings}
        listed = [image["file_name"] for image in self.grant["images"]]
        for file_name in listed:
            if file_name.lower() not in there:
                tally = self.report.tally("front_pages" if sheet_number(file_name) == 0 else "sheets")
                tally.num_in += 1
                tally.drop("sheet_missing", file_name)
        if unlisted := there - {name.lower() for name in listed}:
            self.report.count("unlisted_sheets", len(unlisted))

    def _view_rows(self, splits: list[tuple[int, _Split]]) -> tuple[list[dict[str, Any]], list[Silhouette]]:
        rows, silhouettes, names = [], [], set()
        labels = iter(self._labels([figure for _, split in splits for figure in split.sheet.figures]))
        for number, split in splits:
            for place, figure in enumerate(split.sheet.figures, 1):
                label, flags = next(labels)
                name = f"{self.number}-{label}" if label else f"{self.number}-s{number}.{place}"
                if name in names:
                    name, flags = f"{name}-s{number}.{place}", flags | {"repeated_label"}
                names.add(name)
                picture = _cut(split, place - 1)
                silhouettes.append(silhouette(picture))
                rows.append(self._row(name, number, label, figure, split.sheet.rotation_cw, picture, flags))
        return rows, silhouettes

    def _labels(self, figures: Sequence[SplitFigure]) -> list[tuple[str | None, set[str]]]:
        """Label, as the grant prints it where it declares it, and flags of each figure of the grant.

        Where just as many figures lack a declared label as declared labels lack a figure, they are paired in order.
        """
        read = [normalised(figure.label) for figure in figures]
        left = [label for label in self.declared if normalised(label) not in read]
        open_places = [place for place, label in enumerate(read) if label not in self.figures]
        inferred = dict(zip(open_places, left, strict=True)) if len(left) == len(open_places) else {}
        labels: list[tuple[str | None, set[str]]] = []
        for place, (figure, label) in enumerate(zip(figures, read, strict=True)):
            flags = set(figure.flags)
            if label in self.figures:
                labels.append((self.figures[label]["label"], flags))
            elif place in inferred:
                is_sole = len(self.declared) == 1 and label is None  # a sole figure shows "FIGURE", or nothing
                flags -= {"nothing_recognised", "label_without_number"}
                labels.append((inferred[place], flags if is_sole else flags | {"inferred_label"}))
            else:
                labels.append((figure.label, flags | ({"undeclared_label"} if label else set())))
        return labels

    def _row(
        self,
        name: str,
        number: int,
        label: str | None,
        figure: SplitFigure,
        rotation_cw: int,
        picture: np.ndarray,
        flags: set[str],
    ) -> dict[str, Any]:
        declared = self.figures.get(normalised(label)) or {}
        png = to_png(picture)
        for flag in flags:
            self.report.count(f"flag_{flag}")
        return {
            "view_id": name,
            "patent_number": self.number,
            "grant_date": self.grant["grant_date"],
            "sheet_number": number,
            "figure_label": label,
            "viewpoint": declared.get("viewpoint") or "none",
            "viewpoint_direction": declared.get("viewpoint_direction"),
            "description": declared.get("text"),
            "box": list(figure.box),
            "label_box": list(figure.label_box) if figure.label_box else None,
            "rotation_cw": rotation_cw,
            "width": picture.shape[1],
            "height": picture.shape[0],
            "image": png,
            "image_sha256": hashlib.sha256(png).hexdigest(),
            "is_front_page": False,
            "front_page_of": [],
            "score": _score_with(figure, flags),
            "flags": sorted(flags),
        }

    def _front_rows(
        self, front: tuple[str, np.ndarray] | None, rows: list[dict[str, Any]], silhouettes: list[Silhouette]
    ) -> list[dict[str, Any]]:
        if front is None:
            return []
        file_name, page = front
        tally = self.report.tally("front_pages")
        groups = group_ink(page, []).groups
        if not groups:
            tally.drop("sheet_without_ink", file_name)
            return []
        tally.num_out += 1
        copied = [rows[place]["view_id"] for place in copied_figures(page, silhouettes)]
        flags = () if copied else ("copies_no_figure",)
        whole = SplitFigure(label=None, label_box=None, box=groups[0].box, score=1.0 if copied else 0.5, flags=flags)
        row = self._row(
            f"{self.number}-0",
            0,
            None,
            whole,
            0,
            page[groups[0].box[1] : groups[0].box[3], groups[0].box[0] : groups[0].box[2]],
            set(flags),
        )
        return [row | {"is_front_page": True, "front_page_of": copied}]

    def _count_figures(self, rows: list[dict[str, Any]]) -> None:
        tally = self.report.tally("figures")
        found = {normalised(row["figure_label"]) for row in rows}
        for label in self.declared:
            tally.num_in += 1
            if normalised(label) in found:
                tally.num_out += 1
            else:
                tally.drop("figure_not_found", f"{self.number} FIG. {label}")
        self.report.count("undeclared_figures", len(found - set(self.figures) - {None}))


def split_folder(
    folder: Path,
    *,
    config: ViewsConfig = ViewsConfig(),
    report: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Split every TIFF of a folder and its sub-folders, in order of the files' names.

    Args:
        folder: Where the sheets lie.
        config: Settings.
        report: Gets the tally "sheets".
        progress: Called with the number of sheets done and of all sheets.

    Yields:
        One dict a sheet: `patent`, `sheet`, `file`, `width`, `height`, `rotation_cw_to_upright` and `figures`, each
        with `label`, `label_box`, `figure_box`, `score` and `flags`. A file that cannot be read gives none and is
        dropped.
    """
    report = Report("views") if report is None else report
    tally = report.tally("sheets")
    files = [path for path in Path(folder).rglob("*") if path.suffix.lower() in (".tif", ".tiff") and path.is_file()]
    files.sort(key=lambda path: (path.name, path))
    for num_done, path in enumerate(files, 1):
        tally.num_in += 1
        try:
            page = read_sheet(path.read_bytes(), name=path.name, max_pixels=config.max_pixels)
        except SheetError as error:
            tally.drop("broken_sheet", path.name, str(error))
        else:
            tally.num_out += 1
            yield _line(path.name, page.shape, split_sheet(page, config=config))
        if progress is not None:
            progress(num_done, len(files))


def _line(file_name: str, shape: tuple[int, ...], sheet: SplitSheet) -> dict[str, Any]:
    match = _SHEET_FILE.search(file_name)
    return {
        "patent": match["patent"] if match else Path(file_name).stem,
        "sheet": int(match["sheet"]) if match else 1,
        "file": file_name,
        "width": shape[1],
        "height": shape[0],
        "rotation_cw_to_upright": sheet.rotation_cw,
        "figures": [
            {
                "label": figure.label,
                "label_box": list(figure.label_box) if figure.label_box else None,
                "figure_box": list(figure.box),
                "score": figure.score,
                "flags": list(figure.flags),
            }
            for figure in sheet.figures
        ],
    }
