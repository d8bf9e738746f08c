"""Recall and precision of the audit of a dataset, on drawn patents with planted near-duplicates and wrong labels.

    python -m bench.audit [--patents N] [--seed N] [--scale N]

The reference is what was planted. Near-duplicates: copies of drawn views, each turned or mirrored at random, and then
rescaled, thresholded anew, drawn with wider or narrower lines, sprinkled with specks, or cropped and padded. Other
drawings are the negatives; the hard ones are those of one kind of article and viewpoint, which differ in proportions
only. Some drawn articles happen to be the same: found pairs that were not planted, but in which no line is further than
2.5 % of the drawing from a line of the other, by a distance that the search does not know, are counted as twins and are
neither right nor wrong. Wrong labels: some patents get the class of another one.

`--scale` measures the time and memory of the search in that many made-up signatures. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np

from patentdata.audit.neighbours import ClassCheckConfig, doubtful_classes, score_by_drawing
from patentdata.dataset.near_duplicates.search import NearDuplicateConfig, Pairs, find_pairs
from patentdata.dataset.near_duplicates.similarity import TURNS, turned
from patentdata.specimens import SpecimenConfig
from patentdata.specimens.design import draw_patent, kind_of
from patentdata.views.sheets import read_sheet
from patentdata.views.signatures import signature, unpack
from patentdata.views.square_images import ink_box

_FIRST_NUMBER = 900_001
_DATE = "20240102"
_CHANGES = ("turned only", "rescaled", "thresholded", "wider lines", "narrower lines", "specks", "margins")
_ARTICLES = (  # a dozen kinds, so that there are several patents of each; the settings were chosen with others
    *("chair", "bottle", "sole", "faucet", "car", "hat", "fan", "dumbbell", "gear", "bracket", "spoon", "flashlight"),
)
_SHARE_COPIED = 0.5
_SHARE_MISLABELLED = 0.08
_TWIN_PX, _TWIN_SIDE_PX = 6, 240  # 2.5 %
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class DrawnView:
    """A view cut from a drawn sheet where the truth says that it is.

    Attributes:
        page: (height_px, width_px) uint8, upright.
        patent: Number of its patent.
        kind: Kind of article and index of the figure, the same for figures that differ in proportions only.
    """

    page: np.ndarray
    patent: int
    kind: tuple[str, int]


def draw_views(num_patents: int, seed: int) -> tuple[list[DrawnView], dict[int, str]]:
    """Views of drawn patents, and the class of each patent."""
    config = SpecimenConfig(num_patents=num_patents, seed=seed, articles=_ARTICLES, max_figures=6, drawing_scale=0.5)
    views, classes = [], {}
    for number in range(_FIRST_NUMBER, _FIRST_NUMBER + num_patents):
        patent, kind = draw_patent(number, date=_DATE, config=config), kind_of(number, config)
        classes[number] = f"D{kind.uspc_class}"
        figures = (
            (read_sheet(patent.sheets[sheet["file"]], name=sheet["file"], max_pixels=_MAX_PIXELS), sheet, figure)
            for sheet in patent.truth
            for figure in sheet["figures"]
        )
        for index, (page, sheet, figure) in enumerate(figures):
            left, top, right, bottom = figure["figure_box"]
            cut = np.rot90(page[top:bottom, left:right], -sheet["rotation_cw_to_upright"] // 90)
            views.append(DrawnView(np.ascontiguousarray(cut), number, (kind.article, index)))
    return views, classes


def changed(page: np.ndarray, change: str, rng: np.random.Generator) -> np.ndarray:
    """A copy of a drawing, turned or mirrored at random and changed."""
    copy = np.ascontiguousarray(turned(page, int(rng.integers(len(TURNS)))))
    if change == "rescaled":
        scale = rng.uniform(0.5, 1.5)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        copy = np.where(cv2.resize(copy, None, fx=scale, fy=scale, interpolation=method) < 160, 0, 255)
    elif change == "thresholded":
        copy = np.where(cv2.GaussianBlur(copy, (0, 0), 0.8) < rng.integers(110, 200), 0, 255)
    elif change == "wider lines":
        copy = cv2.erode(copy, np.ones((2, 2), np.uint8))
    elif change == "narrower lines":
        thinner = cv2.dilate(copy, np.ones((2, 2), np.uint8))
        copy = thinner if (thinner < 128).sum() > 0.4 * (copy < 128).sum() else copy  # lines of one pixel stay
    elif change == "specks":
        copy = np.pad(copy, int(0.05 * max(copy.shape)), constant_values=255)
        for _ in range(int(rng.integers(2, 8))):
            centre = rng.integers(0, copy.shape[::-1]).tolist()
            cv2.circle(copy, centre, max(1, round(rng.uniform(0.001, 0.004) * max(copy.shape))), 0, -1)
    elif change == "margins":
        top, bottom, left, right = rng.integers(0, 200, 4).tolist()
        copy = cv2.copyMakeBorder(copy, top, bottom, left, right, cv2.BORDER_CONSTANT, value=255)
        cut = max(1, round(0.004 * max(page.shape)))  # and a little of the drawing itself
        x, y, width, height = ink_box(copy)
        copy = copy[y + cut : y + height - cut, x + cut : x + width - cut] if min(width, height) > 50 * cut else copy
    return np.ascontiguousarray(copy, np.uint8)


def line_deviation(one: np.ndarray, other: np.ndarray) -> float:
    """How far, in pixels of a drawing 240 px long, lines of two drawings are apart at most, in the best turn.

    The largest hundredth of the distances, which a single speck would make large, is left out.
    """
    own = _scaled(one)
    return min(_deviation(own, _scaled(turned(other, turn))) for turn in range(len(TURNS)))


def _scaled(page: np.ndarray) -> np.ndarray:
    """Where the ink is, in a square of `_TWIN_SIDE_PX` and its margin."""
    left, top, width, height = ink_box(np.ascontiguousarray(page))
    scale = _TWIN_SIDE_PX / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(page[top : top + height, left : left + width]), size, None, 0, 0, 3)
    square = np.zeros((_TWIN_SIDE_PX + 40, _TWIN_SIDE_PX + 40), bool)
    y, x = ((side - length) // 2 for side, length in zip(square.shape, small.shape, strict=True))
    square[y : y + small.shape[0], x : x + small.shape[1]] = small < 225
    return square


def _deviation(own: np.ndarray, other: np.ndarray) -> float:
    both = ((own, other), (other, own))
    return max(
        float(np.percentile(cv2.distanceTransform((~there).view(np.uint8), cv2.DIST_L2, 3)[here], 99))
        for here, there in both
    )


def measure_pairs(views: list[DrawnView], rng: np.random.Generator) -> dict[str, object]:
    """Recall by change and precision of the search for near-duplicates."""
    copied = np.sort(rng.choice(len(views), int(_SHARE_COPIED * len(views)), replace=False)).tolist()
    changes = [_CHANGES[number % len(_CHANGES)] for number in range(len(copied))]
    pages = [view.page for view in views]
    pages += [changed(views[row].page, change, rng) for row, change in zip(copied, changes, strict=True)]
    origin = [*range(len(views)), *copied]
    started = time.process_time()
    signatures = np.stack([np.frombuffer(signature(page) or b"", np.uint8) for page in pages])
    signed = time.process_time()
    pairs = find_pairs(signatures, NearDuplicateConfig())
    searched = time.process_time()
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    by_change = defaultdict(list)
    for number, (row, change) in enumerate(zip(copied, changes, strict=True)):
        by_change[change].append((row, len(views) + number) in found)
    counts = _judge(origin, views, pairs)
    num_planted = sum(map(len, by_change.values()))
    return {
        "num_views": len(pages),
        "num_planted": num_planted,
        "recall": round(sum(map(sum, by_change.values())) / num_planted, 3),
        "recall_by_change": {change: round(sum(hits) / len(hits), 3) for change, hits in by_change.items()},
        "precision": round(counts["right"] / max(counts["right"] + counts["wrong"], 1), 3),
        **{f"num_{name}": num for name, num in counts.items()},
        "num_hard_negatives": _count_hard(views),
        "ms_a_signature": round(1000 * (signed - started) / len(pages), 2),
        "search_ms_a_view": round(1000 * (searched - signed) / len(pages), 2),
    }


def _judge(origin: list[int], views: list[DrawnView], pairs: Pairs) -> dict[str, int]:
    """How many found pairs of different patents are right, wrong, or twins that were not planted.

    Twins are judged by the drawings that they are copies of, since a speck would count as a line.
    """
    counts = {"right": 0, "wrong": 0, "twins": 0}
    for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        is_planted = origin[one] == origin[other]
        if not is_planted and views[origin[one]].patent == views[origin[other]].patent:
            continue  # sides of one article, which are not listed
        if is_planted:
            counts["right"] += 1
        else:
            is_twin = line_deviation(views[origin[one]].page, views[origin[other]].page) <= _TWIN_PX
            counts["twins" if is_twin else "wrong"] += 1
    return counts


def _count_hard(views: list[DrawnView]) -> int:
    """Pairs of views of one kind of article and figure, of different patents."""
    by_kind = defaultdict(list)
    for view in views:
        by_kind[view.kind].append(view.patent)
    return sum(len(patents) * (len(patents) - 1) // 2 for patents in by_kind.values())


def measure_labels(views: list[DrawnView], classes: dict[int, str], rng: np.random.Generator) -> dict[str, object]:
    """Recall and precision of the check of classes, over ten draws of the wrong labels."""
    signatures = np.stack([np.frombuffer(signature(view.page) or b"", np.uint8) for view in views])
    scores = score_by_drawing(signatures)(np.arange(len(views)))
    numbers, names = sorted(classes), sorted(set(classes.values()))
    right = wrong = planted = 0
    for _ in range(10):
        drawn = rng.choice(numbers, max(1, int(_SHARE_MISLABELLED * len(numbers))), replace=False).tolist()
        labels = classes | {
            number: str(rng.choice([name for name in names if name != classes[number]])) for number in drawn
        }
        patents = [str(view.patent) for view in views]
        doubtful = doubtful_classes(
            [labels[view.patent] for view in views],
            patents,
            patents,
            lambda rows: scores[rows].copy(),
            ClassCheckConfig(),
        )
        found = {int(doubt.patent_number) for doubt in doubtful}
        right, wrong, planted = right + len(found & set(drawn)), wrong + len(found - set(drawn)), planted + len(drawn)
    return {
        "num_patents": len(numbers),
        "num_planted": planted,
        "recall": round(right / planted, 3),
        "precision": round(right / max(right + wrong, 1), 3),
    }


def measure_scale(views: list[DrawnView], num_views: int, rng: np.random.Generator) -> dict[str, object]:
    """Time and memory of the search in made-up signatures, each two drawings laid over each other, with 1 % copies."""
    known = np.stack([np.frombuffer(signature(view.page) or b"", np.uint8) for view in views])
    _, grids = unpack(known)
    signatures = np.empty((num_views, known.shape[1]), np.uint8)
    for first in range(0, num_views, 10_000):
        num = min(10_000, num_views - first)
        one, other = rng.integers(0, len(views), (2, num))
        moved = np.stack([np.roll(grids[row], rng.integers(-6, 7, 2), (0, 1)) for row in other])
        levels = np.maximum(grids[one], moved).reshape(num, -1)
        shorter = rng.integers(4_000, 65_536, num).astype("<u2")
        sides = np.stack([np.full(num, 65_535, "<u2"), shorter], axis=1)
        signatures[first : first + num, :4] = sides.view(np.uint8)
        signatures[first : first + num, 4:] = levels[:, ::2] << 4 | levels[:, 1::2]
    copies = rng.choice(num_views // 2, num_views // 100, replace=False)
    signatures[num_views - len(copies) :] = signatures[copies]
    started = time.perf_counter()
    pairs = find_pairs(signatures, NearDuplicateConfig())
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    rows = range(num_views - len(copies), num_views)
    return {
        "num_views": num_views,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "num_pairs": len(found),
        "num_crowded": pairs.num_crowded,
        "copies_found": round(float(np.mean([pair in found for pair in zip(copies.tolist(), rows, strict=True)])), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patents", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=0, help="number of made-up signatures to search; 0: none")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    views, classes = draw_views(arguments.patents, arguments.seed)
    result = {
        "bench": "audit",
        "reference": "planted near-duplicates and wrong labels",
        "near_duplicates": measure_pairs(views, rng),
        "labels": measure_labels(views, classes, rng),
    }
    if arguments.scale:
        result["scale"] = measure_scale(views, arguments.scale, rng)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
