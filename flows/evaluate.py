"""Flow evaluate: measure any open_clip model on any dataset."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.publishing import publish
from model.evaluation.config import EvaluationConfig
from patentdata.store.folder import DataFolder
from tasks.evaluation import evaluate_model
from tasks.running.local_copies import find_model, local_copy, upload
from tasks.running.progress import listener
from tasks.running.runners import call_task


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of an evaluation.

    Attributes:
        data_dir: The data folder: a path or any fsspec address.
        model: A run under `runs/`, a folder, `local-dir:FOLDER`, `hf-hub:NAME`, or `ARCHITECTURE/TAG` such as
            "ViT-B-32/openai".
        dataset: Name of the frozen dataset under `datasets/`.
        run_name: Folder under `runs/` for `evaluation.json` and `report.html`; empty for one named after the model.
        evaluation: How it is measured.
    """

    data_dir: str
    model: str
    dataset: str = "designs"
    run_name: str = ""
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def folder_name(self) -> str:
        """Folder under `runs/` for the results.

        >>> EvaluateConfig(data_dir="data", model="hf-hub:laion/CLIP-ViT-B-32").folder_name
        'laion-CLIP-ViT-B-32'
        >>> EvaluateConfig(data_dir="data", model="data/runs/designs").folder_name
        'designs'
        """
        if self.run_name:
            return self.run_name
        bare = self.model.removeprefix("hf-hub:").removeprefix("local-dir:").rstrip("/")
        folder = Path(bare)
        if self.model.startswith("local-dir:") or folder.is_dir() or folder.parent.name == "runs":
            bare = folder.parent.name if folder.name == "model" else folder.name
        return re.sub(r"[^A-Za-z0-9._-]+", "-", bare).strip("-.") or "evaluation"


@flow(name="evaluate", validate_parameters=True)
def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a model. Returns the content of `evaluation.json`."""
    folder = DataFolder(config.data_dir)
    listener().on_evaluation(config.model)
    evaluation = config.evaluation
    if evaluation.against is not None:
        evaluation = dataclasses.replace(evaluation, against=find_model(folder, evaluation.against))
    out_dir = local_copy(folder, "runs", config.folder_name)
    measured = call_task(
        evaluate_model,
        model=find_model(folder, config.model),
        dataset_dir=local_copy(folder, "datasets", config.dataset),
        out_dir=out_dir,
        config=evaluation,
        progress=listener().on_evaluation_step,
    )
    upload(out_dir, folder, "runs", config.folder_name)
    publish([], measured)
    return measured
