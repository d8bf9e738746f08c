"""Commands about which model is in use: retrain, champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.commands.options import ConfigFile, DataDir, DatasetName, Json, Prefect, RunName, run_flow
from flows.commands.settings import build, read_toml
from flows.terminal import output, tables

if TYPE_CHECKING:
    from flows.retrain import RetrainResult
    from model.evaluation.champion import ModelRegistry

app = typer.Typer()

_STATES = {"promoted": "[green]promoted[/]", "refused": "[yellow]refused[/]"}


@app.command()
def retrain(
    data_dir: DataDir,
    dataset: DatasetName = "designs",
    run: RunName = "",
    min_new_patents: Annotated[
        int | None,
        typer.Option(min=0, help="Train only with at least this many new training patents; 0 always trains."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The value that decides, such as retrieval/text_to_image/R@10.")
    ] = None,
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Train a model if enough patents are new, measure it, and promote it if it beats the champion.

    Champion and contender are measured on the same frozen test set, `models/test-set`, and the contender must be
    better by more than the 95 % interval. `designclip champion` shows what was decided and why.

    Example: `designclip retrain -d data --config vit-b-32.toml`, the file containing
    `[training]` and `architecture = "ViT-B-32"`.
    """
    from flows.retrain import RetrainConfig
    from flows.retrain import retrain as flow
    from flows.steps import TINY_TRAINING

    values = read_toml(config)
    values.setdefault("training", TINY_TRAINING.to_dict())
    values |= {"data_dir": data_dir, "dataset": dataset, "run_name": run}
    values |= {} if min_new_patents is None else {"min_new_patents": min_new_patents}
    values |= {} if metric is None else {"metric": metric}
    _show(run_flow(flow, build(RetrainConfig, values), prefect), as_json)


@app.command()
def champion(data_dir: DataDir, as_json: Json = False) -> None:
    """Show the champion, and every promotion and rejection with its reason.

    Example: `designclip champion -d data`
    """
    from model.evaluation.champion import ModelRegistry
    from patentdata.store.folder import DataFolder
    from tasks.running.local_copies import local_copy

    registry = ModelRegistry(local_copy(DataFolder(data_dir), "models"))
    if as_json:
        present = registry.champion.to_dict() if registry.champion else None
        output.show_json({"champion": present, "history": [decision.to_dict() for decision in registry.decisions]})
        return
    out = Console()
    if registry.champion is None:
        out.print("No champion yet; `designclip retrain` trains a first one.")
    else:
        folder = registry.folder / (registry.champion.model or "")
        out.print(
            f"Champion: [bold]{registry.champion.run}[/], {registry.champion.why}\nModel: {folder}", soft_wrap=True
        )
    if registry.decisions:
        out.print(_history(registry))


def _history(registry: ModelRegistry) -> Table:
    """Every decision, oldest first."""
    table = Table("when", "run", "decision", "trained on", "why", "by", title="Decisions", title_justify="left")
    for decision in registry.decisions:
        state = _STATES["promoted" if decision.is_promoted else "refused"]
        patents = f"{decision.dataset}, {decision.num_train_patents:,} patents"
        table.add_row(decision.when[:16].replace("T", " "), decision.run, state, patents, decision.why, decision.who)
    return table


def _show(result: RetrainResult, as_json: bool) -> None:
    if as_json:
        output.show_json(result.to_dict())
        return
    out = Console()
    if result.run_dir is not None and result.evaluation:
        tables.show_evaluation(result.evaluation, Path(result.run_dir), as_json=False)
    out.print(f"{_STATES.get(result.state, result.state)}: {result.why}", soft_wrap=True)
