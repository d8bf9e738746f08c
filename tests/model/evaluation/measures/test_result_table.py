"""Tables of figures: values, intervals, differences."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.measures.bootstrap import Bootstrap
from model.evaluation.measures.result_table import AGAINST, MODEL, UNTRAINED, Row, class_mean, tabulate


def test_values_intervals_differences_and_constants_lie_in_their_columns():
    rng = np.random.default_rng(0)
    one, other = (rng.random(300) < share for share in (0.8, 0.5))
    rows = {"R@1": Row({MODEL: one, AGAINST: other, UNTRAINED: np.zeros(300)}, {"chance": 0.1})}

    table = tabulate(
        title="known",
        terms={"split": "test"},
        rows=rows,
        bootstrap=Bootstrap(np.arange(300), 400, 0),
        plain={"median rank": {MODEL: 3.0}},
    )
    figure = table["figures"]["R@1"]

    assert table["columns"] == ["model", "against", "difference", "untrained", "chance"]
    assert figure["model"]["value"] == pytest.approx(one.mean())
    assert figure["difference"]["value"] == pytest.approx(one.mean() - other.mean())
    assert 0 < figure["difference"]["low"] < figure["difference"]["high"]
    assert figure["difference"]["p"] < 0.01
    assert figure["untrained"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert figure["chance"] == {"value": 0.1}
    assert table["figures"]["median rank"] == {"unit": "rank", "model": {"value": 3.0}}


def test_a_difference_is_paired():
    # Hard patents are hard for both models: each alone is unsure, the difference is not.
    rng = np.random.default_rng(0)
    hardness = rng.random(200).repeat(3)
    rows = {"R@1": Row({MODEL: hardness + 0.02, AGAINST: hardness}, {})}
    figure = tabulate(title="", terms={}, rows=rows, bootstrap=Bootstrap(np.arange(200).repeat(3), 400, 0))["figures"][
        "R@1"
    ]

    assert figure["model"]["high"] - figure["model"]["low"] > 0.05
    assert figure["difference"]["low"] == pytest.approx(0.02) == figure["difference"]["high"]


def test_the_mean_over_classes_gives_each_class_one_voice():
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    assert class_mean(values, np.array([0, 0, 0, 7])) == pytest.approx([0.5])
