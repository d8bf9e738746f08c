"""Weights of views: viewpoints that find their patent weigh more, and few views decide little."""

from __future__ import annotations

import numpy as np
import pytest

from model.clip.view_weights import EQUAL_WEIGHTS, ViewWeights, learn_view_weights


def designs(num: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Views of `num` patents: front and perspective views show the design, bottom views show the same thing for all."""
    features, patents, viewpoints = [], [], []
    same_for_all = rng.normal(size=12)
    for patent in range(num):
        design = rng.normal(size=12)
        for viewpoint in ("front", "perspective", "bottom"):
            shown = same_for_all if viewpoint == "bottom" else design
            features.append(shown + 0.5 * rng.normal(size=12))
            patents.append(patent)
            viewpoints.append(viewpoint)
    unit = np.array(features, dtype=np.float32)
    return unit / np.linalg.norm(unit, axis=1, keepdims=True), np.array(patents), viewpoints


def test_a_view_that_looks_alike_in_all_patents_weighs_less():
    features, patents, viewpoints = designs(150, np.random.default_rng(0))
    weights = learn_view_weights(features, patents, viewpoints)
    front, bottom = weights.by_viewpoint["front"], weights.by_viewpoint["bottom"]
    assert bottom < 0.5 < 1 < front and weights.num_views == 450
    assert weights.of(viewpoints).mean() == pytest.approx(1, abs=0.05)
    assert weights == learn_view_weights(features, patents, viewpoints), "equal seeds give equal weights"


def test_few_views_of_a_viewpoint_are_drawn_towards_all_views():
    features, patents, viewpoints = designs(150, np.random.default_rng(1))
    few = [name if name != "bottom" or index < 9 else "perspective" for index, name in enumerate(viewpoints)]
    many = learn_view_weights(features, patents, viewpoints).by_viewpoint["bottom"]
    assert many < learn_view_weights(features, patents, few).by_viewpoint["bottom"] < 1


def test_without_two_views_of_a_patent_all_weigh_the_same():
    features = np.eye(3, dtype=np.float32)
    assert learn_view_weights(features, np.array([0, 1, 2]), ["front"] * 3) == EQUAL_WEIGHTS
    assert learn_view_weights(features, np.array([0, 0, 0]), ["front"] * 3) == EQUAL_WEIGHTS, "no stranger"
    assert EQUAL_WEIGHTS.of(["front", None]).tolist() == [1, 1]


def test_a_model_that_finds_nothing_gives_equal_weights():
    features = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)  # each is nearest to the other patent
    assert learn_view_weights(features, np.array([0, 0, 1, 1]), ["front"] * 4) == EQUAL_WEIGHTS


def test_a_view_without_a_viewpoint_has_the_weight_of_such_views():
    assert ViewWeights({"none": 0.5}, 10).of([None, "none", "top"]).tolist() == [0.5, 0.5, 1.0]
