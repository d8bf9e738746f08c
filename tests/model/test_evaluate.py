"""An evaluation from end to end."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import html.parser
import json
import math
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from model.errors import ArchitectureError, DatasetError
from model.evaluate import EvaluationConfig, evaluate
from model.train import TrainConfig, train
from tests.model.drawings import draw_dataset, draw_rows, write_dataset

CONFIG = EvaluationConfig(num_resamples=50, num_examples=2, device="cpu", batch_size=16)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("evaluation") / "shapes", train=80, test=20)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory, micro_config) -> Path:
    run = tmp_path_factory.mktemp("evaluation") / "first-run"
    train(dataset, run, micro_config)
    return run


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "first-run")


def bytes_of(folder: Path) -> dict[str, str]:
    files = [folder / "evaluation.json", folder / "report.html", *sorted((folder / "embeddings").iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_the_small_architecture_learns_in_a_few_steps_which_drawing_a_caption_means(dataset, tmp_path):
    config = TrainConfig(
        architecture="designclip-tiny", num_steps=10, batch_size=32, learning_rate=1e-3, warmup_steps=5, device="cpu"
    )
    summary = train(dataset, tmp_path / "run", config)
    figures = evaluate(tmp_path / "run", dataset, tmp_path / "run", CONFIG)["retrieval"]["text_to_image"]
    recall = figures["model"]["recall"]

    assert summary["last_loss"] < math.log(32) - 0.5  # ln 32 is what features that tell nothing apart cost
    assert recall["5"]["value"] > figures["chance"]["recall"]["5"] + 0.15
    assert recall["5"]["value"] > figures["untrained"]["recall"]["5"]["value"] + 0.15
    assert recall["1"]["value"] <= recall["5"]["value"] <= recall["10"]["value"]


def test_each_figure_stands_with_its_terms(dataset, run):
    retrieval = evaluate(run, dataset, run, CONFIG)["retrieval"]

    assert retrieval["gallery_size"] == retrieval["num_queries"] == 40
    assert retrieval["num_patents"] == 20
    assert retrieval["text_to_image"]["num_queries_without_positive"] == 0
    assert "before it" in retrieval["tie_rule"] and "letter for letter" in retrieval["positives_rule"]
    assert retrieval["text_to_image"]["chance"] == retrieval["image_to_text"]["chance"]


def test_equal_inputs_give_equal_bytes_wherever_they_lie(dataset, run, tmp_path):
    evaluate(run, dataset, run, CONFIG)
    elsewhere = shutil.copytree(dataset, tmp_path / "elsewhere" / "other-name")
    copied = shutil.copytree(run, tmp_path / "again" / "first-run")
    for name in bytes_of(copied):
        (copied / name).unlink(missing_ok=True)
    shutil.rmtree(copied / "embeddings")
    evaluate(f"local-dir:{copied / 'model'}", elsewhere, copied, dataclasses.replace(CONFIG, chunk_size=7))

    assert bytes_of(copied) == bytes_of(run)


def test_a_finished_evaluation_is_given_back_and_a_harmed_one_made_again(dataset, run):
    results = evaluate(run, dataset, run, CONFIG)
    before = bytes_of(run)
    times = {path: path.stat().st_mtime_ns for path in run.rglob("*")}

    assert evaluate(run, dataset, run, CONFIG) == results
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == times

    (run / "report.html").write_text("<p>altered</p>")
    evaluate(run, dataset, run, CONFIG)
    assert bytes_of(run) == before
    (run / "evaluation.json").unlink()
    evaluate(run, dataset, run, CONFIG)
    assert bytes_of(run) == before


def test_other_settings_are_measured_anew(dataset, run):
    evaluate(run, dataset, run, CONFIG)
    results = evaluate(run, dataset, run, dataclasses.replace(CONFIG, max_queries=5, cutoffs=(2,)))

    assert results["retrieval"]["num_queries"] == 5 and results["retrieval"]["gallery_size"] == 40
    assert list(results["retrieval"]["text_to_image"]["model"]["recall"]) == ["2"]
    assert json.loads((run / "evaluation.json").read_text()) == results


class Page(html.parser.HTMLParser):
    """Collects what a page points at, and checks that its tags close."""

    void = frozenset({"meta", "img", "link", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.missing_alt = 0
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sources += [values[name] for name in ("src", "href") if name in values]
        self.missing_alt += tag == "img" and not values.get("alt")
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_names_its_terms(dataset, run):
    results = evaluate(run, dataset, run, CONFIG)
    text = (run / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)

    assert page.open == [] and page.missing_alt == 0
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    assert not re.search(r"(?i)<script|@import|url\(", text)
    for word in ("Untrained, same architecture", "Chance, expected", "R@10", "Training", "ties with the best right"):
        assert word in text
    assert results["model"]["fingerprint"] in text and results["dataset"]["fingerprint"] in text
    assert str(run.parent) not in text and str(dataset) not in text


def test_the_page_says_how_to_measure_again_in_settings_that_give_the_same_config(dataset, run):
    evaluate(run, dataset, run, CONFIG)
    text = html.unescape((run / "report.html").read_text(encoding="utf-8"))
    command, settings = re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)

    assert command == (
        "designclip evaluate --data-dir DATA --model MODEL --dataset shapes --run NAME --config evaluation.toml"
    )
    again = EvaluationConfig.from_dict(tomllib.loads(settings)["evaluation"])
    assert again.config_hash == CONFIG.config_hash


def test_captions_are_text_on_the_page_and_never_markup(tmp_path, micro_clip):
    rows = draw_rows(3, split="test")
    for row in rows:
        row["text"] = f"<script>alert('{row['view_id']}')</script> & more"
    shapes = write_dataset(tmp_path / "d", {"test": rows}, name="<b>bold</b>")
    evaluate(micro_clip, shapes, tmp_path / "out", CONFIG)
    text = (tmp_path / "out" / "report.html").read_text()

    assert "<script" not in text and "<b>bold" not in text
    assert "&lt;script&gt;" in text


def test_a_single_view_is_found_for_certain(tmp_path, micro_clip):
    rows = draw_rows(1, split="test", views_per_patent=1)
    results = evaluate(micro_clip, write_dataset(tmp_path / "d", {"test": rows}), tmp_path / "out", CONFIG)

    assert results["retrieval"]["text_to_image"]["model"]["recall"]["1"]["value"] == 1.0
    assert results["retrieval"]["text_to_image"]["chance"]["recall"]["1"] == 1.0


def test_a_split_or_a_model_that_is_not_there_is_named(dataset, run, tmp_path):
    with pytest.raises(DatasetError, match="no captioned view in the split 'holdout'"):
        evaluate(run, dataset, tmp_path / "out", dataclasses.replace(CONFIG, split="holdout"))
    with pytest.raises(ArchitectureError, match="did you mean"):
        evaluate("ViT-B-33/openai", dataset, tmp_path / "out", CONFIG)
