"""Commands of housekeeping: status, specimens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flows import console
from flows.commands.options import DataDir, Json, Workers

app = typer.Typer()


@app.command()
def status(data_dir: DataDir, as_json: Json = False) -> None:
    """Show each week and stage of a data folder: state, counts, drops."""
    from flows.status import read_status

    console.show_status(read_status(data_dir), as_json)


@app.command()
def specimens(
    out: Annotated[Path, typer.Option(help="Folder for the archive.")],
    week: Annotated[str, typer.Option(help="Name of the week.")] = "I20240102",
    patents: Annotated[int, typer.Option(min=1, help="Number of patents.")] = 24,
    seed: Annotated[int, typer.Option(help="Another seed draws other patents.")] = 0,
    long_tailed: Annotated[float, typer.Option(min=1, help="Most over least frequent class.")] = 1.0,
    container: Annotated[str, typer.Option(help="tar or zip.")] = "tar",
    hazard: Annotated[list[str] | None, typer.Option(help="A difficulty to draw; repeatable.")] = None,
    damage: Annotated[list[str] | None, typer.Option(help="A damage to do; repeatable.")] = None,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Draw a week of design patents that never were, packed as the Red Book packs them, with the truth beside it."""
    from patentdata.specimens import SpecimenConfig, write_week

    config = console.build(
        SpecimenConfig,
        {
            "num_patents": patents,
            "seed": seed,
            "long_tailed": long_tailed,
            "hazards": tuple(hazard or ()),
            "damage": tuple(damage or ()),
            "workers": workers or len(os.sched_getaffinity(0)),
        },
    )
    path = write_week(out, week, config, container=container)
    console.show_json({"archive": str(path)}) if as_json else console.say(f"Drew {patents} patents: {path}")
