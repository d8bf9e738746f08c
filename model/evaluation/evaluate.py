"""Evaluation: measure a model on a dataset, and write `evaluation.json` and `report.html`.

`evaluation.json` is written last and contains the hash of the report, so its presence marks a finished evaluation.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.clip.embeddings import hide_older_embeddings
from model.clip.encoder import Encoder, find_encoder
from model.clip.loading import choose_device
from model.dataset.folder import open_dataset
from model.errors import ConfigError, ModelError
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import EvaluationContext, TaskResult
from model.evaluation.done import evaluation_identity, finished_results
from model.evaluation.leaks import check_leaks
from model.evaluation.measures.result_table import AGAINST, MODEL, UNTRAINED
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
from model.progress import Progress, log_to_stdout
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_metrics

__all__ = ["MEASURES", "EvaluationConfig", "evaluate"]

_LOG = logging.getLogger(__name__)

MEASURES: dict[str, Callable[[EvaluationContext], TaskResult]] = {
    "retrieval": retrieval.measure,
    "zero_shot": zero_shot.measure,
    "linear_probe": linear_probe.measure,
    "fine_tuned": fine_tuned.measure,
    "image_retrieval": image_retrieval.measure,
    "prior_art": prior_art.measure,
    "deep_patent": deep_patent.measure,
}
"""Name of a task, as in `EvaluationConfig.tasks` → the function that measures it, in the order of the report."""


def evaluate(
    model: str | Path,
    dataset_dir: str | Path,
    out_dir: str | Path,
    config: EvaluationConfig | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a model; the results of a finished and intact evaluation are returned at once.

    Args:
        model: A run folder, its model/ folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: Folder with `dataset.json` and its Parquet files.
        out_dir: Folder for `evaluation.json` and `report.html`.
        config: What to measure; None for the defaults.
        progress: Called after each batch that is embedded and before each task, with what is counted under "doing".

    Returns:
        The content of `evaluation.json`.

    Raises:
        ModelError: The model, the dataset or the device cannot be used, the split is empty, or a leak check of
            `config.stop_on` found something.
    """
    config = config or EvaluationConfig()
    dataset = open_dataset(dataset_dir)
    hide_older_embeddings(dataset)
    encoders = _find_encoders(model, config, progress)
    against = encoders.get(AGAINST)
    encoder = encoders[MODEL]
    identity = evaluation_identity(
        encoder.fingerprint, encoder.run_dir, dataset, config, against.fingerprint if against else None
    )
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out_dir):
        results = finished_results(out_dir, identity)
        if results is not None:
            _LOG.info("evaluation of %s on %s skipped: it is finished", encoder.name, dataset.name)
            return results
        _warn_of_other(out_dir, encoder, dataset.name)
        context = EvaluationContext(dataset, encoders, config, encoder.device, progress)
        results, tasks = _measure(context)
        results = {"stage": "evaluation", "identity": identity, **results}
        from model.evaluation.page import render_report  # matplotlib takes seconds to import

        losses = read_metrics(RunFolder(encoder.run_dir).metrics) if encoder.run_dir else []
        examples = {name: task.examples for name, task in tasks.items()}
        misses = {
            name: {table: failures.examples for table, failures in task.failures.items()}
            for name, task in tasks.items()
        }
        write_text(out_dir / "report.html", render_report(results, examples, losses, misses))
        results["files"] = {"report.html": sha256_of_file(out_dir / "report.html")}
        write_json(out_dir / "evaluation.json", results)
    return results


def _warn_of_other(out_dir: Path, encoder: Encoder, dataset: str) -> None:
    """Warn if a folder has the evaluation of another model, or on another dataset, which is replaced now.

    In the folder of a model's own run it is not another model's: the run was trained again.
    """
    earlier = read_json(out_dir / "evaluation.json") or {}
    model_name, dataset_name = (earlier.get(what, {}).get("name") for what in ("model", "dataset"))
    is_own = encoder.run_dir is not None and encoder.run_dir.resolve() == out_dir.resolve()
    if earlier and ((model_name != encoder.name and not is_own) or dataset_name != dataset):
        _LOG.warning("the evaluation of %s on %s in %s is replaced", model_name, dataset_name, out_dir)


