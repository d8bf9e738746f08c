"""A small synthetic DeepPatent: lists and images in the layout of the published data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.model.dataset.drawings import FILLS, SHAPES, SIZES, draw_shape

WEEK, DAY = "I20181127", "20181127"


def listed_path(patent: int, sheet: int) -> str:
    """The path of a drawing as written in the lists."""
    name = f"USD{patent:07d}-{DAY}"
    return f"{WEEK}/{name}/{name}-D{sheet:05d}.png"


def write_list(path: Path, images: list[tuple[int, int]]) -> None:
    """Write a list of (patent, sheet) pairs; patents are numbered from 1 in ascending order."""
    label = {patent: number for number, patent in enumerate(sorted({patent for patent, _ in images}), start=1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{listed_path(patent, sheet)} {label[patent]}\n" for patent, sheet in images))


def draw_patent(images_dir: Path, patent: int, sheets: range, rng: np.random.Generator) -> None:
    """Draw the sheets of one patent, wider than high; they share shape, fill and size."""
    shape, fill, size = rng.choice(SHAPES), rng.choice(FILLS), rng.choice(SIZES)
    for sheet in sheets:
        path = images_dir / listed_path(patent, sheet)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing = draw_shape(shape, fill, size, rng)
        cv2.imwrite(str(path), cv2.copyMakeBorder(drawing, 0, 0, 20, 20, cv2.BORDER_CONSTANT, value=255))


def write_deep_patent(folder: Path, *, test: int = 6, train: int = 0, num_sheets: int = 5) -> tuple[Path, Path]:
    """Write lists and images of `test` and `train` patents; sheets 1 and 2 of each test patent are queries.

    Returns:
        The folder of lists and the folder of images.
    """
    lists_dir, images_dir, rng = folder / "lists", folder / "images", np.random.default_rng(0)
    test_patents, train_patents = range(800_000, 800_000 + test), range(810_000, 810_000 + train)
    for patent in (*test_patents, *train_patents):
        draw_patent(images_dir, patent, range(num_sheets), rng)
    write_list(lists_dir / "test_query_patent.txt", [(patent, sheet) for patent in test_patents for sheet in (1, 2)])
    others = [sheet for sheet in range(num_sheets) if sheet not in (1, 2)]
    write_list(lists_dir / "test_db_patent.txt", [(patent, sheet) for patent in test_patents for sheet in others])
    if train:
        write_list(
            lists_dir / "train_patent_trn.txt",
            [(patent, sheet) for patent in train_patents for sheet in range(num_sheets)],
        )
    return lists_dir, images_dir
