"""Measuring on the claimed lines of the drawings."""

from __future__ import annotations

import dataclasses

import pytest

from model.errors import ConfigError, DatasetError
from model.evaluation.config import EvaluationConfig
from model.evaluation.evaluate import evaluate

pytestmark = pytest.mark.slow

CONFIG = EvaluationConfig(
    tasks=("image_retrieval",), untrained=False, num_resamples=20, num_examples=1, device="cpu", batch_size=16
)
CLAIMED = dataclasses.replace(CONFIG, lines="claimed")


@pytest.fixture(scope="module")
def measured(micro_clip, surrounded, tmp_path_factory):
    """Lines → results and page of an evaluation of the same model."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for config in (CONFIG, CLAIMED):
        results = evaluate(micro_clip, surrounded, folder / config.lines, config)
        found[config.lines] = results, (folder / config.lines / "report.html").read_text()
    return found


def test_the_lines_decide_what_is_measured_and_the_report_says_which(measured):
    (whole, page), (claimed, claimed_page) = measured["all"], measured["claimed"]
    assert whole["tasks"]["image_retrieval"]["tables"] != claimed["tasks"]["image_retrieval"]["tables"]
    assert claimed["config"]["lines"] == "claimed" and "lines" not in whole["config"]
    assert "on the claimed lines of the drawings" in claimed_page and "on the claimed lines" not in page
    assert "all lines of the drawings, claimed or not" in page


def test_features_of_claimed_lines_are_stored_apart(measured, surrounded):
    stored = {path.name for path in (surrounded / ".embeddings").rglob("*-images.parquet")}
    assert {"surrounded-test-images.parquet", "surrounded-test-claimed-images.parquet"} <= stored


def test_a_dataset_without_claimed_images_cannot_be_measured_on_them(micro_clip, shapes, tmp_path):
    with pytest.raises(DatasetError, match="no images of the claimed lines"):
        evaluate(micro_clip, shapes, tmp_path, CLAIMED)


def test_other_lines_are_refused():
    with pytest.raises(ConfigError, match="lines is 'dashed'; use one of all, claimed"):
        EvaluationConfig(lines="dashed")
