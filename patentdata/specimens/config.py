"""Settings of a week of specimens, and the difficulties and kinds of damage that it can be asked to show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from patentdata.errors import ConfigError
from patentdata.specimens.classes import HELD_BACK_KINDS, KINDS

HAZARDS: dict[str, str] = {
    "call_out": '"FIG. 3" with an arrow inside another figure, a reference and no label',
    "section_mark": "arrows and numbers that mark where a section is taken",
    "exploded_brace": "parts drawn apart, joined by a brace",
    "exploded_dashes": "parts drawn apart, joined by a dashed axis",
    "dashed_surroundings": "faint broken-line surroundings far around the drawing",
    "diagonal_neighbours": "two figures set diagonally, their boxes overlapping",
    "label_inside": "the label inside the box of its drawing",
    "underlined_label": "an underlined label",
    "italic_label": "an italic label",
    "stencil_label": "a stencilled label",
    "handwritten_label": "a handwritten label",
    "dash_label": '"FIG - 6"',
    "figure_word_label": '"Figure 8"',
    "hague_label": 'bare Hague numbers, "1.1"',
    "no_label": "a sole figure without a label",
    "landscape": "a sheet turned by 90 degrees that says so",
    "landscape_unsaid": "a sheet turned by 90 degrees whose grant does not say so",
    "upside_down": "a sheet turned by 180 degrees",
    "halftone": "a drawing in halftone, a third of it ink or more",
    "screen_text": "a screen full of text",
    "thin_edge": "edge views a few pixels high",
    "repeated_cells": "a pattern of many repeated, unconnected cells",
    "speckle": "specks all over the sheet",
    "blank_sheet": "a sheet without ink",
}
"""Kinds of difficult sheets: name → what the sheet shows."""

DAMAGE: dict[str, str] = {
    "truncated_archive": "the weekly archive ends in the middle",
    "html_archive": "an HTML page under the archive's name",
    "empty_archive": "an archive without members",
    "truncated_member": "a patent's ZIP ends in the middle",
    "broken_member": "a patent's ZIP has its bytes overwritten",
    "zip_bomb": "a member of a patent's ZIP that unpacks to more than a thousand times its size",
    "traversal_name": "a member whose name leads out of the folder",
    "absolute_name": "a member whose name begins at the root",
    "symlink_member": "a symbolic link among the members",
    "duplicate_member": "the same member twice",
    "broken_tiff": "a sheet whose TIFF is cut short",
    "huge_tiff": "a sheet whose TIFF declares an absurd size",
    "missing_sheet": "a sheet that the grant lists and the ZIP does not hold",
    "extra_sheet": "a sheet that the ZIP holds and the grant does not list",
    "missing_xml": "a patent without its XML",
    "broken_xml": "XML cut off in the middle",
    "external_entity": "XML that asks for a file of the reader's machine",
    "entity_bomb": "XML whose entities multiply without bound",
    "missing_title": "XML without a title",
    "wrong_size": "XML whose sheet sizes in millimetres do not fit the pixels",
}
"""Kinds of damage to a patent or an archive: name → what is wrong. The sentence is in the notes of a damaged week."""


@dataclass(frozen=True, kw_only=True)
class SpecimenConfig:
    """Settings of one week.

    Attributes:
        num_patents: Number of design patents in the week.
        seed: A specimen depends on the seed and its number only, so weeks can be drawn separately.
        first_number: Number of the first patent; the others follow without a gap.
        long_tailed: Ratio of the most to the least frequent class; 1 makes all classes equally frequent.
        articles: Kinds of article that are drawn, by the names of their builders; none: `classes.KINDS`. Classes
            without any of them do not occur.
        max_figures: Largest number of figures in one patent.
        max_figures_per_sheet: Largest number of figures on one sheet.
        drawing_scale: Size of the drawings as a share of their usual size; smaller is faster.
        hazards: Names from `HAZARDS`; the first patent shows the first one, and so on in turn.
        partly_claimed: Share of the patents that get lines which their grants explain: parts that are not claimed,
            what is around the article, bounds of the claim, stitching, folds, breaks. The drawings of the others do not
            depend on it.
        shared_surroundings: Number of consecutive patents that are drawn in the same surroundings, which they do not
            claim, each with an article of its own; 0 draws no such surroundings.
        damage: Names from `DAMAGE`; each damages one patent, or the archive as a whole.
        earliest_number: Number of the earliest specimen that may be cited; `first_number` if not given.
        workers: Number of processes that draw; the bytes do not depend on it.
    """

    num_patents: int = 24
    seed: int = 0
    first_number: int = 900_001
    long_tailed: float = 1.0
    articles: tuple[str, ...] = ()
    max_figures: int = 9
    max_figures_per_sheet: int = 6
    drawing_scale: float = 1.0
    hazards: tuple[str, ...] = ()
    partly_claimed: float = 0.0
    shared_surroundings: int = 0
    damage: tuple[str, ...] = ()
    earliest_number: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.num_patents < 1:
            raise ConfigError(f"num_patents is {self.num_patents}; draw at least 1")
        if not 1 <= self.first_number <= 9_999_999 - self.num_patents:
            raise ConfigError(f"first_number is {self.first_number}; design numbers have at most seven digits")
        if self.long_tailed < 1:
            raise ConfigError(f"long_tailed is {self.long_tailed}; give a ratio of at least 1, such as 60")
        if self.max_figures < 1 or self.max_figures_per_sheet < 1:
            raise ConfigError("max_figures and max_figures_per_sheet must be at least 1")
        if not 0.1 <= self.drawing_scale <= 1.2:
            raise ConfigError(f"drawing_scale is {self.drawing_scale}; give a share between 0.1 and 1.2")
        if not 0 <= self.partly_claimed <= 1:
            raise ConfigError(f"partly_claimed is {self.partly_claimed}; give a share between 0 and 1")
        if self.shared_surroundings < 0 or self.shared_surroundings == 1:
            raise ConfigError(
                f"shared_surroundings is {self.shared_surroundings}; give a number of patents from 2, or 0 for none"
            )
        if self.shared_surroundings and self.partly_claimed:
            raise ConfigError("shared_surroundings and partly_claimed are both set; draw them in weeks of their own")
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; at least 1 process has to draw")
        articles = tuple(kind.article for kind in (*KINDS, *HELD_BACK_KINDS))
        named: tuple[tuple[str, tuple[str, ...], Collection[str]], ...] = (
            ("articles", self.articles, articles),
            ("hazards", self.hazards, HAZARDS),
            ("damage", self.damage, DAMAGE),
        )
        for kind, given, known in named:
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise ConfigError(f"{kind}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
        if len(self.hazards) > self.num_patents:
            raise ConfigError(f"{len(self.hazards)} hazards need as many patents; num_patents is {self.num_patents}")

    def hazard_of(self, number: int) -> str | None:
        """The hazard that patent `number` shows, if any."""
        if not self.hazards:
            return None
        return self.hazards[(number - self.first_number) % len(self.hazards)]
