"""Decoding, resizing and normalising the images of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from model.dataset.views import Images, Views
from model.errors import DatasetError

_WHITE = 255
_MILD_SHRINKAGE = 1.25
_PARTS_A_WORKER = 4  # several small parts of a batch for each thread, so that a slow part does not hold up the batch


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a model's input.

    Attributes:
        size_px: (height, width) of the input.
        mean: Mean of each channel, for values from 0 to 1.
        std: Standard deviation of each channel, for values from 0 to 1.
        interpolation: Only passed on to the exported configuration; see `resize` for what is used here.
        resize_mode: Only passed on to the exported configuration; images of a dataset are square.
    """

    size_px: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize_mode: str


def decode_grey(jpeg: bytes | np.ndarray, *, view_id: str = "") -> np.ndarray:
    """Decode an image to (height_px, width_px) uint8, 0 is ink and 255 is paper.

    Args:
        jpeg: The encoded bytes.
        view_id: Named in the error.

    Raises:
        DatasetError: The bytes are not an image.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) if len(jpeg) else None
    if image is None:
        raise DatasetError(f"view {view_id}: its image cannot be decoded; build the dataset again")
    return image


def pad_to_square(image: np.ndarray) -> np.ndarray:
    """Centre an image on a white square with its longer side; a square image is returned unchanged."""
    height, width = image.shape
    if height == width:
        return image
    top, left = max(width - height, 0) // 2, max(height - width, 0) // 2
    bottom, right = max(width - height, 0) - top, max(height - width, 0) - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_WHITE)


def resize(image: np.ndarray, size_px: tuple[int, int], *, out: np.ndarray | None = None) -> np.ndarray:
    """Resize an image so that thin lines stay visible.

    An image that shrinks by more than a quarter is averaged by area. One that shrinks less is interpolated bilinearly,
    in a sixth of the time: no pixel is skipped there, and from 256 to 224 px a line one pixel wide keeps its ink within
    7 %. One that grows is interpolated bicubically.

    Args:
        image: (height_px, width_px) uint8.
        size_px: (height, width) of the result.
        out: (height, width) uint8 array for the result; None allocates one.
    """
    height, width = size_px
    shrinkage = max(image.shape[0] / height, image.shape[1] / width)
    if min(image.shape[0] / height, image.shape[1] / width) < 1:
        interpolation = cv2.INTER_CUBIC
    else:
        interpolation = cv2.INTER_LINEAR if shrinkage <= _MILD_SHRINKAGE else cv2.INTER_AREA
    return cv2.resize(image, (width, height), dst=out, interpolation=interpolation)


def crop(image: np.ndarray, draw: np.ndarray, *, min_area: float) -> np.ndarray:
    """Crop a square whose area is a share in [min_area, 1] of the square image.

    Args:
        image: (side_px, side_px) uint8.
        draw: Three random numbers in [0, 1), which decide area, top and left.
        min_area: Smallest share of the area that is kept.
    """
    side = image.shape[0]
    kept = max(1, round(side * float(np.sqrt(min_area + (1 - min_area) * draw[0]))))
    top, left = (int(share * (side - kept + 1)) for share in draw[1:])
    return image[top : top + kept, left : left + kept]


def normalise(images: np.ndarray | torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Turn grey images into a model's input, on the device of `images`.

    Args:
        images: (batch, height_px, width_px) uint8.
        preprocess: Gives mean and standard deviation.

    Returns:
        (batch, channels, height_px, width_px) float32; every channel shows the same grey.
    """
    grey = torch.as_tensor(images).unsqueeze(1)
    mean = torch.tensor(preprocess.mean, device=grey.device).view(1, -1, 1, 1)
    std = torch.tensor(preprocess.std, device=grey.device).view(1, -1, 1, 1)
    return torch.addcmul(-mean / std, grey.float(), 1 / (255 * std))  # one pass of (grey / 255 - mean) / std


class ImageReader:
    """Reads images of `views` as input of a model, on a few threads (OpenCV releases the GIL)."""

    def __init__(self, views: Views, preprocess: Preprocess, *, num_workers: int) -> None:
        self._views = views
        self._preprocess = preprocess
        self._num_workers = num_workers
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")
        cv2.setNumThreads(1)  # the pool uses the cores already

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, rows: Sequence[int], draws: np.ndarray | None = None, *, min_area: float = 1.0) -> torch.Tensor:
        """Read rows as input of a model: (num_rows, channels, height_px, width_px) float32.

        The arguments are those of `read_grey`.
        """
        return normalise(self.read_grey(rows, draws, min_area=min_area), self._preprocess)

    def read_grey(
        self,
        rows: Sequence[int],
        draws: np.ndarray | None = None,
        *,
        min_area: float = 1.0,
        is_claimed: np.ndarray | None = None,
        pin_memory: bool = False,
    ) -> torch.Tensor:
        """Read rows as grey images, which take a twelfth of the bytes of `read`.

        Args:
            rows: Rows of `views`, in the order of the result.
            draws: (num_rows, 3) random numbers in [0, 1), see `crop`; None reads the whole images.
            min_area: Smallest share of the area that a crop keeps.
            is_claimed: (num_rows,) bool, True for rows of which the claimed lines are read, whatever the other rows
                show; None reads the images that `views` shows.
            pin_memory: Put the images into pinned memory, for faster copies to a GPU.

        Returns:
            (num_rows, height_px, width_px) uint8.

        Raises:
            DatasetError: An image cannot be decoded.
        """
        height, width = self._preprocess.size_px
        read = torch.empty(len(rows), height, width, dtype=torch.uint8, pin_memory=pin_memory)
        out = read.numpy()  # shares memory with the tensor
        claimed = self._views.claimed_images if is_claimed is not None else self._views.images

        def read_part(part: range) -> None:
            for index in part:
                images = claimed if is_claimed is not None and is_claimed[index] else self._views.images
                draw = None if draws is None else draws[index]
                self._read_one(images, int(rows[index]), draw, min_area, out[index])

        size = max(1, len(rows) // (_PARTS_A_WORKER * self._num_workers))
        parts = [range(first, min(first + size, len(rows))) for first in range(0, len(rows), size)]
        for _ in self._pool.map(read_part, parts):
            pass
        return read

    def _read_one(self, images: Images, row: int, draw: np.ndarray | None, min_area: float, out: np.ndarray) -> None:
        image = pad_to_square(decode_grey(images.view(row), view_id=self._views.view_id(row)))
        if draw is not None:
            image = crop(image, draw, min_area=min_area)
        resize(image, self._preprocess.size_px, out=out)