def _find_encoders(model: str | Path, config: EvaluationConfig, progress: Progress | None) -> dict[str, Encoder]:
    device = choose_device(config.device)

    def find(name: str | Path) -> Encoder:
        return find_encoder(
            name,
            device,
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            precision=config.precision,
            num_processes=config.num_processes,
            progress=progress,
        )

    encoders = {MODEL: find(model)}
    if config.against is not None:
        encoders[AGAINST] = find(config.against)
    if config.untrained:
        encoders[UNTRAINED] = encoders[MODEL].untrained(config.seed)
    return encoders


def _measure(context: EvaluationContext) -> tuple[dict[str, Any], dict[str, TaskResult]]:
    """Run the leak checks, then each task.

    Returns:
        The results as JSON values; and task → what it measured, for the page.
    """
    config = context.config
    leaks = check_leaks(context.dataset, context.views, context.encoders.values(), config)
    sections: dict[str, Any] = {}
    measured: dict[str, TaskResult] = {}
    chosen = [task for task in MEASURES if task in config.tasks]
    for number, task in enumerate(chosen):
        if context.progress is not None:
            context.progress(number, len(chosen), {"doing": f"tasks, now {task}"})
        result = MEASURES[task](context)
        if result.reason:
            _LOG.info("task %s skipped: %s", task, result.reason)
        for name, table in result.tables.items():
            table["published"] = published_for(task, name, _architecture(context.encoders[MODEL]))
        sections[task] = result.to_dict()
        measured[task] = result
    results = {
        "model": _describe(context.encoders[MODEL]),
        "against": _describe(context.encoders[AGAINST]) if AGAINST in context.encoders else None,
        "dataset": _describe_dataset(context),
        "config": config.result_settings,
        "checks": [leak.to_dict() for leak in leaks],
        "tasks": sections,
    }
    return results, measured


def _describe(encoder: Encoder) -> dict[str, Any]:
    return {"name": encoder.name, "fingerprint": encoder.fingerprint, "architecture": _architecture(encoder)}


def _architecture(encoder: Encoder) -> str:
    """Name of the architecture if it is known, else the name of the model."""
    run_config = (read_json(RunFolder(encoder.run_dir).config) or {}) if encoder.run_dir else {}
    architecture = str(run_config.get("config", {}).get("architecture", "") or "")
    return architecture if architecture and ":" not in architecture else encoder.name


def _describe_dataset(context: EvaluationContext) -> dict[str, Any]:
    dataset, views = context.dataset, context.views
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "split": views.split,
        "num_views": len(views),
        "num_patents": len(set(views.patent_numbers)),
        "num_without_caption": views.num_without_caption,
    }


def main(arguments: list[str] | None = None) -> int:
    """Evaluate as a program.

    Progress and result are JSON lines on stdout. If it fails, the error is one sentence on stderr.

    Returns:
        Exit status: 0, 2 for settings that cannot be used, 1 for any other error.
    """
    parser = argparse.ArgumentParser(prog="python -m model.evaluation.evaluate", description=evaluate.__doc__)
    parser.add_argument("--model", required=True, help="run folder, local-dir:FOLDER, hf-hub:NAME or ARCHITECTURE/TAG")
    parser.add_argument("--dataset", type=Path, required=True, help="folder with dataset.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and report.html")
    parser.add_argument("--config", type=Path, help="JSON file with settings (default: the default settings)")
    options = parser.parse_args(arguments)

    def progress(num_done: int, num_all: int, values: dict[str, Any]) -> None:
        print(json.dumps({"step": num_done, "num_steps": num_all, **values}), flush=True)

    try:
        config = EvaluationConfig.from_file(options.config)
        with log_to_stdout():
            results = evaluate(options.model, options.dataset, options.out, config, progress=progress)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    print(json.dumps({"summary": results}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
