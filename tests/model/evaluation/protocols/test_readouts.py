"""One head read out under several class priors, by thirds of the classes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

import model.evaluation.evaluate
from model.charts import draw_readouts
from model.clip.readout import ClassPriors
from model.dataset.classes import ClassTable
from model.dataset.thirds import third_of_class
from model.evaluation.measures.bootstrap import Bootstrap
from model.evaluation.protocols.labelled import LabelledViews
from model.evaluation.protocols.readouts import (
    HeadLogits,
    readout_curve,
    readout_note,
    readout_table,
)

SCHEMA = json.loads((Path(model.evaluation.evaluate.__file__).parent / "evaluation.schema.json").read_text())
COUNTS = np.array([90, 9, 1])
PRIORS = ClassPriors(fitted=COUNTS / 100, natural=COUNTS / 100)


def labelled(truth: list[int]) -> LabelledViews:
    table = ClassTable("uspc", ("D1", "D2", "D3"), ("A", "B", "C"))
    return LabelledViews("uspc", table, np.arange(len(truth)), np.array(truth), COUNTS, 0)


def logits_of(likelihoods: list[list[float]]) -> np.ndarray:
    """The logits of a head that was fitted under the natural prior, for views of these likelihoods."""
    return np.log(np.array(likelihoods)) + np.log(COUNTS / 100)


# Two views of the frequent class and one each of the others; the last two look a little more like their own class.
VIEWS = labelled([0, 0, 1, 2])
HEAD = HeadLogits(logits_of([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]]), PRIORS)


def context_of(num_views: int) -> Any:
    views = SimpleNamespace(split="test", patent_numbers=[f"D{row}" for row in range(num_views)])
    return SimpleNamespace(
        views=views, bootstrap=lambda patents: Bootstrap(patents, 20, 0), interval_rule="95 %, of 20 resamples"
    )


def test_classes_are_divided_into_thirds_by_frequency_and_those_never_seen_are_in_the_tail():
    assert third_of_class(np.array([50, 0, 7, 60, 2, 9])).tolist() == [2, 0, 1, 2, 0, 1]


def test_the_natural_read_out_is_right_about_the_frequent_class_and_the_balanced_one_about_the_rare_ones():
    table = readout_table(context_of(4), VIEWS, {"model": HEAD})
    values = {name: row["model"]["value"] for name, row in table["figures"].items()}
    assert values["natural, head"] == 1.0
    assert values["natural, middle"] == values["natural, tail"] == 0.0
    assert values["balanced, head"] == 0.5
    assert values["balanced, middle"] == values["balanced, tail"] == 1.0
    assert values["natural, all views"] == 0.5
    assert values["balanced, all classes"] == pytest.approx(2.5 / 3)
    assert table["figures"]["balanced, tail"]["chance"]["value"] == pytest.approx(1 / 3)


def test_the_curve_connects_the_two_read_outs_and_follows_the_schema():
    curve = readout_curve(VIEWS, HEAD, chosen_tau=0.5)
    assert curve["tau"][0] == 0.0
    assert curve["tau"][-1] == 1.5
    balanced = curve["tau"].index(1.0)
    assert (curve["tail"][0], curve["tail"][balanced]) == (0.0, 1.0)
    assert (curve["head"][0], curve["head"][balanced]) == (1.0, 0.5)
    assert curve["thirds"] == {"tail": ["D3"], "middle": ["D2"], "head": ["D1"]}
    jsonschema.validate(curve, {"$ref": "#/$defs/readouts", "$defs": SCHEMA["$defs"]})


def test_a_third_without_measured_views_is_left_out():
    views = labelled([0, 2])
    head = HeadLogits(HEAD.logits[[0, 3]], PRIORS)
    assert "middle" not in readout_curve(views, head, 0.0)
    assert "natural, middle" not in readout_table(context_of(2), views, {"model": head})["figures"]
    assert draw_readouts(readout_curve(views, head, 0.0)).startswith(b"<?xml")


def test_a_head_without_priors_has_one_read_out_and_says_so():
    head = HeadLogits(HEAD.logits, ClassPriors())
    assert np.array_equal(head.scores(0.0), head.scores(1.0))
    assert "one read-out" in readout_note(head, 1.0)
    assert "τ = 1 (balanced class prior)" in readout_note(HEAD, 1.0)
