"""Finds lines of lettering among the components of a sheet: the candidates for labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from patentdata.views.ink import SCALE, Ink

_MIN_HEIGHT, _MAX_HEIGHT = 18 // SCALE, 230 // SCALE  # of a letter, half-resolution pixels
_MAX_WIDTH_TO_HEIGHT = 7.0  # of a letter; in script, a whole word is one component
_MAX_HEIGHT_RATIO = 1.7  # between neighbouring letters: "Fig" has an ascender next to a small letter
_MAX_LETTERS = 3000  # of more components only the largest are kept: most are halftone dots
_LETTER_GAP = 1.0  # widest gap to the next letter of a word, in letter heights
_WORD_GAP = 3.6  # widest gap from "FIG." to its number, in letter heights
_MAX_NUMBER_WIDTH = 2.3  # of a number such as "12A", in letter heights; wider words are labels by themselves
_MIN_NUMBER_HEIGHT, _MAX_NUMBER_HEIGHT = 0.2, 1.3  # of a number after a word in script, as a share of the word's height
_MAX_POINT_HEIGHT, _MAX_DIGIT_WIDTH = 0.35, 0.85  # less high and wider than this (in own heights) is a full stop
_MAX_DIGITS = 5  # components of such a number
_MIN_ASPECT, _MAX_ASPECT = 1.2, 9.0  # width divided by height of a label, from "1.1" to "FIGURE 12A"


@dataclass(frozen=True, kw_only=True)
class Line:
    """Components in a row.

    Attributes:
        members: Indices of the components of the sheet's `Ink`.
        box: x0, y0, x1, y1 in half-resolution pixels.
        is_turned: True if the row runs up or down the sheet.
        foreign: Share of a margin of half a letter height around the line that is other ink, 0 to 1.
        crowding: The same share for a margin of two letter heights.
    """

    members: np.ndarray
    box: tuple[int, int, int, int]
    is_turned: bool
    foreign: float
    crowding: float

    @property
    def height(self) -> int:
        """Size across the row in half-resolution pixels."""
        return self.box[2] - self.box[0] if self.is_turned else self.box[3] - self.box[1]

    @property
    def width(self) -> int:
        """Size along the row in half-resolution pixels."""
        return self.box[3] - self.box[1] if self.is_turned else self.box[2] - self.box[0]


def find_lines(ink: Ink, *, is_turned: bool) -> list[Line]:
    """Rows of letter-sized components that have the shape of a label, in no particular order."""
    boxes = ink.boxes[:, [1, 0, 3, 2]] if is_turned else ink.boxes
    letters = _letters(boxes)
    if not len(letters):
        return []
    words = _components(len(letters), *_neighbours(boxes[letters], _LETTER_GAP, _MAX_HEIGHT_RATIO))
    ends = np.cumsum(np.bincount(words)).tolist()
    in_words = letters[np.argsort(words, kind="stable")]
    lines = _joined([in_words[start:end] for start, end in zip([0, *ends], ends, strict=False)], boxes)
    outlines = _outlines(lines, boxes)
    aspects = (outlines[:, 2] - outlines[:, 0]) / (outlines[:, 3] - outlines[:, 1])
    fits = (aspects >= _MIN_ASPECT) & (aspects <= _MAX_ASPECT)
    fits &= (aspects >= 2) | (np.array([len(members) for members in lines]) > 1)
    return [line_of(ink, lines[index], is_turned) for index in np.flatnonzero(fits)]


def shortened(ink: Ink, line: Line, low: float, high: float) -> Line | None:
    """The part of a line between two shares of its width, 0 to 1 in reading direction; None if it is all or nothing.

    Turned lines are read upwards, as on sheets that have to be turned 90° clockwise.
    """
    boxes = ink.boxes[line.members]
    middle = (boxes[:, [0, 1]] + boxes[:, [2, 3]]) / 2
    share = (line.box[3] - middle[:, 1] if line.is_turned else middle[:, 0] - line.box[0]) / line.width
    members = line.members[(share > low) & (share < high)]
    return line_of(ink, members, line.is_turned) if 0 < len(members) < len(line.members) else None


def number_after(ink: Ink, word: tuple[int, int, int, int], rotation_cw: int) -> np.ndarray | None:
    """The components of the number that follows a word, at any height from a fifth of the word's up.

    Args:
        ink: Components of the sheet.
        word: Box of the word in half-resolution pixels.
        rotation_cw: Degrees clockwise that turn the word upright.

    Returns:
        Their indices in reading order, or None if no ink of that size follows.
    """
    boxes = _upright(np.vstack([ink.boxes, word]), rotation_cw)
    boxes, (_, y0, x1, y1) = boxes[:-1], boxes[-1]
    height = y1 - y0
    own_width, own_height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    fits = (own_height >= max(_MIN_HEIGHT, _MIN_NUMBER_HEIGHT * height)) & (own_height <= _MAX_NUMBER_HEIGHT * height)
    fits &= (own_width <= 1.5 * own_height) & (boxes[:, 0] >= x1 - 0.1 * height)
    fits &= (own_height >= _MAX_POINT_HEIGHT * height) | (own_width <= _MAX_DIGIT_WIDTH * own_height)
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    fits &= (middle > y0) & (middle < y1) & (boxes[:, 0] <= x1 + (_WORD_GAP + 2) * height)
    members: list[int] = []
    end, max_gap, size = x1, _WORD_GAP * height, 0
    candidates = np.flatnonzero(fits)
    for index in candidates[np.argsort(boxes[candidates, 0], kind="stable")]:
        if boxes[index, 0] - end > max_gap or (size and not 1 / 1.7 < own_height[index] / size < 1.7):
            break
        members.append(int(index))
        end, size = int(boxes[index, 2]), int(own_height[index])
        max_gap = _LETTER_GAP * size
    return np.array(members) if 0 < len(members) <= _MAX_DIGITS else None


def _upright(boxes: np.ndarray, rotation_cw: int) -> np.ndarray:
    """Boxes turned clockwise about the origin, so that text of that rotation runs from left to right."""
    x0, y0, x1, y1 = boxes.T
    match rotation_cw:
        case 90:
            turned = (-y1, x0, -y0, x1)
        case 180:
            turned = (-x1, -y1, -x0, -y0)
        case 270:
            turned = (y0, -x1, y1, -x0)
        case _:
            turned = (x0, y0, x1, y1)
    return np.stack(turned, axis=1)


def line_of(ink: Ink, members: np.ndarray, is_turned: bool) -> Line:
    """The line that consists of the components `members`."""
    x0, y0 = (int(side) for side in ink.boxes[members, :2].min(axis=0))
    x1, y1 = (int(side) for side in ink.boxes[members, 2:].max(axis=0))
    box = (x0, y0, x1, y1)
    height = x1 - x0 if is_turned else y1 - y0
    foreign, crowding = (_foreign(ink, box, margin) for margin in (max(3, height // 2), 2 * height))
    return Line(members=members, box=box, is_turned=is_turned, foreign=foreign, crowding=crowding)


def _letters(boxes: np.ndarray) -> np.ndarray:
    """Indices of the boxes that have the size of a letter."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    fits = (height >= _MIN_HEIGHT) & (height <= _MAX_HEIGHT) & (width <= height * _MAX_WIDTH_TO_HEIGHT)
    letters = np.flatnonzero(fits)
    if len(letters) > _MAX_LETTERS:
        letters = np.sort(letters[np.argsort(-height[letters], kind="stable")[:_MAX_LETTERS]])
    return letters


