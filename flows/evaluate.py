"""Flow evaluate: measure any open_clip model on any dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.progress import listener
from flows.refresh import local_dir
from flows.runners import call_task
from model.evaluation_config import EvaluationConfig
from patentdata.folder import DataFolder
from tasks.evaluation import evaluate_model


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is measured, and on what.

    Attributes:
        data_dir: The data folder, on this machine.
        model: A run's folder, `local-dir:FOLDER`, `hf-hub:NAME`, or `ARCHITECTURE/TAG` such as "ViT-B-32/openai".
        dataset: Name of the frozen dataset under `datasets/`.
        run_name: Folder under `runs/` for `evaluation.json` and `report.html`.
        evaluation: How it is measured.
    """

    data_dir: str
    model: str
    run_name: str
    dataset: str = "designs"
    evaluation: EvaluationConfig = EvaluationConfig()


@flow(name="evaluate", validate_parameters=True)
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a model. Returns the content of `evaluation.json`."""
    folder = DataFolder(config.data_dir)
    listener().on_evaluation(config.model)
    measured = call_task(
        evaluate_model,
        model=config.model,
        dataset_dir=local_dir(folder, "datasets", config.dataset),
        out_dir=local_dir(folder, "runs", config.run_name),
        config=config.evaluation,
    )
    publish([], measured)
    return measured
