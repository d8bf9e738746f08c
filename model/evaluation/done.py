"""What is done already, told from files alone: no model is loaded for it, and no library that could load one.

An output is done where it names, as its identity, everything that it depends on, and its files are as they were
written. Training and evaluation ask here, and so does whoever would start a process for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.clip.source import find_prefixed_or_local, fingerprint_source
from model.dataset.folder import Dataset, open_dataset
from model.evaluation.config import EvaluationConfig
from model.files import exclusive_lock, read_json, sha256_of_file
from model.training.run.folder import RunFolder

EVALUATION_VERSION = 4  # likewise, of what evaluation writes


def evaluation_identity(
    model_fingerprint: str,
    run_dir: Path | None,
    dataset: Dataset,
    config: EvaluationConfig,
    against_fingerprint: str | None = None,
) -> dict[str, Any]:
    """All that an evaluation depends on.

    Args:
        model_fingerprint: Stands for the model's weights and its architecture.
        run_dir: The training run it belongs to, whose curve the report shows; None where there is none.
        against_fingerprint: Of the second model, where there is one.
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
    """The results that `model.evaluation.evaluate.evaluate` would give back at once; None where it would measure.

    A model that is not a local folder has to be loaded to be told from another: there the answer is None.

    Raises:
        ModelError: The dataset or the model's folder is not there.
    """
    dataset = open_dataset(dataset_dir)
    source = find_prefixed_or_local(model)
    fingerprint = _local_fingerprint(model)
    against = _local_fingerprint(config.against) if config.against is not None else None
    is_told = fingerprint is not None and (against is not None or config.against is None)
    if source is None or fingerprint is None or not is_told or not Path(out_dir).is_dir():
        return None
    with exclusive_lock(Path(out_dir)):
        identity = evaluation_identity(fingerprint, source.run_dir, dataset, config, against)
        return finished_results(Path(out_dir), identity)


def _local_fingerprint(model: str | Path) -> str | None:
    """The fingerprint of a model in a local folder; None for any other."""
    source = find_prefixed_or_local(model)
    return fingerprint_source(source) if source is not None and source.folder is not None else None


def finished_results(out_dir: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What `evaluation.json` holds, where it is of this very identity and its files are intact; else None."""
    results = read_json(out_dir / "evaluation.json")
    if results is None or results.get("identity") != identity:
        return None
    files = results.get("files", {})
    intact = all((out_dir / name).is_file() and sha256_of_file(out_dir / name) == sha for name, sha in files.items())
    return results if files and intact else None
