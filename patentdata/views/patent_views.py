"""The views of one grant: its sheets split, every figure named, cut out and matched with what the grant says of it.

A label that was read is evidence, not proof. What the grant declares decides: a label it declares takes the grant's
spelling, and figures without a declared label are paired with the declared labels that are left, if there are as many
of one as of the other. Everything else keeps what was read and is flagged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patentdata.errors import SheetError
from patentdata.store.report import Report
from patentdata.views.broken_lines.finding import find_broken_lines, without_broken_lines
from patentdata.views.broken_lines.statements import disagreements
from patentdata.views.front_page import Silhouette, copied_figures, silhouette
from patentdata.views.grouping import group_ink
from patentdata.views.labels.labels import is_merged, normalised
from patentdata.views.sheets import is_inverted, read_sheet, to_png
from patentdata.views.signatures import signature
from patentdata.views.splitting import (
    DEFAULT_CONFIG,
    Split,
    SplitFigure,
    SplitSheet,
    ViewsConfig,
    cut_view,
    score_with,
    split_page,
    split_sheet,
)

__all__ = [
    "VERSION",
    "SplitFigure",
    "SplitSheet",
    "ViewsConfig",
    "patent_views",
    "sheet_number",
    "split_sheet",
]

VERSION = 5  # to be raised when equal sheets give other views
_PX_PER_MM = 300 / 25.4  # drawings are published at 300 dpi
_SIZE_TOLERANCE_PX = 3.5
_CLAIMED_PNG_LEVEL = 4  # half the time of the level of the images, files 6 % larger
SHEET_FILE = re.compile(r"(?P<patent>(?:US)?D0*(?P<number>\d+))(?:-\d{8})?-D(?P<sheet>\d{5})\.TIFF?$", re.IGNORECASE)


def sheet_number(file_name: str) -> int | None:
    """Number of the sheet in a drawing's file name, 0 for the front page; None if the name has no number.

    >>> sheet_number("USD0907292-20210105-D00003.TIF")
    3
    """
    match = SHEET_FILE.search(file_name)
    return int(match["sheet"]) if match else None


def patent_views(
    grant: Mapping[str, Any],
    drawings: Mapping[str, bytes],
    *,
    config: ViewsConfig = DEFAULT_CONFIG,
    report: Report | None = None,
) -> list[dict[str, Any]]:
    """Every view of one grant: the front-page drawing first, then sheet by sheet in reading order.

    Args:
        grant: A row with the keys of `schemas.GRANTS`.
        drawings: File name → bytes of the TIFF, in order.
        config: Settings.
        report: The tallies "sheets", "front_pages" and "figures" and counts of flags are added to it.

    Returns:
        Rows with the keys of `schemas.VIEWS`. A view is named by patent and label ("D907292-3"), the front page
        "D907292-0", a view without a label by its sheet and position on it ("D907292-s5.1"), and a view whose label an
        earlier view already has by label, sheet and position ("D907292-3-s5.1").
    """
    report = Report("views") if report is None else report
    return _PatentSplitter(grant, config, report).rows(drawings)


class _PatentSplitter:
    """Splits the sheets of one grant, and counts what becomes of them in `report`."""

    def __init__(self, grant: Mapping[str, Any], config: ViewsConfig, report: Report) -> None:
        self.grant, self.config, self.report = grant, config, report
        self.number = grant["patent_number"]
        self.figures = {normalised(figure["label"]): figure for figure in grant["figures"]}
        self.declared = [figure["label"] for figure in grant["figures"]]
        self.images = {image["file_name"].lower(): image for image in grant["images"]}

    def rows(self, drawings: Mapping[str, bytes]) -> list[dict[str, Any]]:
        """Rows of all views, the front page first."""
        self._count_missing(drawings)
        front: tuple[str, np.ndarray] | None = None
        splits: list[tuple[int, Split]] = []
        numbers: set[int] = set()
        for index, (file_name, data) in enumerate(drawings.items()):
            # A name without a number: the drawings are in order, so its index is the best guess.
            number = sheet_number(file_name)
            number = index if number is None else number
            tally = self.report.tally("sheets" if number else "front_pages")
            tally.num_in += 1
            if number in numbers:
                tally.drop("repeated_sheet", file_name, "another file of this patent bears the same sheet number")
                continue
            try:
                page = read_sheet(data, name=file_name, max_pixels=self.config.max_pixels)
            except SheetError as error:
                tally.drop("broken_sheet", file_name, str(error))
                continue
            numbers.add(number)  # of files with one number, the first that can be read is the sheet
            self._compare_size(file_name, page)
            # The front page is kept for the end: which figures it copies is known only when all of them are cut out.
            if number == 0:
                front = (file_name, page)
                continue
            split = split_page(page, self._orientation(file_name), self.declared, self.config)
            if not split.groups:
                tally.drop("sheet_without_ink", file_name)
                continue
            tally.num_out += 1
            splits.append((number, split))
        rows, silhouettes = self._view_rows(splits)
        self._count_figures(rows)
        rows = self._front_rows(front, rows, silhouettes) + rows
        self._compare_broken_lines(rows)
        return rows

    def _orientation(self, file_name: str) -> str | None:
        """What the grant says of a drawing: "landscape", "portrait" or None."""
        return (self.images.get(file_name.lower()) or {}).get("orientation")

    def _compare_size(self, file_name: str, page: np.ndarray) -> None:
        """Count a drawing whose size is not the one in the grant; published drawings agree within 3 pixels."""
        image = self.images.get(file_name.lower()) or {}
        for stated_mm, size_px in zip((image.get("height_mm"), image.get("width_mm")), page.shape, strict=True):
            if stated_mm is not None and abs(stated_mm * _PX_PER_MM - size_px) > _SIZE_TOLERANCE_PX:
                self.report.count("size_disagrees")
                return

    def _compare_broken_lines(self, rows: list[dict[str, Any]]) -> None:
        """Flag the views whose broken lines do not agree with what the grant says of them, and count them."""
        for row, flags in zip(rows, disagreements(rows, self.grant.get("claim_scope") or ()), strict=True):
            row["flags"] = sorted({*row["flags"], *flags})
            for flag in flags:
                self.report.count(f"flag_{flag}")

    def _count_missing(self, drawings: Mapping[str, bytes]) -> None:
        """Drop the sheets that the grant lists and the archive lacks; count those that the grant does not list."""
        present = {name.lower() for name in drawings}
        listed = [image["file_name"] for image in self.grant["images"]]
        for file_name in listed:
            if file_name.lower() not in present:
                tally = self.report.tally("front_pages" if sheet_number(file_name) == 0 else "sheets")
                tally.num_in += 1
                tally.drop("sheet_missing", file_name)
        if unlisted := present - {name.lower() for name in listed}:
            self.report.count("unlisted_sheets", len(unlisted))

    def _view_rows(self, splits: list[tuple[int, Split]]) -> tuple[list[dict[str, Any]], list[Silhouette]]:
        """Rows of the figures on numbered sheets, and the silhouette of each."""
        rows, silhouettes, names = [], [], set()
        labels = iter(self._labels([figure for _, split in splits for figure in split.sheet.figures]))
        for number, split in splits:
            for position, figure in enumerate(split.sheet.figures, 1):
                label, flags = next(labels)
                name = f"{self.number}-{label}" if label else f"{self.number}-s{number}.{position}"
                if name in names:
                    name, flags = f"{name}-s{number}.{position}", flags | {"repeated_label"}
                names.add(name)
                picture = cut_view(split, position - 1)
                silhouettes.append(silhouette(picture))
                rows.append(self._row(name, number, label, figure, split.sheet.rotation_cw, picture, flags))
        return rows, silhouettes

    def _labels(self, figures: Sequence[SplitFigure]) -> list[tuple[str | None, set[str]]]:
        """Label and flags of each figure; a label that the grant declares is spelled as there.

        Figures without a declared label are paired in order with the declared labels that no figure has, if there are
        equally many of both.
        """
        read = self._unmerged([normalised(figure.label) for figure in figures])
        unused = [label for label in self.declared if normalised(label) not in read]
        unnamed = [index for index, label in enumerate(read) if label not in self.figures]
        inferred = dict(zip(unnamed, unused, strict=True)) if len(unused) == len(unnamed) else {}
        labels: list[tuple[str | None, set[str]]] = []
        for index, (figure, label) in enumerate(zip(figures, read, strict=True)):
            flags = set(figure.flags)
            if label in self.figures and label != normalised(figure.label):
                labels.append((self.figures[label]["label"], flags | {"inferred_label"}))
            elif label in self.figures:
                labels.append((self.figures[label]["label"], flags))
            elif index in inferred:
                is_sole = len(self.declared) == 1 and label is None  # its label is "FIGURE", or missing
                flags -= {"nothing_recognised", "label_without_number"}
                labels.append((inferred[index], flags if is_sole else flags | {"inferred_label"}))
            else:
                labels.append((figure.label, flags | ({"undeclared_label"} if label else set())))
        return labels

    def _unmerged(self, read: Sequence[str | None]) -> list[str | None]:
        """The labels in order, with those corrected whose equal digits were merged: "5" between "54" and "56" is "55".

        Corrected is a label that is not declared or was read twice, to a declared one that was not read, if that is the
        one that follows or precedes the label of a neighbouring figure.
        """
        order = [normalised(figure["label"]) for figure in self.grant["figures"]]
        corrected = list(read)
        for index, label in enumerate(read):
            if label in self.figures and corrected.count(label) == 1:
                continue
            neighbours = [(index - 1, 1), (index + 1, -1)]
            expected = [
                order[order.index(read[other]) + step]
                for other, step in neighbours
                if 0 <= other < len(read)
                and read[other] in self.figures
                and 0 <= order.index(read[other]) + step < len(order)
            ]
            for candidate in expected:
                if candidate not in corrected and is_merged(label, candidate):
                    corrected[index] = candidate
                    break
        return corrected

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
        """The row of one view, named `name`, from the sheet `number`; counts its flags."""
        declared = self.figures.get(normalised(label)) or {}
        png = to_png(picture)
        broken = find_broken_lines(picture)
        claimed = None if broken.mask is None else without_broken_lines(picture, broken.mask)
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
            "broken_share": broken.share,
            "claimed_image": None if claimed is None else to_png(claimed, level=_CLAIMED_PNG_LEVEL),
            "signature": signature(picture),
            "is_front_page": False,
            "front_page_of": [],
            "score": score_with(figure, flags),
            "flags": sorted(flags),
        }

    def _front_rows(
        self, front: tuple[str, np.ndarray] | None, rows: list[dict[str, Any]], silhouettes: list[Silhouette]
    ) -> list[dict[str, Any]]:
        """The row of the front page; none if it is missing or has no ink."""
        if front is None:
            return []
        file_name, page = front
        is_turned_over = is_inverted(page)
        page = ~page if is_turned_over else page
        tally = self.report.tally("front_pages")
        groups = group_ink(page, []).groups
        if not groups:
            tally.drop("sheet_without_ink", file_name)
            return []
        tally.num_out += 1
        copied = [rows[index]["view_id"] for index in copied_figures(page, silhouettes)]
        whole = SplitFigure(label=None, label_box=None, box=groups[0].box, score=1.0, flags=())
        flags = ({"inverted_sheet"} if is_turned_over else set()) | (set() if copied else {"copies_no_figure"})
        row = self._row(
            f"{self.number}-0",
            0,
            None,
            whole,
            0,
            page[groups[0].box[1] : groups[0].box[3], groups[0].box[0] : groups[0].box[2]],
            flags,
        )
        return [row | {"is_front_page": True, "front_page_of": copied}]

    def _count_figures(self, rows: list[dict[str, Any]]) -> None:
        """Count which declared figures have a view, and how many labels the grant does not declare."""
        tally = self.report.tally("figures")
        found = {normalised(row["figure_label"]) for row in rows}
        for label in self.declared:
            tally.num_in += 1
            if normalised(label) in found:
                tally.num_out += 1
            else:
                tally.drop("figure_not_found", f"{self.number} FIG. {label}")
        self.report.count("undeclared_figures", len(found - set(self.figures) - {None}))
