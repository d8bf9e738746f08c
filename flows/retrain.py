"""Flow retrain: train a model on a frozen dataset and measure it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.refresh import TINY_TRAINING, local_run_dir, train_and_measure
from model.config import TrainConfig
from model.evaluation_config import EvaluationConfig
from patentdata.folder import DataFolder


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """What a retraining does.

    Attributes:
        data_dir: The data folder, on this machine.
        dataset: Name of the frozen dataset under `datasets/`.
        run_name: Folder of the run under `runs/`; empty for the name of the dataset.
        training: How the model is trained.
        evaluation: How it is measured.
    """

    data_dir: str
    dataset: str = "designs"
    run_name: str = ""
    training: TrainConfig = TINY_TRAINING
    evaluation: EvaluationConfig = EvaluationConfig()


@flow(name="retrain", validate_parameters=True)
def retrain(config: RetrainConfig) -> dict[str, Any]:
    """Train and measure; a run that is done already is left as it is. Returns the content of `evaluation.json`."""
    folder = DataFolder(config.data_dir)
    run_dir = local_run_dir(folder, config.run_name or config.dataset)
    _, measured = train_and_measure(folder, config.dataset, run_dir, config.training, config.evaluation)
    publish([], measured)
    return measured