def _neighbours(boxes: np.ndarray, max_gap: float, max_ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (left, right) of boxes next to each other on one line: gap up to `max_gap` heights, similar heights."""
    x0, y0, x1, y1 = boxes.T.astype(np.float32)
    height = y1 - y0
    order = np.argsort(x0, kind="stable")
    until = np.searchsorted(x0[order], (x1 + max_gap * max_ratio * height)[order], side="right")
    counts = np.maximum(0, until - np.arange(1, len(order) + 1))  # of boxes within reach to the right of each
    ends = np.cumsum(counts)
    left = np.repeat(np.arange(len(order)), counts)
    right = left + 1 + np.arange(len(left)) - np.repeat(ends - counts, counts)
    left, right = order[left], order[right]
    low, high = np.minimum(height[left], height[right]), np.maximum(height[left], height[right])
    overlap = np.minimum(y1[left], y1[right]) - np.maximum(y0[left], y0[right])
    gap = x0[right] - x1[left]
    near = (gap <= max_gap * high) & (gap >= -0.6 * low) & (overlap >= 0.5 * low) & (high <= max_ratio * low)
    return left[near], right[near]


def _components(num: int, lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """(num,): the connected component of each of `num` nodes under the edges (left, right)."""
    graph = coo_array((np.ones(len(lefts), bool), (lefts, rights)), shape=(num, num))
    return connected_components(graph, directed=False)[1]


def _joined(words: list[np.ndarray], boxes: np.ndarray) -> list[np.ndarray]:
    """`words`, and pairs of words that may be a label whose number is far from its "FIG."."""
    if len(words) < 2:
        return words
    outlines = _outlines(words, boxes)
    width, height = outlines[:, 2] - outlines[:, 0], outlines[:, 3] - outlines[:, 1]
    sizes = np.array([len(word) for word in words])
    lefts, rights = _neighbours(outlines, _WORD_GAP, 1.7)
    can_name = (width >= 1.0 * height) & (width <= 6 * height)
    can_count = (width <= _MAX_NUMBER_WIDTH * height) & (sizes <= 4)
    # The number may be on either side: the sheet may be upside down or turned either way.
    fits = (can_name[lefts] & can_count[rights]) | (can_name[rights] & can_count[lefts])
    lefts, rights = lefts[fits], rights[fits]
    gaps = outlines[rights, 0] - outlines[lefts, 2]
    joined: dict[int, int] = {}
    used: set[int] = set()
    for pair in np.argsort(gaps, kind="stable"):
        left, right = int(lefts[pair]), int(rights[pair])
        if not used & {left, right}:
            joined[left] = right
            used |= {left, right}
    return words + [np.concatenate([words[left], words[right]]) for left, right in joined.items()]


def _outlines(lines: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """(num_lines, 4): the box around the components of each line."""
    members = boxes[np.concatenate(lines)]
    starts = np.cumsum([0, *(len(line) for line in lines[:-1])])
    return np.hstack([np.minimum.reduceat(members[:, :2], starts), np.maximum.reduceat(members[:, 2:], starts)])


def _foreign(ink: Ink, box: tuple[int, int, int, int], margin: int) -> float:
    """Share of a margin around the box that is ink; what is inside the box does not count."""
    x0, y0 = max(0, box[0] - margin), max(0, box[1] - margin)
    around = ink.ids[y0 : box[3] + margin, x0 : box[2] + margin]
    inside = ink.ids[box[1] : box[3], box[0] : box[2]]
    ring = cv2.countNonZero(around) - cv2.countNonZero(inside)
    return min(1.0, ring / max(1, around.size - inside.size))
