"""The picture that a model is shown, and the workers that prepare it."""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from patentdata.captions.config import CaptionImageConfig
from patentdata.captions.stage import caption_views
from patentdata.captions.vllm import images
from patentdata.captions.vllm.images import ImageWorkers, data_url, input_size_px
from patentdata.store.folder import DataFolder
from tests.patentdata.captions.vllm.endpoint import Endpoint
from tests.patentdata.captions.weeks import WEEK, caption_bytes, captions_of, drawing, vlm_config, write_views


def png_of(page: np.ndarray, *, bits: int = 8) -> bytes:
    parameters = [cv2.IMWRITE_PNG_BILEVEL, 1] if bits == 1 else []
    return cv2.imencode(".png", page, parameters)[1].tobytes()


def shown(png: bytes, size_px: int, margin_share: float) -> np.ndarray:
    """The picture in the data URL, as it reaches a model."""
    url, reason = data_url(png, size_px, margin_share)
    assert url is not None and reason == ""
    kind, _, content = url.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_view_is_padded_to_a_square_with_a_margin_and_keeps_its_proportions():
    page = np.full((900, 700), 255, np.uint8)
    page[100:500, 50:150] = 0  # a bar four times as high as wide, anywhere on its paper
    square = shown(png_of(page), 200, 0.1)
    assert (square.shape, square.dtype) == ((200, 200), np.uint8)
    rows, columns = np.nonzero(square < 128)
    assert (rows.min(), rows.max()) == (20, 179)
    assert (columns.min(), columns.max()) == (80, 119)
    assert square[:, :75].min() == square[:, 125:].min() == 255


def test_thin_lines_of_a_1_bit_drawing_become_grey_and_stay_visible():
    page = np.full((1500, 1500), 255, np.uint8)
    page[:, ::50] = page[0] = page[-1] = 0  # lines of one pixel, thirty of them
    square = shown(png_of(page, bits=1), 336, 0.0)
    middle = square[168].astype(int)
    assert len(np.unique(square)) > 4
    dark = np.convolve(255 - middle, np.ones(3), "same")[np.arange(30) * 50 * 336 // 1500]
    assert (dark > 30).all()


def test_a_small_drawing_is_enlarged_four_times_at_most():
    page = np.full((40, 40), 255, np.uint8)
    page[10:20, 10:20] = 0
    rows, _ = np.nonzero(shown(png_of(page), 336, 0.04) < 128)
    assert rows.max() - rows.min() + 1 == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("png", "reason"),
    [
        (b"", "broken_image"),
        (b"GIF89a", "broken_image"),
        (drawing(1)[:60], "broken_image"),
        (png_of(np.full((50, 50), 255, np.uint8)), "no_ink"),
    ],
)
def test_a_picture_that_cannot_be_shown_has_a_reason(png, reason):
    assert data_url(png, 336, 0.04) == (None, reason)


@pytest.mark.parametrize(
    ("settings", "size_px"),
    [
        ('{"crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 224}}', 336),
        ('{"size": {"shortest_edge": 384}}', 384),
        ('{"size": 224}', 224),
        ('{"size": {"height": 5}}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_the_input_size_of_a_model_is_read_from_its_folder(tmp_path, settings, size_px):
    (tmp_path / "preprocessor_config.json").write_text(settings)
    assert input_size_px(tmp_path) == size_px


_QWEN = {"size": {"shortest_edge": 1024, "longest_edge": 12_845_056}, "image_processor_type": "Qwen2VLImageProcessor"}


@pytest.mark.parametrize(
    ("processor", "size_px"),
    [
        ({"image_processor": {"crop_size": {"height": 336, "width": 336}}, "processor_class": "LlavaProcessor"}, 336),
        ({"image_processor": {"size": {"height": 448, "width": 448}, "min_pixels": 64}}, 448),
        ({"image_processor": {"size": {"shortest_edge": 378, "longest_edge": 980}}}, 378),
        ({"image_processor": _QWEN}, None),
        ({"image_processor": {"size": {"shortest_edge": 784}, "merge_size": 2}}, None),
        ({"processor_class": "LlavaProcessor"}, None),
        ({"image_processor": "LlavaImageProcessor"}, None),
    ],
)
def test_the_input_size_may_be_in_the_settings_of_the_processor_and_is_no_area(tmp_path, processor, size_px):
    (tmp_path / "processor_config.json").write_text(json.dumps(processor))
    assert input_size_px(tmp_path) == size_px
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor.get("image_processor")))
    assert input_size_px(tmp_path) == size_px


_KILLER = b"this picture kills its worker"


def _data_url_or_killed(png: bytes, size_px: int, margin_share: float) -> tuple[str | None, str]:
    if png == _KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    return data_url(png, size_px, margin_share)


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_does_not_affect_others(monkeypatch):
    monkeypatch.setattr(images, "data_url", _data_url_or_killed)
    pictures = [drawing(1), drawing(2), _KILLER, drawing(3), drawing(4)]

    async def prepare() -> list[tuple[str | None, str]]:
        workers = ImageWorkers(CaptionImageConfig(), 56, 1)
        try:
            return await asyncio.gather(*(workers.prepare(picture) for picture in pictures))
        finally:
            await asyncio.to_thread(workers.close)

    prepared = asyncio.run(prepare())
    assert [reason for _, reason in prepared] == ["", "", "broken_image", "", ""]
    assert [url for url, _ in prepared] == [data_url(picture, 56, 0.04)[0] for picture in pictures]


def _caption_here(root: str, url: str) -> str:
    """Caption a week, and return the kind of executor that prepared its pictures."""
    made = []
    start = images._executor
    images._executor = lambda num_workers: made.append(start(num_workers)) or made[-1]
    caption_views(DataFolder(root), WEEK, vlm_config(url))
    return type(made[0]).__name__


@pytest.mark.slow
def test_in_a_process_that_may_not_have_children_threads_prepare_the_pictures(tmp_path):
    """A worker of `multiprocessing.Pool` is daemonic, like those of a Dask nanny."""
    folders = [DataFolder(tmp_path / name) for name in ("here", "there")]
    for folder in folders:
        write_views(folder, 12)
    with Endpoint() as endpoint:
        caption_views(folders[0], WEEK, vlm_config(endpoint.url))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            kind = pool.apply(_caption_here, (folders[1].root, endpoint.url))
    assert kind == ThreadPoolExecutor.__name__
    assert caption_bytes(folders[1]) == caption_bytes(folders[0])
    assert {row["finish_reason"] for row in captions_of(folders[1])} == {"stop"}
