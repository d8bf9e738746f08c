"""Stage training as a task."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from model.child import Progress, train_in_child
from model.config import TrainConfig


@task(
    name="training",
    task_run_name="training {run_dir.name}",
    cache_policy=NO_CACHE,
)
def train_model(
    dataset_dir: Path, run_dir: Path, config: TrainConfig, progress: Progress | None = None
) -> dict[str, Any]:
    """Train in a child process, so that a fault of CUDA or a lack of memory ends that process alone."""
    return train_in_child(dataset_dir, run_dir, config, progress=progress)
