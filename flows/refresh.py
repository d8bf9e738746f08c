"""Flow refresh: every published week not yet in the data folder, then a dataset, a model and its measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.events import announce_dataset
from flows.local_copies import copied, put_back, working_folder
from flows.progress import listener
from flows.runners import call_task
from flows.weeks import WeekOutcome, WeeksConfig, walk_weeks
from model.config import TrainConfig
from model.evaluation_config import EvaluationConfig
from patentdata.dataset import DatasetConfig
from patentdata.errors import ConfigError, PatentDataError
from patentdata.folder import DataFolder
from patentdata.report import Report
from tasks.dataset import freeze_dataset
from tasks.evaluation import evaluate_model
from tasks.training import train_model

# Small enough for two cores; a real run names an architecture.
TINY_TRAINING = TrainConfig(
    architecture="designclip-tiny", batch_size=64, num_steps=80, learning_rate=1e-3, warmup_steps=10
)


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """What a refresh does.

    Attributes:
        weeks: Which weeks, and how they are read.
        dataset: How the dataset is frozen.
        training: How a model is trained on it; None trains none.
        evaluation: How the model is measured.
        run_name: Folder of the run under `runs/`; empty for the name of the dataset.
    """

    weeks: WeeksConfig
    dataset: DatasetConfig = DatasetConfig()
    training: TrainConfig | None = TINY_TRAINING
    evaluation: EvaluationConfig = EvaluationConfig()
    run_name: str = ""


@dataclass
class WalkResult:
    """What a walk came to.

    Attributes:
        data_dir: The data folder.
        weeks: One outcome a week.
        dataset: Report of the dataset, or None where no week was whole.
        training: Summary of the training run, or None.
        evaluation: Content of `evaluation.json`, or None.
        run_dir: Folder of the run on this machine, or None; on an object store, the run lies there too.
    """

    data_dir: str
    weeks: list[WeekOutcome] = field(default_factory=list)
    dataset: Report | None = None
    training: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    run_dir: str | None = None

    @property
    def failures(self) -> list[WeekOutcome]:
        return [outcome for outcome in self.weeks if outcome.error is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data_dir": self.data_dir,
            "weeks": [outcome.to_dict() for outcome in self.weeks],
            "dataset": self.dataset.to_dict() if self.dataset else None,
            "training": self.training,
            "evaluation": self.evaluation,
            "run_dir": self.run_dir,
        }


class WeeksFailedError(PatentDataError):
    """Some weeks failed; the others are done, and `result` tells of both."""

    def __init__(self, result: WalkResult) -> None:
        first = result.failures[0]
        super().__init__(
            f"{len(result.failures)} of {len(result.weeks)} weeks failed, the others are done; the first was "
            f"{first.week} {first.failed_stage}: {first.error}"
        )
        self.result = result


@flow(name="refresh", validate_parameters=True)
def refresh(config: RefreshConfig) -> WalkResult:
    """Walk the weeks, freeze the dataset, train and measure a model. What is done already is left as it is.

    Raises:
        WeeksFailedError: Some weeks failed, after everything else was done.
    """
    folder = DataFolder(config.weeks.data_dir)
    result = WalkResult(config.weeks.data_dir)
    with folder.locked():
        result.weeks = walk_weeks(config.weeks)
        whole = [outcome.week for outcome in result.weeks if outcome.is_whole]
        if whole:
            result.dataset = freeze(folder, whole, config.dataset)
            announce_dataset(folder, config.dataset.name, result.dataset)
            if config.training is not None:
                run_name = config.run_name or config.dataset.name
                run_dir = working_folder(folder, "runs", run_name)
                result.run_dir = str(run_dir)
                result.training, result.evaluation = train_and_measure(
                    folder, config.dataset.name, run_dir, config.training, config.evaluation
                )
                put_back(folder, "runs", run_name)
    publish(result.weeks, result.evaluation)
    if result.failures:
        raise WeeksFailedError(result)
    return result


def freeze(folder: DataFolder, weeks: list[str], config: DatasetConfig) -> Report:
    """Freeze a dataset of whole weeks."""
    listener().on_dataset(config.name)
    return call_task(freeze_dataset, folder=folder, weeks=weeks, config=config)


def train_and_measure(
    folder: DataFolder, dataset: str, run_dir: Path, training: TrainConfig, evaluation: EvaluationConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train a model on a dataset and measure it there: summary of the run, content of `evaluation.json`."""
    dataset_dir = copied(folder, "datasets", dataset)
    trained = call_task(
        train_model, dataset_dir=dataset_dir, run_dir=run_dir, config=training, progress=listener().on_training
    )
    listener().on_evaluation(str(run_dir))
    measured = call_task(
        evaluate_model, model=str(run_dir), dataset_dir=dataset_dir, out_dir=run_dir, config=evaluation
    )
    return trained, measured


def local_dir(folder: DataFolder, *parts: str) -> Path:
    """A folder within the data folder as a path; raises ConfigError where it is not on this machine."""
    if not folder.is_local:
        raise ConfigError(f"{folder.url} is not on this machine; copy its datasets, runs and models to a local folder")
    return Path(folder.path(*parts))
