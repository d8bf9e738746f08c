"""Accuracy and cost of finding broken lines: pixels on specimens, shares on real views, time within the views stage.

    python -m bench.broken_lines [FOLDER OF REAL PATENTS] [--specimens 200] [--seed 0] [--misses]

Specimens are articles of which some parts are drawn broken, in dashes or dash-dot, by pens of all widths and at all
scales; most of them show a look-alike, such as hatching or rows of ellipses, or a flaw of scanning. The pen knows which
pixels are broken. Real views are those of `truth/broken_views_dev.jsonl`, judged by eye: none, some (under a quarter of
the length of the lines), half, most (over three quarters). The cost is what finding broken lines and writing the
claimed images adds to the processor time of the stage, from archive to Parquet, over the same weeks in turn. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.grants.stage import parse_archive
from patentdata.specimens.classes import KINDS
from patentdata.specimens.drawing.look_alikes import LOOK_ALIKES, frayed, greyed, torn, with_look_alike
from patentdata.specimens.drawing.pen import Inked, Pen, ink_drawing
from patentdata.specimens.drawing.projection import Camera, project
from patentdata.specimens.shapes import articles
from patentdata.specimens.shapes.solids import assemble
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import table_path
from patentdata.views import patent_views
from patentdata.views.broken_lines.finding import NONE_FOUND, BrokenLines, find_broken_lines
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.stage import split_archive

_DEFAULT = Path(os.environ.get("DESIGNCLIP_REAL_DATA", "../shared/data"))
_AMOUNTS = ("none", "some", "half", "most")
_FLAWS = ("torn", "frayed", "greyed")
_SHORTEST_DOT = 0.009  # of the drawing: shorter runs are lost between the samples of a projected line
_LEAST_GAP_PX = 5  # between two strokes; narrower gaps cannot be told from flaws of scanning


@dataclass(frozen=True)
class Specimen:
    """A drawing whose broken pixels are known, with its style and its hazard."""

    drawing: Inked
    hazard: str
    style: str
    pen_px: int


def draw_specimen(number: int, seed: int) -> Specimen:
    """One view of an article, some of whose parts are broken."""
    rng = np.random.default_rng([seed, number])
    kind = KINDS[int(rng.integers(len(KINDS)))]
    parts = articles.build(kind.article, rng)
    broken_share = rng.choice([0.0, 0.3, 0.6, 1.0], p=[0.2, 0.35, 0.35, 0.1])
    parts = [part.as_environment() if rng.random() < broken_share else part for part in parts]
    pen_px = int(rng.integers(2, 7))
    pen = Pen(solid_px=pen_px, broken_px=max(2, pen_px - 1), fine_px=pen_px, shade_px=max(1, pen_px // 2))
    size_px = float(rng.uniform(500, 2000))
    # Lengths of strokes and gaps between the axes of the pen; its round ends make strokes longer and gaps narrower.
    gap = (pen.broken_px + rng.uniform(_LEAST_GAP_PX, 12)) / size_px
    style = "dash_dot" if rng.random() < 0.3 else "dashes"
    if style == "dash_dot":
        pattern = (rng.uniform(2.5, 5.5) * gap, gap, max(0.5 * gap, _SHORTEST_DOT), gap)
    else:
        pattern = (rng.uniform(0.9, 3.5) * gap, gap)
    camera = Camera(azimuth=float(rng.uniform(-60, 60)), elevation=float(rng.uniform(-10, 60)))
    lines = project(assemble(parts), camera, dash=pattern)
    drawing = ink_drawing(lines, size_px / float(lines.extent.max()), pen)
    hazard = str(rng.choice(["none", *LOOK_ALIKES, *_FLAWS]))
    if hazard in LOOK_ALIKES:
        drawing = with_look_alike(drawing, hazard, rng)
    elif hazard in _FLAWS:
        drawing = greyed(drawing) if hazard == "greyed" else {"torn": torn, "frayed": frayed}[hazard](drawing, rng)
    return Specimen(drawing, hazard, style, pen_px)


def pixel_scores(num: int, seed: int) -> dict[str, Any]:
    """Precision and recall of broken pixels over all specimens, by hazard, style and width of the pen."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for number in range(num):
        specimen = draw_specimen(number, seed)
        drawing = specimen.drawing
        mask = find_broken_lines(np.where(drawing.ink, 0, 255).astype(np.uint8)).mask
        found = np.zeros_like(drawing.ink) if mask is None else mask
        score = Counter(
            both=int((found & drawing.broken).sum()), found=int(found.sum()), broken=int(drawing.broken.sum())
        )
        for group in ("all", specimen.hazard, specimen.style, f"pen_{specimen.pen_px}"):
            counts[group].update(score, views=1)
    return {
        group: {
            "views": count["views"],
            "precision": round(count["both"] / max(count["found"], 1), 4),
            "recall": round(count["both"] / max(count["broken"], 1), 4),
        }
        for group, count in sorted(counts.items())
    }


