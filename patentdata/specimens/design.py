"""One specimen patent: its article, figures, sheets and grant.

Every random generator is seeded with the number of the patent or of its family, and none is shared between patents, so
that a patent is the same whichever patents are drawn with it.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from patentdata.specimens import wording
from patentdata.specimens.classes import CLASSES, HELD_BACK_KINDS, KINDS, Kind, printed_uspc
from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.drawing.figures import (
    Look,
    PlannedFigure,
    choose_figures,
    draw_lines,
    draw_look,
    draw_sheets,
    explain_look,
    front_page,
)
from patentdata.specimens.drawing.sheets import Sheet
from patentdata.specimens.drawing.tiff import encode_tiff, millimetres
from patentdata.specimens.drawn import DrawnArticle, describe_drawing
from patentdata.specimens.explained import Explained, explain_lines
from patentdata.specimens.grant_xml import Citation, Grant, Image, grant_xml
from patentdata.specimens.line_statements import draw_statements
from patentdata.specimens.shapes import articles
from patentdata.specimens.shapes.solids import Part
from patentdata.specimens.surroundings import surrounded

_SIBLING_SHARE = 0.12  # patents that are variants of the one before, same title and owner
_CITABLE = 300  # the number of the earliest specimen that one cites is at most this much lower
_ARTICLES_OF_HAZARDS = {
    "screen_text": "screen",
    "thin_edge": "tile",
    "repeated_cells": "fabric",
    "diagonal_neighbours": "screwdriver",
    "exploded_brace": "bottle",
    "exploded_dashes": "flashlight",
}


@dataclass(frozen=True)
class SpecimenPatent:
    """The files of a patent, and the truth about its sheets.

    Attributes:
        number: Patent number without the D.
        name: Name of the ZIP and its folder, "USD0900001-20240102".
        xml: The grant as XML.
        sheets: File name → TIFF, the front-page drawing first.
        truth: One entry a sheet, in the format of the hand-made truth of real sheets.
        drawn: What was drawn.
        grant: What the XML says.
    """

    number: int
    name: str
    xml: bytes
    sheets: dict[str, bytes]
    truth: list[dict]
    drawn: DrawnArticle
    grant: Grant

    def files(self) -> list[tuple[str, bytes]]:
        """Name and content of every file in the ZIP: the TIFFs, then the XML."""
        return [*self.sheets.items(), (f"{self.name}.XML", self.xml)]


def draw_patent(number: int, *, date: str, config: SpecimenConfig) -> SpecimenPatent:
    """Draw design patent `number`, granted on `date` (YYYYMMDD). It depends on seed, number and hazard only."""
    hazard = config.hazard_of(number)
    rng = np.random.default_rng([config.seed, number, 1])
    kind = kind_of(number, config, hazard)
    explained = _explain(_build(number, kind, config), number, kind, config)
    parts = explained.parts
    look = explain_look(draw_look(rng, hazard, config), explained)
    shown = choose_figures(parts, kind.article, hazard, rng, config)
    lines = draw_lines(parts, shown, look)
    sheets = draw_sheets(lines, shown, look, hazard, rng, config)
    front, front_of = front_page(lines, shown, look, rng, config)
    grant = _grant(number, date, kind, shown, look, hazard, sheets, front, config, rng)
    files = {
        image.file_name: encode_tiff(ink)
        for image, ink in zip(grant.images, [front, *[s.ink for s in sheets]], strict=True)
    }
    truth = _truth(grant, sheets, front_of)
    drawn = describe_drawing(kind.article, parts)
    return SpecimenPatent(number, grant.document_name, grant_xml(grant), files, truth, drawn, grant)


def article_and_figures(number: int, config: SpecimenConfig) -> tuple[list[Part], list[PlannedFigure]]:
    """The article of patent `number` without what is drawn around it, and the figures in which the patent shows it."""
    hazard = config.hazard_of(number)
    rng = np.random.default_rng([config.seed, number, 1])
    kind = kind_of(number, config, hazard)
    article = _build(number, kind, config)
    draw_look(rng, hazard, config)  # drawn before the figures in `draw_patent`, from the same generator
    return article, choose_figures(article, kind.article, hazard, rng, config)


@lru_cache(maxsize=8192)
def root_of(number: int, seed: int) -> int:
    """Number of the first patent of the family that `number` belongs to."""
    while number > 1 and np.random.default_rng([seed, number, 2]).random() < _SIBLING_SHARE:
        number -= 1
    return number


def kind_of(number: int, config: SpecimenConfig, hazard: str | None = None) -> Kind:
    """The kind of article of patent `number`; some hazards need a certain kind."""
    if hazard in _ARTICLES_OF_HAZARDS:
        return next(kind for kind in KINDS if kind.article == _ARTICLES_OF_HAZARDS[hazard])
    return _kind_of_root(root_of(number, config.seed), config.seed, config.long_tailed, config.articles)


@lru_cache(maxsize=8192)
def _kind_of_root(root: int, seed: int, long_tailed: float, articles: tuple[str, ...]) -> Kind:
    """The kind of a family's first patent: a class by its share, then one of the kinds that are drawn in it."""
    drawn = [kind for kind in (*KINDS, *HELD_BACK_KINDS) if kind.article in articles] if articles else KINDS
    classes = [uspc_class for uspc_class in CLASSES if any(kind.uspc_class == uspc_class for kind in drawn)]
    rng = np.random.default_rng([seed, root, 3])
    if long_tailed > 1:
        shares = long_tailed ** -np.linspace(0, 1, len(classes))
        uspc_class = int(rng.choice(classes, p=shares / shares.sum()))
    else:
        block, index = divmod(root, len(classes))  # every class once in each block of numbers
        uspc_class = int(np.random.default_rng([seed, block, 4]).permutation(classes)[index])
    kinds = [kind for kind in drawn if kind.uspc_class == uspc_class]
    return kinds[int(rng.integers(len(kinds)))]


