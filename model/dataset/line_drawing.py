"""A photograph as a line drawing, in the manner of the drawings that it is compared with.

Three steps, none of which is learned: the background is removed (what looks like the border of the picture, and what is
its shadow, seeds a graph cut), edges of brightness and colour are found in what is left, and the outline and the edges
are drawn as strokes of a drawing's width. Everything else goes: colour, shading, texture and the table.
"""

from __future__ import annotations

import cv2
import numpy as np

_SIDE_PX = 320  # longer side of the picture in which background and edges are found
_BORDER_SHARE = 0.06  # of the sides: what is taken for background
_LEAST_SHARE, _MOST_SHARE = 0.01, 0.9  # of the picture: a foreground of another size was not found
_CUTS = 3  # rounds of the graph cut
_SHORTEST_PX = 12  # of an edge, along its bounding box; shorter ones are texture
_SHADOW = (0.3, 0.97)  # brightness of a shadow, as a share of the background around it
_STROKE_SHARE = 1 / 65  # of the longer side of the article: the width of a stroke
_PAPER, _INK = 255, 0


def draw_lines(rgb: np.ndarray) -> np.ndarray | None:
    """The line drawing of a photograph: (height_px, width_px) uint8, 0 is ink and 255 is paper.

    Args:
        rgb: (height_px, width_px, 3) uint8.

    Returns:
        The drawing, in another size than the picture; None if no lines were found.
    """
    scale = _SIDE_PX / max(rgb.shape[:2])
    size = tuple(max(8, round(side * scale)) for side in rgb.shape[1::-1])
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    smooth = cv2.bilateralFilter(small, 7, 30, 5)
    article = find_article(smooth)
    edges = _edges(smooth, article)
    if not edges.any():
        return None
    return _stroked(edges)


def find_article(rgb: np.ndarray) -> np.ndarray:
    """(height_px, width_px) bool: what is in front of the background; all of it if nothing could be told apart."""
    height, width = rgb.shape[:2]
    border = max(2, round(_BORDER_SHARE * min(height, width)))
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    background = _background(lab, border)
    away = lab - background
    share_of_light = lab[:, :, 0] / np.maximum(background[:, :, 0], 1)
    colour_apart = np.hypot(away[:, :, 1], away[:, :, 2])
    is_shadow = (share_of_light > _SHADOW[0]) & (share_of_light < _SHADOW[1]) & (colour_apart < 7)
    distance = np.sqrt((0.6 * away[:, :, 0]) ** 2 + (1.5 * colour_apart) ** 2)
    limit = max(12.0, float(np.percentile(_frame(distance, border), 90)))
    labels = np.where(distance > limit, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[is_shadow & (distance < 2.5 * limit)] = cv2.GC_PR_BGD
    labels[:border], labels[-border:], labels[:, :border], labels[:, -border:] = (cv2.GC_BGD,) * 4
    if not _LEAST_SHARE < (labels == cv2.GC_PR_FGD).mean() < _MOST_SHARE:
        return np.ones((height, width), bool)
    cv2.setRNGSeed(0)  # the colours of the graph cut are clustered from random starts
    cut, _, _ = cv2.grabCut(
        np.ascontiguousarray(rgb[:, :, ::-1]),
        labels,
        (0, 0, width, height),  # not used with a mask
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        _CUTS,
        cv2.GC_INIT_WITH_MASK,
    )
    article = _main_pieces((cut == cv2.GC_PR_FGD) | (cut == cv2.GC_FGD))
    return article if _LEAST_SHARE < article.mean() < _MOST_SHARE else np.ones((height, width), bool)


def _background(lab: np.ndarray, border: int) -> np.ndarray:
    """The colour of the background everywhere, of the same shape: each column's border blended from top to bottom.

    A table and a wall differ from top to bottom, so every row also has the colours of its two ends.
    """
    height = len(lab)
    left, right = np.median(lab[:, :border], axis=1), np.median(lab[:, -border:], axis=1)
    left, right = (cv2.blur(side[:, None], (1, max(3, height // 20)))[:, 0] for side in (left, right))
    share = np.linspace(0, 1, lab.shape[1], dtype=np.float32)[None, :, None]
    return np.asarray((1 - share) * left[:, None] + share * right[:, None], dtype=np.float32)


def _frame(values: np.ndarray, border: int) -> np.ndarray:
    """The values of the border of a picture."""
    is_border = np.ones(values.shape[:2], bool)
    is_border[border:-border, border:-border] = False
    return values[is_border]


def _main_pieces(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask and those of at least a twentieth of its size, without specks."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    num, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if num < 2:
        return np.zeros(mask.shape, bool)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= areas.max() / 20)[labels])


def _edges(rgb: np.ndarray, article: np.ndarray) -> np.ndarray:
    """(height_px, width_px) bool: the outline of the article and the edges inside it."""
    inside = cv2.erode(article.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    found = np.zeros(article.shape, bool)
    for channel in range(3):
        soft = cv2.GaussianBlur(lab[:, :, channel], (0, 0), 1.0)
        slope = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
        high = max(24.0, float(np.percentile(slope[article], 90)))
        found |= cv2.Canny(soft, 0.4 * high, high, L2gradient=True) > 0
    edges = _without_short(found & inside)
    if not article.all():
        outlines, _ = cv2.findContours(article.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        canvas = np.zeros(article.shape, np.uint8)
        cv2.drawContours(canvas, outlines, -1, 1, 1)
        edges |= canvas > 0
    return edges


def _without_short(edges: np.ndarray) -> np.ndarray:
    """The edges without those whose bounding box has no side of `_SHORTEST_PX`."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    return np.asarray(edges & (longest >= _SHORTEST_PX)[labels])


def _stroked(edges: np.ndarray) -> np.ndarray:
    """Edges as strokes on paper, twice as large, cropped to what is drawn with a little paper around it."""
    left, top, width, height = cv2.boundingRect(edges.astype(np.uint8))
    cropped = edges[top : top + height, left : left + width].astype(np.uint8)
    stroke = max(1, round(2 * _STROKE_SHARE * max(width, height)))
    large = cv2.resize(np.pad(cropped, 4), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    thick = cv2.dilate(large, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (stroke, stroke)))
    return np.where(thick > 0, _INK, _PAPER).astype(np.uint8)