def amount_of(share: float | None) -> str:
    """The word for a share of broken lines.

    >>> [amount_of(share) for share in (0.0, 0.1, 0.25, 0.8)]
    ['none', 'some', 'half', 'most']
    """
    if not share:
        return "none"
    return "some" if share < 0.25 else "half" if share <= 0.75 else "most"


def share_scores(truths: list[dict[str, Any]], found: dict[str, BrokenLines]) -> dict[str, Any]:
    """How the shares of real views agree with what a reader saw, over views and with each patent counting as one."""
    scores: dict[str, list[dict[str, float]]] = defaultdict(list)
    for truth in truths:
        seen, expected = amount_of(found[truth["view_id"]].share), truth["broken"]
        apart = abs(_AMOUNTS.index(seen) - _AMOUNTS.index(expected))
        score = {"exact": float(apart == 0), "within_one": float(apart <= 1), "any": float(seen != "none")}
        scores[truth["view_id"].split("-")[0]].append(score | {"is_broken": float(expected != "none")})
    views = [score for patent in scores.values() for score in patent]

    def means(name: str) -> dict[str, float]:
        by_patent = [np.mean([score[name] for score in patent]) for patent in scores.values()]
        return {
            "views": round(float(np.mean([score[name] for score in views])), 4),
            "patents": round(float(np.mean(by_patent)), 4),
        }

    with_any = float(np.mean([score["any"] for score in views if score["is_broken"]] or [np.nan]))
    without = float(np.mean([1 - score["any"] for score in views if not score["is_broken"]] or [np.nan]))
    return {
        "num_views": len(views),
        "num_patents": len(scores),
        "exact": means("exact"),
        "within_one": means("within_one"),
        "any_found": round(with_any, 4),
        "none_left_alone": round(without, 4),
        "balanced": round((with_any + without) / 2, 4),
    }


def split_real(folder: Path) -> tuple[dict[str, BrokenLines], dict[str, float]]:
    """Broken lines of every view, and what they add to the processor time of the stage, archive to Parquet."""
    seconds: Counter[str] = Counter()
    found: dict[str, BrokenLines] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = DataFolder(Path(temporary))
        for week in list_weeks(str(folder / "redbook")):
            keep_archive(data, week, ArchivesConfig())
            parse_archive(data, week.week)
            path = table_path(data, "views", week.week)
            for name, find in (("without", lambda page: NONE_FOUND), ("with", find_broken_lines)):
                data.remove(path)
                with mock.patch.object(patent_views, "find_broken_lines", find):
                    started = time.process_time()
                    split_archive(data, week.week, ViewsConfig())
                    seconds[name] += time.process_time() - started
            with open_table(data, path) as table:
                for row in table.read(columns=["view_id", "broken_share"]).to_pylist():
                    found[row["view_id"]] = BrokenLines(share=row["broken_share"], mask=None)
    cost = {
        "stage_ms_a_view": round(1000 * seconds["without"] / len(found), 1),
        "broken_lines_ms_a_view": round(1000 * (seconds["with"] - seconds["without"]) / len(found), 1),
        "cost_ratio": round(seconds["with"] / seconds["without"] - 1, 3),
    }
    return found, cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=_DEFAULT)
    parser.add_argument("--specimens", type=int, default=200, help="number of specimens to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the specimens")
    parser.add_argument("--misses", action="store_true", help="list the real views whose amount is not the reader's")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    result: dict[str, Any] = {"bench": "broken_lines", "pixels": pixel_scores(arguments.specimens, arguments.seed)}
    truth_path = arguments.folder / "truth" / "broken_views_dev.jsonl"
    if truth_path.exists():
        truths = [json.loads(line) for line in truth_path.read_text(encoding="utf-8").splitlines()]
        found, cost = split_real(arguments.folder)
        result |= {"real": share_scores(truths, found), **cost}
        if arguments.misses:
            result["misses"] = [
                [truth["view_id"], truth["broken"], found[truth["view_id"]].share]
                for truth in truths
                if amount_of(found[truth["view_id"]].share) != truth["broken"]
            ]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
