"""Flow retrain: train a model when enough is new, measure it, and promote it if it beats the champion."""

from __future__ import annotations

import datetime
import getpass
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefect import flow

from flows.publishing import publish, publish_decision
from flows.steps import TINY_TRAINING, train_and_measure
from model.dataset.folder import Dataset, open_dataset
from model.evaluation.champion import Decision, ModelRegistry, num_train_patents
from model.evaluation.config import EvaluationConfig
from model.training.config import TrainConfig
from patentdata.errors import ConfigError
from patentdata.store.folder import DataFolder
from tasks.evaluation import evaluate_model
from tasks.running.local_copies import local_copy, upload, working_folder
from tasks.running.progress import listener
from tasks.running.runners import call_task

_LOG = logging.getLogger(__name__)

DEFAULT_METRIC = "retrieval/text_to_image/R@10"


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """Settings of a retraining.

    Attributes:
        data_dir: The data folder: a path or any fsspec address.
        dataset: Name of the frozen dataset under `datasets/`.
        run_name: Folder of the run under `runs/`; empty for the dataset's name and fingerprint, so that a new dataset
            never writes over the run before it.
        min_new_patents: Least number of new training patents since the last contender; with fewer, nothing is trained.
            0 always trains.
        metric: The value that decides, as "task/table/value".
        training: How the model is trained.
        evaluation: How it is measured on its own dataset; the frozen test set is measured with the same settings.
    """

    data_dir: str
    dataset: str = "designs"
    run_name: str = ""
    min_new_patents: int = 1
    metric: str = DEFAULT_METRIC
    training: TrainConfig = TINY_TRAINING
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        if self.min_new_patents < 0:
            raise ConfigError(f"min_new_patents is {self.min_new_patents}; choose 0 (always train) or more")
        if self.metric.count("/") != 2:
            raise ConfigError(f"metric is {self.metric!r}; name task/table/value, such as {DEFAULT_METRIC}")


@dataclass
class RetrainResult:
    """What became of a retraining.

    Attributes:
        state: "promoted", "refused", "champion" (the contender is the champion already) or "nothing_new".
        why: In a sentence.
        run_dir: Folder of the run; None if nothing was trained.
        decision: What was decided now or when this contender was last decided on.
        training: Summary of the run.
        evaluation: Content of `evaluation.json` on its own dataset.
    """

    state: str
    why: str
    run_dir: str | None = None
    decision: Decision | None = None
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "state": self.state,
            "why": self.why,
            "run_dir": self.run_dir,
            "decision": self.decision.to_dict() if self.decision else None,
            "training": self.training,
            "evaluation": self.evaluation,
        }


@flow(name="retrain", validate_parameters=True)
def retrain(config: RetrainConfig) -> RetrainResult:
    """Train, measure on the dataset and on the frozen test set, and decide. What is done already is left as it is."""
    folder = DataFolder(config.data_dir)
    dataset = open_dataset(local_copy(folder, "datasets", config.dataset))
    models_dir = local_copy(folder, "models")
    registry = ModelRegistry(models_dir)
    run_name = config.run_name or f"{dataset.name}-{dataset.fingerprint[:8]}"
    run_dir = working_folder(folder, "runs", run_name)
    if reason := _nothing_new(registry, dataset, run_dir, config.min_new_patents):
        result = RetrainResult("nothing_new", reason)
    else:
        trained, measured = train_and_measure(folder, config.dataset, run_dir, config.training, config.evaluation)
        upload(run_dir, folder, "runs", run_name)
        publish([], measured)
        result = _decide(registry, dataset, run_dir, config, measured["model"]["fingerprint"])
        result.training, result.evaluation = trained, measured
        upload(run_dir, folder, "runs", run_name)  # with its measure on the frozen test set
        upload(models_dir, folder, "models")
    _LOG.info("retraining on %s: %s, %s", dataset.name, result.state, result.why)
    publish_decision(result.state, result.why)
    return result


def _nothing_new(registry: ModelRegistry, dataset: Dataset, run_dir: Path, min_new_patents: int) -> str | None:
    """Why nothing is trained; None if something is: enough new patents, or a run that was begun and not decided."""
    last = registry.decisions[-1] if registry.decisions else None
    if last is None or min_new_patents == 0 or (run_dir.is_dir() and run_dir.name != last.run):
        return None
    num_new = num_train_patents(dataset) - last.num_train_patents
    if num_new >= min_new_patents:
        return None
    return (
        f"dataset {dataset.name} has {num_new:+,} training patents since {last.run}, fewer than {min_new_patents:,}; "
        "nothing was trained (min_new_patents 0 trains all the same)"
    )


def _decide(
    registry: ModelRegistry, dataset: Dataset, run_dir: Path, config: RetrainConfig, fingerprint: str
) -> RetrainResult:
    """Measure a finished run and the champion on the frozen test set, and promote or refuse it.

    A model that was decided on is not measured again: its gate/ holds what the decision was taken on, and a champion
    would be compared with itself.
    """
    test_set = registry.freeze_test_set(dataset)
    champion = registry.champion
    if (last := registry.last_decision_on(fingerprint, test_set, config.metric)) is not None:
        return RetrainResult("promoted" if last.is_promoted else "refused", last.why, str(run_dir), last)
    if champion is not None and champion.fingerprint == fingerprint:
        return RetrainResult("champion", f"{run_dir.name} is the champion already", str(run_dir), champion)
    against = str(registry.model_of(champion)) if champion else None
    task = config.metric.partition("/")[0]
    listener().on_evaluation("the frozen test set")
    results = call_task(
        evaluate_model,
        model=str(run_dir),
        dataset_dir=test_set.folder,
        out_dir=run_dir / "gate",
        config=replace(config.evaluation, tasks=(task,), split="test", against=against),
    )
    decision = registry.decide(
        results,
        run_dir=run_dir,
        dataset=dataset,
        test_set=test_set,
        metric=config.metric,
        who=getpass.getuser(),
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    return RetrainResult("promoted" if decision.is_promoted else "refused", decision.why, str(run_dir), decision)
