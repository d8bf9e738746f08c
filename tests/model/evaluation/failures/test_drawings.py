"""Ink, lines and likeness of drawings whose answers can be counted by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import DatasetError
from model.evaluation.failures.drawings import likeness, measure_drawings
from tests.model.dataset.drawings import draw_rows, draw_shape, write_dataset


def png(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def sheet(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Black boxes (x0, y0, x1, y1) on a white square."""
    image = np.full((60, 60), 255, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 0
    return image


@pytest.fixture
def measures(tmp_path):
    images = [
        sheet((10, 10, 50, 50)),  # a full square
        sheet((10, 10, 50, 12), (10, 48, 50, 50)),  # two horizontal bars
        sheet(),  # nothing
    ]
    rows = draw_rows(len(images), split="test", views_per_patent=1)
    rows = [row | {"image": png(image)} for row, image in zip(rows, images, strict=True)]
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"test": rows})), "test")
    return measure_drawings(views, num_threads=2)


def test_ink_is_a_share_of_the_box_around_it(measures):
    assert measures.ink_shares.tolist() == [1.0, 4 / 40, 0.0]


def test_crossings_count_the_lines_along_rows_and_columns(measures):
    # The square is crossed once by each row and column. Of the bars' 40 rows 4 cross one, of their 40 columns all two.
    assert measures.num_crossings.tolist() == [1.0, (4 * 1 + 40 * 2) / 80, 0.0]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    rows = [row | {"image": b"no image"} for row in draw_rows(1, split="test", views_per_patent=1)]
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"test": rows})), "test")
    with pytest.raises(DatasetError, match=rows[0]["view_id"]):
        measure_drawings(views, num_threads=1)


def test_a_drawing_is_like_itself_moved_and_scaled_and_unlike_another_one():
    star = draw_shape("star", "outlined", "large", np.random.default_rng(0), side_px=160)
    moved = np.full((160, 160), 255, np.uint8)
    moved[10:118, 40:148] = cv2.resize(star[20:140, 20:140], (108, 108), interpolation=cv2.INTER_AREA)
    star[:20], star[140:], star[:, :20], star[:, 140:] = 255, 255, 255, 255
    ring = draw_shape("ring", "outlined", "large", np.random.default_rng(1), side_px=160)
    bar = draw_shape("bar", "outlined", "large", np.random.default_rng(1), side_px=160)
    same, other, longer, empty = likeness(
        [(png(star), png(moved)), (png(star), png(ring)), (png(star), png(bar)), (png(star), png(sheet()))]
    )
    assert same > 0.7 > 0.4 > other
    assert longer == empty == -1.0
