"""`designclip train` and `designclip push`: settings, exit codes, and being stopped."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.training.run.checkpoints import list_checkpoints
from model.training.run.metrics import read_metrics
from tests.flows.command_line import run
from tests.model.conftest import MICRO_CLIP
from tests.model.dataset.drawings import draw_dataset

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    """A data folder with a small dataset, a small architecture and settings for it."""
    folder = tmp_path_factory.mktemp("training")
    draw_dataset(folder / "datasets" / "shapes")
    (folder / "micro").mkdir()
    (folder / "micro" / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    settings = f'architecture = "local-dir:{folder / "micro"}"\nbatch_size = 8\nnum_steps = 4\ndevice = "cpu"\n'
    (folder / "train.toml").write_text(f"[training]\n{settings}[dataset]\nname = 'other'\n")
    (folder / "plain.toml").write_text(settings)
    return folder


@pytest.fixture
def designclip(monkeypatch, capfd, data_dir):
    return lambda command, *arguments: run(monkeypatch, capfd, command, "-d", data_dir, *arguments)


@pytest.mark.slow
def test_settings_come_from_the_file_then_the_preset_then_single_ones_and_the_model_can_be_pushed(designclip, data_dir):
    code, out, _ = designclip(
        *("train", "--dataset", "shapes", "--run", "mine", "--json", "--config", data_dir / "train.toml"),
        *("--preset", "designclip", "--set", "beta=0.5", "--set", "num_steps=3"),
    )
    summary = json.loads(out)
    config = summary["config"]
    assert code == 0 and summary["num_steps"] == 3
    assert (config["batch_size"], config["sampler"], config["beta"]) == (8, "item", 0.5)
    assert (data_dir / "runs" / "mine" / "training.html").is_file()

    other = ("train", "--dataset", "shapes", "--run", "mine", "--json", "--config", data_dir / "train.toml")
    other = (*other, "--preset", "designclip")
    code, _, err = designclip(*other)
    assert code == 2 and "mine is a finished run with beta 0.5, not 1.2 and num_steps 3, not 4; choose another" in err
    code, out, _ = designclip(*other, "--replace")
    assert code == 0 and json.loads(out)["num_steps"] == 4

    code, out, _ = designclip("push", "mine", "team/designs", "--dry-run", "--json")
    sent = json.loads(out)
    assert code == 0 and sent["address"] is None
    assert {"README.md", "open_clip_config.json", "open_clip_model.safetensors"} <= set(sent["files"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "precision=fp16"], "precision is 'fp16'; use one of fp32, bf16"),
        (["--set", "batch_size=many"], "batch_size: .*valid integer"),
        (["--set", "num_steps"], "write name=value, such as --set num_steps=500"),
        (["--preset", "clop"], "preset is 'clop'; use one of clip, patentclip, designclip"),
        (["--set", "lerning_rate=1"], "lerning_rate: "),
    ],
)
def test_settings_that_cannot_be_used_end_with_2_and_one_sentence(designclip, data_dir, arguments, message):
    code, out, err = designclip("train", "--dataset", "shapes", "--config", data_dir / "plain.toml", *arguments)

    assert code == 2 and out == ""
    assert re.search(message, err) and "Traceback" not in err


@pytest.mark.slow
@pytest.mark.usefixtures("child_processes")
def test_a_setting_that_only_the_training_process_finds_wrong_ends_with_2_as_well(designclip, data_dir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(data_dir))  # a broken package there hides the right one
    (data_dir / "mlflow.py").write_text("raise ImportError('not this one')\n")
    code, _, err = designclip(
        *("train", "--dataset", "shapes", "--run", "tracked", "--config", data_dir / "plain.toml"),
        *("--set", "tracker=mlflow"),
    )

    assert code == 2
    assert "the tracker needs the package mlflow-skinny" in err and "Traceback" not in err


def test_a_dataset_that_is_not_there_ends_with_1_and_one_sentence(designclip, data_dir):
    code, _, err = designclip("train", "--dataset", "none", "--config", data_dir / "plain.toml")

    assert code == 1
    assert "no such dataset folder" in err


def test_a_repository_without_an_owner_ends_with_2(designclip):
    code, _, err = designclip("push", "mine", "designs", "--dry-run")

    assert code == 2
    assert "use OWNER/NAME" in err


@pytest.mark.slow
def test_a_command_that_gets_sigterm_leaves_a_checkpoint_and_can_be_resumed(data_dir):
    """Through the command and its training process: the current step is finished and kept."""
    arguments = ["-d", data_dir, "--dataset", "shapes", "--run", "long", "--config", data_dir / "plain.toml"]
    long = ["--set", "num_steps=100000", "--set", "checkpoint_every_steps=5", "--set", "num_checkpoints=1"]
    command = [sys.executable, "-m", "flows.cli", "train", *map(str, arguments), *long]
    checkpoints = data_dir / "runs" / "long" / "checkpoints"
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not list_checkpoints(checkpoints) and program.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    _, err = program.communicate(timeout=120)

    assert program.returncode == 128 + signal.SIGTERM
    assert "stopped; run the same command again to resume" in " ".join(err.split())
    (num_steps,) = list_checkpoints(checkpoints)
    assert len(read_metrics(data_dir / "runs" / "long" / "metrics.jsonl")) == num_steps
