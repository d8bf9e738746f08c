"""Steps that several flows share: freezing a dataset, and training and measuring a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.evaluation.config import EvaluationConfig
from model.training.config import TrainConfig
from patentdata.dataset.config import DatasetConfig
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from tasks.dataset import finish_dataset, freeze_week, plan_dataset
from tasks.evaluation import evaluate_model
from tasks.running.local_copies import local_copy
from tasks.running.progress import listener
from tasks.running.runners import WorkersConfig, call_task, open_runner
from tasks.training import train_model

# Small enough for two cores; a real run names an architecture.
TINY_TRAINING = TrainConfig(
    architecture="designclip-tiny", batch_size=64, num_steps=80, learning_rate=1e-3, warmup_steps=10
)


def freeze(folder: DataFolder, weeks: list[str], config: DatasetConfig, workers: WorkersConfig) -> Report:
    """Freeze a dataset of whole weeks, which are worked on in parallel; where they are changes no byte."""
    listener().on_dataset(config.name)
    plan, planned = call_task(plan_dataset, folder=folder, weeks=weeks, config=config)
    if not planned:
        return plan.report
    frozen = []
    with open_runner(workers) as runner:
        for future in [runner.submit(freeze_week, folder=folder, plan=week, config=config) for week in planned]:
            frozen.append(future.result())
            listener().on_dataset_weeks(len(frozen), len(planned))
    return call_task(finish_dataset, folder=folder, plan=plan, frozen=frozen, config=config)


def train_and_measure(
    folder: DataFolder, dataset: str, run_dir: Path, training: TrainConfig, evaluation: EvaluationConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train a model on a dataset and measure it there: summary of the run, content of `evaluation.json`.

    A run with the same settings is replaced, since the dataset grows from week to week; it stays until the new one is
    finished. A run with other settings may be somebody's work of days, and is refused.
    """
    dataset_dir = local_copy(folder, "datasets", dataset)
    trained = call_task(
        train_model,
        dataset_dir=dataset_dir,
        run_dir=run_dir,
        config=training,
        replace="same_settings",
        progress=listener().on_training,
    )
    listener().on_evaluation(str(run_dir))
    measured = call_task(
        evaluate_model, model=str(run_dir), dataset_dir=dataset_dir, out_dir=run_dir, config=evaluation
    )
    return trained, measured
