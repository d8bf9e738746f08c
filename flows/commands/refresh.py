"""Commands that take weeks the whole way: demo, refresh."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import use_prefect_home
from flows.commands.option_groups import grouped
from flows.commands.options import CaptionOptions, Json, Prefect, WalkOptions, Years, run_flow
from flows.commands.settings import build
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
    prefect_home = (out / "prefect").resolve()
    prefect_home.mkdir(parents=True, exist_ok=True)
    use_prefect_home(prefect_home)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from flows.commands.demo import DEMO_WEEKS, demo_config, draw_archives
    from flows.refresh import refresh as flow

    output.say(f"Drawing {len(DEMO_WEEKS)} weeks of {patents} patents under {out}/archives …")
    draw_archives(out / "archives", patents)
    run_walk(flow, demo_config(out), prefect, as_json)


@app.command()
@grouped
def refresh(
    *,
    walk: WalkOptions,
    years: Years = "",
    captions: CaptionOptions,
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = True,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take every week of a source to a dataset, a model and its report.

    Examples: `designclip refresh --source archives --data-dir data`,
    `designclip refresh -s archives -d data --model llava-hf/llava-1.5-13b-hf` (captions by a model on this machine's
    GPUs), `designclip refresh -s archives -d data --endpoint http://gpu-1:8000/v1 --endpoint http://gpu-2:8000/v1`
    """
    from flows.refresh import RefreshConfig
    from flows.refresh import refresh as flow

    config = build(RefreshConfig, walk.settings(captions, years=years, training=training))
    run_walk(flow, config, prefect, as_json)


def run_walk(flow: Flow[..., Any], config: RefreshConfig, prefect: bool, as_json: bool) -> None:
    """Run a flow that walks weeks and show its result; exit code 1 if a week failed, after the others were done."""
    from flows.outcomes import WeeksFailedError

    try:
        result = run_flow(flow, config, prefect)
    except WeeksFailedError as error:
        tables.show_walk(error.result, as_json)
        raise typer.Exit(1) from None
    tables.show_walk(result, as_json)
