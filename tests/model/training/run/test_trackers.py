"""Trackers receive the metrics of each step of a run once."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from model.errors import ConfigError, TrainingError
from model.training.run import trackers
from model.training.run.metrics import read_metrics
from model.training.run.trackers import open_tracker
from model.training.train import train

pytestmark = pytest.mark.slow

RUN = {"run_name": "small", "run_id": "0123456789abcdef", "settings": {"beta": 1.2, "betas": [0.9, 0.98]}}


def log(tracker, steps):
    for step in steps:
        tracker.log(step, {"loss": 1.0 / step, "learning_rate": 0.1})
    tracker.close()


def test_without_a_tracker_none_is_opened(tmp_path):
    assert open_tracker("none", tmp_path, num_steps_done=0, **RUN) is None


@pytest.mark.slow
def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log(open_tracker("tensorboard", tmp_path, num_steps_done=0, **RUN), range(1, 6))
    log(open_tracker("tensorboard", tmp_path, num_steps_done=3, **RUN), range(4, 8))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "small")).Reload()

    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6, 7]
    assert events.Scalars("loss")[1].value == 0.5


@pytest.mark.slow
def test_mlflow_shows_each_step_of_a_resumed_run_once(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'all.db'}")
    log(open_tracker("mlflow", tmp_path, num_steps_done=0, **RUN), range(1, 6))
    log(open_tracker("mlflow", tmp_path, num_steps_done=3, **RUN), range(4, 8))
    client = mlflow.MlflowClient()
    (experiment,) = [one for one in client.search_experiments() if one.name == "designclip"]
    (run,) = client.search_runs([experiment.experiment_id])

    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3, 4, 5, 6, 7]
    assert run.data.params["beta"] == "1.2" and run.info.status == "FINISHED"


@pytest.mark.slow
def test_wandb_works_offline_and_writes_into_the_run_folder(shapes, tmp_path, micro_config, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(shapes, tmp_path / "run", dataclasses.replace(micro_config, tracker="wandb"))

    assert list((tmp_path / "run" / "tracking").glob("wandb/offline-run-*/*.wandb"))


class FailingTracker:
    """Fails from a step on, or when it is closed."""

    def __init__(self, fails_at: int | None) -> None:
        self.fails_at = fails_at
        self.calls: list[int | str] = []

    def log(self, step, values):
        self.calls.append(step)
        if step == self.fails_at:
            raise ConnectionError("503: the server is down\nTraceback …")

    def close(self):
        self.calls.append("close")
        if self.fails_at is None:
            raise OSError("no space left on device")


@pytest.mark.parametrize(
    ("fails_at", "calls", "warning"),
    [
        (3, [1, 2, 3], "the tracker mlflow failed at step 3 and gets nothing more: 503: the server is down; metrics"),
        (
            None,
            [1, 2, 3, 4, 5, 6, "close"],
            "the tracker mlflow failed at the end and gets nothing more: no space left",
        ),
    ],
)
def test_a_tracker_that_fails_costs_a_warning_and_the_run_is_finished(
    shapes, tmp_path, micro_config, monkeypatch, caplog, fails_at, calls, warning
):
    tracker = FailingTracker(fails_at)
    monkeypatch.setattr(trackers, "_MLflow", lambda *_, **__: tracker)
    summary = train(shapes, tmp_path / "run", dataclasses.replace(micro_config, tracker="mlflow"))

    assert tracker.calls == calls
    assert summary["num_steps"] == len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 6
    (logged,) = [record for record in caplog.records if record.name == trackers.__name__]
    assert logged.levelno == logging.WARNING and logged.getMessage().startswith(warning)


def test_wandb_without_a_key_is_refused_before_the_first_step(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(wandb.api, "_api", type("Api", (), {"api_key": None})(), raising=False)

    with pytest.raises(TrainingError, match="no key; set WANDB_API_KEY or WANDB_MODE=offline"):
        open_tracker("wandb", tmp_path, num_steps_done=0, **RUN)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("tensorboard", "torch.utils.tensorboard", "tensorboard"),
        ("wandb", "wandb", "wandb"),
        ("mlflow", "mlflow", "mlflow-skinny"),
    ],
)
def test_the_error_names_a_missing_package(tmp_path, monkeypatch, name, module, package):
    def without(wanted, *arguments, **options):
        if wanted == module:
            raise ImportError(wanted)
        return import_module(wanted, *arguments, **options)

    import importlib

    import_module = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", without)

    with pytest.raises(ConfigError, match=f'needs the package {package}; run "pip install {package}"'):
        open_tracker(name, tmp_path, num_steps_done=0, **RUN)


def test_an_unreachable_tracker_is_reported_in_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")

    with pytest.raises(TrainingError, match=r"the tracker mlflow cannot start: .*; configure it .*tracker = \"none\""):
        open_tracker("mlflow", tmp_path, num_steps_done=0, **RUN)
