"""Which views a training step uses, as a pure function of the seed and the step.

There is no state between steps, so a run that resumes at step n sees what an uninterrupted run sees there. There is one
stream of rows for the whole run; every process takes its own block of each step's rows (`Processes.part_of`), so that
several processes together see what a single one would see, and no row of the stream twice.

Notation: f_c is the number of views of class c, β the strength of the correction.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.dataset.classes import UNKNOWN
from model.errors import ConfigError
from model.training.config import SAMPLERS

# The purpose of a generator, which is part of its seed: separate streams.
_ORDER, _DRAWS, _ROWS, _OTHER_VIEWS, _LINES, _VIEW_OF_PATENT = range(6)


def num_steps_per_epoch(num_views: int, batch_size: int) -> int:
    """Whole batches in one epoch; a split smaller than a batch is a single batch.

    >>> num_steps_per_epoch(100, 32), num_steps_per_epoch(7, 32)
    (3, 1)
    """
    return max(1, num_views // batch_size)


@functools.lru_cache(maxsize=2)
def _epoch_order(num_views: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(num_views)


def batch_rows(step: int, *, num_views: int, batch_size: int, seed: int) -> np.ndarray:
    """Rows of the views for step `step` (from 0), regardless of their classes.

    Each epoch has its own order of the views; the remainder that does not fill a batch is left out of that epoch.

    Returns:
        (min(batch_size, num_views),) int64, without duplicates.
    """
    epoch, step_in_epoch = divmod(step, num_steps_per_epoch(num_views, batch_size))
    start = step_in_epoch * batch_size
    return _epoch_order(num_views, seed, epoch)[start : start + batch_size]


def batch_draws(step: int, *, num_rows: int, num_draws: int, seed: int) -> np.ndarray:
    """Random numbers in [0, 1) for the views of a step: (num_rows, num_draws) float64."""
    return np.random.default_rng([seed, _DRAWS, step]).random((num_rows, num_draws))


def one_view_of_each_patent(patents: np.ndarray, is_preferred: np.ndarray | None, *, seed: int) -> np.ndarray:
    """Whether each view is the one that is chosen of its patent: (num_views,) bool.

    Args:
        patents: (num_views,) number of each view's patent.
        is_preferred: (num_views,) bool. The first preferred view of a patent is chosen, or its first view if none is
            preferred. None draws a view of each patent at random.
        seed: Seed of the draw.
    """
    if is_preferred is None:
        keys = np.random.default_rng([seed, _VIEW_OF_PATENT]).random(len(patents))
    else:
        keys = np.where(is_preferred, 0.0, 1.0)
    order = np.lexsort((keys, patents))  # by patent, then by key, then by row
    is_chosen = np.zeros(len(patents), bool)
    is_chosen[order[np.unique(patents[order], return_index=True)[1]]] = True
    return is_chosen


def lines_draws(step: int, *, num_rows: int, seed: int) -> np.ndarray:
    """Whether the image of each view of a step, and that of its other view, shows the claimed lines alone.

    They have a stream of their own, so that a run that draws them makes the same other draws as one that does not.

    Returns:
        (num_rows, 2) bool, each True in half of the cases.
    """
    return np.random.default_rng([seed, _LINES, step]).random((num_rows, 2)) < 0.5


def class_shares(counts: np.ndarray, *, sampler: str, beta: float) -> np.ndarray:
    """Share of each class in the draws.

        uniform: f_c / Σ f_j          class: f_c^-β / Σ f_j^-β          item: f_c^(1-β) / Σ f_j^(1-β)

    "class" and "item" are two interpretations of one formula. The first draws a class by f^-β and then any of its
    items; the second draws items, each by the f^-β of its class, and a frequent class has more of them. A class without
    items is never drawn.

    Args:
        counts: (num_classes,) number of views of each class.
        sampler: "uniform", "class" or "item".
        beta: 0 draws all classes ("class") or all items ("item") equally often; more favours rare classes.

    Returns:
        (num_classes,) float64 with the sum 1; all zero if there are no items.

    >>> class_shares(np.array([90, 10]), sampler="item", beta=0.5).round(3)
    array([0.75, 0.25])
    """
    counts = np.asarray(counts, dtype=np.float64)
    power = {"uniform": 1.0, "class": -beta, "item": 1.0 - beta}[sampler]
    raw = np.zeros_like(counts)
    np.power(counts, power, out=raw, where=counts > 0)
    return raw / max(raw.sum(), np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Sampler:
    """Draws the views of each step.

    With "uniform" an epoch goes through all views once; with "class" and "item" views are drawn with replacement, and
    an epoch is only a number of steps. Views of unknown class are drawn as often as without a correction: their share
    of the draws is their share of the views, and the known classes divide the rest.

    Attributes:
        classes: (num_views,) index of each view's class; -1 if unknown.
        patents: (num_views,) number of each view's patent, from 0.
        num_classes: Length of the class table.
        sampler: "uniform", "class" or "item"; see `class_shares`.
        beta: Strength of the correction; ignored by "uniform".
        batch_size: Views a step, over all processes.
        seed: Seed of all draws.
    """

    classes: np.ndarray
    patents: np.ndarray
    num_classes: int
    sampler: str
    beta: float
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ConfigError(f"sampler is {self.sampler!r}; use one of {', '.join(SAMPLERS)}")

    @property
    def num_views(self) -> int:
        return len(self.classes)

    @property
    def num_rows(self) -> int:
        """Views a step: the batch size, or the number of all views if that is smaller."""
        return min(self.batch_size, self.num_views)

    @property
    def num_steps_per_epoch(self) -> int:
        """Steps in one epoch, see `num_steps_per_epoch`."""
        return num_steps_per_epoch(self.num_views, self.batch_size)

    @cached_property
    def counts(self) -> np.ndarray:
        """(num_classes,) number of views of each class, without those of unknown class."""
        return self._counts_with_unknown[:-1]

    @cached_property
    def target_shares(self) -> np.ndarray:
        """(num_classes + 1,) expected share of each class in the draws; the last one is for unknown classes."""
        share_unknown = self._counts_with_unknown[-1] / self.num_views
        return np.append(self.known_shares * (1 - share_unknown), share_unknown)

    @cached_property
    def known_shares(self) -> np.ndarray:
        """(num_classes,) expected share of each class in the draws of known class; all zero if no class is known."""
        return class_shares(self.counts, sampler=self.sampler, beta=self.beta)

    def drawn_shares(self, num_steps: int) -> np.ndarray:
        """(num_classes + 1,) share of each class in the first `num_steps` steps; unknown classes are last."""
        drawn = np.zeros(self.num_classes + 1, dtype=np.int64)
        for step in range(num_steps):
            drawn += self._count(self.rows(step))
        return drawn / max(1, drawn.sum())

    def rows(self, step: int) -> np.ndarray:
        """Rows of the views for step `step` (from 0), over all processes: (num_rows,) int64."""
        if self.sampler == "uniform":
            return batch_rows(step, num_views=self.num_views, batch_size=self.batch_size, seed=self.seed)
        draws = np.random.default_rng([self.seed, _ROWS, step]).random((self.num_rows, 2))
        classes = np.searchsorted(self._ends_of_shares, draws[:, 0], side="right")  # (num_rows,)
        return self._by_class.pick(classes, draws[:, 1])

    def other_views(self, rows: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """For each view another view of the same patent, drawn uniformly.

        Args:
            rows: (num_rows,) all rows of the step, over all processes.
            step: From 0.

        Returns:
            (num_rows,) int64 rows, the view itself if its patent has no other; (num_rows,) bool, whether it has one.
        """
        groups = self._by_patent
        num_others = groups.sizes[self.patents[rows]] - 1
        draws = np.random.default_rng([self.seed, _OTHER_VIEWS, step]).random(len(rows))
        others = (draws * num_others).astype(np.int64)
        others += others >= self._index_in_patent[rows]  # skips the view itself
        others = np.where(num_others > 0, others, 0)
        return groups.order[groups.starts[self.patents[rows]] + others].astype(np.int64), num_others > 0

    def _count(self, rows: np.ndarray) -> np.ndarray:
        """(num_classes + 1,) number of rows of each class, unknown classes last."""
        return np.bincount(self._groups[rows], minlength=self.num_classes + 1)

    @cached_property
    def _groups(self) -> np.ndarray:
        """(num_views,) class of each view, with unknown classes as one group after the others."""
        return np.where(self.classes == UNKNOWN, self.num_classes, self.classes)

    @cached_property
    def _counts_with_unknown(self) -> np.ndarray:
        return np.bincount(self._groups, minlength=self.num_classes + 1)

    @cached_property
    def _ends_of_shares(self) -> np.ndarray:
        """(num_classes + 1,) upper ends of the groups' intervals in [0, 1), unknown classes last.

        The end of the last group that has views is exactly 1, however the sum of the shares was rounded, so that no
        draw selects an empty group.
        """
        ends = np.cumsum(self.target_shares)
        ends[np.flatnonzero(self._counts_with_unknown)[-1] :] = 1.0
        return ends

    @cached_property
    def _by_class(self) -> _Groups:
        return _Groups.of(self._groups, self.num_classes + 1)

    @cached_property
    def _by_patent(self) -> _Groups:
        return _Groups.of(self.patents, int(self.patents.max()) + 1)

    @cached_property
    def _index_in_patent(self) -> np.ndarray:
        """(num_views,) index of each view among those of its patent, from 0."""
        groups = self._by_patent
        indices = np.empty(self.num_views, dtype=np.int32)
        indices[groups.order] = np.arange(self.num_views) - groups.starts[self.patents[groups.order]]
        return indices


@dataclass(frozen=True)
class _Groups:
    """Rows sorted by group.

    Attributes:
        order: (num_rows,) int32, the rows of group 0, then those of group 1, …
        starts: (num_groups,) index in `order` at which each group starts.
        sizes: (num_groups,) number of rows of each group.
    """

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, groups: np.ndarray, num_groups: int) -> _Groups:
        """Sort rows by `groups`, the (num_rows,) group of each row."""
        sizes = np.bincount(groups, minlength=num_groups)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return cls(np.argsort(groups, kind="stable").astype(np.int32), starts, sizes)

    def pick(self, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """One row for each entry of `groups`, by a random number in [0, 1) each: int64."""
        return self.order[self.starts[groups] + (draws * self.sizes[groups]).astype(np.int64)].astype(np.int64)
