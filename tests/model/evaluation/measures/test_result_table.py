"""Result tables: values, intervals, differences."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.measures.bootstrap import Bootstrap
from model.evaluation.measures.result_table import AGAINST, MODEL, UNTRAINED, Row, class_mean, tabulate


def test_values_intervals_differences_and_constants_are_in_their_columns():
    rng = np.random.default_rng(0)
    one, other = (rng.random(300) < share for share in (0.8, 0.5))
    rows = {"R@1": Row({MODEL: one, AGAINST: other, UNTRAINED: np.zeros(300)}, {"chance": 0.1})}

    table = tabulate(
        title="known",
        terms={"split": "test"},
        rows=rows,
        bootstrap=Bootstrap(np.arange(300), 400, 0),
        ranks={"median rank": {MODEL: 3.0}},
    )
    values = table["figures"]["R@1"]

    assert table["columns"] == ["model", "against", "difference", "untrained", "chance"]
    assert values["model"]["value"] == pytest.approx(one.mean())
    assert values["difference"]["value"] == pytest.approx(one.mean() - other.mean())
    assert 0 < values["difference"]["low"] < values["difference"]["high"]
    assert values["difference"]["p"] < 0.01
    assert values["untrained"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert values["chance"] == {"value": 0.1}
    assert table["figures"]["median rank"] == {"unit": "rank", "model": {"value": 3.0}}


def test_a_difference_is_paired():
    # Hard patents are hard for both models: the intervals of the models are wide, that of the difference is not.
    rng = np.random.default_rng(0)
    hardness = rng.random(200).repeat(3)
    rows = {"R@1": Row({MODEL: hardness + 0.02, AGAINST: hardness}, {})}
    table = tabulate(title="", terms={}, rows=rows, bootstrap=Bootstrap(np.arange(200).repeat(3), 400, 0))
    values = table["figures"]["R@1"]

    assert values["model"]["high"] - values["model"]["low"] > 0.05
    assert values["difference"]["low"] == pytest.approx(0.02) == values["difference"]["high"]


def test_the_mean_over_classes_gives_each_class_the_same_weight():
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    assert class_mean(values, np.array([0, 0, 0, 7])) == pytest.approx([0.5])
