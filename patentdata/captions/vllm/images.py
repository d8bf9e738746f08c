"""The picture of a view that a model is shown, prepared by worker processes."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from patentdata.errors import SheetError
from patentdata.views.square_images import PAPER, TrainingImageConfig, decode_png, fit_square, ink_box
from patentdata.worker import prepare_worker

_MAX_ENLARGEMENT = 4.0
_MAX_WORKERS = 4
_LEAST_SIDE_PX = 56
_MAX_ASPECT = 8  # longer side of a picture over its shorter one; models refuse or misread thinner strips


@dataclass(frozen=True, kw_only=True)
class PictureForm:
    """The form of the picture that a model is shown: a square, or the drawing's proportions within a pixel budget.

    Attributes:
        size_px: Side of the square in pixels; None if the proportions are kept.
        max_pixels: Most pixels of a picture whose proportions are kept; None for a square.
        multiple_px: Both sides of a picture whose proportions are kept are multiples of this.
        margin_share: White margin at each end of the drawing's longer axis, as a share of the picture's longer side.
    """

    size_px: int | None = None
    max_pixels: int | None = None
    multiple_px: int = 1
    margin_share: float

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the picture, as JSON values; part of a caption's cache key."""
        if self.size_px is not None:
            return {"size_px": self.size_px, "margin_share": self.margin_share}
        return {
            "mode": "aspect",
            "max_pixels": self.max_pixels,
            "multiple_px": self.multiple_px,
            "margin_share": self.margin_share,
        }


def data_url(png: bytes, form: PictureForm) -> tuple[str | None, str]:
    """A view as a grey PNG in a data URL, cropped to its ink, area-resized and padded with white to `form`.

    Returns:
        The URL and "", or None and the reason, "broken_image" or "no_ink".
    """
    try:
        page = decode_png(png)
    except SheetError:
        return None, "broken_image"
    left, top, width, height = ink_box(page)
    if not width:
        return None, "no_ink"
    ink = page[top : top + height, left : left + width]
    is_encoded, shown = cv2.imencode(".png", _fitted(ink, form), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_encoded, "a grey uint8 array is always encodable"
    return "data:image/png;base64," + base64.b64encode(shown.tobytes()).decode("ascii"), ""


def _fitted(ink: np.ndarray, form: PictureForm) -> np.ndarray:
    """A drawing (height_px, width_px), uint8, 0 is ink, as a picture of `form`."""
    if form.size_px is None:
        return fit_aspect(ink, form)
    square = TrainingImageConfig(size_px=form.size_px, margin_share=form.margin_share, max_enlargement=_MAX_ENLARGEMENT)
    return fit_square(ink, square)


def fit_aspect(ink: np.ndarray, form: PictureForm) -> np.ndarray:
    """`ink` with its proportions, as large as the pixel budget allows, centred on white.

    Args:
        ink: (height_px, width_px) uint8, 0 is ink and 255 is paper.
        form: Pixel budget, multiple and margin.

    Returns:
        (height_px, width_px) uint8; both sides are multiples of `form.multiple_px`.
    """
    assert form.max_pixels is not None, "a picture whose proportions are kept has a pixel budget"
    height, width = ink.shape
    # The picture before it is scaled: the drawing and its margins, and paper at the sides of a thin strip.
    margin = max(width, height) * form.margin_share / (1 - 2 * form.margin_share)
    sides = np.array([height + 2 * margin, width + 2 * margin])
    sides = np.maximum(sides, sides.max() / _MAX_ASPECT)
    scale = min(_MAX_ENLARGEMENT, float(np.sqrt(form.max_pixels / sides.prod())))
    # Rounded down, so that the picture stays within its budget.
    step = form.multiple_px
    least = -(-_LEAST_SIDE_PX // step) * step
    picture_height, picture_width = (max(least, int(side * scale) // step * step) for side in sides)
    scale = min(scale, (picture_width - 2 * margin * scale) / width, (picture_height - 2 * margin * scale) / height)
    target = (max(1, int(width * scale)), max(1, int(height * scale)))  # cv2 wants width first
    scaled = cv2.resize(ink, target, interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR)
    picture = np.full((picture_height, picture_width), PAPER, np.uint8)
    left, top = (picture_width - target[0]) // 2, (picture_height - target[1]) // 2
    picture[top : top + target[1], left : left + target[0]] = scaled
    return picture


class ImageWorkers:
    """Worker processes that prepare pictures; started for the first one.

    A picture that kills its worker is "broken_image" and does not affect other pictures.
    """

    def __init__(self, form: PictureForm, num_workers: int) -> None:
        self._form = form
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
            return await asyncio.get_running_loop().run_in_executor(executor, data_url, png, self._form)
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
