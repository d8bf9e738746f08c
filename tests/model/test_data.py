"""From dataset files to what a model takes."""

from __future__ import annotations

import contextlib
import json

import cv2
import numpy as np
import pytest

from model.clip import Preprocess
from model.data import (
    ImageReader,
    crop,
    decode_grey,
    normalise,
    pad_to_square,
    read_views,
    resize,
)
from model.dataset import open_dataset
from model.errors import DatasetError
from tests.model.drawings import draw_rows, write_dataset

HALF = Preprocess(size_px=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic", resize_mode="shortest")


def test_the_views_of_a_split_come_in_the_datasets_order(tmp_path):
    rows = draw_rows(3, split="train")
    dataset = open_dataset(write_dataset(tmp_path / "d", {"train": rows, "test": draw_rows(1, split="test", seed=9)}))
    views = read_views(dataset, "train")

    assert dataset.num_views == {"train": 6, "test": 2}
    assert views.view_ids == [row["view_id"] for row in rows]
    assert views.texts("text") == [row["text"] for row in rows]
    assert [views.images[row] for row in (5, 0, 3)] == [rows[row]["image"] for row in (5, 0, 3)]


def test_images_are_found_across_the_files_of_a_split(tmp_path):
    rows = draw_rows(4, split="train")
    folder = write_dataset(tmp_path / "d", {"train": rows[:3], "validation": rows[3:]})
    listing = json.loads((folder / "dataset.json").read_text())
    for file in listing["files"]:
        file["split"] = "train"
    (folder / "dataset.json").write_text(json.dumps(listing))

    views = read_views(open_dataset(folder), "train")

    assert [views.images[row] for row in range(8)] == [row["image"] for row in rows]


def test_an_empty_caption_column_falls_back_to_the_text(tmp_path):
    rows = draw_rows(2, split="train")
    rows[1]["shape"] = None
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")

    assert views.texts("shape")[:2] == [rows[0]["shape"], rows[1]["text"]]
    assert views.texts("function") == [row["text"] for row in rows]


def test_views_without_a_caption_are_counted_and_left_out(tmp_path):
    rows = draw_rows(3, split="train")
    rows[1]["text"], rows[4]["text"] = None, "  "
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")

    assert views.num_without_caption == 2
    assert views.view_ids == [rows[row]["view_id"] for row in (0, 2, 3, 5)]
    assert views.images[1] == rows[2]["image"]


def test_an_empty_split_is_told_with_the_counts_of_the_others(tmp_path):
    dataset = open_dataset(write_dataset(tmp_path / "d", {"train": draw_rows(2, split="train")}, name="week"))

    with pytest.raises(DatasetError, match=r"dataset week has no captioned view in the split 'test' \(train 4\)"):
        read_views(dataset, "test")


def damaged(folder, kind):
    path = folder / "train-00000-of-00001.parquet"
    if kind == "absent":
        path.unlink()
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if kind == "other rows":
        listing = json.loads((folder / "dataset.json").read_text())
        listing["files"][0]["num_rows"] = 3
        (folder / "dataset.json").write_text(json.dumps(listing))
    if kind == "no listing":
        (folder / "dataset.json").write_text("{")
    if kind == "no fingerprint":
        (folder / "dataset.json").write_text('{"name": "week", "files": []}')


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "dataset.json names it, but it is not there"),
        ("cut", "not a readable Parquet file"),
        ("other rows", "4 rows, but dataset.json says 3"),
        ("no listing", "no readable dataset.json there"),
        ("no fingerprint", "no usable 'fingerprint'"),
    ],
)
def test_a_damaged_dataset_is_named_in_the_error(tmp_path, kind, message):
    folder = write_dataset(tmp_path / "d", {"train": draw_rows(2, split="train")})
    damaged(folder, kind)

    with pytest.raises(DatasetError, match=message):
        read_views(open_dataset(folder), "train")


def test_a_missing_folder_is_named():
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_dataset("/nowhere/at/all")


def test_an_undecodable_image_names_its_view():
    with pytest.raises(DatasetError, match="view D1-1: its image cannot be decoded"):
        decode_grey(b"no picture", view_id="D1-1")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        decode_grey(b"")


def test_thin_lines_survive_shrinking():
    image = np.full((256, 256), 255, np.uint8)
    image[::16] = 0  # one line in sixteen, each one pixel thick

    small = resize(image, (64, 64))

    assert small.shape == (64, 64)
    assert small.mean() == pytest.approx(image.mean(), abs=1)  # area keeps the ink; picking pixels would not


def test_a_small_image_grows_to_the_size_asked_for():
    assert resize(np.zeros((8, 8), np.uint8), (32, 32)).shape == (32, 32)


def test_an_oblong_image_stands_in_the_middle_of_a_white_square():
    padded = pad_to_square(np.zeros((4, 10), np.uint8))

    assert padded.shape == (10, 10)
    assert (padded[3:7] == 0).all() and (padded[:3] == 255).all() and (padded[7:] == 255).all()


def test_a_crop_keeps_at_least_the_share_asked_for():
    image = np.arange(10_000, dtype=np.uint32).reshape(100, 100)
    rng = np.random.default_rng(0)
    sides = [crop(image, rng.random(3), min_area=0.25).shape for _ in range(200)]

    assert all(height == width and 50 <= height <= 100 for height, width in sides)
    assert crop(image, np.array([0.0, 0.0, 0.0]), min_area=0.25)[0, 0] == 0
    assert crop(image, np.array([0.0, 0.999, 0.999]), min_area=0.25)[-1, -1] == 9_999


def test_every_channel_shows_the_same_grey_in_the_models_own_scale():
    tensor = normalise(np.array([[[0, 255]]], np.uint8), HALF)

    assert tensor.shape == (1, 3, 1, 2)
    assert tensor[0, :, 0].tolist() == [[-2.0, 2.0]] * 3


def test_any_rows_can_be_read_in_any_order_on_any_number_of_threads(tmp_path):
    rows = draw_rows(4, split="train")
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")
    with (
        contextlib.closing(ImageReader(views, HALF, num_workers=1)) as one,
        contextlib.closing(ImageReader(views, HALF, num_workers=4)) as four,
    ):
        single, several = one.read([7, 2, 2]), four.read([7, 2, 2])

    assert single.shape == (3, 3, 32, 32)
    assert (single == several).all() and (single[1] == single[2]).all()
    jpeg = cv2.imdecode(np.frombuffer(rows[7]["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
    expected = cv2.resize(jpeg, (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(single[0, 0].numpy(), (expected / 255 - 0.5) / 0.25, atol=1e-5)
