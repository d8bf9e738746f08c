"""Class-text axes: what all classes share and what images add is removed."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.measures.axes import principal_axes, project


def test_the_axes_are_those_along_which_the_classes_differ():
    texts = np.array([[1, 1, 0, 0], [1, -1, 0, 0], [1, 0, 0, 1], [1, 0, 0, -1]], dtype=np.float32)
    axes = principal_axes(texts)
    assert axes.shape == (4, 2) and axes.T @ axes == pytest.approx(np.eye(2), abs=1e-6)
    assert np.abs(axes[[0, 2]]).max() < 1e-6  # what all share, and what none has


def test_projected_features_compare_by_what_the_axes_keep():
    axes = np.eye(3, dtype=np.float32)[:, :1]
    features = np.array([[0.6, 0.8, 0], [0.6, 0, 0.8], [-0.6, 0.8, 0], [0, 1, 0]], dtype=np.float32)
    assert project(features, axes).tolist() == pytest.approx(np.array([[1.0], [1.0], [-1.0], [0.0]]))


def test_an_axis_that_adds_little_is_left_out_and_one_always_stays():
    strong = np.array([[1, 0.0], [-1, 0.0], [0, 0.1], [0, -0.1]], dtype=np.float32)
    assert principal_axes(strong).shape == (2, 1)
    assert principal_axes(np.ones((3, 2), dtype=np.float32)).shape == (2, 1), "texts that do not differ"
