"""Decides which ink of a sheet belongs to which label.

Works on an upright sheet whose labels have been erased. Ink closer than a few pixels forms an atom, atoms are joined
along their shortest gaps, and of all ways to cut the sheet into as many parts as it has labels, the cheapest is taken.

Why the whole sheet is decided at once: next to a single label there is often more than one figure, and the gap between
two parts of a figure can be wider than the gap between two figures. But a draftsman usually puts all labels of a sheet
on the same side of their figures. So a partition is cheap if it cuts wide gaps, and if all labels find their figures on
the same side.
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

CELL = 4  # side in sheet pixels of one cell of the map on which atoms are found
_COMPANY = 12  # cells; ink with other ink within this distance is not alone
_DOT = 2  # side of a dot, cells
_ROW_GAP = 7  # between the dots of a dotted line, cells
_HALO = 2.5  # from a dot to the line it belongs to, cells
_SPECK = 6  # largest side of ink that is a speck if it is alone, cells
_NEVER_CUT = 3.0  # cells; gaps up to this width are never cut
_MAX_CLUSTERS = 12  # all ways to cut between them are tried, so their number has to be bounded
_MIN_CLUSTER = 0.05  # share of the sheet's longer side; smaller clusters join their nearest neighbour
_LINE = 3  # largest width of a straight line, cells
_OVERLAP_COST = 0.3  # for a figure wholly inside the box of another, as a share of the sheet's longer side
_APART = 0.02  # least gap between separate parts, as a share of the sheet's longer side
_PART = 0.06  # least side of a part that counts, as a share of the sheet's longer side
_NO_FIGURE_COST = 0.5  # for a label without a figure
_CALL_OUT_GAIN = 0.15  # a label is taken for a call-out if the cost without it is lower by more than this
_SIDES = ("below", "above", "right", "left")  # position of the label relative to its figure

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The ink of one figure.

    Attributes:
        box: Bounding box x0, y0, x1, y1 in pixels of the upright sheet, ends exclusive.
        label: Index of its label in the list that was passed; None if it has no label.
        num_parts: Number of separate parts of some size.
        mask: (height, width) bool, one value for each cell of the box: True for ink of this figure.
        mask_origin: x, y of the mask's top left corner, in cells.
        flags: Reasons to doubt it.
    """

    box: Box
    label: int | None
    num_parts: int
    mask: np.ndarray
    mask_origin: tuple[int, int]
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of a sheet; `call_out` is the index of a label that is in fact a call-out, None if there is none."""

    groups: list[Group]
    call_out: int | None


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One way to divide the ink among the labels.

    Attributes:
        cost: The lower, the better this partition explains the sheet.
        parts: Pairs (index of the label, indices of the atoms of its figure), in order of the labels.
    """

    cost: float
    parts: list[tuple[int, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Atoms:
    """Pieces of ink on the map of cells.

    Attributes:
        ids: (height, width) int32 in cells: index of the atom + 1, 0 is paper.
        boxes: (num_atoms, 4) int32 x0, y0, x1, y1 in cells.
        edges: (num_edges, 2) int32, indices of neighbouring atoms, shortest gap first.
        gaps: (num_edges,) float32, the gap of each edge in cells.
    """

    ids: np.ndarray
    boxes: np.ndarray
    edges: np.ndarray
    gaps: np.ndarray


def find_atoms(half: np.ndarray, *, is_one_figure: bool = False) -> Atoms:
    """Find the pieces of ink that are drawing, without specks, and the gaps between neighbours.

    Args:
        half: (height, width) uint8 at half resolution, 1 is ink.
        is_one_figure: All ink is one figure, so gaps are not needed, nor is it necessary to find specks if all of them
            are inside the drawing's box.
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
    # territories of specks may have separated neighbours: measure again without them
    numbers = np.zeros(num, np.int32)
    numbers[1:][~specks] = np.arange(1, num - specks.sum())
    ids = numbers[ids]
    edges, gaps = _gaps((ids == 0).astype(np.uint8), int(num - 1 - specks.sum()), ids)
    return Atoms(ids=ids, boxes=boxes[~specks], edges=edges, gaps=gaps)


def _has_outliers(boxes: np.ndarray) -> bool:
    """Whether small atoms are outside the box of the others."""
    small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) <= _SPECK
    if small.all() or not small.any():
        return bool(small.any())
    first, last = boxes[~small, :2].min(axis=0), boxes[~small, 2:].max(axis=0)
    return bool((boxes[small, :2] < first).any() or (boxes[small, 2:] > last).any())


def _gaps(paper: np.ndarray, num_atoms: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shortest gap between any two atoms whose territories touch; a territory is the cells nearest to one atom.

    Returns:
        Edges and gaps as in `Atoms`.
    """
    distance, nearest = cv2.distanceTransformWithLabels(paper, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    # OpenCV numbers the territories in an order of its own: map its numbers to ours through the cells of ink
    names = np.zeros(int(nearest.max()) + 1, np.int32)
    inked = np.flatnonzero(ids)
    names[nearest.ravel()[inked]] = ids.ravel()[inked]
    width, distance, territory = ids.shape[1], distance.ravel(), names[nearest].ravel()
    firsts, seconds, gaps = [], [], []
    for step in (1, width):
        border = np.flatnonzero(territory[step:] != territory[:-step])
        if step == 1:
            border = border[
                border % width != width - 1
            ]  # the end of a row is not next to the start of the following row
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
    """Group the ink, at most one group for each label; without labels, all ink is one group.

    Args:
        page: (height_px, width_px) uint8, 0 is ink: an upright sheet, labels erased.
        labels: Boxes of the erased labels, x0, y0, x1, y1 in pixels.
        half: The page at half resolution, 1 is ink; computed from `page` if None.
        suspects: Indices of labels that may be call-outs, for instance because a leader may be next to them.

    Returns:
        Groups: fewer than labels if the sheet does not hold enough ink, none for a sheet without ink. And the suspect
        without which the partition is much cheaper, if there is one: it must be a call-out.
    """
    half = without_dust(pool(page, SCALE) if half is None else half)
    atoms = find_atoms(half, is_one_figure=len(labels) <= 1)
    if not len(atoms.boxes):
        return Grouping(groups=[], call_out=None)
    if len(labels) <= 1:
        return Grouping(
            groups=[_group(page, atoms, np.arange(len(atoms.boxes)), 0 if labels else None, ())], call_out=None
        )
    label_boxes = np.asarray(labels, np.float64) / CELL
    partition = _cheapest_partition(atoms, label_boxes)
    flags: tuple[str, ...] = ()
    # A label that a leader marks as a call-out explains a missing figure better than narrow gaps and cuts do.
    if len(partition.parts) < len(labels) and suspects:
        call_out = _call_out(atoms, label_boxes, partition.cost, suspects)
        if call_out is not None:
            groups = [_group(page, atoms, members, label, flags) for label, members in partition.parts]
            return Grouping(groups=groups, call_out=call_out)
    # As long as a label has no figure: allow small clusters, then narrow gaps, then cut through the ink itself.
    if len(partition.parts) < len(labels):
        partition = _cheapest_partition(atoms, label_boxes, min_cluster=0.0)
    if len(partition.parts) < len(labels):
        partition = _cheapest_partition(atoms, label_boxes, never_cut=1.0, min_cluster=0.0)
        flags = ("close_figures",)
    if len(partition.parts) < len(labels):
        atoms, flags = find_atoms(_cut_between(half, labels)), ("touching_figures",)
        partition = _cheapest_partition(atoms, label_boxes, never_cut=0.0)
    call_out = _call_out(atoms, label_boxes, partition.cost, suspects)
    groups = [_group(page, atoms, members, label, flags) for label, members in partition.parts]
    return Grouping(groups=groups, call_out=call_out)


def _call_out(atoms: Atoms, labels: np.ndarray, cost: float, suspects: Sequence[int]) -> int | None:
    """The suspect without which the partition is cheapest, if that is much cheaper than `cost`; else None."""
    best, call_out = cost - _CALL_OUT_GAIN, None
    for suspect in suspects:
        without = _cheapest_partition(atoms, np.delete(labels, suspect, axis=0))
        if len(without.parts) == len(labels) - 1 and without.cost < best:
            best, call_out = without.cost, suspect
    return call_out


def _cut_between(half: np.ndarray, labels: Sequence[Box]) -> np.ndarray:
    """`half` with touching figures cut apart, along straight lines where there is least ink between the labels."""
    half = half.copy()
    middles = np.array([[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in labels]) / SCALE
    axis = int(np.ptp(middles[:, 1]) > np.ptp(middles[:, 0]))  # 0: labels are side by side, 1: one above the other
    along = half.sum(axis=axis, dtype=np.int64)
    inked = np.flatnonzero(along)
    span = inked[-1] - inked[0]
    order = np.sort(middles[:, axis])
    for number in range(1, len(order)):
        # figures divide the span about evenly, whichever side their labels are on
        expected = inked[0] + span * number / len(order)
        low, high = int(expected - 0.3 * span / len(order)), int(expected + 0.3 * span / len(order)) + 1
        far = np.abs(np.arange(low, high) - expected)  # of equally thin positions, prefer the expected one
        cut = low + int((along[low:high] + 0.05 * far).argmin())
        width = CELL // SCALE + 1
        if axis:
            half[cut : cut + width] = 0
        else:
            half[:, cut : cut + width] = 0
    return half


def _specks(atoms: Atoms) -> np.ndarray:
    """(num_atoms,) bool: True for atoms that are specks and not part of a drawing. Never True for all atoms.

    A speck is a dot without larger ink next to it that is not in a row of dots, as in a dotted line; or any ink of a
    few cells that is far from all other ink, dots aside.
    """
    num = len(atoms.boxes)
    sides = (atoms.boxes[:, 2:] - atoms.boxes[:, :2]).max(axis=1)
    small = sides <= _DOT
    near = atoms.edges[atoms.gaps <= _ROW_GAP]
    is_next_to_large = np.zeros(num, bool)
    touching = atoms.edges[atoms.gaps <= _HALO]
    is_next_to_large[touching[:, 0]] |= ~small[touching[:, 1]]
    is_next_to_large[touching[:, 1]] |= ~small[touching[:, 0]]
    dust = small & ~is_next_to_large & ~_in_row(atoms, near)
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
    """(num_atoms,) bool: True for atoms with neighbours on two opposite sides."""
    middles = (atoms.boxes[:, :2] + atoms.boxes[:, 2:]) / 2
    step = middles[edges[:, 1]] - middles[edges[:, 0]]
    sector = ((np.arctan2(step[:, 1], step[:, 0]) / (2 * np.pi) % 1.0) * 16).astype(np.int64) % 16
    has_neighbour = np.zeros((len(middles), 16), bool)
    has_neighbour[edges[:, 0], sector] = True
    has_neighbour[edges[:, 1], (sector + 8) % 16] = True
    wide = has_neighbour | np.roll(has_neighbour, 1, axis=1)  # two sectors of 22.5 degrees opposite one
    return (wide & np.roll(has_neighbour, 8, axis=1)).any(axis=1)


class _DisjointSets:
    """Disjoint sets of atoms (union-find); the root of each set keeps the box around it."""

    def __init__(self, boxes: np.ndarray) -> None:
        self.parent = list(range(len(boxes)))
        self.boxes = boxes.astype(np.int64).copy()

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, a: int, b: int) -> None:
        """Join the sets of two roots; `a` becomes the root of both."""
        self.parent[b] = a
        self.boxes[a, :2] = np.minimum(self.boxes[a, :2], self.boxes[b, :2])
        self.boxes[a, 2:] = np.maximum(self.boxes[a, 2:], self.boxes[b, 2:])

    def side(self, i: int) -> int:
        """Longer side of the box of the set with root `i`."""
        x0, y0, x1, y1 = self.boxes[i]
        return int(max(x1 - x0, y1 - y0))


def _clusters(atoms: Atoms, never_cut: float, min_cluster: float) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Join atoms along their shortest gaps until at most `_MAX_CLUSTERS` clusters are left.

    Gaps up to `never_cut` cells are closed in any case, and clusters smaller than `min_cluster` (a share of the sheet's
    longer side) join their nearest neighbour.

    Returns:
        Cluster of each atom, and a minimum spanning tree of the clusters: links (cluster, cluster, gap in cells).
    """
    sets = _DisjointSets(atoms.boxes)
    min_side = max(6.0, min_cluster * max(atoms.ids.shape))
    waiting = []
    for (a, b), gap in zip(atoms.edges.tolist(), atoms.gaps.tolist(), strict=True):
        a, b = sets.root(a), sets.root(b)
        if a == b:
            continue
        if gap <= never_cut or min(sets.side(a), sets.side(b)) < min_side:
            sets.join(a, b)
        else:
            waiting.append((a, b, gap))
    _join_lines_within(sets, len(atoms.boxes))
    roots = {sets.root(i) for i in range(len(atoms.boxes))}
    while len(roots) > _MAX_CLUSTERS and waiting:
        a, b, _ = waiting.pop(0)
        a, b = sets.root(a), sets.root(b)
        if a != b:
            sets.join(a, b)
            roots.discard(b)
    clusters = np.array([sets.root(i) for i in range(len(atoms.boxes))])
    links = []
    for a, b, gap in waiting:
        a, b = sets.root(a), sets.root(b)
        if a != b:
            links.append((int(clusters[a]), int(clusters[b]), gap))
    return clusters, _tree(links)


def _join_lines_within(sets: _DisjointSets, num_atoms: int) -> None:
    """Join every set that is a straight line within the box of another set to that set: a line there is no figure."""
    roots = np.array(sorted({sets.root(i) for i in range(num_atoms)}))
    boxes = sets.boxes[roots]
    sides = boxes[:, 2:] - boxes[:, :2]
    for line in np.flatnonzero(sides.min(axis=1) <= _LINE):
        around = (boxes[:, :2] <= boxes[line, :2]).all(axis=1) & (boxes[:, 2:] >= boxes[line, 2:]).all(axis=1)
        around &= sides.min(axis=1) > _LINE
        if around.any():
            smallest = np.where(around, sides.prod(axis=1), np.iinfo(np.int64).max).argmin()
            sets.join(sets.root(int(roots[smallest])), sets.root(int(roots[line])))


def _tree(links: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Minimum spanning tree of `links`, which are in order of their gaps, shortest first."""
    part: dict[int, int] = {}
    tree = []
    for a, b, gap in links:
        x, y = part.setdefault(a, a), part.setdefault(b, b)
        if x != y:
            tree.append((a, b, gap))
            part.update({c: x for c, p in part.items() if p == y})
    return tree


def _cheapest_partition(
    atoms: Atoms, labels: np.ndarray, *, never_cut: float = _NEVER_CUT, min_cluster: float = _MIN_CLUSTER
) -> Partition:
    """The cheapest way to divide the ink among the labels; every way to cut the tree of clusters is tried.

    Args:
        atoms: Ink of the sheet.
        labels: (num_labels, 4) x0, y0, x1, y1 in cells.
        never_cut: Gaps up to this many cells are not cut.
        min_cluster: Clusters smaller than this share of the sheet's longer side join their nearest neighbour.
    """
    clusters, links = _clusters(atoms, never_cut, min_cluster)
    names = sorted({int(c) for c in clusters})
    boxes = {c: _outline(atoms.boxes[clusters == c]) for c in names}
    num_cuts = min(len(labels) - 1, len(links))  # each cut of a tree adds one part
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
    """Sum over all pairs of boxes: the area they share, as a share of the smaller box."""
    areas = (outlines[:, 2:] - outlines[:, :2]).prod(axis=1)
    return float(np.triu(_shared_areas(outlines) / np.minimum(areas[:, None], areas[None, :]), 1).sum())


def _shared_areas(boxes: np.ndarray) -> np.ndarray:
    """(num_boxes, num_boxes): the area that each pair of boxes shares."""
    first = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    last = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return np.clip(last - first, 0, None).prod(axis=2)


def _outline(boxes: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """(4,): the box around (num_boxes, 4) boxes."""
    stacked = np.asarray(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])


def _parts(names: list[int], links: list[tuple[int, int, float]]) -> list[list[int]]:
    """Connected components of the clusters `names` under `links`."""
    part = {c: c for c in names}
    for a, b, _ in links:
        old, new = part[b], part[a]
        part.update({c: new for c, p in part.items() if p == old})
    groups: dict[int, list[int]] = {}
    for c in names:
        groups.setdefault(part[c], []).append(c)
    return list(groups.values())


def _match(outlines: np.ndarray, labels: np.ndarray, scale: float) -> tuple[float, list[tuple[int, int]]]:
    """Cheapest assignment of labels to parts, with all labels on the same side of their figures if that is cheapest.

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
    """(num_labels, num_parts): how far each label is from being on `side` of each part, in cells."""
    # Mirror the sheet so that each side becomes "below".
    if side in ("right", "left"):
        outlines, labels = outlines[:, [1, 0, 3, 2]], labels[:, [1, 0, 3, 2]]
    if side in ("above", "left"):
        flip = np.array([1, -1, 1, -1.0])
        outlines, labels = (outlines * flip)[:, [0, 3, 2, 1]], (labels * flip)[:, [0, 3, 2, 1]]
    x0, _, x1, y1 = outlines.T[:, None, :]
    left, top, right, bottom = labels.T[:, :, None]
    middle = (left + right) / 2
    beyond = (top + bottom) / 2 - y1  # of the label's middle past the figure's lower edge
    across = np.abs(middle - (x0 + x1) / 2)
    outside = np.maximum(0, np.maximum(x0 - middle, middle - x1))
    return np.where(beyond >= 0, beyond, -3 * beyond) + 0.4 * across + 2.0 * outside


def _inside_cost(outlines: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """(num_labels, num_parts): cost of a label inside the box of its figure; prohibitive if it is not inside."""
    x, y = ((labels[:, i] + labels[:, i + 2]) / 2 for i in (0, 1))
    x0, y0, x1, y1 = outlines.T[:, None, :]
    is_inside = (x[:, None] > x0) & (x[:, None] < x1) & (y[:, None] > y0) & (y[:, None] < y1)
    return np.where(is_inside, 0.06 * scale, 2.0 * scale)


def _group(page: np.ndarray, atoms: Atoms, members: np.ndarray, label: int | None, flags: tuple[str, ...]) -> Group:
    """The group of the atoms `members`."""
    x0, y0 = atoms.boxes[members, :2].min(axis=0)
    x1, y1 = atoms.boxes[members, 2:].max(axis=0)
    chosen = np.zeros(len(atoms.boxes) + 1, bool)
    chosen[members + 1] = True
    mask = chosen[atoms.ids[y0:y1, x0:x1]]
    box = _tight(page, mask, int(x0), int(y0))
    num_parts = _num_parts(mask, max(atoms.ids.shape))
    return Group(box=box, label=label, num_parts=num_parts, mask=mask, mask_origin=(int(x0), int(y0)), flags=flags)


def _num_parts(mask: np.ndarray, sheet_side: int) -> int:
    """Number of large parts, at least `_APART` from each other, that are not inside the box of a larger one."""
    reach = int(_APART * sheet_side) // 2
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    grown = cv2.dilate(padded, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    large = stats[1:, 2:4].max(axis=1) - 2 * reach >= _PART * sheet_side
    boxes = np.hstack([stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]])[large].astype(np.float64)
    boxes = boxes[np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")]
    shared = np.triu(_shared_areas(boxes), 1).max(axis=0, initial=0.0)  # most that each shares with a larger one
    return int((shared <= 0.5 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)).sum())


def _tight(page: np.ndarray, mask: np.ndarray, x0: int, y0: int) -> Box:
    """Box in pixels of the ink under `mask`, whose outermost rows and columns all contain ink.

    Args:
        page: (height_px, width_px) uint8, 0 is ink.
        mask: (height, width) bool in cells.
        x0: Left edge of the mask, in cells.
        y0: Top edge of the mask, in cells.
    """

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
    """`page` cropped to its ink, not counting lone specks; None if it has no ink."""
    groups = group_ink(page, []).groups
    if not groups:
        return None
    x0, y0, x1, y1 = groups[0].box
    return page[y0:y1, x0:x1]
