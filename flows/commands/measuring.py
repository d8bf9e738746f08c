"""Commands that measure models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows import console
from flows.commands.options import ConfigFile, DatasetName, Json, Prefect, run_flow

app = typer.Typer()

_TASKS = "retrieval, zero_shot, image_retrieval, prior_art, linear_probe, fine_tuned"


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A run under runs/, a folder, local-dir:…, hf-hub:…, or ARCHITECTURE/TAG."),
    ],
    data_dir: Annotated[str, typer.Option("--data-dir", "-d", help="The data folder, on this machine.")] = "data",
    dataset: DatasetName = "designs",
    tasks: Annotated[
        str, typer.Option(help=f"What is measured, parted by commas: {_TASKS}; default: all but linear_probe.")
    ] = "",
    against: Annotated[
        str | None, typer.Option(help="A second model, named likewise, compared query by query.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split that is measured; default: test.")] = None,
    run: Annotated[
        str, typer.Option("--run", help="Folder under runs/ for the report; default: the model's name.")
    ] = "",
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Measure any open_clip model on a frozen dataset, beside its baselines.

    Writes `evaluation.json` and `report.html`. Features are kept and serve the next tasks, comparisons and searches.

    Examples: `designclip evaluate --model designs`, or a comparison:
    `designclip evaluate -m designs --against ViT-B-32/openai --tasks retrieval,linear_probe -d data`
    """
    from flows.evaluate import EvaluateConfig
    from flows.evaluate import evaluate as flow

    values = console.read_toml(config) | {"data_dir": data_dir, "model": model, "dataset": dataset, "run_name": run}
    said: dict[str, Any] = {"against": against, "split": split}
    if names := tuple(name.strip() for name in tasks.split(",") if name.strip()):
        said["tasks"] = names
    values["evaluation"] = values.get("evaluation", {}) | {name: value for name, value in said.items() if value}
    settings = console.build(EvaluateConfig, values)
    measured = run_flow(flow, settings, prefect)
    console.show_evaluation(measured, Path(data_dir) / "runs" / settings.folder_name, as_json)
