"""Two processes train what one would."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.child_process import train_in_child
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import ConfigError, TrainingError
from model.training.batches import BatchStream
from model.training.distributed import SINGLE_PROCESS, Processes, join_processes, local_device
from model.training.run.checkpoints import list_checkpoints
from model.training.run.metrics import read_metrics
from model.training.train import train
from tests.model.training.learners import take_steps

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
VARIANTS = {
    "designclip": {},
    "class_first": {"sampler": "class", "text_dropout": 0.0},
    "in_parts": {"micro_batch_size": 2},
    "siglip": {"loss": "siglip", "max_grad_norm": 0.5},
    "clip": {"preset": "clip"},
    "classes_alone": {"contrastive_weight": 0.0, "multi_view_weight": 0.0},
    "arcface": {"preset": "arcface"},
    "cosine": {"head": "cosine", "logit_adjustment": 1.0, "contrastive_weight": 0.0},
    "checkpointed": {"gradient_checkpointing": True},
    "sharded": {"shard_optimizer": True, "gradient_checkpointing": True, "micro_batch_size": 2},
    "all_views": {"classify_all_views": True, "logit_adjustment": 1.0, "micro_batch_size": 2},
}


def config_of(micro_config, variant):
    given = {name: getattr(micro_config, name) for name in ("architecture", "batch_size", "num_steps", "device")}
    return dataclasses.replace(micro_config, **{}) if not variant else type(micro_config)(**given | variant)


SHARDED = {"shard_optimizer": True, "gradient_checkpointing": True, "ema_decay": 0.9}


@pytest.fixture(scope="module")
def two(shapes, micro_config, tmp_path_factory):
    """Folder of what two processes came to, all in one start."""
    folder = tmp_path_factory.mktemp("two")
    for name, variant in VARIANTS.items():
        (folder / f"{name}.json").write_text(json.dumps(config_of(micro_config, variant).to_dict()))
    (folder / "resumed.json").write_text(json.dumps(dataclasses.replace(micro_config, **SHARDED).to_dict()))
    configs = [str(folder / f"{name}.json") for name in (*VARIANTS, "resumed")]
    subprocess.run(
        [sys.executable, "-m", "tests.model.training.two_processes", str(shapes), str(folder), *configs],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def pairs(two):
    """Variant → what two processes came to, one dict each."""
    return {name: [torch.load(two / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)] for name in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_half_batches_give_the_losses_gradients_and_weights_of_the_whole(shapes, micro_config, pairs, variant):
    alone = take_steps(shapes, config_of(micro_config, VARIANTS[variant]))

    for one in pairs[variant]:
        for metrics, expected in zip(one["metrics"], alone["metrics"], strict=True):
            assert metrics == pytest.approx(expected, rel=1e-4)
        assert one["gradients"].keys() == alone["gradients"].keys()
        for name, gradient in alone["gradients"].items():
            torch.testing.assert_close(one["gradients"][name], gradient, rtol=1e-3, atol=2e-5, msg=name)
        for name, weight in alone["weights"].items():
            torch.testing.assert_close(one["weights"][name], weight, rtol=1e-3, atol=3e-4, msg=name)


def test_an_optimizer_that_is_divided_resumes_with_two_processes_or_one(shapes, micro_config, two, tmp_path):
    alone = train(shapes, tmp_path / "alone", dataclasses.replace(micro_config, ema_decay=0.9))
    assert list_checkpoints(two / "stopped" / "checkpoints") == [2]
    of_one = train(shapes, two / "stopped", dataclasses.replace(micro_config, **SHARDED))
    of_two = json.loads((two / "resumed" / "training.json").read_text())
    expected = [row["loss"] for row in read_metrics(tmp_path / "alone" / "metrics.jsonl")]
    for name, summary in (("stopped", of_one), ("resumed", of_two)):
        assert [row["loss"] for row in read_metrics(two / name / "metrics.jsonl")] == pytest.approx(expected, rel=1e-3)
        assert summary["identity"] == alone["identity"]


def test_a_divided_optimizer_keeps_a_share_of_its_state_in_each_process(pairs, micro_config, shapes):
    parts = [one["num_moments"] for one in pairs["sharded"]]
    whole = take_steps(shapes, micro_config)["num_moments"]
    assert sum(parts) == whole and max(parts) < 0.75 * whole
    assert all(one["num_moments"] == whole for one in pairs["checkpointed"])


def test_the_processes_share_each_batch_of_one_stream_without_a_place_twice(shapes, micro_config, pairs):
    for variant in ("designclip", "class_first"):
        alone = take_steps(shapes, config_of(micro_config, VARIANTS[variant]))
        parts = [one["rows"] for one in pairs[variant]]
        for step, rows in enumerate(alone["rows"]):
            assert torch.equal(torch.cat([part[step] for part in parts]), rows)


def test_a_program_asked_for_two_processes_starts_them_and_leaves_one_run(shapes, tmp_path, micro_config):
    refitted = dataclasses.replace(micro_config, refit_head=True)
    config = dataclasses.replace(refitted, num_processes=2)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    command = [
        sys.executable,
        "-m",
        "model.training.train",
        "--dataset",
        str(shapes),
        "--run-dir",
        str(tmp_path / "run"),
    ]
    result = subprocess.run(
        [*command, "--config", str(tmp_path / "config.json")], check=True, cwd=ROOT, capture_output=True, text=True
    )
    alone = train(shapes, tmp_path / "alone", refitted)
    printed = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    lines = [line for line in printed if "step" in line or "summary" in line]

    assert [line["step"] for line in lines[:-1]] == [1, 2, 3, 4, 5, 6]
    summary = lines[-1]["summary"]
    assert summary["last_loss"] == pytest.approx(alone["last_loss"], rel=1e-4)
    assert summary["identity"] == alone["identity"]  # another number of processes is no other run
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 6
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == [6, 4]
    assert summary["refit"]["loss"] == pytest.approx(alone["refit"]["loss"], rel=1e-3)
    assert train(shapes, tmp_path / "run", refitted) == summary


def test_processes_that_cannot_use_the_settings_end_the_program_with_2_and_the_sentence(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, num_processes=2, batch_size=7)

    with pytest.raises(
        ConfigError, match=r"^a batch of 7 cannot be divided among 2 processes; set batch_size to a multiple"
    ):
        train_in_child(shapes, tmp_path / "run", config)


def test_a_program_of_two_processes_that_is_told_to_end_leaves_a_checkpoint_and_goes_on(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, num_processes=2, num_steps=400, checkpoint_every_steps=1000)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    command = [
        sys.executable,
        "-m",
        "model.training.train",
        "--dataset",
        str(shapes),
        "--run-dir",
        str(tmp_path / "run"),
    ]
    with subprocess.Popen(
        [*command, "--config", str(tmp_path / "config.json")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        for line in program.stdout:
            if line.startswith('{"step": 3,'):
                program.send_signal(signal.SIGTERM)
                break
        rest = program.stdout.read()

    (num_steps,) = {int(number) for number in re.findall(r"error: stopped after step (\d+) of 400; run again", rest)}
    assert program.returncode == 1
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == [num_steps]
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == num_steps


def test_a_batch_that_cannot_be_shared_is_refused(shapes, micro_config):
    views = read_views(open_dataset(shapes), "train")

    with pytest.raises(ConfigError, match="a batch of 8 cannot be divided among 3 processes; set batch_size"):
        BatchStream(views, micro_config, Processes(0, 3))


def test_alone_everything_is_as_it_is():
    rows = torch.arange(6.0).view(3, 2)

    assert SINGLE_PROCESS.gather(rows) is rows
    assert SINGLE_PROCESS.any(True) and not SINGLE_PROCESS.any(False)
    assert SINGLE_PROCESS.broadcast({"a": 1}) == {"a": 1}
    assert SINGLE_PROCESS.part_of(4) == slice(0, 4)
    with join_processes(torch.device("cpu")) as processes:
        assert processes == SINGLE_PROCESS


def test_a_process_without_a_gpu_of_its_own_is_told_so(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    with pytest.raises(TrainingError, match="process 1 of this machine finds 1 GPUs; start one process a GPU"):
        local_device(torch.device("cuda"))
    assert local_device(torch.device("cpu")) == torch.device("cpu")
