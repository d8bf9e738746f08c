"""Commands of training."""

from __future__ import annotations

from pathlib import Path

import typer

from flows import console
from flows.commands.options import ConfigFile, DataDir, DatasetName, Json, RunName

app = typer.Typer()


@app.command()
def train(
    data_dir: DataDir,
    dataset: DatasetName = "designs",
    run: RunName = "",
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Train a model on a frozen dataset, or go on where an earlier call stopped."""
    from flows.refresh import TINY_TRAINING
    from model.child import train_in_child
    from model.config import TrainConfig

    settings = console.build(TrainConfig, console.read_toml(config).get("training", TINY_TRAINING.to_dict()))
    run_dir = Path(data_dir) / "runs" / (run or dataset)
    with console.Bars() as bars:
        summary = train_in_child(Path(data_dir) / "datasets" / dataset, run_dir, settings, progress=bars.on_training)
    console.show_training(summary, run_dir, as_json)
