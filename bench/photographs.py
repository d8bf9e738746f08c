"""Photographs of drawn patents as queries: how many find their patent, with and without the step to line drawing.

    python -m bench.photographs OUT RUN [--dataset NAME] [--split NAME] [--num N] [--photographs FOLDER] [--tones]

OUT is the folder of `python -m bench.evidence --scale small`, RUN one of its runs. Patents of a split are photographed,
one photograph each, and searched for among all patents of the dataset. Prints one JSON line: for the photograph as it
is (the reference), its line drawing, and the better of both as `designclip search` ranks them, the share of the queries
whose patent is among the first ten, the mean reciprocal rank, and the differences to the reference with 95 % intervals
over patents. `recognised` is the share of the photographs that are recognised as such, to which the step is confined.

With `--tones`, sheets are measured instead (--sheets FOLDER, TIFF files): how many are taken for photographs as they
are, made smaller, as scans in grey, on unevenly lit or aged paper, and as blueprints.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from bench.evidence.scale import SCALES
from bench.evidence.specimens import weeks
from model.dataset.photograph import measure_tones
from model.dataset.query_image import read_query_image
from model.evaluation.measures.bootstrap import Bootstrap, interval
from model.search.query import Picture, Query
from model.search.search import Search, open_search
from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.photographs.week import photograph_article

_FIRST = 10
_MOST = 100  # patents that are looked through for the right one


def photographs(split: str, num: int, folder: Path) -> list[tuple[str, Path]]:
    """Patent number and file of `num` photographs of a split's patents, taken unless they are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    patents = [
        (number, week.config)
        for week in weeks(SCALES["small"].data)
        if week.split == split
        for number in range(week.config.first_number, week.config.first_number + week.config.num_patents)
    ]
    chosen = [patents[int(index * len(patents) / num)] for index in range(num)]
    with ProcessPoolExecutor() as pool:
        paths = list(pool.map(_take, chosen, [folder] * num, chunksize=4))
    return [(f"D{number}", path) for (number, _), path in zip(chosen, paths, strict=True)]


def _take(patent: tuple[int, SpecimenConfig], folder: Path) -> Path:
    number, config = patent
    path = folder / f"D{number:07d}-1.jpg"
    if not path.exists():
        path.write_bytes(photograph_article(number, 1, config).jpeg)
    return path


def _forms(data: bytes, search: Search, name: str) -> dict[str, Picture]:
    """The forms in which a photograph is searched."""
    as_it_is = Picture.of(name, read_query_image(data, search.image, "never"))
    both = Picture.of(name, read_query_image(data, search.image, "always"))
    lines = Picture(name=name, pixels=as_it_is.pixels if both.lines is None else both.lines)
    return {"as it is": as_it_is, "line drawing": lines, "better of both": both}


def _rank(search: Search, picture: Picture, patent: str) -> float:
    """The rank of a patent, from 1; infinite if it is not among the first `_MOST`."""
    found = search.find(Query(pictures=(picture,), k=_MOST))
    return next((float(hit.rank) for hit in found.hits if hit.best.patent_number == patent), float("inf"))


def measure(search: Search, taken: Sequence[tuple[str, Path]], num_resamples: int = 2000) -> dict[str, Any]:
    """Recall and mean reciprocal rank of every form, and the differences to the photograph as it is."""
    ranks: dict[str, list[float]] = {}
    recognised = []
    for patent, path in taken:
        data = path.read_bytes()
        recognised.append(read_query_image(data, search.image).lines is not None)
        for form, picture in _forms(data, search, path.name).items():
            ranks.setdefault(form, []).append(_rank(search, picture, patent))
    bootstrap = Bootstrap(np.array([patent for patent, _ in taken]), num_resamples, seed=0)
    result: dict[str, Any] = {"num_queries": len(taken), "recognised": float(np.mean(recognised))}
    # What `--photograph auto` does: both forms for the photographs that are recognised, else as it is.
    both, single = np.array(ranks["better of both"]), np.array(ranks["as it is"])
    ranks["auto"] = list(np.where(recognised, both, single))
    reference = _values(ranks["as it is"])
    for form, of_form in ranks.items():
        values = _values(of_form)
        differences = bootstrap.means(values - reference)
        result[form] = {
            name: {
                "value": round(float(values[:, column].mean()), 4),
                "difference": round(float((values - reference)[:, column].mean()), 4),
                "interval": [round(bound, 4) for bound in interval(differences[:, column])],
            }
            for column, name in enumerate((f"recall@{_FIRST}", "mrr"))
        }
    return result


def _values(ranks: Sequence[float]) -> np.ndarray:
    """(num_queries, 2): whether the patent is among the first, and one over its rank."""
    array = np.array(ranks)
    return np.column_stack([array <= _FIRST, 1 / array]).astype(float)


def variants(grey: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Name and colours of what becomes of a drawing: (height_px, width_px) uint8 → (…, …, 3) uint8."""
    yield "as published", np.repeat(grey[:, :, None], 3, axis=2)
    smaller = cv2.resize(grey, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    yield "made smaller", np.repeat(smaller[:, :, None], 3, axis=2)
    ink = 1 - cv2.GaussianBlur(smaller, (0, 0), 0.8).astype(np.float32)[:, :, None] / 255
    height, width = smaller.shape
    row, column = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    spots = cv2.resize(rng.normal(0, 1, (6, 6)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    made: dict[str, Callable[[], np.ndarray]] = {
        "scanned in grey": lambda: 210 - 160 * ink,
        "unevenly lit": lambda: (215 - 185 * ink) * (0.8 + 0.2 * (0.7 * row + 0.3 * column) - 0.1 * column**2),
        "aged paper": lambda: np.array([225, 205, 160]) * (1 + 0.04 * spots[:, :, None]) * (1 - ink) + 60 * ink,
        "blueprint": lambda: np.array([25, 80, 150]) * (1 - ink) + np.array([225, 240, 250]) * ink,
    }
    for name, make in made.items():
        noisy = make() + rng.normal(0, 4, (height, width, 3))
        encoded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
        yield name, np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def measure_drawings(sheets: Sequence[Path]) -> dict[str, Any]:
    """For each variant of the sheets, how many are taken for photographs, and which."""
    taken: dict[str, list[str]] = {}
    for number, path in enumerate(sheets):
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))
        for name, rgb in variants(grey, np.random.default_rng(number)):
            taken.setdefault(name, [])
            if measure_tones(rgb).is_photograph:
                taken[name].append(path.stem)
    return {"num_sheets": len(sheets), **{name: {"taken": len(of), "sheets": of} for name, of in taken.items()}}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("run", nargs="?")
    parser.add_argument("--dataset", default="all")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--photographs", type=Path, help="folder in which the photographs are kept")
    parser.add_argument("--tones", action="store_true")
    parser.add_argument("--sheets", type=Path)
    args = parser.parse_args()
    if args.tones:
        if args.sheets is None:
            parser.error("--tones needs --sheets")
        sheets = sorted(path for path in args.sheets.rglob("*") if path.suffix.lower() in (".tif", ".tiff"))
        step = max(1, len(sheets) // args.num)
        print(json.dumps(measure_drawings(sheets[::step][: args.num])))
        return
    if args.out is None or args.run is None:
        parser.error("give the folder of the evidence and a run")
    search = open_search(args.out / "runs" / args.run, args.out / "data" / "datasets" / args.dataset)
    folder = args.photographs or args.out / "photographs" / args.split
    print(json.dumps(measure(search, photographs(args.split, args.num, folder))))


if __name__ == "__main__":
    main()
