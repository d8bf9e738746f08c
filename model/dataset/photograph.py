"""Whether a picture is a photograph: a measured rule that must never take a drawing for one.

A drawing has paper and ink, and whatever is neither is thin. So strokes are removed by closing and opening, which leave
only levels that were there before: of a drawing, paper and solid ink remain, however dense its hatching is. The paper
may be of any colour and unevenly lit, so a smooth surface is fitted to it. What is then neither paper nor ink is toned,
if it is smooth: dots, hatching and small print that were made smaller are rough. A photograph has large toned areas
with many tones, because surfaces are shaded; fills of one colour have few.

The limits are from drawn sheets, real sheets, their scans in grey, blueprints, aged and unevenly lit paper on the one
hand, and photographs of specimens and real ones on the other; docs/search.md has the values.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SIDE_PX = 384  # longer side of the picture that is looked at
_STROKE_PX = 9  # wider than a stroke or the gap between two
_PAPER_TOLERANCE = 26  # of 255: how far the paper may be from its smooth surface
_NEAR_EXTREME = 0.16  # share of the range of brightness next to its ends that counts as ink
_ROUGH = 5.0  # of 255: mean distance of pixels from those around them; dense strokes made small are rougher
_ROUNDS = 4  # of fitting the paper without what is far from it
_TONES = 32
MIN_TONED_SHARE = 0.015
MIN_TONES = 3.5


@dataclass(frozen=True)
class Tones:
    """What is in a picture besides paper and ink.

    Attributes:
        share: Share of its pixels that are neither.
        num_tones: Effective number of the 32 levels of brightness that these pixels have: the exponential of their
            entropy.
    """

    share: float
    num_tones: float

    @property
    def is_photograph(self) -> bool:
        """Whether the picture has as many tones on as much of it as a photograph."""
        return self.share >= MIN_TONED_SHARE and self.num_tones >= MIN_TONES


def measure_tones(rgb: np.ndarray) -> Tones:
    """What is in a picture besides paper and ink: (height_px, width_px, 3) uint8."""
    step = max(1, -(-max(rgb.shape[:2]) // _SIDE_PX))
    small = _on_light_paper(np.ascontiguousarray(rgb[::step, ::step]))  # not averaged: that makes tones of hatching
    if min(small.shape[:2]) < _STROKE_PX:
        return Tones(0.0, 0.0)
    square = np.ones((_STROKE_PX, _STROKE_PX), np.uint8)
    plain = cv2.morphologyEx(cv2.medianBlur(small, 3), cv2.MORPH_CLOSE, square)
    plain = cv2.morphologyEx(plain, cv2.MORPH_OPEN, square).astype(np.float32)
    brightness = plain.mean(axis=2)
    grey = small.mean(axis=2)
    darkest, brightest = np.percentile(grey, [0.5, 99.5])
    margin = _NEAR_EXTREME * (brightest - darkest)
    is_extreme = (brightness < darkest + margin) | (brightness > brightest - margin)
    is_toned = (np.abs(plain - _paper(plain)).max(axis=2) > _PAPER_TOLERANCE) & ~is_extreme
    is_toned &= _roughness(grey) < _ROUGH
    if not is_toned.any():
        return Tones(0.0, 0.0)
    counts = np.bincount((brightness[is_toned] * _TONES / 256).astype(int), minlength=_TONES)
    shares = counts[counts > 0] / counts.sum()
    return Tones(float(is_toned.mean()), float(np.exp(-(shares * np.log(shares)).sum())))


def _roughness(grey: np.ndarray) -> np.ndarray:
    """(height_px, width_px) mean distance of the pixels around each pixel from the mean of those around them."""
    grey = grey.astype(np.float32)
    return np.asarray(cv2.blur(np.abs(grey - cv2.blur(grey, (5, 5))), (5, 5)))


def _on_light_paper(rgb: np.ndarray) -> np.ndarray:
    """The picture, inverted if its commonest brightness is in the darker half of its range, as in a blueprint."""
    grey = rgb.mean(axis=2)
    darkest, brightest = np.percentile(grey, [0.5, 99.5])
    return 255 - rgb if _commonest(grey) < (darkest + brightest) / 2 else rgb


def _commonest(brightness: np.ndarray) -> int:
    """The level of brightness that most pixels are near to."""
    counts = np.bincount(brightness.astype(int).ravel(), minlength=256)
    return int(np.argmax(np.convolve(counts, np.ones(9), "same")))


def _paper(plain: np.ndarray) -> np.ndarray:
    """The smooth surface of the paper, of the same shape: quadratic, and fitted to the commonest level."""
    height, width = plain.shape[:2]
    row, column = (values.ravel() for values in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    terms = np.column_stack([np.ones_like(row), row, column, row**2, row * column, column**2])
    colours = plain.reshape(-1, 3)
    brightness = colours.mean(axis=1)
    is_paper = np.abs(brightness - _commonest(brightness)) <= _PAPER_TOLERANCE
    surface = np.empty_like(colours)
    for _ in range(_ROUNDS):
        surface = terms @ np.linalg.lstsq(terms[is_paper], colours[is_paper], rcond=None)[0]
        is_paper = np.abs(colours - surface).max(axis=1) <= _PAPER_TOLERANCE
        if is_paper.sum() < len(terms[0]):
            break
    return surface.reshape(plain.shape)
