"""How much a view tells about its patent, learned from the training split.

A perspective view shows most of a design; the bottom views of two chairs are four dots each. The weight of a viewpoint
is how well its views separate their own patent from strangers: for each sampled view, the score of the nearest other
view of its patent, and the score of the nearest view of a patent drawn at random. The weight is the difference of the
two means in standard deviations (d'). Viewpoints with few views are drawn towards the value of all views.

Only views of the training split are used, so that nothing of the test split enters a result on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

UNKNOWN_VIEWPOINT = "none"
_MAX_VIEWS = 2_000
_NUM_STRANGERS = 8  # patents drawn for each view
_PRIOR_VIEWS = 50  # as many views of any viewpoint are added to those of a viewpoint
_LEAST_WEIGHT = 0.05  # of the separation of all views: no view is ignored altogether


@dataclass(frozen=True)
class ViewWeights:
    """Weights by viewpoint, with a mean of 1 over the views that they were learned from.

    Attributes:
        by_viewpoint: Viewpoint → weight, above 0.
        num_views: Number of views that the weights were learned from; 0 if nothing could be learned.
    """

    by_viewpoint: Mapping[str, float]
    num_views: int

    def of(self, viewpoints: Sequence[str | None]) -> np.ndarray:
        """(num_views,) float32 weights; 1 for a viewpoint that was not in the training split.

        >>> ViewWeights({"front": 1.5}, 10).of(["front", None]).tolist()
        [1.5, 1.0]
        """
        names = [viewpoint or UNKNOWN_VIEWPOINT for viewpoint in viewpoints]
        return np.array([self.by_viewpoint.get(name, 1.0) for name in names], dtype=np.float32)


EQUAL_WEIGHTS = ViewWeights({}, 0)
"""Every view weighs the same, if there is no training split to learn from."""


def learn_view_weights(
    features: np.ndarray, patents: np.ndarray, viewpoints: Sequence[str | None], *, seed: int = 0
) -> ViewWeights:
    """Weights by viewpoint from views of the training split.

    Args:
        features: (num_views, embed_dim) float32, unit length.
        patents: (num_views,) int64, patent of each view, from 0.
        viewpoints: (num_views,) viewpoint of each view; None if unknown.
        seed: Seed of the choice of views and of strangers.
    """
    sizes = np.bincount(patents)
    candidates = np.flatnonzero(sizes[patents] >= 2)
    if not len(candidates) or len(sizes) < 2:
        return EQUAL_WEIGHTS
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(candidates)[:_MAX_VIEWS])
    order = np.argsort(patents, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def views_of(patent: int) -> np.ndarray:
        return order[starts[patent] : starts[patent + 1]]

    own = np.empty(len(chosen))
    strange = np.empty((len(chosen), _NUM_STRANGERS))
    for index, view in enumerate(chosen):
        patent = int(patents[view])
        others = views_of(patent)
        own[index] = (features[others[others != view]] @ features[view]).max()
        strangers = generator.integers(len(sizes) - 1, size=_NUM_STRANGERS)
        strangers += strangers >= patent  # any patent but the view's own
        strange[index] = [(features[views_of(stranger)] @ features[view]).max() for stranger in strangers]
    names = np.array([viewpoints[view] or UNKNOWN_VIEWPOINT for view in chosen])
    return _weights(names, own, strange)


def _weights(names: np.ndarray, own: np.ndarray, strange: np.ndarray) -> ViewWeights:
    """Weights from (num_views,) viewpoints and scores, and (num_views, num_strangers) scores."""
    overall = _separation(own, strange)
    if not overall > 0:  # the views tell nothing: the model does not find a patent by them
        return EQUAL_WEIGHTS
    values: dict[str, float] = {}
    for name in np.unique(names):
        members = names == name
        num = int(members.sum())
        value = (num * _separation(own[members], strange[members]) + _PRIOR_VIEWS * overall) / (num + _PRIOR_VIEWS)
        values[str(name)] = max(value, _LEAST_WEIGHT * overall)
    mean = float(np.mean([values[name] for name in names]))
    return ViewWeights({name: value / mean for name, value in values.items()}, len(names))


def _separation(own: np.ndarray, strange: np.ndarray) -> float:
    """The distance of the two means in standard deviations (d')."""
    spread = np.sqrt((own.var() + strange.var()) / 2)
    return float((own.mean() - strange.mean()) / max(spread, 1e-6))
