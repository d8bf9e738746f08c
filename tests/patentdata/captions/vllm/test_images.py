"""The picture that a model is shown, and the workers that prepare it."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from patentdata.captions.stage import caption_views
from patentdata.captions.vllm import images
from patentdata.captions.vllm.images import ImageWorkers, PictureForm, data_url
from patentdata.store.folder import DataFolder
from tests.patentdata.captions.vllm.endpoint import Endpoint
from tests.patentdata.captions.weeks import WEEK, caption_bytes, captions_of, drawing, vlm_config, write_views


def png_of(page: np.ndarray, *, bits: int = 8) -> bytes:
    parameters = [cv2.IMWRITE_PNG_BILEVEL, 1] if bits == 1 else []
    return cv2.imencode(".png", page, parameters)[1].tobytes()


def square(size_px: int, margin_share: float = 0.04) -> PictureForm:
    return PictureForm(size_px=size_px, margin_share=margin_share)


def shown(png: bytes, form: PictureForm) -> np.ndarray:
    """The picture in the data URL, as it reaches a model."""
    url, reason = data_url(png, form)
    assert url is not None and reason == ""
    kind, _, content = url.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_view_is_padded_to_a_square_with_a_margin_and_keeps_its_proportions():
    page = np.full((900, 700), 255, np.uint8)
    page[100:500, 50:150] = 0  # a bar four times as high as wide, anywhere on its paper
    picture = shown(png_of(page), square(200, 0.1))
    assert (picture.shape, picture.dtype) == ((200, 200), np.uint8)
    rows, columns = np.nonzero(picture < 128)
    assert (rows.min(), rows.max()) == (20, 179)
    assert (columns.min(), columns.max()) == (80, 119)
    assert picture[:, :75].min() == picture[:, 125:].min() == 255


def test_thin_lines_of_a_1_bit_drawing_become_grey_and_stay_visible():
    page = np.full((1500, 1500), 255, np.uint8)
    page[:, ::50] = page[0] = page[-1] = 0  # lines of one pixel, thirty of them
    picture = shown(png_of(page, bits=1), square(336, 0.0))
    middle = picture[168].astype(int)
    assert len(np.unique(picture)) > 4
    dark = np.convolve(255 - middle, np.ones(3), "same")[np.arange(30) * 50 * 336 // 1500]
    assert (dark > 30).all()


def test_a_small_drawing_is_enlarged_four_times_at_most():
    page = np.full((40, 40), 255, np.uint8)
    page[10:20, 10:20] = 0
    rows, _ = np.nonzero(shown(png_of(page), square(336)) < 128)
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
    assert data_url(png, square(336)) == (None, reason)


def picture_of(page: np.ndarray, *, max_pixels: int, multiple_px: int = 1, margin_share: float = 0.0) -> np.ndarray:
    """A drawing as a model reads it that keeps proportions."""
    return shown(png_of(page), PictureForm(max_pixels=max_pixels, multiple_px=multiple_px, margin_share=margin_share))


def test_a_picture_with_its_proportions_fills_its_pixel_budget_and_is_not_distorted():
    page = np.zeros((2000, 1000), np.uint8)
    page[200:1800, 200:800] = 255  # a frame twice as high as wide
    picture = picture_of(page, max_pixels=200_000, multiple_px=28, margin_share=0.05)
    height, width = picture.shape
    assert height % 28 == width % 28 == 0
    assert 0.85 * 200_000 < picture.size <= 200_000
    rows, columns = np.nonzero(picture < 128)
    ink_height, ink_width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert ink_height / ink_width == pytest.approx(2, rel=0.01)
    for margin in (rows.min(), height - 1 - rows.max()):
        assert 0.045 * height <= margin <= 0.05 * height + 28


def test_a_picture_with_its_proportions_shows_more_of_a_long_article_than_a_square():
    page = np.full((300, 1800), 255, np.uint8)
    page[:, ::20] = page[0] = page[-1] = 0
    num_columns = [
        np.ptp(np.nonzero(picture.min(axis=0) < 200)[0])
        for picture in (
            shown(png_of(page), PictureForm(size_px=448, margin_share=0.0)),
            picture_of(page, max_pixels=448 * 448),
        )
    ]
    assert num_columns[1] > 2 * num_columns[0]


@pytest.mark.parametrize("shape", [(3000, 4), (4, 3000), (1, 1)])
def test_thin_and_tiny_drawings_become_pictures_of_bounded_proportions(shape):
    picture = picture_of(np.zeros(shape, np.uint8), max_pixels=100_000, multiple_px=28)
    assert picture.min() == 0
    assert min(picture.shape) >= 56 and max(picture.shape) <= 12 * min(picture.shape)
    assert picture.size <= 100_000


_KILLER = b"this picture kills its worker"


def _data_url_or_killed(png: bytes, form: PictureForm) -> tuple[str | None, str]:
    if png == _KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    return data_url(png, form)


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_does_not_affect_others(monkeypatch):
    monkeypatch.setattr(images, "data_url", _data_url_or_killed)
    pictures = [drawing(1), drawing(2), _KILLER, drawing(3), drawing(4)]

    async def prepare() -> list[tuple[str | None, str]]:
        workers = ImageWorkers(square(56), 1)
        try:
            return await asyncio.gather(*(workers.prepare(picture) for picture in pictures))
        finally:
            await asyncio.to_thread(workers.close)

    prepared = asyncio.run(prepare())
    assert [reason for _, reason in prepared] == ["", "", "broken_image", "", ""]
    assert [url for url, _ in prepared] == [data_url(picture, square(56))[0] for picture in pictures]


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
