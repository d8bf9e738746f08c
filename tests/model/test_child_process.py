"""Finished work is recognised from its files; anything else is left to a child process."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from subprocess import Popen

import pytest
import torch

from model import child_process
from model.child_process import evaluate_in_child, train_in_child
from model.errors import ConfigError, DatasetError, ModelError, TrainingError
from model.evaluation.config import EvaluationConfig
from model.evaluation.evaluate import evaluate
from model.training.train import train
from tests.model.dataset.drawings import draw_dataset

pytestmark = pytest.mark.slow

EVALUATION = EvaluationConfig(num_resamples=10, num_examples=1, device="cpu")


@pytest.fixture(scope="module")
def measured(shapes, tmp_path_factory, micro_config) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "run"
    train(shapes, folder, micro_config)
    evaluate(folder, shapes, folder, EVALUATION)
    return folder


@pytest.fixture
def run(measured, tmp_path) -> Path:
    """A finished and evaluated run that a test may damage."""
    return shutil.copytree(measured, tmp_path / "run")


class StartedError(Exception):
    """Raised instead of starting a process."""


@pytest.fixture
def no_process(monkeypatch):
    def refuse(command, **_):
        raise StartedError(command[2])

    monkeypatch.setattr(child_process.subprocess, "Popen", refuse)


def test_finished_work_is_returned_without_torch_and_without_a_process(shapes, run, micro_config):
    program = textwrap.dedent(
        """
        import json, subprocess, sys

        def refuse(*arguments, **_):
            raise AssertionError(f"started {arguments}")

        subprocess.Popen = refuse
        from model.child_process import evaluate_in_child, train_in_child
        from model.evaluation.config import EvaluationConfig
        from model.training.config import TrainConfig

        dataset, run, training, evaluation = sys.argv[1:]
        summary = train_in_child(dataset, run, TrainConfig.from_dict(json.loads(training)))
        results = evaluate_in_child(run, dataset, run, EvaluationConfig.from_dict(json.loads(evaluation)))
        print(json.dumps([summary, results, sorted({name.split(".")[0] for name in sys.modules})]))
        """
    )
    settings = [json.dumps(config.to_dict()) for config in (micro_config, EVALUATION)]
    result = subprocess.run(
        [sys.executable, "-c", program, shapes, run, *settings],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    summary, results, modules = json.loads(result.stdout)

    assert summary == json.loads((run / "training.json").read_text())
    assert results == json.loads((run / "evaluation.json").read_text())
    assert not {"torch", "open_clip", "transformers"} & set(modules)


@pytest.mark.parametrize(
    "name",
    ["training.json", "config.json", "metrics.jsonl", "model/open_clip_model.safetensors", "model/README.md"],
)
@pytest.mark.parametrize("damage", ["removed", "altered"])
def test_a_damaged_run_is_left_to_a_process(shapes, run, micro_config, no_process, name, damage):
    assert train_in_child(shapes, run, micro_config)["stage"] == "training"
    if damage == "removed":
        (run / name).unlink()
    else:
        (run / name).write_bytes((run / name).read_bytes()[:-3])

    with pytest.raises(StartedError, match=r"model\.training\.train"):
        train_in_child(shapes, run, micro_config)


@pytest.mark.parametrize(
    "name", ["evaluation.json", "report.html", "metrics.jsonl", "model/open_clip_model.safetensors"]
)
def test_a_damaged_evaluation_or_one_of_a_changed_model_is_left_to_a_process(shapes, run, no_process, name):
    assert evaluate_in_child(run, shapes, run, EVALUATION)["stage"] == "evaluation"
    (run / name).write_bytes((run / name).read_bytes()[:-3])

    with pytest.raises(StartedError, match=r"model\.evaluation\.evaluate"):
        evaluate_in_child(run, shapes, run, EVALUATION)


def test_other_settings_another_dataset_or_folder_are_left_to_a_process(
    shapes, run, tmp_path, micro_config, no_process
):
    other = draw_dataset(tmp_path / "other", train=2)
    for dataset, folder, seed in ((other, run, 0), (shapes, tmp_path / "new", 0), (shapes, run, 1)):
        with pytest.raises(StartedError):
            train_in_child(dataset, folder, dataclasses.replace(micro_config, seed=seed), replace="any")
        with pytest.raises(StartedError):
            evaluate_in_child(run, dataset, folder, dataclasses.replace(EVALUATION, seed=seed))


def test_a_run_is_not_replaced_unasked_and_no_process_is_started(shapes, run, micro_config, no_process):
    with pytest.raises(ConfigError, match=r"^run is a finished run with seed 0, not 1; choose another name with --run"):
        train_in_child(shapes, run, dataclasses.replace(micro_config, seed=1))


@pytest.mark.parametrize("model", ["hf-hub:some/model", "ViT-B-32/openai"])
def test_a_model_that_must_be_loaded_for_its_fingerprint_is_left_to_a_process(shapes, run, no_process, model):
    with pytest.raises(StartedError, match=r"model\.evaluation\.evaluate"):
        evaluate_in_child(model, shapes, run, EVALUATION)


def test_a_missing_dataset_is_reported_without_a_process(run, tmp_path, micro_config, no_process):
    with pytest.raises(DatasetError, match="no such dataset folder"):
        train_in_child(tmp_path / "none", run, micro_config)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one(shapes, tmp_path, micro_config, run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    processes, steps = [], []

    def start(*arguments, **options):
        processes.append(Popen(*arguments, **options))
        return processes[-1]

    def kill_at_the_third_step(step, num_steps, _values):
        steps.append((step, num_steps))
        if step == 3:
            processes[0].kill()

    monkeypatch.setattr(child_process.subprocess, "Popen", start)
    with pytest.raises(TrainingError, match="ended by signal 9; run again to resume"):
        train_in_child(shapes, tmp_path / "new" / "run", micro_config, progress=kill_at_the_third_step)
    assert steps[:3] == [(1, 6), (2, 6), (3, 6)]

    train(shapes, tmp_path / "new" / "run", micro_config)
    for name in ("metrics.jsonl", "training.json", "model/open_clip_model.safetensors"):
        assert (tmp_path / "new" / "run" / name).read_bytes() == (run / name).read_bytes()


def run_instead(monkeypatch, program: str) -> None:
    """Run a few lines of Python in place of the program, which takes seconds to start."""
    monkeypatch.setattr(
        child_process.subprocess, "Popen", lambda _command, **options: Popen([sys.executable, "-c", program], **options)
    )


def test_the_summary_the_steps_and_the_log_of_a_process_reach_the_caller(
    shapes, tmp_path, micro_config, monkeypatch, caplog
):
    logged = '{"log": {"name": "model.training", "level": 30, "message": "the tracker failed"}}'
    lines = ['{"step": 1, "num_steps": 2, "loss": 0.5}', "not JSON", "[1]", logged, '{"summary": {"num_steps": 2}}']
    run_instead(monkeypatch, f"print(*{lines}, sep=chr(10))")
    steps = []
    summary = train_in_child(shapes, tmp_path / "new", micro_config, progress=lambda *step: steps.append(step))

    assert summary == {"num_steps": 2}
    assert steps == [(1, 2, {"step": 1, "num_steps": 2, "loss": 0.5})]
    assert caplog.record_tuples == [("model.training", logging.WARNING, "the tracker failed")]


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        ("print('a warning'); print('error: no such split'); raise SystemExit(1)", ModelError, "^no such split$"),
        ("print('error: unknown setting'); raise SystemExit(2)", ConfigError, "^unknown setting$"),
        (
            "raise MemoryError('no room')",
            ModelError,
            r"process of model\.training\.train failed:\n(.*\n)*MemoryError: no room",
        ),
        ("pass", ModelError, "failed"),
    ],
)
def test_a_failed_process_is_reported_with_its_own_message(
    shapes, tmp_path, micro_config, monkeypatch, program, kind, message
):
    run_instead(monkeypatch, program)

    with pytest.raises(kind, match=message):
        train_in_child(shapes, tmp_path / "new", micro_config)
