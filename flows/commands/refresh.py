"""Commands that take weeks the whole way: demo, refresh."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import (
    Captioner,
    ConfigFile,
    DaskAddress,
    DataDir,
    Endpoint,
    Json,
    Kind,
    Model,
    Prefect,
    PromptName,
    Source,
    Workers,
    Years,
    caption_settings,
    run_flow,
)
from flows.commands.settings import build, parse_years, read_toml
from flows.terminal import output, tables

if TYPE_CHECKING:
    from prefect import Flow

    from flows.refresh import RefreshConfig

app = typer.Typer()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the drawn archives and everything made from them.")] = Path(
        "demo"
    ),
    patents: Annotated[int, typer.Option(min=8, help="Patents drawn for each of two weeks.")] = 48,
    prefect: Annotated[bool, typer.Option(help="Run as a Prefect flow with a temporary server.")] = True,
    as_json: Json = False,
) -> None:
    """Draw two weeks of patents and walk them to a measured model: everything, small, on this machine."""
    home = (out / "prefect").resolve()
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))  # before Prefect is imported
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from flows.commands.demo import DEMO_WEEKS, demo_config, draw_archives

    output.say(f"Drawing {len(DEMO_WEEKS)} weeks of {patents} patents under {out}/archives …")
    draw_archives(out / "archives", patents)
    _refresh(demo_config(out), prefect, as_json)


@app.command()
def refresh(
    data_dir: DataDir,
    source: Source = None,
    years: Years = "",
    captioner: Captioner = None,
    endpoint: Endpoint = None,
    model: Model = None,
    prompt: PromptName = None,
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = True,
    workers: Workers = 0,
    kind: Kind = "processes",
    dask_address: DaskAddress = None,
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take every week of a source to a dataset, a model and its report.

    Examples: `designclip refresh --source archives --data-dir data`,
    `designclip refresh -s archives -d data --model llava-hf/llava-1.5-13b-hf` (captions by a model on this machine's
    GPUs), `designclip refresh -s archives -d data --endpoint http://gpu-1:8000/v1 --endpoint http://gpu-2:8000/v1`
    """
    _refresh(refresh_config(locals()), prefect, as_json)


def refresh_config(options: dict[str, Any]) -> RefreshConfig:
    """Settings of a refresh or rebuild: the TOML file's, and over them what the command line says."""
    from flows.refresh import RefreshConfig

    values = read_toml(options["config"])
    of_weeks: dict[str, Any] = dict(values.get("weeks", {}))
    of_weeks["data_dir"] = options["data_dir"]
    if options["source"] is not None:
        of_weeks["source"] = options["source"]
    if options["years"]:
        of_weeks["years"] = parse_years(options["years"])
    of_weeks["captions"] = caption_settings(of_weeks.get("captions", {}), options)
    workers = {"kind": options["kind"], "num_workers": options["workers"], "dask_address": options["dask_address"]}
    of_weeks["workers"] = of_weeks.get("workers", {}) | workers
    values["weeks"] = of_weeks
    if not options["training"]:
        values["training"] = None
    return build(RefreshConfig, values)


def _refresh(config: RefreshConfig, prefect: bool, as_json: bool) -> None:
    from flows.refresh import refresh as flow

    run_walk(flow, config, prefect, as_json)


def run_walk(flow: Flow[..., Any], config: Any, prefect: bool, as_json: bool) -> None:
    """Run a flow that walks weeks and show what it came to; exit code 1 where a week failed, the others being done."""
    from flows.outcomes import WeeksFailedError

    try:
        result = run_flow(flow, config, prefect)
    except WeeksFailedError as error:
        tables.show_walk(error.result, as_json)
        raise typer.Exit(1) from None
    tables.show_walk(result, as_json)
