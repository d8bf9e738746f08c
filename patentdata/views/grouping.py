"""Which ink of a sheet belongs to which label.

Works on an upright sheet without its labels. Ink is gathered into atoms (ink closer than a few pixels), atoms are
joined along their shortest gaps, and the sheet is parted where parting explains the labels best: wide gaps are cut, and
every label finds its figure on the same side of itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from patentdata.views.ink import SCALE, pool, without_dust

CELL = 4  # sheet pixels to one pixel of the map that atoms are found on
_COMPANY = 12  # cells within which ink keeps company
_DOT = 2  # side of a dot, cells
_ROW_GAP = 7  # between the dots of a dotted line, cells
_HALO = 2.5  # from a dot to the line it belongs to, cells
_SPECK = 6  # ink of this size without company is a speck, cells
_ALWAYS = 3.0  # gaps up to this many cells are never cut
_MAX_CLUSTERS = 12  # among which cuts are tried
_MIN_CLUSTER = 0.05  # of the sheet's longer side; smaller ones go with their nearest neighbour
_OVERLAP_COST = 0.3  # of a figure wholly inside the box of another, as a share of the sheet's longer side
_APART = 0.02  # gap between parts that stand apart, as a share of the sheet's longer side
_PART = 0.06  # least side of a part that counts, as the same share
_NO_FIGURE_COST = 0.5  # of a label without a figure
_CALL_OUT_GAIN = 0.15  # by which the sheet must be explained better for a label to be taken for a call-out
_SIDES = ("below", "above", "right", "left")  # where the label stands, seen from its figure

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The ink of one figure.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the upright sheet, ends exclusive.
        label: Place of its label in the list given; null where it has none.
        mask: (height, width) bool of the box's cells: True where the ink is this figure's.
        mask_origin: x, y of the mask's corner, cells.
        num_parts: Parts of some size that stand apart.
        flags: What makes it doubtful.
    """

    box: Box
    label: int | None
    num_parts: int
    mask: np.ndarray
    mask_origin: tuple[int, int]
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of a sheet; `call_out` is the place of a label that is none, null where all are labels."""

    groups: list[Group]
    call_out: int | None


@dataclass(frozen=True, kw_only=True)
class Partition:
    """For labels in order, the atoms of each one's figure; lower cost is a better explanation of the sheet."""

    cost: float
    parts: list[tuple[int, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Atoms:
    """Pieces of ink on the map of cells; they count from 1 in `ids`.

    Attributes:
        ids: (height, width) int32 in cells, 0 is paper.
        boxes: (num_atoms, 4) int32 x0, y0, x1, y1 in cells.
        edges: (num_edges, 2) int32, neighbouring atoms from 0, shortest gap first.
        gaps: (num_edges,) float32, in cells.
    """

    ids: np.ndarray
    boxes: np.ndarray
    edges: np.ndarray
    gaps: np.ndarray


def find_atoms(half: np.ndarray, *, is_one_figure: bool = False) -> Atoms:
    """Pieces of ink that are drawing, specks left out, and the gaps between neighbours.

    Args:
        half: (height, width) uint8 at half resolution, 1 is ink.
        is_one_figure: Gaps and specks do not matter where all specks lie within the drawing: they are not looked for.
    """
    cells = pool(cv2.threshold(half, 0, 255, cv2.THRESH_BINARY_INV)[1], CELL // SCALE)
    num, ids, stats, _ = cv2.connectedComponentsWithStats(cells, connectivity=8, ltype=cv2.CV_32S)
    boxes = np.hstack([stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]])
    if num <= 2:
        return Atoms(ids=ids, boxes=boxes, edges=np.zeros((0, 2), np.int32), gaps=np.zeros(0, np.float32))
    if is_one_figure and not _has_outliers(boxes):
        return Atoms(ids=ids, boxes=boxes, edges=np.zeros((0, 2), np.int32), gaps=np.zeros(0, np.float32))
    edges, gaps = _gaps(1 - cells, num - 1, ids)
    atoms = Atoms(ids=ids, boxes=boxes, edges=edges, gaps=gaps)
    specks = _specks(atoms)
    if not specks.any():
        return atoms
    # territories of specks may have stood between neighbours: measure again without them
    numbers = np.zeros(num, np.int32)
    numbers[1:][~specks] = np.arange(1, num - specks.sum())
    ids = numbers[ids]
    edges, gaps = _gaps((ids == 0).astype(np.uint8), int(num - 1 - specks.sum()), ids)
    return Atoms(ids=ids, boxes=boxes[~specks], edges=edges, gaps=gaps)


def _has_outliers(boxes: np.ndarray) -> bool:
    """Whether small atoms lie outside the box of the others."""
    small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) <= _SPECK
    if small.all() or not small.any():
        return bool(small.any())
    first, last = boxes[~small, :2].min(axis=0), boxes[~small, 2:].max(axis=0)
    return bool((boxes[small, :2] < first).any() or (boxes[small, 2:] > last).any())


def _gaps(paper: np.ndarray, num_atoms: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest gap between each two atoms whose territories touch: cells are given to the nearest atom."""
    distance, nearest = cv2.distanceTransformWithLabels(paper, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    # OpenCV numbers territories in its own way: translate through the ink cells
    names = np.zeros(int(nearest.max()) + 1, np.int32)
    inked = np.flatnonzero(ids)
    names[nearest.ravel()[inked]] = ids.ravel()[inked]
    width, distance, territory = ids.shape[1], distance.ravel(), names[nearest].ravel()
    firsts, seconds, gaps = [], [], []
    for step in (1, width):
        border = np.flatnonzero(territory[step:] != territory[:-step])
        if step == 1:
            border = border[border % width != width - 1]  # the end of a row is no neighbour of the next one's start
        a, b = territory[border], territory[border + step]
        firsts.append(np.minimum(a, b))
        seconds.append(np.maximum(a, b))
        gaps.append(distance[border] + distance[border + step])
    first, second, gap = np.concatenate(firsts), np.concatenate(seconds), np.concatenate(gaps)
    order = np.argsort(gap, kind="stable")
    first, second, gap = first[order], second[order], gap[order]
    _, shortest = np.unique(first.astype(np.int64) * (num_atoms + 1) + second, return_index=True)
    shortest.sort()
    return np.stack([first[shortest], second[shortest]], axis=1) - 1, gap[shortest]


def group_ink(
    page: np.ndarray,
    labels: Sequence[Box],
    half: np.ndarray | None = None,
    suspects: Sequence[int] = (),
) -> Grouping:
    """Groups of ink, at most one for each label; for no labels, all ink as one group.

    Args:
        page: (height_px, width_px) uint8, 0 is ink: an upright sheet, labels painted over.
        labels: Where the labels stood, x0, y0, x1, y1 in pixels.
        half: The page at half resolution, 1 is ink, where that is at hand.
        suspects: Labels that have ink beside them, as a call-out has its leader.

    Returns:
        Groups, fewer than labels where the sheet does not hold enough ink, none for a sheet without ink; and the
        suspect without which the sheet is explained better, if there is one: it must be a call-out.
    """
    half = without_dust(pool(page, SCALE) if half is None else half)
    atoms = find_atoms(half, is_one_figure=len(labels) <= 1)
    if not len(atoms.boxes):
        return Grouping(groups=[], call_out=None)
    if len(labels) <= 1:
        return Grouping(
            groups=[_group(page, atoms, np.arange(len(atoms.boxes)), 0 if labels else None, ())], call_out=None
        )
    places = np.asarray(labels, np.float64) / CELL
    parting = _part(atoms, places)
    flags: tuple[str, ...] = ()
    if len(parting.parts) < len(labels):
        parting = _part(atoms, places, min_cluster=0.0)
    if len(parting.parts) < len(labels):
        parting, flags = _part(atoms, places, always=1.0, min_cluster=0.0), ("close_figures",)
    if len(parting.parts) < len(labels):
        atoms, flags = find_atoms(_cut_between(half, labels)), ("touching_figures",)
        parting = _part(atoms, places, always=0.0)
    call_out = _call_out(atoms, places, parting.cost, suspects)
    groups = [_group(page, atoms, members, label, flags) for label, members in parting.parts]
    return Grouping(groups=groups, call_out=call_out)


def _call_out(atoms: Atoms, labels: np.ndarray, cost: float, suspects: Sequence[int]) -> int | None:
    """The suspect whose absence makes the parting of the sheet much cheaper; null where there is none."""
    best, call_out = cost - _CALL_OUT_GAIN, None
    for suspect in suspects:
        without = _part(atoms, np.delete(labels, suspect, axis=0))
        if len(without.parts) == len(labels) - 1 and without.cost < best:
            best, call_out = without.cost, suspect
    return call_out


def _cut_between(half: np.ndarray, labels: Sequence[Box]) -> np.ndarray:
    """The ink, severed along straight lines where figures that touch are thinnest between neighbouring labels."""
    half = half.copy()
    middles = np.array([[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in labels]) / SCALE
    axis = int(np.ptp(middles[:, 1]) > np.ptp(middles[:, 0]))  # 0: labels side by side, 1: one above the other
    along = half.sum(axis=axis, dtype=np.int64)
    inked = np.flatnonzero(along)
    span = inked[-1] - inked[0]
    order = np.sort(middles[:, axis])
    for number in range(1, len(order)):
        # figures share the span about evenly, whichever side of them their labels stand on
        expected = inked[0] + span * number / len(order)
        low, high = int(expected - 0.3 * span / len(order)), int(expected + 0.3 * span / len(order)) + 1
        far = np.abs(np.arange(low, high) - expected)  # of places that are equally thin, the nearest to the middle
        cut = low + int((along[low:high] + 0.05 * far).argmin())
        width = CELL // SCALE + 1
        if axis:
            half[cut : cut + width] = 0
        else:
            half[:, cut : cut + width] = 0
    return half


def _specks(atoms: Atoms) -> np.ndarray:
    """Which atoms are dust: small ones without larger ink near, and not in a row as the dots of a dotted line are.

    Then what is left alone: ink of a few cells far from any other. Never all atoms.
    """
    num = len(atoms.boxes)
    sides = (atoms.boxes[:, 2:] - atoms.boxes[:, :2]).max(axis=1)
    small = sides <= _DOT
    near = atoms.edges[atoms.gaps <= _ROW_GAP]
    beside_large = np.zeros(num, bool)
    touching = atoms.edges[atoms.gaps <= _HALO]
    beside_large[touching[:, 0]] |= ~small[touching[:, 1]]
    beside_large[touching[:, 1]] |= ~small[touching[:, 0]]
    dust = small & ~beside_large & ~_in_row(atoms, near)
    company = atoms.edges[(atoms.gaps <= _COMPANY) & ~dust[atoms.edges].any(axis=1)]
    graph = coo_array((np.ones(len(company), bool), (company[:, 0], company[:, 1])), shape=(num, num))
    group = connected_components(graph, directed=False)[1]
    first = np.full((group.max() + 1, 2), np.iinfo(np.int32).max)
    last = np.zeros((group.max() + 1, 2), np.int64)
    np.minimum.at(first, group, atoms.boxes[:, :2])
    np.maximum.at(last, group, atoms.boxes[:, 2:])
    specks = dust | ((last - first).max(axis=1) <= _SPECK)[group]
    return specks if not specks.all() else np.zeros(num, bool)


def _in_row(atoms: Atoms, edges: np.ndarray) -> np.ndarray:
    """Which atoms have neighbours on two opposite sides."""
    middles = (atoms.boxes[:, :2] + atoms.boxes[:, 2:]) / 2
    step = middles[edges[:, 1]] - middles[edges[:, 0]]
    sector = ((np.arctan2(step[:, 1], step[:, 0]) / (2 * np.pi) % 1.0) * 16).astype(np.int64) % 16
    seen = np.zeros((len(middles), 16), bool)
    seen[edges[:, 0], sector] = True
    seen[edges[:, 1], (sector + 8) % 16] = True
    wide = seen | np.roll(seen, 1, axis=1)  # two sectors of 22.5 degrees against one
    return (wide & np.roll(seen, 8, axis=1)).any(axis=1)


class _Forest:
    """Sets that are joined, each with the box around it."""

    def __init__(self, boxes: np.ndarray) -> None:
        self.parent = list(range(len(boxes)))
        self.boxes = boxes.astype(np.int64).copy()

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, a: int, b: int) -> None:
        """Join two roots; `a` stays one."""
        self.parent[b] = a
        self.boxes[a, :2] = np.minimum(self.boxes[a, :2], self.boxes[b, :2])
        self.boxes[a, 2:] = np.maximum(self.boxes[a, 2:], self.boxes[b, 2:])

    def side(self, i: int) -> int:
        """Longer side of a root's box."""
        x0, y0, x1, y1 = self.boxes[i]
        return int(max(x1 - x0, y1 - y0))


def _clusters(atoms: Atoms, always: float, min_cluster: float) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Atoms joined until at most `_MAX_CLUSTERS` of some size are left.

    Returns:
        Cluster of each atom, and the links between clusters: (cluster, cluster, gap in cells), a tree.
    """
    forest = _Forest(atoms.boxes)
    min_side = max(6.0, min_cluster * max(atoms.ids.shape))
    waiting = []
    for (a, b), gap in zip(atoms.edges.tolist(), atoms.gaps.tolist(), strict=True):
        a, b = forest.root(a), forest.root(b)
        if a == b:
            continue
        if gap <= always or min(forest.side(a), forest.side(b)) < min_side:
            forest.join(a, b)
        else:
            waiting.append((a, b, gap))
    roots = {forest.root(i) for i in range(len(atoms.boxes))}
    while len(roots) > _MAX_CLUSTERS and waiting:
        a, b, _ = waiting.pop(0)
        a, b = forest.root(a), forest.root(b)
        if a != b:
            forest.join(a, b)
            roots.discard(b)
    clusters = np.array([forest.root(i) for i in range(len(atoms.boxes))])
    links = []
    for a, b, gap in waiting:
        a, b = forest.root(a), forest.root(b)
        if a != b:
            links.append((int(clusters[a]), int(clusters[b]), gap))
    return clusters, _tree(links)


def _tree(links: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """The shortest links that hold everything together; `links` come shortest first."""
    part: dict[int, int] = {}
    tree = []
    for a, b, gap in links:
        x, y = part.setdefault(a, a), part.setdefault(b, b)
        if x != y:
            tree.append((a, b, gap))
            part.update({c: x for c, p in part.items() if p == y})
    return tree


def _part(atoms: Atoms, labels: np.ndarray, *, always: float = _ALWAYS, min_cluster: float = _MIN_CLUSTER) -> Partition:
    """The cheapest way to part the ink among the labels.

    Args:
        atoms: Ink of the sheet.
        labels: (num_labels, 4) x0, y0, x1, y1 in cells.
        always: Gaps up to this many cells are not cut.
        min_cluster: What is smaller, as a share of the sheet's longer side, goes with its nearest neighbour.
    """
    clusters, links = _clusters(atoms, always, min_cluster)
    names = sorted({int(c) for c in clusters})
    boxes = {c: _outline(atoms.boxes[clusters == c]) for c in names}
    num_cuts = min(len(labels) - 1, len(links))
    scale = float(max(atoms.ids.shape))
    best: tuple[float, list[list[int]], list[tuple[int, int]]] | None = None
    for cut in combinations(range(len(links)), num_cuts):
        parts = _parts(names, [link for i, link in enumerate(links) if i not in cut])
        outlines = np.array([_outline([boxes[c] for c in part]) for part in parts], np.float64)
        cost, pairs = _match(outlines, labels, scale)
        kept_gaps = [links[i][2] for i in range(len(links)) if i not in cut]
        cut_gaps = [links[i][2] for i in cut]
        cost += 2.0 * (sum(kept_gaps) - 0.5 * sum(cut_gaps)) / scale + _OVERLAP_COST * _overlap(outlines)
        cost += _NO_FIGURE_COST * (len(labels) - len(pairs))
        if best is None or cost < best[0]:
            best = (cost, parts, pairs)
    assert best is not None
    cost, parts, pairs = best
    return Partition(
        cost=cost, parts=[(label, np.flatnonzero(np.isin(clusters, parts[part]))) for label, part in sorted(pairs)]
    )


def _overlap(outlines: np.ndarray) -> float:
    """Area that each two boxes share, as a share of the smaller one, summed."""
    areas = (outlines[:, 2:] - outlines[:, :2]).prod(axis=1)
    return float(np.triu(_shared_areas(outlines) / np.minimum(areas[:, None], areas[None, :]), 1).sum())


def _shared_areas(boxes: np.ndarray) -> np.ndarray:
    """(num_boxes, num_boxes): area that each two boxes share."""
    first = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    last = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return np.clip(last - first, 0, None).prod(axis=2)


def _outline(boxes: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    stacked = np.asarray(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])


def _parts(names: list[int], links: list[tuple[int, int, float]]) -> list[list[int]]:
    part = {c: c for c in names}
    for a, b, _ in links:
        old, new = part[b], part[a]
        part.update({c: new for c, p in part.items() if p == old})
    groups: dict[int, list[int]] = {}
    for c in names:
        groups.setdefault(part[c], []).append(c)
    return list(groups.values())


def _match(outlines: np.ndarray, labels: np.ndarray, scale: float) -> tuple[float, list[tuple[int, int]]]:
    """Cheapest pairing of labels with parts, all labels on the same side of their figures where that is possible.

    Returns:
        The cost as a share of the sheet's longer side, and pairs (label, part).
    """
    best_cost, best_pairs = np.inf, []
    costs = {side: _side_cost(outlines, labels, side) for side in _SIDES}
    inside = _inside_cost(outlines, labels, scale)
    mixed = np.minimum(np.minimum.reduce(list(costs.values())) * 1.3 + 0.05 * scale, inside)
    for cost in [*costs.values(), mixed]:
        rows, columns = linear_sum_assignment(cost)
        total = float(cost[rows, columns].sum()) / scale
        if total < best_cost:
            best_cost, best_pairs = total, list(zip(rows.tolist(), columns.tolist(), strict=True))
    return best_cost, best_pairs


def _side_cost(outlines: np.ndarray, labels: np.ndarray, side: str) -> np.ndarray:
    """(num_labels, num_parts): how far each label is from standing on `side` of each part, in cells."""
    if side in ("right", "left"):
        outlines, labels = outlines[:, [1, 0, 3, 2]], labels[:, [1, 0, 3, 2]]
    if side in ("above", "left"):
        flip = np.array([1, -1, 1, -1.0])
        outlines, labels = (outlines * flip)[:, [0, 3, 2, 1]], (labels * flip)[:, [0, 3, 2, 1]]
    x0, _, x1, y1 = outlines.T[:, None, :]
    left, top, right, bottom = labels.T[:, :, None]
    middle = (left + right) / 2
    beyond = (top + bottom) / 2 - y1  # the label's middle, past the figure's edge
    across = np.abs(middle - (x0 + x1) / 2)
    outside = np.maximum(0, np.maximum(x0 - middle, middle - x1))
    return np.where(beyond >= 0, beyond, -3 * beyond) + 0.4 * across + 2.0 * outside


def _inside_cost(outlines: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """(num_labels, num_parts): price of a label inside the box of its figure; out of reach elsewhere."""
    x, y = ((labels[:, i] + labels[:, i + 2]) / 2 for i in (0, 1))
    x0, y0, x1, y1 = outlines.T[:, None, :]
    is_inside = (x[:, None] > x0) & (x[:, None] < x1) & (y[:, None] > y0) & (y[:, None] < y1)
    return np.where(is_inside, 0.06 * scale, 2.0 * scale)


def _group(page: np.ndarray, atoms: Atoms, members: np.ndarray, label: int | None, flags: tuple[str, ...]) -> Group:
    x0, y0 = atoms.boxes[members, :2].min(axis=0)
    x1, y1 = atoms.boxes[members, 2:].max(axis=0)
    chosen = np.zeros(len(atoms.boxes) + 1, bool)
    chosen[members + 1] = True
    mask = chosen[atoms.ids[y0:y1, x0:x1]]
    box = _tight(page, mask, int(x0), int(y0))
    num_parts = _num_parts(mask, max(atoms.ids.shape))
    return Group(box=box, label=label, num_parts=num_parts, mask=mask, mask_origin=(int(x0), int(y0)), flags=flags)


def _num_parts(mask: np.ndarray, sheet_side: int) -> int:
    """Parts of some size that stand apart by some hundredths of the sheet, none within the box of another."""
    reach = int(_APART * sheet_side) // 2
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    grown = cv2.dilate(padded, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    large = stats[1:, 2:4].max(axis=1) - 2 * reach >= _PART * sheet_side
    boxes = np.hstack([stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]])[large].astype(np.float64)
    boxes = boxes[np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")]
    shared = np.triu(_shared_areas(boxes), 1).max(axis=0, initial=0.0)  # of each with any larger one
    return int((shared <= 0.5 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)).sum())


def _tight(page: np.ndarray, mask: np.ndarray, x0: int, y0: int) -> Box:
    """Box in pixels of the ink under `mask`, a map of cells whose outermost rows and columns all hold ink."""

    def ink(rows: slice, columns: slice) -> np.ndarray:
        cells = mask[rows, columns].repeat(CELL, 0).repeat(CELL, 1)
        top, left = (y0 + rows.indices(mask.shape[0])[0]) * CELL, (x0 + columns.indices(mask.shape[1])[0]) * CELL
        part = page[top : top + cells.shape[0], left : left + cells.shape[1]]
        return (part == 0) & cells[: part.shape[0], : part.shape[1]]

    every, first, last = slice(None), slice(0, 1), slice(-1, None)
    left = int(ink(every, first).any(axis=0).argmax()) + x0 * CELL
    top = int(ink(first, every).any(axis=1).argmax()) + y0 * CELL
    right = int(np.flatnonzero(ink(every, last).any(axis=0))[-1]) + 1 + (x0 + mask.shape[1] - 1) * CELL
    bottom = int(np.flatnonzero(ink(last, every).any(axis=1))[-1]) + 1 + (y0 + mask.shape[0] - 1) * CELL
    return left, top, right, bottom


def trim(page: np.ndarray) -> np.ndarray | None:
    """`page` cut at its ink, lone specks apart; null where there is none."""
    groups = group_ink(page, []).groups
    if not groups:
        return None
    x0, y0, x1, y1 = groups[0].box
    return page[y0:y1, x0:x1]