def _build(number: int, kind: Kind, config: SpecimenConfig) -> list[Part]:
    """The parts of the article; the patents of a family show one design in different proportions."""
    root = root_of(number, config.seed)
    parts = articles.build(kind.article, np.random.default_rng([config.seed, root, 5]))
    if root != number:
        factor = np.random.default_rng([config.seed, number, 6]).uniform(0.75, 1.3, 3)
        parts = [part.stretched(*factor) for part in parts]
    return parts


def _explain(parts: list[Part], number: int, kind: Kind, config: SpecimenConfig) -> Explained:
    """The article with what is drawn around it or in it that the grant explains."""
    if config.shared_surroundings:
        return surrounded(parts, number, config.seed, config.shared_surroundings)
    return explain_lines(parts, kind.article, config.partly_claimed, np.random.default_rng([config.seed, number, 9]))


def _grant(
    number: int,
    date: str,
    kind: Kind,
    shown: list[PlannedFigure],
    look: Look,
    hazard: str | None,
    sheets: list[Sheet],
    front: np.ndarray,
    config: SpecimenConfig,
    rng: np.random.Generator,
) -> Grant:
    """What the grant says; every field that is drawn by `rng` is drawn in a fixed order."""
    # Patents of one family have the title and the owner of the first one.
    family = np.random.default_rng([config.seed, root_of(number, config.seed), 7])
    people = tuple(wording.draw_people(family))
    title = kind.titles[int(family.integers(len(kind.titles)))]
    assignee = wording.FIRMS[int(family.integers(len(wording.FIRMS)))] if family.random() < 0.75 else None
    granted = datetime.date(int(date[:4]), int(date[4:6]), int(date[6:]))
    filed = granted - datetime.timedelta(days=int(rng.integers(250, 900)))
    hague = hazard == "hague_label"
    name = f"USD{number:07d}-{date}"
    return Grant(
        number=number,
        date=date,
        produced=f"{granted - datetime.timedelta(days=14):%Y%m%d}",
        application_number=f"{35 if hague else 29}{rng.integers(500_000, 990_000)}",
        application_date=f"{filed:%Y%m%d}",
        title=title,
        claim=wording.claim_text(title, rng),
        locarno=kind.locarno,
        printed_uspc=printed_uspc(kind.uspc_class, kind.uspc_subclasses[int(rng.integers(len(kind.uspc_subclasses)))]),
        further_uspc=(printed_uspc(kind.uspc_class, kind.uspc_subclasses[-1]),) if rng.random() < 0.2 else (),
        searched_uspc=tuple(printed_uspc(kind.uspc_class, subclass) for subclass in kind.uspc_subclasses),
        inventors=people,
        assignee=assignee,
        agent=wording.AGENTS[int(rng.integers(len(wording.AGENTS)))] if rng.random() < 0.8 else None,
        examiner=wording.EXAMINERS[int(rng.integers(len(wording.EXAMINERS)))],
        citations=_citations(number, kind, granted, config, rng),
        parent=_parent(number, filed, config),
        priority=_priority(people[0].place[2], filed, rng),
        hague_number=f"DM{rng.integers(80_000, 220_000)}" if hague else None,
        num_figures=len(shown),
        paragraphs=_paragraphs(shown, title, len(people), look, hague, rng),
        drawn_lines=look.drawn_lines,
        images=tuple(
            Image(
                file_name=f"{name}-D{index:05d}.TIF",
                width_mm=millimetres(ink.shape[1]),
                height_mm=millimetres(ink.shape[0]),
                orientation="landscape" if turned and hazard != "landscape_unsaid" else None,
            )
            for index, (ink, turned) in enumerate([(front, False), *[(s.ink, s.rotation_cw == 90) for s in sheets]])
        ),
    )


