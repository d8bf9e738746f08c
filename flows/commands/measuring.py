"""Commands that measure models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import console
from flows.commands.options import ConfigFile, DataDir, DatasetName, Json, Prefect, run_flow

app = typer.Typer()


@app.command()
def evaluate(
    data_dir: DataDir,
    model: Annotated[str, typer.Option(help="A run's folder, local-dir:…, hf-hub:…, or ARCHITECTURE/TAG.")],
    run: Annotated[str, typer.Option("--run", help="Folder under runs/ for the report.")],
    dataset: DatasetName = "designs",
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Measure any open_clip model on a frozen dataset."""
    from flows.evaluate import EvaluateConfig
    from flows.evaluate import evaluate as flow

    values = console.read_toml(config) | {"data_dir": data_dir, "model": model, "dataset": dataset, "run_name": run}
    measured = run_flow(flow, console.build(EvaluateConfig, values), prefect)
    console.show_evaluation(measured, Path(data_dir) / "runs" / run, as_json)
