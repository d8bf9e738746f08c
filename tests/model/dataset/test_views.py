"""From dataset files to the input of a model."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import multiprocessing
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.dataset.classes import LOCARNO, USPC
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader, Preprocess, crop, decode_grey, normalise, pad_to_square, resize
from model.dataset.mapped import cache_dir
from model.dataset.views import Images, read_views
from model.errors import DatasetError
from tests.model.dataset.drawings import draw_rows, write_dataset

HALF = Preprocess(size_px=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic", resize_mode="shortest")


def test_the_views_of_a_split_are_in_the_order_of_the_dataset(tmp_path):
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


def test_the_error_for_an_empty_split_lists_the_counts_of_the_others(tmp_path):
    dataset = open_dataset(write_dataset(tmp_path / "d", {"train": draw_rows(2, split="train")}, name="week"))

    with pytest.raises(DatasetError, match=r"dataset week has no captioned view in the split 'test' \(train 4\)"):
        read_views(dataset, "test")


def damage(folder, kind):
    """Damage a dataset folder in one of several ways."""
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
def test_the_error_says_what_is_wrong_with_a_damaged_dataset(tmp_path, kind, message):
    folder = write_dataset(tmp_path / "d", {"train": draw_rows(2, split="train")})
    damage(folder, kind)

    with pytest.raises(DatasetError, match=message):
        read_views(open_dataset(folder), "train")


def test_a_missing_folder_is_an_error():
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_dataset("/nowhere/at/all")


def test_an_undecodable_image_names_its_view():
    with pytest.raises(DatasetError, match="view D1-1: its image cannot be decoded"):
        decode_grey(b"not an image", view_id="D1-1")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        decode_grey(b"")


def test_thin_lines_survive_shrinking():
    image = np.full((256, 256), 255, np.uint8)
    image[::16] = 0  # one line in sixteen, each one pixel thick

    small = resize(image, (64, 64))

    assert small.shape == (64, 64)
    assert small.mean() == pytest.approx(
        image.mean(), abs=1
    )  # averaging keeps the ink; picking single pixels would not


def test_a_small_image_is_enlarged_to_the_requested_size():
    assert resize(np.zeros((8, 8), np.uint8), (32, 32)).shape == (32, 32)


def test_an_oblong_image_is_centred_on_a_white_square():
    padded = pad_to_square(np.zeros((4, 10), np.uint8))

    assert padded.shape == (10, 10)
    assert (padded[3:7] == 0).all() and (padded[:3] == 255).all() and (padded[7:] == 255).all()


def test_a_crop_keeps_at_least_the_requested_share_of_the_area():
    image = np.arange(10_000, dtype=np.uint32).reshape(100, 100)
    rng = np.random.default_rng(0)
    sides = [crop(image, rng.random(3), min_area=0.25).shape for _ in range(200)]

    assert all(height == width and 50 <= height <= 100 for height, width in sides)
    assert crop(image, np.array([0.0, 0.0, 0.0]), min_area=0.25)[0, 0] == 0
    assert crop(image, np.array([0.0, 0.999, 0.999]), min_area=0.25)[-1, -1] == 9_999


def test_every_channel_has_the_same_grey_normalised_for_the_model():
    tensor = normalise(np.array([[[0, 255]]], np.uint8), HALF)

    assert tensor.shape == (1, 3, 1, 2)
    np.testing.assert_allclose(tensor[0, :, 0].numpy(), [[-2.0, 2.0]] * 3, atol=1e-6)


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


def test_normalised_grey_images_equal_the_model_input(tmp_path):
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": draw_rows(3, split="train")})), "train")
    draws = np.random.default_rng(0).random((5, 3))
    with contextlib.closing(ImageReader(views, HALF, num_workers=2)) as images:
        grey = images.read_grey([5, 0, 3, 3, 1], draws, min_area=0.5)
        whole = images.read([5, 0, 3, 3, 1], draws, min_area=0.5)

    assert grey.shape == (5, 32, 32) and grey.dtype == torch.uint8
    torch.testing.assert_close(normalise(grey, HALF), whole)
    assert not torch.equal(grey[2], grey[3])  # the same view, cut differently


def test_an_undecodable_image_in_a_batch_names_its_view(tmp_path):
    rows = draw_rows(3, split="train")
    rows[4]["image"] = b"\xff\xd8 not an image"
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")

    with (
        contextlib.closing(ImageReader(views, HALF, num_workers=2)) as images,
        pytest.raises(DatasetError, match=f"view {rows[4]['view_id']}: its image cannot be decoded"),
    ):
        images.read(range(6))


@pytest.mark.parametrize("side", [243, 256])
def test_a_thin_line_keeps_its_ink_at_every_position(side):
    for column in range(100, 132):
        image = np.full((side, side), 255, np.uint8)
        image[:, column] = 0

        ink = (255 - resize(image, (224, 224)).astype(float)).sum() / 255 / 224

        assert ink == pytest.approx(224 / side, rel=0.07)


def test_every_column_of_the_dataset_can_be_read(tmp_path):
    rows = draw_rows(2, split="train")
    for row in rows:
        row |= {"locarno_class": "14-02", "figure_label": "3", "grant_date": datetime.date(2021, 1, 5)}
    rows[0]["cited_by_examiner"] = ["D500000"]
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")

    for attribute, column in (
        ("titles", "title"),
        ("classes", "uspc_class"),
        ("locarno_classes", "locarno_class"),
        ("families", "family"),
        ("grant_dates", "grant_date"),
        ("viewpoints", "viewpoint"),
        ("figure_labels", "figure_label"),
        ("cited_by_examiner", "cited_by_examiner"),
    ):
        assert getattr(views, attribute) == [row[column] for row in rows]
    assert views.view_id(3) == rows[3]["view_id"]


def test_a_column_that_an_older_dataset_lacks_is_empty(tmp_path):
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": draw_rows(2, split="train")})), "train")

    assert views.locarno_classes == views.grant_dates == views.figure_labels == [None] * 4
    assert views.class_ids(LOCARNO).tolist() == [-1] * 4


def test_a_column_that_one_file_lacks_is_empty_only_for_that_file(tmp_path):
    old, new = draw_rows(1, split="train"), draw_rows(1, split="train", seed=5)
    for row in new:
        row["locarno_class"] = "06-01"
    folder = write_dataset(tmp_path / "d", {"train": old, "validation": new})
    listing = json.loads((folder / "dataset.json").read_text())
    for file in listing["files"]:
        file["split"] = "train"
    (folder / "dataset.json").write_text(json.dumps(listing))
    views = read_views(open_dataset(folder), "train")

    assert views.locarno_classes == [None, None, "06-01", "06-01"]
    assert views.class_ids(LOCARNO).tolist() == [-1, -1, 5, 5]


def test_patents_and_classes_are_numbered(tmp_path):
    rows = draw_rows(3, split="train")
    for row, code in zip(rows, ("D14", "D14", None, "D99", "428/156", "D1"), strict=True):
        row["uspc_class"] = code
    rows[3]["patent_number"] = rows[0]["patent_number"]
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")

    assert views.patent_ids.tolist() == [0, 0, 1, 0, 2, 2]
    assert views.class_ids(USPC).tolist() == [13, 13, -1, 32, -1, 0]
    assert views.patent_ids.dtype == views.class_ids(USPC).dtype == np.int64


def test_captions_of_single_rows_equal_those_of_the_whole_column(tmp_path):
    rows = draw_rows(4, split="train")
    rows[1]["shape"] = None
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")
    wanted = [6, 1, 1, 0]

    for caption in ("text", "shape", "function", "title"):
        column = views.texts(caption)
        assert views.texts_of(wanted, caption, [0.0, 0.3, 0.6, 0.9]) == [column[row] for row in wanted]


def test_shape_or_function_is_drawn_and_text_is_the_fallback(tmp_path):
    rows = draw_rows(1, split="train")
    rows[0] |= {"shape": "round", "function": "holds water"}
    rows[1] |= {"shape": "square", "function": None, "text": "a tray"}
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")

    drawn = views.texts_of([0, 0, 1, 1], "shape_or_function", np.array([0.49, 0.5, 0.2, 0.8]))

    assert drawn == ["round", "holds water", "square", "a tray"]


def test_one_of_several_columns_is_drawn_by_its_weight(tmp_path):
    rows = draw_rows(1, split="train")
    rows[0] |= {"shape": "round", "function": "holds water", "title": "Bowl"}
    rows[1] |= {"shape": "square", "function": None, "title": None, "text": "a tray"}
    views = read_views(open_dataset(write_dataset(tmp_path / "d", {"train": rows})), "train")
    weights = {"shape": 2, "function": 2, "title": 1, "text": 0}
    draws = [0.0, 0.39, 0.41, 0.79, 0.81, 0.999]

    assert views.texts_of([0] * 6, weights, draws) == ["round"] * 2 + ["holds water"] * 2 + ["Bowl"] * 2
    assert views.texts_of([1] * 6, weights, draws) == ["square"] * 2 + ["a tray"] * 4
    assert views.texts_of([0, 0], {"function": 0.0, "shape": 3.0}, [0.0, 0.99]) == ["round", "round"]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder for a single test."""
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    return cache_dir()


