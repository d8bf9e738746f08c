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
        shares = f"{100 * row['asked']:.2f} {100 * row['drawn']:.2f} {row['weight']:.3g} {100 * row['counted']:.2f}"
        assert f"{row['class']} {row['title']} {row['num_views']} {shares}" in text
    assert 'sampler = "item"' in page.replace("&#34;", '"')
    assert "% of the time" in text and "GB at most" in text


def test_the_page_says_what_a_class_is_drawn_and_weighed_and_that_both_correct(run, summary):
    text = text_of(run.page.read_text())
    known = [row for row in summary["class_shares"] if row["class"] != "unknown"]
    rarest = min(known, key=lambda row: row["num_views"])

    assert "correct for the frequency of the classes twice" in text
    share = 100 * rarest["num_views"] / 48
    assert (
        f"{rarest['class']} has {share:.2g} % of the views, {100 * rarest['drawn']:.2g} % of the draws and "
        f"{100 * rarest['counted']:.2g} % of the weight"
    ) in text
    assert sum(row["counted"] for row in known) == pytest.approx(1, abs=1e-4)
    drawn_and_weighed = {row["class"]: row["asked"] * row["weight"] for row in known}
    total = sum(drawn_and_weighed.values())
    assert all(row["counted"] == pytest.approx(drawn_and_weighed[row["class"]] / total, abs=1e-4) for row in known)


@pytest.mark.parametrize(
    "settings",
    [{"sampler": "uniform"}, {"beta": 0.0}, {"weigh_contrastive": False, "weigh_classification": False}],
)
def test_one_correction_is_not_called_two(run, summary, settings):
    one = summary | {"config": summary["config"] | settings}

    assert "twice" not in text_of(render_training_page(one, read_metrics(run.metrics), []))


def test_the_page_says_how_the_head_was_adjusted_and_refitted(run, summary):
    refit = {"num_views": 4096, "loss": 0.51, "num_iterations": 40}
    adjusted = summary | {"config": summary["config"] | {"logit_adjustment": 1.0}, "refit": refit}
    text = text_of(render_training_page(adjusted, read_metrics(run.metrics), []))

    assert "adjusted by 1 times the logarithm of each class's share of the draws" in text
    assert "refitted at the end, by balanced softmax on 4,096 whole views (mean loss 0.51)" in text


def test_the_page_needs_no_other_file(run):
    page = run.page.read_text()
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)

    assert len(pictures) == 5
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
