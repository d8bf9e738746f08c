"""Evaluation: a model and a dataset in, `evaluation.json` and `report.html` out.

`evaluation.json` is written last and names the report's hash, so that it marks a finished evaluation.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.clip.encoder import Encoder, find_encoder
from model.clip.loading import choose_device
from model.dataset.folder import Dataset, open_dataset
from model.errors import ConfigError, ModelError
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import EvaluationContext, Example, TaskResult
from model.evaluation.done import evaluation_identity, finished_results
from model.evaluation.leaks import check_leaks
from model.evaluation.measures.result_table import AGAINST, MODEL, UNTRAINED
from model.evaluation.page import render_report
from model.evaluation.protocols import (
    deep_patent,
    fine_tuned,
    image_retrieval,
    linear_probe,
    prior_art,
    retrieval,
    zero_shot,
)
from model.evaluation.published import published_for
from model.files import exclusive_lock, read_json, sha256_of_file, write_json, write_text
from model.progress import Progress
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_metrics

__all__ = ["MEASURES", "EvaluationConfig", "evaluate"]

MEASURES: dict[str, Callable[[EvaluationContext], TaskResult]] = {
    "retrieval": retrieval.measure,
    "zero_shot": zero_shot.measure,
    "linear_probe": linear_probe.measure,
    "fine_tuned": fine_tuned.measure,
    "image_retrieval": image_retrieval.measure,
    "prior_art": prior_art.measure,
    "deep_patent": deep_patent.measure,
}
"""Name of a task, as in `EvaluationConfig.tasks` → what measures it. In the order of the report."""


def evaluate(
    model: str | Path,
    dataset_dir: str | Path,
    out_dir: str | Path,
    config: EvaluationConfig | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a model; an evaluation that is done and intact is given back at once.

    Args:
        model: A run folder, its model/ folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: Folder with `dataset.json` and its Parquet files.
        out_dir: Gets `evaluation.json` and `report.html`.
        config: What to measure; the defaults where None.
        progress: Called after each batch that is embedded and before each task, with what is counted under "doing".

    Returns:
        What `evaluation.json` holds.

    Raises:
        ModelError: The model, the dataset or the device cannot be used, the split is empty, or a leak check that the
            settings name has found something.
    """
    config = config or EvaluationConfig()
    dataset = open_dataset(dataset_dir)
    entrants = _find_entrants(model, config, progress)
    against = entrants.get(AGAINST)
    entrant = entrants[MODEL]
    identity = evaluation_identity(
        entrant.fingerprint, entrant.run_dir, dataset, config, against.fingerprint if against else None
    )
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out_dir):
        results = finished_results(out_dir, identity)
        if results is None:
            trial = EvaluationContext(dataset, entrants, config, entrant.device, progress)
            results, examples = _measure(trial)
            results = {"stage": "evaluation", "identity": identity, **results}
            losses = read_metrics(RunFolder(entrant.run_dir).metrics) if entrant.run_dir else []
            write_text(out_dir / "report.html", render_report(results, examples, losses))
            results["files"] = {"report.html": sha256_of_file(out_dir / "report.html")}
            write_json(out_dir / "evaluation.json", results)
    return results


def _find_entrants(model: str | Path, config: EvaluationConfig, progress: Progress | None) -> dict[str, Encoder]:
    device = choose_device(config.device)

    def find(name: str | Path) -> Encoder:
        return find_encoder(
            name, device, batch_size=config.batch_size, num_workers=config.num_workers, progress=progress
        )

    entrants = {MODEL: find(model)}
    if config.against is not None:
        entrants[AGAINST] = find(config.against)
    if config.untrained:
        entrants[UNTRAINED] = entrants[MODEL].untrained(config.seed)
    return entrants


def _measure(trial: EvaluationContext) -> tuple[dict[str, Any], dict[str, list[Example]]]:
    """Leak checks, then each task: the plain results, and by task what is shown on the page."""
    views, config = trial.views, trial.config
    leaks = check_leaks(trial.dataset, views, trial.entrants.values(), config)
    sections: dict[str, Any] = {}
    examples: dict[str, list[Example]] = {}
    chosen = [task for task in MEASURES if task in config.tasks]
    for number, task in enumerate(chosen):
        if trial.progress is not None:
            trial.progress(number, len(chosen), {"doing": f"tasks, now {task}"})
        found = MEASURES[task](trial)
        for name, table in found.tables.items():
            table["published"] = published_for(task, name, _architecture(trial.entrants[MODEL]))
        sections[task] = found.to_dict()
        examples[task] = found.examples
    results = {
        "model": _describe(trial.entrants[MODEL]),
        "against": _describe(trial.entrants[AGAINST]) if AGAINST in trial.entrants else None,
        "dataset": _describe_dataset(trial.dataset, trial),
        "config": config.result_settings,
        "checks": [leak.to_dict() for leak in leaks],
        "tasks": sections,
    }
    return results, examples


def _describe(entrant: Encoder) -> dict[str, Any]:
    return {"name": entrant.name, "fingerprint": entrant.fingerprint, "architecture": _architecture(entrant)}


def _architecture(entrant: Encoder) -> str:
    """Name of the architecture, as far as it is known; the model's own name where it is not."""
    made = (read_json(RunFolder(entrant.run_dir).config) or {}) if entrant.run_dir else {}
    named = str(made.get("config", {}).get("architecture", "") or "")
    return named if named and ":" not in named else entrant.name


def _describe_dataset(dataset: Dataset, trial: EvaluationContext) -> dict[str, Any]:
    views = trial.views
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "split": views.split,
        "num_views": len(views),
        "num_patents": len(set(views.patent_numbers)),
        "num_without_caption": views.num_without_caption,
    }


def main(arguments: list[str] | None = None) -> int:
    """Evaluate as a program: JSON lines of progress and of the result on stdout; 1 and one sentence where it fails."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluation.evaluate", description=evaluate.__doc__)
    parser.add_argument("--model", required=True, help="run folder, local-dir:FOLDER, hf-hub:NAME, ARCHITECTURE/TAG")
    parser.add_argument("--dataset", type=Path, required=True, help="folder with dataset.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and report.html")
    parser.add_argument("--config", type=Path, help="JSON file of settings; without it, the defaults")
    options = parser.parse_args(arguments)

    def progress(num_done: int, num_all: int, values: dict[str, Any]) -> None:
        print(json.dumps({"step": num_done, "num_steps": num_all, **values}), flush=True)

    try:
        config = EvaluationConfig.from_file(options.config)
        results = evaluate(options.model, options.dataset, options.out, config, progress=progress)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    print(json.dumps({"summary": results}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
