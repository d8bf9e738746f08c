"""The command of the captions."""

from __future__ import annotations

import typer

from flows.commands.options import DataDir, Json, Workers, Years, walk_stage

app = typer.Typer()


@app.command()
def captions(data_dir: DataDir, years: Years = "", workers: Workers = 0, as_json: Json = False) -> None:
    """Caption every view of every week in a data folder."""
    walk_stage("captions", data_dir, None, years, workers, as_json)
