"""Commands about where archives come from: weeks, archives."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import console
from flows.commands.options import DataDir, Json, Source, Workers, Years, walk_stage

app = typer.Typer()


@app.command()
def weeks(source: Source = None, data_dir: DataDir = "data", as_json: Json = False) -> None:
    """List the weeks a source offers and the data folder holds."""
    from flows.status import list_weeks_here

    console.show_weeks(list_weeks_here(source, data_dir), as_json)


@app.command()
def archives(
    source: Annotated[str, typer.Option("--source", "-s", help="Folder of weekly archives such as I20210105.tar.")],
    data_dir: DataDir,
    years: Years = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Keep the DESIGN members of each weekly archive, byte for byte."""
    walk_stage("archives", data_dir, source, years, workers, as_json)
