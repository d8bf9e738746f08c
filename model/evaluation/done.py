"""Whether an evaluation is finished, decided from files alone.

An evaluation is finished if `evaluation.json` has the identity of everything that it depends on, and the files are as
they were written. Neither a model nor a library that could load one is loaded here, so a caller can decide in
milliseconds whether a process for the evaluation has to be started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.clip.source import find_prefixed_or_local, fingerprint_source
from model.dataset.folder import Dataset, open_dataset
from model.evaluation.config import EvaluationConfig
from model.files import exclusive_lock, read_json, sha256_of_file
from model.training.run.folder import RunFolder

EVALUATION_VERSION = 9
"""Raised when the output of an evaluation changes for equal inputs, so that older results are measured again."""


def evaluation_identity(
    model_fingerprint: str,
    run_dir: Path | None,
    dataset: Dataset,
    config: EvaluationConfig,
    against_fingerprint: str | None = None,
) -> dict[str, Any]:
    """Everything that an evaluation depends on, as JSON values.

    Args:
        model_fingerprint: Identifies the model's weights and its architecture.
        run_dir: The training run of the model, whose loss curve the report shows; None if it has none.
        dataset: The dataset that is measured on.
        config: What is measured.
        against_fingerprint: Fingerprint of the second model; None if there is none.
    """
    metrics = RunFolder(run_dir).metrics if run_dir else None
    return {
        "version": EVALUATION_VERSION,
        "model_fingerprint": model_fingerprint,
        "against_fingerprint": against_fingerprint,
        "dataset_fingerprint": dataset.fingerprint,
        "training_metrics": sha256_of_file(metrics) if metrics and metrics.is_file() else None,
        "config_hash": config.config_hash,
    }


def finished_evaluation(
    model: str | Path, dataset_dir: str | Path, out_dir: str | Path, config: EvaluationConfig
) -> dict[str, Any] | None:
    """The results that `model.evaluation.evaluate.evaluate` would return at once; None if it would measure.

    A model that is not a local folder has to be loaded to take its fingerprint; for such a model the result is None.

    Raises:
        ModelError: The dataset or the folder of the model does not exist.
    """
    dataset = open_dataset(dataset_dir)
    source = find_prefixed_or_local(model)
    fingerprint = _local_fingerprint(model)
    against = _local_fingerprint(config.against) if config.against is not None else None
    is_against_known = against is not None or config.against is None
    if source is None or fingerprint is None or not is_against_known or not Path(out_dir).is_dir():
        return None
    with exclusive_lock(Path(out_dir)):
        identity = evaluation_identity(fingerprint, source.run_dir, dataset, config, against)
        return finished_results(Path(out_dir), identity)


def _local_fingerprint(model: str | Path) -> str | None:
    """The fingerprint of a model in a local folder; None for any other model."""
    source = find_prefixed_or_local(model)
    return fingerprint_source(source) if source is not None and source.folder is not None else None


def finished_results(out_dir: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The content of `evaluation.json` if it has this identity and its files are intact; else None."""
    results = read_json(out_dir / "evaluation.json")
    if results is None or results.get("identity") != identity:
        return None
    files = results.get("files", {})
    intact = all((out_dir / name).is_file() and sha256_of_file(out_dir / name) == sha for name, sha in files.items())
    return results if files and intact else None
