"""What identifies a training run, and whether a folder contains the finished run.

This needs no torch, so that a caller learns in milliseconds that there is nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.clip.source import ModelSource, fingerprint_source
from model.dataset.folder import Dataset, open_dataset
from model.files import exclusive_lock
from model.training.config import TrainConfig
from model.training.run.folder import Replace, RunFolder

TRAINING_VERSION = 4  # raised when equal inputs would give other bytes


def training_identity(dataset: Dataset, config: TrainConfig) -> dict[str, Any]:
    """Everything that a trained model depends on.

    Raises:
        ArchitectureError: The local model to start from does not exist.
    """
    return {
        "version": TRAINING_VERSION,
        "dataset_fingerprint": dataset.fingerprint,
        "initial_weights": fingerprint_source(ModelSource(config.architecture, config.pretrained or None)),
        "config_hash": config.config_hash,
        "config": config.result_settings,
    }


def finished_training(
    dataset_dir: str | Path, run_dir: str | Path, config: TrainConfig, *, replace: Replace = "nothing"
) -> dict[str, Any] | None:
    """The summary of a finished and intact run; None if `model.training.train.train` would have to train.

    Raises:
        ModelError: The dataset or the model to start from does not exist.
        ConfigError: The folder holds another run, and `replace` does not allow to replace it.
    """
    identity = training_identity(open_dataset(dataset_dir), config)
    run = RunFolder(Path(run_dir))
    if not run.folder.is_dir():
        return None
    with exclusive_lock(run.folder):
        run.require_replaceable(identity, replace)
        return run.finished_summary(identity) if run.page.is_file() else None
