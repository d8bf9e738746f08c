"""ArcFace: its loss compared with a reference, and runs that stop, resume, and are evaluated."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from model.dataset.deep_patent_images import DeepPatentConfig, import_deep_patent
from model.errors import ConfigError, DatasetError, TrainingStoppedError
from model.evaluation.config import EvaluationConfig
from model.evaluation.evaluate import evaluate
from model.evaluation.measures.result_table import find_value
from model.training.config import TrainConfig
from model.training.run.checkpoints import list_checkpoints
from model.training.run.metrics import read_metrics
from model.training.step.arcface import build_arcface
from model.training.train import train
from tests.model.dataset.deep_patent_folder import write_deep_patent
from tests.model.dataset.drawings import draw_rows, write_dataset
from tests.model.training.learners import build_learner, take_steps
from tests.model.training.test_train import StoppedError, bytes_of, stop_after

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def deep_patent(tmp_path_factory) -> Path:
    """A synthetic DeepPatent as a dataset folder, with 6 training and 6 test patents."""
    folder = tmp_path_factory.mktemp("deep-patent")
    published = write_deep_patent(folder, train=6)
    import_deep_patent(*published, folder / "deep-patent", DeepPatentConfig(splits=("train", "test")))
    return folder / "deep-patent"


@pytest.fixture(scope="module")
def arcface_config(micro_config) -> TrainConfig:
    """Six steps of batch 8, with a checkpoint after every second one."""
    names = ("architecture", "batch_size", "num_steps", "warmup_steps", "learning_rate", "checkpoint_every_steps")
    return TrainConfig(preset="arcface", device="cpu", **{name: getattr(micro_config, name) for name in names})


@pytest.fixture(scope="module")
def finished(deep_patent, arcface_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(deep_patent, folder, arcface_config)
    return folder


def by_hand(features: np.ndarray, directions: np.ndarray, patents: np.ndarray, *, scale: float, margin: float) -> float:
    """The loss by its formula, one view at a time."""
    losses = []
    for feature, patent in zip(features, patents, strict=True):
        cosines = directions @ feature / np.linalg.norm(directions, axis=1) / np.linalg.norm(feature)
        cosines[patent] = math.cos(math.acos(cosines[patent]) + margin)
        losses.append(-math.log(math.exp(scale * cosines[patent]) / np.exp(scale * cosines).sum()))
    return float(np.mean(losses))


@pytest.mark.parametrize(("scale", "margin"), [(30.0, 0.5), (30.0, 0.0), (64.0, 0.2)])
def test_the_loss_equals_the_formula_with_the_margin_in_radians(scale, margin):
    rng = np.random.default_rng(0)
    features, patents = rng.standard_normal((12, 8)), rng.integers(0, 5, 12)
    arcface = build_arcface(num_patents=5, embed_dim=8, scale=scale, margin=margin, seed=3)
    directions = arcface.W.detach().numpy().T.astype(np.float64)
    loss = arcface(torch.from_numpy(features), torch.from_numpy(patents))

    assert loss.item() == pytest.approx(by_hand(features, directions, patents, scale=scale, margin=margin), rel=1e-6)


def test_a_view_exactly_in_the_direction_of_its_patent_has_a_finite_gradient():
    arcface = build_arcface(num_patents=3, embed_dim=4, scale=30, margin=0.5, seed=0)
    features = torch.nn.functional.normalize(arcface.W.detach().T.clone()).requires_grad_()
    arcface(torch.cat([features, -features]), torch.arange(3).repeat(2)).backward()

    assert torch.isfinite(features.grad).all() and torch.isfinite(arcface.W.grad).all()


def test_directions_depend_on_the_seed_and_do_not_change_the_callers_random_state():
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    one, same, other = (build_arcface(num_patents=3, embed_dim=4, scale=30, margin=0.5, seed=n).W for n in (1, 1, 2))

    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_preset_has_the_values_of_deep_patent_and_reads_no_captions():
    config = TrainConfig(preset="arcface")

    assert (config.arcface_scale, config.arcface_margin, config.arcface_weight) == (30.0, 0.5, 1.0)
    assert not config.reads_captions and config.frozen_towers == ("text",)
    assert TrainConfig(preset="designclip").arcface_weight == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arcface_margin": 28.6}, "arcface_margin is 28.6; use radians from 0 to below π/2, such as 0.5"),
        ({"arcface_scale": 0}, "arcface_scale is 0; it must be positive"),
        ({"arcface_weight": -1}, "arcface_weight is -1; it must not be negative"),
        ({"arcface_weight": 0}, "all terms have the weight 0"),
        ({"frozen": ("image",)}, "all towers are frozen and there is no head; remove a tower from frozen"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(preset="arcface", **settings)


def test_only_the_image_tower_is_trained_and_the_text_tower_does_not_change(deep_patent, arcface_config):
    learner, _ = build_learner(deep_patent, arcface_config)
    before = {name: weight.clone() for name, weight in learner.clip.model.state_dict().items()}
    after = take_steps(deep_patent, arcface_config)["weights"]

    for name, weight in before.items():
        is_unchanged = not name.startswith("visual.")
        assert torch.equal(after[f"net.{name}"], weight) is is_unchanged, name


def test_a_batch_in_parts_has_the_gradients_of_the_whole(deep_patent, arcface_config):
    whole = take_steps(deep_patent, arcface_config, num_steps=1)
    parts = take_steps(deep_patent, dataclasses.replace(arcface_config, micro_batch_size=3), num_steps=1)

    assert parts["metrics"][0] == pytest.approx(whole["metrics"][0], rel=1e-5)
    assert "arcface.W" in whole["gradients"]
    for name, gradient in whole["gradients"].items():
        torch.testing.assert_close(parts["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("num_steps", [1, 4, 6])
def test_an_interrupted_run_ends_with_the_bytes_of_an_uninterrupted_one(
    deep_patent, arcface_config, finished, tmp_path, num_steps
):
    with pytest.raises(StoppedError):
        train(deep_patent, tmp_path / "run", arcface_config, progress=stop_after(num_steps))
    torch.rand(7)  # changes the global random state
    steps = []
    train(deep_patent, tmp_path / "run", arcface_config, progress=lambda step, *_: steps.append(step))

    assert bytes_of(tmp_path / "run") == bytes_of(finished)
    assert steps == list(range(num_steps // 2 * 2 + 1, 7))


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_and_resumes_from_it(
    deep_patent, arcface_config, finished, tmp_path
):
    with pytest.raises(TrainingStoppedError, match="stopped after step 1 of 6; run again to resume from there"):
        train(deep_patent, tmp_path / "run", arcface_config, should_stop=lambda: True)
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == [1]
    train(deep_patent, tmp_path / "run", arcface_config)

    assert bytes_of(tmp_path / "run" / "model") == bytes_of(finished / "model")


def test_a_terminated_program_resumes_to_the_same_model(deep_patent, arcface_config, tmp_path):
    config = dataclasses.replace(arcface_config, num_steps=40, checkpoint_every_steps=1000)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    command = [
        sys.executable,
        "-m",
        "model.training.train",
        "--dataset",
        str(deep_patent),
        "--run-dir",
        str(tmp_path / "run"),
    ]
    with subprocess.Popen(
        [*command, "--config", str(tmp_path / "config.json")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as many threads as here, so that bytes can be equal
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        for line in program.stdout:
            if json.loads(line)["step"] == 2:
                break
        program.terminate()
        program.stdout.read()
        assert "run again to resume from there" in program.stderr.read()
    (step,) = list_checkpoints(tmp_path / "run" / "checkpoints")
    for name in ("run", "uninterrupted"):
        train(deep_patent, tmp_path / name, config)

    assert program.returncode == 1 and 2 <= step < 40
    assert bytes_of(tmp_path / "run" / "model") == bytes_of(tmp_path / "uninterrupted" / "model")


def test_stock_open_clip_loads_the_model_and_its_card_says_how_it_was_trained(finished):
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{finished / 'model'}")
    card = (finished / "model" / "README.md").read_text()

    assert preprocess is not None and not any("arcface" in name for name in model.state_dict())
    assert "| Loss | arcface 1 |" in card
    assert "its image tower trained to tell patents by their views" in card and "captions made by" not in card
    assert "Patents (ArcFace)" in (finished / "training.html").read_text()


def test_the_model_is_evaluated_on_image_retrieval_and_deep_patent(finished, deep_patent, tmp_path):
    config = EvaluationConfig(
        tasks=("image_retrieval", "deep_patent"), num_resamples=20, num_examples=1, device="cpu", batch_size=16
    )
    measured = evaluate(finished, deep_patent, tmp_path / "out", config)

    for path in ("image_retrieval/same_patent/mAP", "deep_patent/official/mAP"):
        assert {"model", "untrained", "chance"} <= find_value(measured, path).keys()


@pytest.mark.slow
def test_training_improves_retrieval_on_unseen_patents(tmp_path):
    rows = {"train": draw_rows(64, split="train", views_per_patent=4, seed=1)}
    dataset = write_dataset(tmp_path / "d", rows | {"test": draw_rows(24, split="test", views_per_patent=4, seed=2)})
    config = TrainConfig(
        preset="arcface",
        architecture="designclip-tiny",
        batch_size=32,
        num_steps=50,
        warmup_steps=10,
        learning_rate=2e-3,
        device="cpu",
    )
    train(dataset, tmp_path / "run", config)
    settings = EvaluationConfig(tasks=("image_retrieval",), num_resamples=100, num_examples=0, device="cpu")
    measured = evaluate(tmp_path / "run", dataset, tmp_path / "out", settings)
    found = find_value(measured, "image_retrieval/same_patent/mAP")

    losses = [row["arcface"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert found["model"]["low"] > found["untrained"]["high"] > found["chance"]["value"]


def test_views_without_a_caption_are_used_too(arcface_config, tmp_path):
    rows = draw_rows(6, split="train")
    for row in rows[:4]:
        row["text"] = None
    dataset = write_dataset(tmp_path / "d", {"train": rows})
    summary = train(dataset, tmp_path / "run", dataclasses.replace(arcface_config, num_steps=1))

    assert summary["dataset"]["num_views"] == 12


def test_the_error_for_a_dataset_without_captions_names_the_preset_that_can_use_it(deep_patent, micro_config, tmp_path):
    message = 'the views of deep-patent have no captions; train on them with preset = "arcface"'
    with pytest.raises(DatasetError, match=message):
        train(deep_patent, tmp_path / "run", micro_config)


def test_arcface_is_combined_with_the_other_terms(shapes, micro_config):
    config = dataclasses.replace(micro_config, arcface_weight=0.5)
    (metrics, *_) = take_steps(shapes, config)["metrics"]

    named = {name: metrics[name] for name in ("contrastive", "classification", "multi_view", "arcface")}
    assert metrics["loss"] == pytest.approx(
        sum(getattr(config, f"{name}_weight") * value for name, value in named.items()), rel=1e-5
    )


def test_only_the_image_tower_has_lora_adapters(deep_patent, arcface_config):
    config = dataclasses.replace(arcface_config, lora_rank=2)
    learner, _ = build_learner(deep_patent, config)
    learning = [name for name, weight in learner.towers.named_parameters() if weight.requires_grad]
    (metrics, *_) = take_steps(deep_patent, config, num_steps=1)["metrics"]

    assert any("lora" in name for name in learning) and "arcface.W" in learning
    assert all("visual" in name for name in learning if "lora" in name)
    assert math.isfinite(metrics["loss"])
