"""Experiment trackers, which receive a run's metrics in addition to its own files.

The run's `metrics.jsonl` is the record; a tracker gets the same values. A tracker that fails once the run has started
therefore costs a warning, never the run: its server may be down for an hour of a training of days.

Each package is imported only if it is used. The packages read addresses and keys from the environment themselves
(WANDB_API_KEY, WANDB_MODE=offline, MLFLOW_TRACKING_URI, …); nothing here writes or prints them.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from model.errors import ConfigError, TrainingError
from model.files import read_json, write_json

_PROJECT = "designclip"
_LOG = logging.getLogger(__name__)


class Tracker(Protocol):
    """Receives the metrics of a run."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log the metrics of a step, counted from 1."""

    def close(self) -> None:
        """Send what is left and end the run."""


def open_tracker(
    name: str, folder: Path, *, run_name: str, run_id: str, num_steps_done: int, settings: dict[str, Any]
) -> Tracker | None:
    """Start or resume tracking a run.

    Args:
        name: "none", "tensorboard", "wandb" or "mlflow".
        folder: Folder for the tracker's local files.
        run_name: Display name of the run.
        run_id: Equal for a run and its resumption.
        num_steps_done: Number of steps that are logged already; anything logged for later steps is discarded.
        settings: Settings of the run, shown with the metrics.

    Returns:
        The tracker; None for "none".

    Raises:
        ConfigError: The package is not installed.
        TrainingError: The tracker cannot be reached or rejects the run. Nothing is lost yet, so this ends the run.
    """
    if name == "none":
        return None
    folder.mkdir(parents=True, exist_ok=True)
    start: Callable[..., Tracker] = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases, "mlflow": _MLflow}[name]
    try:
        tracker = start(folder, run_name=run_name, run_id=run_id, num_steps_done=num_steps_done, settings=settings)
    except (ConfigError, TrainingError):
        raise
    except Exception as error:  # three packages, each with its own family of errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainingError(
            f"the tracker {name} cannot start: {reason}; configure it as its documentation says, "
            'or set tracker = "none"'
        ) from error
    return _UntilItFails(name, tracker)


class _UntilItFails:
    """A tracker that gets nothing more after its first failure, which is logged as a warning."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name = name
        self._tracker: Tracker | None = tracker

    def log(self, step: int, values: dict[str, float]) -> None:
        self._call(f"at step {step}", lambda tracker: tracker.log(step, values))

    def close(self) -> None:
        self._call("at the end", lambda tracker: tracker.close())

    def _call(self, when: str, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:  # three packages, each with its own family of errors
            self._tracker = None
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            _LOG.warning(
                "the tracker %s failed %s and gets nothing more: %s; metrics.jsonl has every step",
                self._name,
                when,
                reason,
            )


def _import(module: str, package: str) -> Any:
    """Import a module, or raise ConfigError with the package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f'the tracker needs the package {package}; run "pip install {package}", or set tracker = "none"'
        ) from error


class _TensorBoard:
    def __init__(self, folder: Path, *, num_steps_done: int, run_name: str, **_: Any) -> None:
        module = _import("torch.utils.tensorboard", "tensorboard")
        self._writer = module.SummaryWriter(
            str(folder / "tensorboard" / run_name), purge_step=num_steps_done + 1 if num_steps_done else None
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """Skips the steps that the server has already, so that a resumed run shows no step twice."""

    def __init__(self, folder: Path, *, run_name: str, run_id: str, settings: dict[str, Any], **_: Any) -> None:
        wandb = _import("wandb", "wandb")
        has_key = os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") in ("offline", "disabled")
        if not has_key and not wandb.api.api_key:
            raise TrainingError(
                'the tracker wandb has no key; set WANDB_API_KEY or WANDB_MODE=offline, or set tracker = "none"'
            )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run_name,
            id=run_id,
            resume="allow",
            dir=str(folder),
            config=settings,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        if step > self._run.step - 1:
            self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    def __init__(
        self, folder: Path, *, run_name: str, run_id: str, num_steps_done: int, settings: dict[str, Any]
    ) -> None:
        mlflow = _import("mlflow", "mlflow-skinny")
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = mlflow.MlflowClient(tracking_uri=address)
        self._metric = importlib.import_module("mlflow.entities").Metric
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        note = folder / "mlflow.json"
        kept = read_json(note)
        is_resumed = kept is not None and kept.get("run_id") == run_id
        if is_resumed:
            self._id = kept["mlflow_run_id"]  # type: ignore[index]
            self._client.update_run(self._id, status="RUNNING")
            history = self._client.get_metric_history(self._id, "loss")
            self._num_logged = max((metric.step for metric in history), default=0)
        else:
            self._id = self._client.create_run(experiment_id, run_name=run_name).info.run_id
            self._num_logged = 0
            for key, value in settings.items():
                self._client.log_param(self._id, key, value)
            write_json(note, {"run_id": run_id, "mlflow_run_id": self._id})

    def log(self, step: int, values: dict[str, float]) -> None:
        if step <= self._num_logged:  # a resumed run repeats some steps, with the same values
            return
        now_ms = int(time.time() * 1000)
        metrics = [self._metric(name, value, now_ms, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._id)
