"""The command that takes whole years: rebuild."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import ConfigFile, DaskAddress, DataDir, Json, Kind, Prefect, Source, Workers, Years
from flows.commands.walks import refresh_config, run_walk

app = typer.Typer()


@app.command()
def rebuild(
    data_dir: DataDir,
    source: Source = None,
    years: Years = "2007-2022",
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = False,
    workers: Workers = 0,
    kind: Kind = "processes",
    dask_address: DaskAddress = None,
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take whole years to a dataset, such as IMPACT's 2007–2022."""
    from flows.rebuild import rebuild as flow

    run_walk(flow, refresh_config(locals()), prefect, as_json)
