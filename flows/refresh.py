"""Flow refresh: every published week not yet in the data folder, then a dataset, a model and its evaluation.

Weeks that failed do not stop the others: everything that can be done is done, and the failures are raised at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect import flow

from flows.outcomes import WalkResult
from flows.publishing import announce_dataset, publish
from flows.steps import TINY_TRAINING, freeze, train_and_measure
from flows.weeks import WeeksConfig, offered_weeks, walk_weeks
from model.evaluation.config import EvaluationConfig
from model.training.config import TrainConfig
from patentdata.dataset.config import DatasetConfig
from patentdata.errors import EmptyDatasetError
from patentdata.store.folder import DataFolder
from tasks.running.local_copies import upload, working_folder


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """Settings of a refresh.

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


@flow(name="refresh", validate_parameters=True)
def refresh(config: RefreshConfig) -> WalkResult:
    """Walk the weeks, freeze the dataset, train and measure a model. What is done already is left as it is.

    Raises:
        WeeksFailedError: Some weeks failed, the source could not give all it has, or the dataset would be empty. Raised
            after everything else was done.
    """
    folder = DataFolder(config.weeks.data_dir)
    result = WalkResult(config.weeks.data_dir)
    with folder.locked():
        offered = offered_weeks(config.weeks)
        result.problems = list(offered.problems)
        result.weeks = walk_weeks(config.weeks, folder, offered)
        whole = [outcome.week for outcome in result.weeks if outcome.is_whole]
        if whole:
            try:
                result.dataset = freeze(folder, whole, config.dataset, config.weeks.workers)
            except EmptyDatasetError as error:  # the weeks that failed, if any, are to be reported as well
                result.problems.append(str(error))
        if result.dataset is not None:
            announce_dataset(folder, config.dataset.name, result.dataset)
            if config.training is not None:
                run_name = config.run_name or config.dataset.name
                run_dir = working_folder(folder, "runs", run_name)
                result.run_dir = str(run_dir)
                result.training, result.evaluation = train_and_measure(
                    folder, config.dataset.name, run_dir, config.training, config.evaluation
                )
                upload(run_dir, folder, "runs", run_name)
    publish(result.weeks, result.evaluation)
    result.raise_if_incomplete()
    return result
