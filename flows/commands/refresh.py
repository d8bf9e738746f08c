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

_DEMO_WEEKS = ("I20240102", "I20240109")
_FIRST_DEMO_NUMBER = 900_001
_PARTLY_CLAIMED = 0.5  # as many real patents say that some of their lines are not claimed


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
    from flows.refresh import RefreshConfig
    from flows.refresh import refresh as flow
    from flows.weeks import WeeksConfig

    output.say(f"Drawing {len(_DEMO_WEEKS)} weeks of {patents} patents under {out}/archives …")
    _draw_demo(out / "archives", patents)
    weeks = WeeksConfig(data_dir=str(out / "data"), source=str(out / "archives"))
    run_walk(flow, RefreshConfig(weeks=weeks), prefect, as_json)


def _draw_demo(folder: Path, num_patents: int) -> None:
    """Draw the weekly archives of the demo; the same number of patents gives the same bytes."""
    from patentdata.specimens import SpecimenConfig, write_week

    folder.mkdir(parents=True, exist_ok=True)
    for index, week in enumerate(_DEMO_WEEKS):
        config = SpecimenConfig(
            num_patents=num_patents,
            first_number=_FIRST_DEMO_NUMBER + index * num_patents,
            partly_claimed=_PARTLY_CLAIMED,
            workers=len(os.sched_getaffinity(0)),
        )
        write_week(folder, week, config)


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
