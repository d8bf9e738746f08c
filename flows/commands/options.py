"""Options that more than one command takes, and what every command needs to run a flow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import console

if TYPE_CHECKING:
    from prefect import Flow

DataDir = Annotated[
    str, typer.Option("--data-dir", "-d", help="The data folder: a path, or an fsspec address such as s3://bucket/x.")
]
Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Folder of weekly archives such as I20210105.tar; without it, the weeks kept."),
]
Years = Annotated[str, typer.Option(help="Only these years, such as 2021 or 2007-2022,2024.")]
Workers = Annotated[int, typer.Option(help="Weeks at a time; 0 takes as many as there are cores.")]
Kind = Annotated[str, typer.Option("--runner", help="Where weeks run: processes, threads, or dask.")]
DaskAddress = Annotated[str | None, typer.Option(help="Scheduler of a Dask cluster, such as tcp://127.0.0.1:8786.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file of settings; tables [weeks], [dataset], [training], [evaluation]."),
]
Prefect = Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow: same work, same bytes, on record.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="Name of the dataset under datasets/.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run under runs/; default: the dataset's name.")]


def run_flow(flow: Flow[..., Any], config: Any, prefect: bool) -> Any:
    """Run a flow with progress bars: under Prefect, or as the plain function it is."""
    from flows.progress import listening

    with console.Bars() as bars, listening(bars):
        return flow(config) if prefect else flow.fn(config)


def walk_stage(stage: str, data_dir: str, source: str | None, years: str, workers: int, as_json: bool) -> None:
    from flows.weeks import WeeksConfig, walk_weeks
    from patentdata.folder import DataFolder

    values = {"data_dir": data_dir, "source": source, "years": console.parse_years(years), "only_stages": (stage,)}
    config = console.build(WeeksConfig, values | {"workers": {"num_workers": workers}})
    from flows.progress import listening

    with DataFolder(data_dir).locked(), console.Bars() as bars, listening(bars):
        outcomes = walk_weeks(config)
    console.show_outcomes(outcomes, as_json)
