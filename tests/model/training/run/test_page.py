"""The page of a run shows its metrics, timings and settings."""

from __future__ import annotations

import base64
import json
import re

import pytest

from model.training.run.folder import RunFolder
from model.training.run.metrics import read_metrics, read_timings
from model.training.run.page import render_training_page
from model.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory, micro_config):
    folder = tmp_path_factory.mktemp("shown") / "run"
    train(shapes, folder, micro_config)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def summary(run):
    return json.loads(run.summary.read_text())


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_page_of_a_run_shows_terms_classes_optimiser_speed_and_settings(run, summary):
    page = run.page.read_text()
    metrics = read_metrics(run.metrics)
    text = text_of(page)

    for heading in ("Loss", "Class sampling", "Optimiser", "Speed and memory", "The run"):
        assert f"<h2>{heading}</h2>" in page
    assert f"Classes 0.1 {metrics[-1]['classification']:.4g}" in text  # six steps: their last tenth is the last
    for row in summary["class_shares"]:
        shares = f"{100 * row['asked']:.2f} {100 * row['drawn']:.2f}"
        assert f"{row['class']} {row['title']} {row['num_views']} {shares}" in text
    assert 'sampler = "item"' in page.replace("&#34;", '"')
    assert "% of the time" in text and "GB at most" in text


def test_the_page_needs_no_other_file(run):
    page = run.page.read_text()
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)

    assert len(pictures) == 4
    assert all(b"<svg" in base64.b64decode(picture) for picture in pictures)
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_page_of_a_run_without_timings_has_no_speed(run, summary):
    page = render_training_page(summary, read_metrics(run.metrics), [])

    assert "Speed and memory" not in page and "<h2>Optimiser</h2>" in page


def test_names_are_escaped(run, summary):
    named = summary | {"run": "<b>bold</b>", "dataset": summary["dataset"] | {"name": "<script>x</script>"}}
    page = render_training_page(named, read_metrics(run.metrics), read_timings(run))

    assert "<b>bold" not in page and "<script>" not in page
    assert "&lt;b&gt;bold" in page


def test_a_missing_page_is_made_again(run, shapes, micro_config):
    before = run.page.read_text()
    run.page.unlink()
    train(shapes, run.folder, micro_config)

    assert run.page.read_text() == before
