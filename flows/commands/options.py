"""Options that more than one command takes, and what every command needs to run a flow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.settings import build, parse_years
from flows.terminal import tables
from flows.terminal.bars import Bars

if TYPE_CHECKING:
    from prefect import Flow

DataDir = Annotated[
    str, typer.Option("--data-dir", "-d", help="The data folder: a path, or an fsspec address such as s3://bucket/x.")
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        "-s",
        help='Where weekly archives come from: "portal", a mirror\'s address, or a folder of files such as '
        "I20210105.tar; without it, the weeks kept.",
    ),
]
Years = Annotated[str, typer.Option(help="Only these years, such as 2021 or 2007-2022,2024.")]
Workers = Annotated[int, typer.Option(help="Weeks at a time; 0 takes as many as there are cores.")]
Kind = Annotated[str, typer.Option("--runner", help="Where weeks run: processes, threads, or dask.")]
DaskAddress = Annotated[str | None, typer.Option(help="Scheduler of a Dask cluster, such as tcp://127.0.0.1:8786.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file of settings; tables [weeks], [dataset], [training], [evaluation]."),
]
Captioner = Annotated[
    str | None,
    typer.Option(help='"described", from the grant\'s own words (default), or "vllm", by a model that sees the views.'),
]
Endpoint = Annotated[
    list[str] | None,
    typer.Option(help="Running OpenAI-compatible server, such as http://gpu-1:8000/v1; repeatable. Implies vllm."),
]
Model = Annotated[
    str | None,
    typer.Option(help="Model, a hub name or folder; without --endpoint a server is started for it. Implies vllm."),
]
PromptName = Annotated[str | None, typer.Option("--prompt", help='What a model is asked: "views" or "impact".')]
Prefect = Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow: same work, same bytes, on record.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="Name of the dataset under datasets/.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run under runs/; default: the dataset's name.")]


def run_flow(flow: Flow[..., Any], config: Any, prefect: bool) -> Any:
    """Run a flow with progress bars: under Prefect, or as the plain function it is."""
    from tasks.running.progress import listening

    with Bars() as bars, listening(bars):
        return flow(config) if prefect else flow.fn(config)


def caption_settings(given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Settings of captions: those of a TOML file, and over them what the command line says."""
    said = {name: options.get(name) for name in ("captioner", "model", "prompt")}
    said["endpoints"] = options.get("endpoint")
    if said["captioner"] is None and (said["model"] or said["endpoints"]):
        said["captioner"] = "vllm"
    return given | {name: value for name, value in said.items() if value}


def walk_stage(
    stage: str,
    data_dir: str,
    source: str | None,
    years: str,
    workers: int,
    as_json: bool,
    *,
    settings: dict[str, Any] | None = None,
) -> None:
    """Run one stage of every week and show what it did; `settings` are more of `WeeksConfig`."""
    from flows.weeks import WeeksConfig, walk_weeks
    from patentdata.store.folder import DataFolder

    values = {"data_dir": data_dir, "source": source, "years": parse_years(years), "only_stages": (stage,)}
    config = build(WeeksConfig, (settings or {}) | values | {"workers": {"num_workers": workers}})
    from tasks.running.progress import listening

    with DataFolder(data_dir).locked(), Bars() as bars, listening(bars):
        outcomes = walk_weeks(config)
    tables.show_outcomes(outcomes, as_json)
