"""Evaluation from end to end."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import html.parser
import json
import re
import shutil
import tomllib
from pathlib import Path

import jsonschema
import pytest
import torch

import model.evaluation.evaluate
from model.child_process import evaluate_in_child
from model.errors import ArchitectureError, ConfigError, DatasetError
from model.evaluation.config import CHEAP_TASKS, TASKS
from model.evaluation.context import EvaluationContext
from model.evaluation.evaluate import MEASURES, EvaluationConfig, evaluate
from model.evaluation.measures.result_table import find_value
from model.training.train import TrainConfig, train
from tests.model.dataset.drawings import draw_dataset, draw_rows, write_dataset

pytestmark = pytest.mark.slow

CONFIG = EvaluationConfig(
    tasks=TASKS,
    num_resamples=50,
    num_examples=2,
    gallery_size=5,
    num_galleries=2,
    device="cpu",
    batch_size=16,
    probe_strengths=(1.0, 10.0),
    stop_on=(),
)
SCHEMA = json.loads((Path(model.evaluation.evaluate.__file__).parent / "evaluation.schema.json").read_text())


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
    embeddings = sorted(path for path in (folder / "embeddings").rglob("*") if path.is_file())
    files = [folder / "evaluation.json", folder / "report.html", *embeddings]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_the_small_architecture_learns_in_a_few_steps_to_find_the_drawing_of_a_caption(dataset, tmp_path):
    config = TrainConfig(
        architecture="designclip-tiny", num_steps=20, batch_size=32, learning_rate=1e-3, warmup_steps=5, device="cpu"
    )
    train(dataset, tmp_path / "run", config)
    terms = dataclasses.replace(CONFIG, tasks=("retrieval",))
    found = evaluate(tmp_path / "run", dataset, tmp_path / "run", terms)
    recall = [find_value(found, f"retrieval/text_to_image/R@{k}") for k in (1, 5, 10)]

    assert recall[1]["model"]["value"] > recall[1]["chance"]["value"] + 0.15
    assert recall[1]["model"]["value"] > recall[1]["untrained"]["value"] + 0.15
    assert recall[0]["model"]["value"] <= recall[1]["model"]["value"] <= recall[2]["model"]["value"]


@pytest.fixture(scope="module")
def measured(dataset, trained) -> dict:
    """The results of every task, with a second model and small galleries."""
    return evaluate(trained, dataset, trained, dataclasses.replace(CONFIG, against=str(trained)))


def test_the_results_follow_the_schema(measured, trained):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(measured, SCHEMA)
    assert json.loads((trained / "evaluation.json").read_text()) == measured
    assert tuple(measured["tasks"]) == tuple(MEASURES) and set(MEASURES) == set(TASKS)


def test_each_value_has_its_terms_and_baselines(measured):
    # These compare scorings and viewpoints of the trained models with each other; a difference has no chance.
    compared_settings = {"text_to_patent", "patents_by_scoring", "by_viewpoint", "citations_by_scoring"}
    for task, section in measured["tasks"].items():
        for name, table in section["tables"].items():
            assert table["terms"]["num_queries"] > 0, (task, name)
            for metric, columns in table["figures"].items():
                if columns["unit"] == "share":
                    assert {"model", "against", "difference"} <= set(columns), (task, name)
                    if name not in compared_settings:
                        assert {"untrained", "chance"} <= set(columns), (task, name)
                    elif name != "by_viewpoint" and "minus" not in metric:
                        assert "chance" in columns, (task, name, metric)
                    assert columns["model"]["low"] <= columns["model"]["value"] <= columns["model"]["high"]
    retrieval = measured["tasks"]["retrieval"]["tables"]
    sizes = {f"{way}{size}" for way in ("text_to_image", "image_to_text") for size in ("", "_of_5")}
    assert set(retrieval) == sizes | {"text_to_patent"}
    assert retrieval["text_to_image"]["terms"]["gallery_size"] == 40
    assert retrieval["text_to_image_of_5"]["terms"]["num_queries"] == 10
    assert "bm25_title" in retrieval["text_to_image"]["columns"]
    assert "majority" in measured["tasks"]["zero_shot"]["tables"]["uspc"]["columns"]


@pytest.mark.parametrize(
    ("task", "table", "metric"),
    [("retrieval", "text_to_image", "R@{}"), ("image_retrieval", "same_patent", "top-{}")],
)
def test_curves_contain_the_values_of_their_table(measured, task, table, metric):
    section = measured["tasks"][task]
    for column, line in section["curves"][table].items():
        drawn = dict(zip(line["k"], line["recall"], strict=True))
        assert drawn[max(drawn)] == pytest.approx(1)
        for k in (1, 5, 10):
            assert drawn[k] == pytest.approx(section["tables"][table]["figures"][metric.format(k)][column]["value"])


def test_the_misses_of_each_task_are_counted_and_shown(measured, trained):
    text = html.unescape((trained / "report.html").read_text(encoding="utf-8"))
    counted = {task: set(section.get("failures", {})) for task, section in measured["tasks"].items()}
    assert counted["retrieval"] == {"text_to_image", "image_to_text"}
    assert counted["image_retrieval"] == {"same_patent"} and counted["linear_probe"] == counted["fine_tuned"] == {
        "uspc"
    }
    for task, section in measured["tasks"].items():
        for name, failures in section.get("failures", {}).items():
            recall = section["tables"][name]["figures"]
            found = recall.get("R@10", recall.get("top-10", recall.get("accuracy")))["model"]["value"]
            assert failures["num_misses"] == pytest.approx((1 - found) * failures["num_queries"]), (task, name)
            assert f"Where it fails: {failures['title']}" in text
            for cause in failures["causes"].values():
                assert not cause["num_misses"] or cause["definition"] in text
                assert len(cause["examples"]) == min(6, cause["num_misses"])


def test_each_retrieval_and_classification_table_has_its_thirds(measured, trained):
    for task, name in (
        ("retrieval", "text_to_image"),
        ("retrieval", "image_to_text_of_5"),
        ("retrieval", "text_to_patent"),
        ("image_retrieval", "same_patent"),
        ("zero_shot", "uspc"),
        ("linear_probe", "uspc_five_epochs"),
        ("fine_tuned", "uspc"),
    ):
        table = measured["tasks"][task]["tables"][name]
        sizes = table["thirds"]["sizes"]
        total = table["terms"]["num_queries"] - table["terms"]["num_queries_without_positive"] * (task != "zero_shot")
        assert sum(size["num_queries"] for size in sizes.values()) == total, (task, name)
    value = find_value(measured, "retrieval/text_to_image/R@10, head")["model"]
    assert "R@10, head</th>" in (trained / "report.html").read_text() and value["low"] <= value["value"]


def test_a_model_does_not_differ_from_itself(measured):
    for section in measured["tasks"].values():
        for table in section["tables"].values():
            for columns in table["figures"].values():
                if "difference" in columns:
                    assert columns["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_a_value_is_found_by_its_path(measured):
    value = find_value(measured, "image_retrieval/same_patent/mAP")
    assert 0 <= value["model"]["low"] <= value["model"]["high"] <= 1
    with pytest.raises(KeyError, match=r"no value retrieval/mAP; this evaluation has .*same_patent"):
        find_value(measured, "retrieval/mAP")


def test_a_task_that_a_dataset_does_not_support_gives_its_reason_and_the_rest_is_measured(measured, trained):
    assert measured["tasks"]["prior_art"]["status"] == "not_available"
    assert "cited" in measured["tasks"]["prior_art"]["reason"]
    assert "Not available: the examiner of none" in (trained / "report.html").read_text()


def test_features_are_reused_by_other_tasks_and_evaluations(dataset, run, monkeypatch):
    evaluate(run, dataset, run, CONFIG)
    monkeypatch.setattr("model.clip.encoder.load_clip", None)  # a model that is loaded fails the test
    results = evaluate(run, dataset, run.parent / "elsewhere", dataclasses.replace(CONFIG, cutoffs=(3,), seed=0))

    assert find_value(results, "retrieval/text_to_image/R@3")["model"]["value"] > 0


def test_a_child_process_reports_progress_and_returns_the_same_results(dataset, run):
    terms = dataclasses.replace(CONFIG, tasks=("retrieval",), untrained=False)
    shutil.rmtree(run / "embeddings")
    reported = []
    results = evaluate_in_child(
        run,
        dataset,
        run,
        terms,
        progress=lambda step, num_steps, values: reported.append((step, num_steps, values["doing"])),
    )

    assert results == evaluate(run, dataset, run, terms)
    assert (40, 40, "images of test") in reported and any("retrieval" in doing for *_, doing in reported)


def test_leaks_stop_the_evaluation_before_a_model_is_loaded(tmp_path, micro_clip, monkeypatch):
    rows = {split: draw_rows(3, split=split) for split in ("train", "test")}
    shapes = write_dataset(tmp_path / "d", rows)
    monkeypatch.setattr("model.clip.encoder.load_clip", None)

    with pytest.raises(DatasetError, match="3 of 3 patents of the split test are in another split"):
        evaluate(micro_clip, shapes, tmp_path / "out", dataclasses.replace(CONFIG, stop_on=("patents",)))
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ("retreival",)}, "tasks is .*choose from retrieval, zero_shot"),
        ({"stop_on": ("everything",)}, "stop_on is .*choose from patents, families"),
        ({"prompts": ("a drawing",)}, "each needs exactly one {}"),
        ({"probe_strengths": (10.0, 1.0)}, "use ascending positive numbers"),
        ({"prior_art_splits": ("test",)}, "leave out 'test', which is always searched"),
        ({"gallery_size": 1}, "gallery_size is 1; it must be at least 2"),
        ({"precision": "int8"}, "precision is 'int8'; use one of fp32, bf16, tf32"),
        ({"num_processes": -1}, "num_processes is -1; it must not be negative"),
    ],
)
def test_invalid_settings_are_refused_with_their_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**settings)


def test_the_precision_decides_the_result_and_the_number_of_processes_does_not():
    hashes = [
        EvaluationConfig(**settings).config_hash for settings in ({}, {"precision": "bf16"}, {"num_processes": 0})
    ]
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_chunk_of_scores_fills_a_share_of_a_gpu(monkeypatch):
    def context(device, **settings):
        return EvaluationContext(None, {}, EvaluationConfig(**settings), torch.device(device))

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 << 30, 96 << 30))
    assert context("cpu").config.max_chunk_mb == 64
    assert context("cuda").config.max_chunk_mb == 10 * 1024
    assert context("cuda", max_chunk_mb=5).config.max_chunk_mb == 5


def test_the_default_tasks_need_no_images_of_the_training_split():
    assert EvaluationConfig().tasks == CHEAP_TASKS
    assert set(CHEAP_TASKS) <= set(TASKS) and "linear_probe" not in CHEAP_TASKS


def test_equal_inputs_give_equal_bytes_wherever_they_are_stored(dataset, run, tmp_path):
    evaluate(run, dataset, run, CONFIG)
    elsewhere = shutil.copytree(dataset, tmp_path / "elsewhere" / "other-name")
    copied = shutil.copytree(run, tmp_path / "again" / "first-run")
    for name in bytes_of(copied):
        (copied / name).unlink(missing_ok=True)
    shutil.rmtree(copied / "embeddings")
    evaluate(f"local-dir:{copied / 'model'}", elsewhere, copied, dataclasses.replace(CONFIG, max_chunk_mb=1))

    assert bytes_of(copied) == bytes_of(run)


def test_a_finished_evaluation_is_reused_and_a_damaged_one_is_repeated(dataset, run):
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


def test_replacing_the_evaluation_of_another_model_is_said(dataset, run, tmp_path, caplog):
    out = tmp_path / "out"
    out.mkdir()
    (out / "evaluation.json").write_text('{"model": {"name": "another"}, "dataset": {"name": "designs"}}')
    evaluate(run, dataset, out, CONFIG)
    assert [record.message for record in caplog.records if "is replaced" in record.message] == [
        f"the evaluation of another on designs in {out} is replaced"
    ]


def test_with_other_settings_it_is_measured_again(dataset, run):
    evaluate(run, dataset, run, CONFIG)
    results = evaluate(run, dataset, run, dataclasses.replace(CONFIG, max_queries=5, cutoffs=(2,)))

    table = results["tasks"]["retrieval"]["tables"]["text_to_image"]
    assert table["terms"]["num_queries"] == 5 and table["terms"]["gallery_size"] == 40
    assert list(table["figures"]) == ["R@2", "MRR", "median rank"]
    assert json.loads((run / "evaluation.json").read_text()) == results


class Page(html.parser.HTMLParser):
    """Collects the addresses on a page, and checks that its tags are closed."""

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


def test_the_page_is_self_contained_and_names_its_terms(dataset, run):
    results = evaluate(run, dataset, run, CONFIG)
    text = (run / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)

    assert page.open == [] and page.missing_alt == 0
    assert page.sources and all(source.startswith(("data:image/", "#")) for source in page.sources)
    assert not re.search(r"(?i)<script|@import|url\(", text)
    for word in (
        "untrained",
        "BM25 on titles",
        "majority class",
        "chance",
        "R@10",
        "Training",
        "ties with a right one",
    ):
        assert word in text
    assert results["model"]["fingerprint"] in text and results["dataset"]["fingerprint"] in text
    assert str(run.parent) not in text and str(dataset) not in text


def test_the_page_shows_the_command_and_settings_that_repeat_it(dataset, run):
    evaluate(run, dataset, run, CONFIG)
    text = html.unescape((run / "report.html").read_text(encoding="utf-8"))
    command, settings = re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL)
    of_tasks = re.findall(r"To repeat this task: <code>(.*?)</code>", text)

    assert command == (
        "designclip evaluate --data-dir DATA --model MODEL --dataset shapes --run NAME --config evaluation.toml"
    )
    assert [line.replace(f" --tasks {task}", "") for line, task in zip(of_tasks, MEASURES, strict=True)] == (
        [command] * len(MEASURES)
    )
    again = EvaluationConfig.from_dict(tomllib.loads(settings)["evaluation"])
    assert again.config_hash == CONFIG.config_hash


def test_captions_are_escaped_on_the_page(tmp_path, micro_clip):
    rows = draw_rows(3, split="test")
    for row in rows:
        row["text"] = f"<script>alert('{row['view_id']}')</script> & more"
    shapes = write_dataset(tmp_path / "d", {"test": rows}, name="<b>bold</b>")
    evaluate(micro_clip, shapes, tmp_path / "out", CONFIG)
    text = (tmp_path / "out" / "report.html").read_text()

    assert "<script" not in text and "<b>bold" not in text
    assert "&lt;script&gt;" in text


def test_a_single_view_is_always_found(tmp_path, micro_clip):
    rows = draw_rows(1, split="test", views_per_patent=1)
    results = evaluate(micro_clip, write_dataset(tmp_path / "d", {"test": rows}), tmp_path / "out", CONFIG)

    recall = find_value(results, "retrieval/text_to_image/R@1")
    assert recall["model"]["value"] == recall["chance"]["value"] == 1.0


def test_a_split_or_a_model_that_does_not_exist_is_named(dataset, run, tmp_path):
    with pytest.raises(DatasetError, match="no captioned view in the split 'holdout'"):
        evaluate(run, dataset, tmp_path / "out", dataclasses.replace(CONFIG, split="holdout"))
    with pytest.raises(ArchitectureError, match="did you mean"):
        evaluate("ViT-B-33/openai", dataset, tmp_path / "out", CONFIG)