def _paragraphs(
    shown: list[PlannedFigure], title: str, num_inventors: int, look: Look, hague: bool, rng: np.random.Generator
) -> tuple[tuple[str | None, str], ...]:
    """Reference and words of each paragraph: the sentences of all figures, then what the grant says about its lines."""
    paragraphs: list[tuple[str | None, str]] = []
    for index, figure in enumerate(shown):
        words = wording.viewpoint_words(figure.viewpoint, figure.direction, rng)
        if hague:
            paragraphs.append((None, f"{figure.number} : {words[0].upper()}{words[1:].removesuffix(' view')}"))
            continue
        if index == 0:
            text = wording.first_sentence(words, title, num_inventors, rng)
        else:
            text = wording.further_sentence(words, figure.mirror, rng)
        reference = "The sole FIGURE" if figure.number == "" else f"FIG. {figure.number}"
        end = "." if index == len(shown) - 1 else "; and," if index == len(shown) - 2 else ";"
        paragraphs.append((reference, f"is {text}{end}"))
    paragraphs += [(None, text) for text in draw_statements(look.drawn_lines, title, rng)]
    return tuple(paragraphs)


def _citations(
    number: int, kind: Kind, granted: datetime.date, config: SpecimenConfig, rng: np.random.Generator
) -> tuple[Citation, ...]:
    """Earlier specimens of the same kind, cited by the examiner, and documents that are not specimens."""
    earliest = config.first_number if config.earliest_number is None else config.earliest_number
    same_kind = [
        n for n in range(max(earliest, number - _CITABLE), number) if kind_of(n, config).article == kind.article
    ]
    chosen: list[int] = []
    if same_kind:
        chosen = rng.choice(same_kind, min(len(same_kind), int(rng.integers(1, 6))), replace=False).tolist()
    cited = []
    for other in sorted(chosen):
        author = wording.draw_people(np.random.default_rng([config.seed, root_of(other, config.seed), 7]))
        cited.append((f"D{other}", "S", f"{granted - datetime.timedelta(days=400):%Y%m}00", author, True))
    for _ in range(int(rng.integers(2, 9))):
        when = granted - datetime.timedelta(days=int(rng.integers(900, 9000)))
        if rng.random() < 0.6:
            document = f"D{rng.integers(250_000, 800_000)}", "S"
        else:
            document = str(rng.integers(4_000_000, 10_500_000)), "B2" if when.year > 2000 else "A"
        cited.append((*document, f"{when:%Y%m}00", wording.draw_people(rng), bool(rng.random() < 0.5)))
    uspc = printed_uspc(kind.uspc_class, kind.uspc_subclasses[0])
    return tuple(
        Citation(
            number=document,
            kind=code,
            date=date,
            name=people[0].last + (" et al." if len(people) > 1 else ""),
            by_examiner=by_examiner,
            printed_uspc=uspc if by_examiner and code == "S" else None,
        )
        for document, code, date, people, by_examiner in cited
    )


def _parent(number: int, filed: datetime.date, config: SpecimenConfig) -> tuple[str, str, str] | None:
    rng = np.random.default_rng([config.seed, number, 8])
    if rng.random() > 0.08:
        return None
    date = filed - datetime.timedelta(days=int(rng.integers(300, 900)))
    return f"29{rng.integers(400_000, 500_000)}", f"{date:%Y%m%d}", f"D{rng.integers(800_000, 890_000)}"


def _priority(country: str, filed: datetime.date, rng: np.random.Generator) -> tuple[str, str, str] | None:
    if country == "US" or rng.random() < 0.4:
        return None
    date = filed - datetime.timedelta(days=int(rng.integers(20, 180)))
    return country, f"{date.year}{rng.integers(100_000, 999_999)}", f"{date:%Y%m%d}"


def _truth(grant: Grant, sheets: list[Sheet], front_of: list[str]) -> list[dict]:
    """The truth about every sheet; `front_of` are the numbers of the figures that the front page copies."""
    rows = []
    for index, (sheet, image) in enumerate(zip(sheets, grant.images[1:], strict=True), start=1):
        row = {
            "patent": f"USD{grant.number:07d}",
            "sheet": index,
            "file": image.file_name,
            "width": sheet.ink.shape[1],
            "height": sheet.ink.shape[0],
            "rotation_cw_to_upright": sheet.rotation_cw,
            "figures": [
                {
                    "label": figure.number or None,  # "" is a sole figure, whose label is a word
                    "label_box": None if figure.label_box is None else [int(v) for v in figure.label_box],
                    "figure_box": [int(v) for v in figure.box],
                }
                for figure in sheet.figures
            ],
            "hard": bool(sheet.hard_why),
            "hard_why": list(sheet.hard_why),
            "note": "",
            "source": "specimen",
            "verified": True,
        }
        if index == 1:
            row["front_page_of"] = [number or None for number in front_of]
        rows.append(row)
    return rows


__all__ = ["SpecimenPatent", "article_and_figures", "draw_patent", "kind_of", "root_of"]