@pytest.fixture
def week(tmp_path):
    """A dataset of eight views, the second without a caption."""
    rows = draw_rows(4, split="train")
    rows[1]["text"] = None
    return open_dataset(write_dataset(tmp_path / "week", {"train": rows}))


def test_a_mapped_split_equals_the_one_in_memory(week, cache):
    in_memory = read_views(week, "train")
    written = read_views(week, "train", mapped_from_bytes=1)
    mapped = read_views(week, "train", mapped_from_bytes=1)

    assert len(list(cache.iterdir())) == 1
    for views in (written, mapped):
        assert views.table.equals(in_memory.table)
        assert views.num_without_caption == in_memory.num_without_caption == 1
        assert [views.images[row] for row in range(7)] == [in_memory.images[row] for row in range(7)]


def test_a_mapped_split_is_not_read_from_its_files_again(week, cache):
    read_views(week, "train", mapped_from_bytes=1)
    path = next(week.folder.glob("*.parquet"))
    whole = path.read_bytes()
    table = pq.read_table(path).drop_columns("image")
    pq.write_table(
        table.append_column("image", pa.array([b"other"] * 8)), path
    )  # a table of the same size with other images

    assert read_views(week, "train", mapped_from_bytes=1).images[0] != b"other"
    path.write_bytes(whole)


