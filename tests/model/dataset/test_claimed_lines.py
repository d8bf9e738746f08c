"""The claimed lines of a dataset's views: their images, and their layers on a page."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader, Preprocess, decode_grey
from model.dataset.line_layers import line_layers
from model.dataset.mapped import cache_dir
from model.dataset.views import has_claimed_images, read_views
from model.errors import DatasetError

SMALL = Preprocess(size_px=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic", resize_mode="shortest")


@pytest.fixture
def dataset(surrounded):
    return open_dataset(surrounded)


def test_the_images_are_those_of_the_lines_that_are_asked_for(dataset):
    whole, claimed, both = (read_views(dataset, "test", lines=lines) for lines in ("all", "claimed", "both"))
    assert (whole.lines, claimed.lines, both.lines) == ("all", "claimed", "all")
    for row in range(len(whole)):
        is_surrounded = row % 2 == 1
        assert both.images[row] == whole.images[row]
        assert both.claimed_images[row] == claimed.images[row]
        assert (claimed.images[row] != whole.images[row]) == is_surrounded
        assert (both.claimed_box(row) is not None) == is_surrounded
        assert claimed.images.view(row).tobytes() == claimed.images[row]


def test_claimed_images_are_not_read_unless_they_are_asked_for(dataset):
    assert "claimed_image" not in read_views(dataset, "test").table.column_names
    assert read_views(dataset, "test").claimed_box(1) is None


def test_claimed_images_can_be_mapped(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path))
    in_memory = read_views(dataset, "test", lines="claimed")
    mapped = [read_views(dataset, "test", lines=lines, mapped_from_bytes=1) for lines in ("claimed", "all", "claimed")]
    assert len(list(cache_dir().glob("*.arrow"))) == 2  # with the claimed images and without
    for views in (mapped[0], mapped[2]):
        assert [views.images[row] for row in range(len(views))] == [in_memory.images[row] for row in range(len(views))]


def test_a_dataset_without_claimed_images_is_refused_if_they_are_asked_for(shapes):
    dataset = open_dataset(shapes)
    assert not has_claimed_images(dataset)
    with pytest.raises(DatasetError, match="dataset shapes has no images of the claimed lines; build it again"):
        read_views(dataset, "test", lines="claimed")


def test_rows_can_show_the_claimed_lines_whatever_the_others_show(dataset):
    views = read_views(dataset, "test", lines="both")
    rows, is_claimed = [1, 1, 3, 3, 2], np.array([True, False, False, True, True])
    with (
        contextlib.closing(ImageReader(views, SMALL, num_workers=2)) as reader,
        contextlib.closing(ImageReader(replace(views, lines="claimed"), SMALL, num_workers=1)) as claimed,
    ):
        read = reader.read_grey(rows, is_claimed=is_claimed)
        assert torch.equal(read[~is_claimed], reader.read_grey([1, 3]))
        assert torch.equal(read[is_claimed], claimed.read_grey([1, 3, 2]))
        assert not torch.equal(read[0], read[1])


def test_the_layers_of_a_view_add_up_to_its_image_and_divide_its_lines(dataset):
    views = read_views(dataset, "test", lines="both")
    whole = decode_grey(views.whole_images[1])
    layers = line_layers(views.whole_images[1], views.claimed_images[1], views.claimed_box(1))
    side = len(whole)
    assert np.array_equal(layers.claimed - layers.unclaimed, whole)
    assert layers.unclaimed[2, 10 : side - 10].min() > 200  # the frame
    lower_right = np.s_[side // 2 : side - 8, side // 2 : side - 8]
    assert (255 - layers.claimed[lower_right]).sum() > 20 * layers.unclaimed[lower_right].astype(int).sum()


def test_unclaimed_lines_are_light_grey_on_transparent_paper(dataset):
    views = read_views(dataset, "test", lines="both")
    layers = line_layers(views.whole_images[1], views.claimed_images[1], views.claimed_box(1))
    over = cv2.imdecode(np.frombuffer(layers.unclaimed_png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert over.shape[2] == 4 and np.array_equal(over[..., 3] > 0, layers.unclaimed > 0)
    assert 150 < over[2, 20, 0] < 220
    assert np.array_equal(decode_grey(layers.claimed_png), layers.claimed)
