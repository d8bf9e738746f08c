"""Stage evaluation as a task."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from model.config import EvaluationConfig


@task(
    name="evaluation",
    task_run_name="evaluation {out_dir.name}",
    cache_policy=NO_CACHE,
)
def evaluate_model(model: str, dataset_dir: Path, out_dir: Path, config: EvaluationConfig) -> dict[str, Any]:
    """Measure a model on a dataset and write its report."""
    from model.evaluate import evaluate  # torch takes seconds to import, and only this task needs it

    return evaluate(model, dataset_dir, out_dir, config)