def test_a_damaged_file_of_the_cache_is_written_again(week, cache):
    in_memory = read_views(week, "train").table
    read_views(week, "train", mapped_from_bytes=1)
    path = next(cache.iterdir())
    beginning = path.read_bytes()[:100]
    path.unlink()  # a mapped file must not be truncated in place
    path.write_bytes(beginning)

    assert read_views(week, "train", mapped_from_bytes=1).table.equals(in_memory)
    assert path.stat().st_size > 1000


def test_every_dataset_has_its_own_file_in_the_cache(week, cache, tmp_path):
    read_views(week, "train", mapped_from_bytes=1)
    other = open_dataset(write_dataset(tmp_path / "other", {"train": draw_rows(2, split="train", seed=3)}))
    read_views(other, "train", mapped_from_bytes=1)

    assert len(list(cache.iterdir())) == 2


def test_with_a_full_or_unwritable_cache_the_images_stay_in_memory(week, cache, monkeypatch, caplog):
    in_memory = read_views(week, "train").table
    full = shutil.disk_usage(week.folder)._replace(free=10)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("shutil.disk_usage", lambda _: full)
        assert read_views(week, "train", mapped_from_bytes=1).table.equals(in_memory)
    assert "set DESIGNCLIP_CACHE to a larger folder" in caplog.text
    assert not list(cache.iterdir())

    monkeypatch.setenv("DESIGNCLIP_CACHE", "/dev/null/nowhere")
    assert read_views(week, "train", mapped_from_bytes=1).table.equals(in_memory)
    assert "cannot be written" in caplog.text


def test_unused_files_of_the_cache_are_removed(week, cache):
    cache.mkdir(parents=True)
    for name, age_days in (("old.arrow", 31), ("recent.arrow", 2)):
        (cache / name).touch()
        used_at = (cache / name).stat().st_mtime - age_days * 24 * 3600
        os.utime(cache / name, (used_at, used_at))
    read_views(week, "train", mapped_from_bytes=1)

    assert (cache / "recent.arrow").exists() and not (cache / "old.arrow").exists()


def _count_views(folder: Path) -> int:
    return len(read_views(open_dataset(folder), "train", mapped_from_bytes=1))


@pytest.mark.slow
def test_processes_that_start_together_share_one_file(week, cache):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_count_views, [week.folder] * 4) == [7] * 4

    assert len(list(cache.iterdir())) == 1


def test_an_image_is_read_without_a_copy():
    images = Images(pa.chunked_array([[b"ab"], [], [b"cde", b"f"]], pa.binary()))

    assert [images.view(row).tobytes() for row in range(3)] == [b"ab", b"cde", b"f"]
