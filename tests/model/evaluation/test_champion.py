"""Promotion and refusal, on values chosen by hand."""

from pathlib import Path
from typing import Any

import pytest

from model.dataset.folder import Dataset, open_dataset
from model.errors import ChampionError
from model.evaluation.champion import Decision, ModelRegistry, count_overlap, num_train_patents
from tests.model.dataset.drawings import draw_dataset, draw_rows, write_dataset

METRIC = "retrieval/text_to_image/R@10"


def measured(fingerprint: str, value: float, *, against: float | None = None, margin: float = 0.05) -> dict[str, Any]:
    """The results of an evaluation with one share, compared with a second model if `against` is given."""
    share: dict[str, Any] = {"unit": "share", "model": {"value": value, "low": value, "high": value}}
    if against is not None:
        gap = value - against
        share["against"] = {"value": against}
        share["difference"] = {"value": gap, "low": gap - margin, "high": gap + margin, "p": 0.01}
    metrics = {"R@10": share, "median rank": {"unit": "rank", "model": {"value": 3.0}}}
    return {
        "model": {"name": "run", "fingerprint": fingerprint},
        "tasks": {"retrieval": {"tables": {"text_to_image": {"figures": metrics}}}},
    }


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return open_dataset(draw_dataset(tmp_path / "datasets" / "shapes", train=6, validation=1, test=3))


@pytest.fixture
def registry(tmp_path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models")


def run_of(tmp_path: Path, name: str) -> Path:
    model = tmp_path / "runs" / name / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "open_clip_config.json").write_text(f'"{name}"')
    return model.parent


def decide(
    registry: ModelRegistry, tmp_path: Path, dataset: Dataset, name: str, results: dict[str, Any], **other: Any
) -> Decision:
    settings = {"metric": METRIC, "who": "somebody", "when": "2024-01-02T12:00:00+00:00"} | other
    test_set = registry.freeze_test_set(dataset)
    return registry.decide(results, run_dir=run_of(tmp_path, name), dataset=dataset, test_set=test_set, **settings)


def test_the_first_model_becomes_the_champion(registry, dataset, tmp_path):
    decision = decide(registry, tmp_path, dataset, "first", measured("aa" * 8, 0.4))
    assert decision.is_promoted and decision.why == f"{METRIC} 40.0 %; there was no champion before it"
    assert registry.champion == decision and registry.model_of(decision).name == "first-aaaaaaaa"
    assert decision.num_train_patents == num_train_patents(dataset) == 6


def test_a_model_better_by_more_than_the_interval_is_promoted_and_the_old_one_is_kept(registry, dataset, tmp_path):
    first = decide(registry, tmp_path, dataset, "first", measured("aa" * 8, 0.4))
    second = decide(registry, tmp_path, dataset, "second", measured("bb" * 8, 0.5, against=0.4))
    assert second.is_promoted and registry.champion == second
    assert second.why == (f"{METRIC} 50.0 % against 40.0 % of first: difference +10.0, 95 % +5.0 to +15.0, p 0.01")
    assert registry.model_of(first).is_dir() and registry.model_of(second).is_dir()


@pytest.mark.parametrize("value", [0.44, 0.45, 0.3], ids=["within", "at the edge", "worse"])
def test_a_model_not_better_by_more_than_the_interval_is_refused_with_a_reason(registry, dataset, tmp_path, value):
    first = decide(registry, tmp_path, dataset, "first", measured("aa" * 8, 0.4))
    refused = decide(registry, tmp_path, dataset, "second", measured("bb" * 8, value, against=0.4))
    assert not refused.is_promoted and refused.model is None
    assert refused.why.endswith("the whole interval must lie above zero")
    assert registry.champion == first and not (registry.folder / "second-bbbbbbbb").exists()


def test_decisions_are_read_back_from_the_record(registry, dataset, tmp_path):
    decide(registry, tmp_path, dataset, "first", measured("aa" * 8, 0.4))
    decide(registry, tmp_path, dataset, "second", measured("bb" * 8, 0.3, against=0.4))
    again = ModelRegistry(registry.folder)
    assert again.decisions == registry.decisions and again.champion == registry.champion
    test_set = again.freeze_test_set(dataset)
    assert again.last_decision_on("bb" * 8, test_set, METRIC) == registry.decisions[-1]
    assert again.last_decision_on("aa" * 8, test_set, METRIC) is None  # a later decision was about another model
    assert again.last_decision_on("bb" * 8, test_set, "zero_shot/uspc/accuracy") is None


def test_the_test_set_stays_the_same_when_the_dataset_grows(registry, dataset, tmp_path):
    frozen = registry.freeze_test_set(dataset)
    rows = {"train": draw_rows(9, split="train", seed=1), "test": draw_rows(5, split="test", seed=3)}
    grown = open_dataset(write_dataset(tmp_path / "grown", rows))
    again = registry.freeze_test_set(grown)
    assert again.fingerprint == frozen.fingerprint and again.num_views == frozen.num_views == {"test": 6}


def test_a_model_trained_on_the_test_set_is_refused_whatever_its_values(registry, dataset, tmp_path):
    registry.freeze_test_set(dataset)
    rows = {"train": [{**row, "split": "train"} for row in draw_rows(3, split="test", seed=3)]}
    leaky = open_dataset(write_dataset(tmp_path / "leaky", rows))
    assert count_overlap(leaky, registry.freeze_test_set(leaky)) == {"patents": 3, "families": 3, "images": 6}
    refused = decide(registry, tmp_path, leaky, "cheat", measured("cc" * 8, 0.99))
    assert not refused.is_promoted and refused.why.startswith("it was trained on 3 patents, 3 families, 6 images")


def test_a_changed_file_of_the_frozen_test_set_is_named(registry, dataset):
    frozen = registry.freeze_test_set(dataset)
    file = frozen.folder / frozen.files[0].name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ChampionError, match="has changed since it was frozen; restore it, or remove"):
        registry.freeze_test_set(dataset)


def test_a_dataset_without_a_test_split_is_refused_with_the_setting_to_change(registry, tmp_path):
    bare = open_dataset(write_dataset(tmp_path / "bare", {"train": draw_rows(2, split="train")}))
    with pytest.raises(ChampionError, match="has no test split to measure on; give its split a test_share"):
        registry.freeze_test_set(bare)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("retrieval/text_to_image/R@7", r"no value retrieval/text_to_image/R@7; this evaluation has .*R@10"),
        ("retrieval/text_to_image/median rank", "median rank is not a share; name one, such as"),
    ],
)
def test_a_metric_that_cannot_decide_is_refused(registry, dataset, tmp_path, metric, message):
    with pytest.raises(ChampionError, match=message):
        decide(registry, tmp_path, dataset, "first", measured("aa" * 8, 0.4), metric=metric)
    assert not registry.decisions


def test_a_damaged_record_or_a_missing_model_is_named(registry, dataset, tmp_path):
    first = decide(registry, tmp_path, dataset, "first", measured("aa" * 8, 0.4))
    (registry.model_of(first) / "open_clip_config.json").unlink()
    registry.model_of(first).rmdir()
    with pytest.raises(ChampionError, match="the champion's model is missing"):
        registry.model_of(first)
    (registry.folder / "champion.json").write_text("{")
    with pytest.raises(ChampionError, match=r"champion\.json cannot be read .* or remove it to start again"):
        ModelRegistry(registry.folder)
