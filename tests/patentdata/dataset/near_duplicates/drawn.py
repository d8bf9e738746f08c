"""Signatures of drawn figures, quickly."""

import cv2
import numpy as np

from patentdata.views.signatures import signature


def figure(seed, width=300, height=220):
    """A page with a figure of a few random curves and polygons."""
    rng = np.random.default_rng(seed)
    page = np.full((height, width), 255, np.uint8)
    for _ in range(4):
        centre = rng.integers(40, (width - 40, height - 40))
        cv2.ellipse(page, centre.tolist(), rng.integers(10, 40, 2).tolist(), int(rng.integers(180)), 0, 360, 0, 2)
    corners = rng.integers(5, (width - 5, height - 5), (7, 2)).astype(np.int32)
    cv2.polylines(page, [corners], isClosed=True, color=0, thickness=2)
    return page


def signatures(pages):
    """(num_pages, NUM_BYTES) uint8."""
    return np.stack([np.frombuffer(signature(np.ascontiguousarray(page)), np.uint8) for page in pages])
