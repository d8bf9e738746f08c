"""The picture of a view that a model is shown, prepared by worker processes."""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2

from patentdata.captions.config import CaptionImageConfig
from patentdata.errors import SheetError
from patentdata.views.square_images import TrainingImageConfig, decode_png, fit_square, ink_box
from patentdata.worker import prepare_worker

USUAL_SIZE_PX = 336  # LLaVA-1.5's input
_MAX_ENLARGEMENT = 4.0
_MAX_WORKERS = 4
_LONGEST_SIDE_PX = 16_384  # a longer "edge" is a number of pixels


def data_url(png: bytes, size_px: int, margin_share: float) -> tuple[str | None, str]:
    """A view as a grey PNG in a data URL, cropped to its ink, padded to a white square and area-resized.

    Args:
        png: The image of the view.
        size_px: Side of the square in pixels.
        margin_share: White margin at each end of the drawing's longer axis, as a share of the side.

    Returns:
        The URL and "", or None and the reason, "broken_image" or "no_ink".
    """
    square = TrainingImageConfig(size_px=size_px, margin_share=margin_share, max_enlargement=_MAX_ENLARGEMENT)
    try:
        page = decode_png(png)
    except SheetError:
        return None, "broken_image"
    left, top, width, height = ink_box(page)
    if not width:
        return None, "no_ink"
    drawing = fit_square(page[top : top + height, left : left + width], square)
    is_encoded, shown = cv2.imencode(".png", drawing, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_encoded, "a grey uint8 array is always encodable"
    return "data:image/png;base64," + base64.b64encode(shown.tobytes()).decode("ascii"), ""


def input_size_px(model_folder: Path) -> int | None:
    """Side in pixels of the square picture that a model reads, from the settings of its processor.

    They are in preprocessor_config.json, or, as transformers 5 writes them, under "image_processor" in
    processor_config.json.

    Returns:
        The side; None if the model does not say, or reads pictures of any size up to an area.
    """
    for name, section in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        try:
            config = json.loads((model_folder / name).read_text())
            size = _side_px(config[section] if section else config)
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            continue
        if size is not None:
            return size
    return None


def _side_px(config: Any) -> int | None:
    """The side that the settings of an image processor name; None if they name none, or an area."""
    sizes = config.get("crop_size") or config.get("size")
    if isinstance(sizes, Mapping):
        # Qwen's "shortest_edge" and "longest_edge" are the least and the most pixels of the whole picture.
        is_area = "longest_edge" in sizes and (sizes["longest_edge"] or 0) > _LONGEST_SIDE_PX
        is_area = is_area or not {"min_pixels", "max_pixels", "merge_size"}.isdisjoint(config)
        sizes = sizes.get("height") or (None if is_area else sizes.get("shortest_edge"))
    return sizes if isinstance(sizes, int) and 28 <= sizes <= 2048 else None


class ImageWorkers:
    """Worker processes that prepare pictures; started for the first one.

    A picture that kills its worker is "broken_image" and does not affect other pictures.
    """

    def __init__(self, config: CaptionImageConfig, size_px: int, num_workers: int) -> None:
        self._arguments = (size_px, config.margin_share)
        self._num_workers = num_workers or min(_MAX_WORKERS, len(os.sched_getaffinity(0)))
        self._executor: Executor | None = None
        self._alone = asyncio.Lock()

    async def prepare(self, png: bytes | None) -> tuple[str | None, str]:
        """URL and reason of a picture, see `data_url`; "broken_image" also if it is missing or kills its worker."""
        if not png:
            return None, "broken_image"
        try:
            return await self._run(png)
        except BrokenExecutor:
            pass
        async with self._alone:  # one at a time, so that the picture that kills its worker is known
            for _ in range(2):  # the first try may find a worker that another picture has killed
                try:
                    return await self._run(png)
                except BrokenExecutor:
                    continue
        return None, "broken_image"

    async def _run(self, png: bytes) -> tuple[str | None, str]:
        """Prepare a picture in a worker; an executor with a dead worker is replaced at the next call."""
        executor = self._executor = self._executor or _executor(self._num_workers)
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, data_url, png, *self._arguments)
        except BrokenExecutor:
            if self._executor is executor:
                self._executor = None
            raise

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def _executor(num_workers: int) -> Executor:
    """An executor of processes, or of threads if this process may not have children."""
    if multiprocessing.current_process().daemon:  # as in a Dask worker
        return ThreadPoolExecutor(num_workers, initializer=_prepare_worker)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(num_workers, mp_context=context, initializer=_prepare_worker, initargs=(True,))


def _prepare_worker(is_process: bool = False) -> None:
    cv2.setNumThreads(1)
    if is_process:
        prepare_worker()
