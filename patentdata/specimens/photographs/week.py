"""Photographs of the articles of a week, next to its archive, with a file that says which patent each one shows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.design import article_and_figures
from patentdata.specimens.drawing.figures import PlannedFigure
from patentdata.specimens.drawing.projection import Camera
from patentdata.specimens.photographs.photograph import Rng, take_photograph

_STREAM = 11  # of the random numbers of photographs; the drawings use others
_PERSPECTIVE_SHARE = 0.6  # of the photographs of patents that have a perspective view
_LEAST_ELEVATION = 6.0  # degrees: a camera is never below the table
_UNSEEN = ("bottom", "exploded")  # no photograph of a thing on a table shows it like this


@dataclass(frozen=True)
class Photograph:
    """A photograph and the truth about it.

    Attributes:
        file_name: Name of its file, such as "D0900001-1.jpg".
        jpeg: Its bytes.
        patent_number: Number of the patent, as datasets write it.
        figure: Number of the figure that is nearest to its viewpoint; empty for a sole figure without a number.
        viewpoint: Viewpoint of that figure.
        camera: From where it was taken.
    """

    file_name: str
    jpeg: bytes
    patent_number: str
    figure: str
    viewpoint: str
    camera: Camera

    @property
    def truth(self) -> dict[str, str | float]:
        """What the photograph shows, as JSON values."""
        return {
            "file": self.file_name,
            "patent_number": self.patent_number,
            "figure": self.figure,
            "viewpoint": self.viewpoint,
            "azimuth": round(self.camera.azimuth, 1),
            "elevation": round(self.camera.elevation, 1),
            "roll": round(self.camera.roll, 1),
        }


def write_photographs(folder: Path, week: str, config: SpecimenConfig, num: int) -> Path:
    """Photograph the articles of a week: `folder/I20240102.photographs/` and `folder/I20240102.photographs.jsonl`.

    The patents are photographed in turn, each from another side if there are more photographs than patents. What a
    photograph shows depends on the seed, its patent and its index only.

    Args:
        folder: Folder of the week's archive, made if it does not exist.
        week: "I" and the date of issue, such as "I20240102".
        config: Settings of the week.
        num: Number of photographs.

    Returns:
        The file with the truth, one line a photograph.
    """
    pictures = folder / f"{week}.photographs"
    pictures.mkdir(parents=True, exist_ok=True)
    truth_path = folder / f"{week}.photographs.jsonl"
    with truth_path.open("w", encoding="utf-8") as truth:
        for photograph in _photographs(config, num):
            (pictures / photograph.file_name).write_bytes(photograph.jpeg)
            truth.write(json.dumps(photograph.truth) + "\n")
    return truth_path


def photograph_article(number: int, index: int, config: SpecimenConfig) -> Photograph:
    """Photograph number `index`, from 1, of the article of patent `number`."""
    rng = np.random.default_rng([config.seed, number, _STREAM, index])
    article, figures = article_and_figures(number, config)
    figure = _chosen(figures, rng)
    camera = _in_front_of(figure, rng)
    pixels = take_photograph(article, camera, rng)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(70, 93)))
    return Photograph(
        file_name=f"D{number:07d}-{index}.jpg",
        jpeg=buffer.getvalue(),
        patent_number=f"D{number}",
        figure=figure.number,
        viewpoint=figure.viewpoint,
        camera=camera,
    )


def _photographs(config: SpecimenConfig, num: int) -> Iterator[Photograph]:
    """The photographs in order; their bytes do not depend on the number of processes."""
    order = [(config.first_number + k % config.num_patents, 1 + k // config.num_patents) for k in range(num)]
    take = partial(_photograph, config=replace(config, workers=1))
    if config.workers == 1:
        yield from map(take, order)
        return
    with ProcessPoolExecutor(config.workers) as pool:
        for start in range(0, num, 16 * config.workers):  # in batches, so that finished ones do not pile up
            yield from pool.map(take, order[start : start + 16 * config.workers])


def _photograph(patent_and_index: tuple[int, int], config: SpecimenConfig) -> Photograph:
    return photograph_article(*patent_and_index, config)


def _chosen(figures: Sequence[PlannedFigure], rng: Rng) -> PlannedFigure:
    """The figure that a photograph is nearest to: mostly a perspective view."""
    possible = [figure for figure in figures if figure.viewpoint not in _UNSEEN] or list(figures)
    perspectives = [figure for figure in possible if figure.viewpoint == "perspective"]
    chosen = perspectives if perspectives and rng.random() < _PERSPECTIVE_SHARE else possible
    return chosen[int(rng.integers(len(chosen)))]


def _in_front_of(figure: PlannedFigure, rng: Rng) -> Camera:
    """A camera near that of the figure, as it is held by hand: closer, a little off, and not below the table."""
    azimuth, elevation = np.array([figure.camera.azimuth, figure.camera.elevation]) + rng.normal(0, [9, 5])
    if figure.viewpoint not in ("perspective", "top"):
        elevation += 10  # a thing on a table is seen from a little above
    return Camera(
        azimuth=float(azimuth),
        elevation=float(np.clip(elevation, _LEAST_ELEVATION, 84)),
        distance=float(rng.uniform(1.8, 4.5)),
        roll=float(rng.normal(0, 2.5)),
    )
