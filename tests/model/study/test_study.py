"""A study trains its arms once, judges its claims, and resumes wherever it was stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from model.errors import ConfigError, TrainingError, TrainingStoppedError
from model.study import runs as study_runs
from model.study.config import BUILTIN_STUDIES, read_study
from model.study.outcomes import MEASURES, outcomes_of
from model.study.study import plan_study, run_study
from model.training.train import train

pytestmark = pytest.mark.slow

_FILE = """
question = "Does a head see more by the image alone?"
seeds = 2
num_resamples = 50

[arms.both]
text_dropout = 0.0
[arms.alone]
text_dropout = 1.0
classification_weight = 1.0

[[claims]]
text = "the image alone teaches the head more"
measure = "classifier"
part = "all"
arm = "alone"
baseline = "both"

[[claims]]
text = "it costs text retrieval less than everything"
measure = "text_to_image"
arm = "alone"
baseline = "both"
at_least = -1.0
"""


@pytest.fixture
def config(tmp_path, micro_config):
    (tmp_path / "dropout.toml").write_text(_FILE)
    names = ("architecture", "batch_size", "num_steps", "warmup_steps", "checkpoint_every_steps", "device")
    return read_study(str(tmp_path / "dropout.toml"), {name: getattr(micro_config, name) for name in names})


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in ("study.json", "study.html")}


def test_every_arm_is_trained_with_every_seed_and_every_claim_is_judged(shapes, config, tmp_path):
    out = tmp_path / "data" / "studies" / "dropout"
    assert plan_study(shapes, out, config) | {"hours": 0} == {
        "study": "dropout",
        "arms": 2,
        "seeds": 2,
        "runs": 4,
        "done": 0,
        "taken_over": 0,
        "to_train": 4,
        "steps": 24,
        "hours": 0,
    }
    seen = []
    result = run_study(shapes, out, config, progress=lambda done, of, _: seen.append((done, of)))

    assert sorted(path.name for path in (out / "runs").iterdir()) == [
        f"{arm}-seed-{seed}" for arm in ("alone", "both") for seed in (0, 1)
    ]
    assert seen[-1] == (24, 24) and seen == sorted(seen)
    assert [claim["verdict"] for claim in result["claims"]][1] == "holds"
    head = result["estimates"]["classifier"]
    difference = result["claims"][0]["difference"]
    assert difference["mean"] == pytest.approx(head["alone"]["all"]["mean"] - head["both"]["all"]["mean"])
    assert json.loads((out / "study.json").read_text()) == result
    page = (out / "study.html").read_text()
    assert "the image alone teaches the head more" in page and "http" not in page.replace("http://www.w3.org", "")
    before = _bytes(out)
    assert plan_study(shapes, out, config)["done"] == 4
    assert run_study(shapes, out, config) == result and _bytes(out) == before


def test_arms_that_are_only_measured_otherwise_share_a_run(surrounded, config, tmp_path):
    whole = config.arms[0]
    claimed = dataclasses.replace(whole, name="by-claimed", lines="claimed")
    config = dataclasses.replace(config, arms=(whole, claimed), claims=(), seeds=(0,))
    out = tmp_path / "studies" / "lines"
    assert plan_study(surrounded, out, config)["to_train"] == 1
    result = run_study(surrounded, out, config)
    assert [path.name for path in (out / "runs").iterdir()] == [f"{whole.name}-seed-0"]
    of_patent = result["estimates"]["same_patent"]
    assert of_patent[whole.name]["all"] != of_patent["by-claimed"]["all"]
    assert plan_study(surrounded, out, config)["done"] == 2


def test_a_study_that_is_stopped_in_the_middle_of_a_run_ends_in_the_same_bytes(shapes, config, tmp_path):
    config = dataclasses.replace(config, arms=config.arms, seeds=(0,))
    run_study(shapes, tmp_path / "a" / "studies" / "x", config)
    out, num_calls = tmp_path / "b" / "studies" / "x", 0

    def after_eight_steps():
        nonlocal num_calls
        num_calls += 1
        return num_calls > 8

    with pytest.raises(TrainingStoppedError):
        run_study(shapes, out, config, should_stop=after_eight_steps)
    assert not (out / "study.json").exists() and plan_study(shapes, out, config)["done"] == 1
    run_study(shapes, out, config)
    assert _bytes(out) == _bytes(tmp_path / "a" / "studies" / "x")


def test_a_run_that_exists_is_taken_over(shapes, config, tmp_path, monkeypatch):
    config = dataclasses.replace(config, seeds=(0,))
    arm = config.arms[0]
    train(shapes, tmp_path / "data" / "runs" / "earlier", config.training_of(arm, 0))
    out = tmp_path / "data" / "studies" / "x"
    planned = plan_study(shapes, out, config)
    assert (planned["taken_over"], planned["to_train"]) == (1, 1)
    assert planned["hours"] is not None, "the earlier run says how long a step takes"
    trained = []
    monkeypatch.setattr(
        study_runs, "train", lambda *args, **kwargs: trained.append(args[1].name) or train(*args, **kwargs)
    )
    run_study(shapes, out, config)
    assert trained == ["alone-seed-0"]


def test_a_run_in_a_process_of_its_own_has_the_outcomes_of_one_in_this_process(shapes, config, tmp_path):
    config, out = dataclasses.replace(config, seeds=(0,)), tmp_path / "data" / "studies" / "x"
    here = run_study(shapes, out, config)
    shutil.rmtree(out / "runs" / "both-seed-0")
    (out / "outcomes" / "both-seed-0.npz").unlink()
    assert run_study(shapes, out, config, num_jobs=2) == here


def test_runs_of_other_settings_are_replaced_only_if_asked_for(shapes, config, tmp_path):
    config, out = dataclasses.replace(config, seeds=(0,)), tmp_path / "data" / "studies" / "x"
    run_study(shapes, out, config)
    before = {path.name: (path / "training.json").read_bytes() for path in (out / "runs").iterdir()}
    shorter = dataclasses.replace(config, training={**config.training, "num_steps": 3})
    with pytest.raises(ConfigError, match=r"both-seed-0 holds a run of other settings or data; choose another --name"):
        run_study(shapes, out, shorter)
    assert {path.name: (path / "training.json").read_bytes() for path in (out / "runs").iterdir()} == before
    run_study(shapes, out, shorter, replace=True)
    assert plan_study(shapes, out, shorter)["done"] == 2


def test_a_run_that_fails_is_named(shapes, config, tmp_path):
    arms = (dataclasses.replace(config.arms[0], settings={"learning_rate": 1e30}), config.arms[1])
    with pytest.raises(TrainingError, match=r"^both-seed-0: .*loss"):
        run_study(shapes, tmp_path / "data" / "studies" / "x", dataclasses.replace(config, arms=arms))


def test_one_seed_decides_nothing(shapes, config, tmp_path):
    result = run_study(shapes, tmp_path / "data" / "studies" / "x", dataclasses.replace(config, seeds=(0,)))
    assert {claim["verdict"] for claim in result["claims"]} == {"not decided"}


def test_outcomes_agree_with_the_evaluation(shapes, config, tmp_path):
    from model.dataset.folder import open_dataset
    from model.evaluation.evaluate import EvaluationConfig, evaluate

    arm = config.arms[0]
    run = tmp_path / "run"
    train(shapes, run, config.training_of(arm, 0))
    outcomes = outcomes_of(run, open_dataset(shapes), config.evaluation_of(arm))
    terms = {"untrained": False, "num_resamples": 20, "device": "cpu"}
    measured = evaluate(
        run, shapes, run, EvaluationConfig(tasks=("retrieval", "zero_shot", "fine_tuned", "image_retrieval"), **terms)
    )["tasks"]

    def value(task, table, name):
        return measured[task]["tables"][table]["figures"][name]["model"]["value"]

    assert list(outcomes) == list(MEASURES)
    assert outcomes["text_to_image"].mean() == pytest.approx(value("retrieval", "text_to_image", "R@10"))
    assert np.nanmean(outcomes["zero_shot"]) == pytest.approx(value("zero_shot", "uspc", "accuracy"))
    assert np.nanmean(outcomes["classifier"]) == pytest.approx(value("fine_tuned", "uspc", "accuracy"))


def test_the_settings_of_a_file_are_above_those_of_the_small_model_and_below_given_ones(tmp_path):
    arms = '[arms.a]\npreset = "clip"\n\n[arms.b]\npreset = "clip"\nbeta = 1.0\n'
    small = {"architecture": "designclip-tiny", "num_steps": 80, "batch_size": 32}

    def training(head: str, **given):
        path = tmp_path / "mine.toml"
        path.write_text(f"{head}\n{arms}")
        study = read_study(str(path), given, small_training=small)
        chosen = study.training_of(study.arms[0], 0)
        return chosen.architecture, chosen.num_steps, chosen.batch_size

    assert training("") == ("designclip-tiny", 80, 32)
    assert training("[training]\nnum_steps = 200") == ("designclip-tiny", 200, 32)
    assert training("[training]\nnum_steps = 200", num_steps=6) == ("designclip-tiny", 6, 32)
    # A file with a model of its own takes nothing from the small one.
    assert training('[training]\narchitecture = "ViT-B-32"') == ("ViT-B-32", None, 128)


@pytest.mark.parametrize("name", BUILTIN_STUDIES)
def test_the_studies_of_this_package_can_be_read(name):
    study = read_study(name, {"architecture": "designclip-tiny"}, seeds=2)
    assert study.question and study.claims and study.seeds == (0, 1)
    assert {study.training_of(arm, 0).architecture for arm in study.arms} == {"designclip-tiny"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('measure = "classifier"', "measure is 'clasifier'; use one of text_to_image"),
        ('baseline = "both"', "baseline is 'nobody'; use one of both, alone"),
        ("text_dropout = 1.0", "arm alone: unknown setting text_dropuot"),
        ("text_dropout = 0.0", "arm both: text_dropout is 2"),
        ("seeds = 2", "study broken: unknown saeds"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path, change, message):
    wrong = {
        'measure = "classifier"': 'measure = "clasifier"',
        'baseline = "both"': 'baseline = "nobody"',
        "text_dropout = 1.0": "text_dropuot = 1.0",
        "text_dropout = 0.0": "text_dropout = 2.0",
        "seeds = 2": "saeds = 2",
    }[change]
    (tmp_path / "broken.toml").write_text(_FILE.replace(change, wrong))
    with pytest.raises(ConfigError, match=message):
        read_study(str(tmp_path / "broken.toml"))
    with pytest.raises(ConfigError, match=r"no study nothing; name beta, captions, claimed, views, or a TOML file"):
        read_study("nothing")
