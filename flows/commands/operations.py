"""Commands of housekeeping: status, doctor, compare, specimens."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.commands.options import DataDir, Json, Workers
from flows.commands.settings import build
from flows.terminal import output, tables

if TYPE_CHECKING:
    from patentdata.rebuild.impact_compare import Comparison

app = typer.Typer()


@app.command()
def status(data_dir: DataDir, as_json: Json = False) -> None:
    """Show each week and stage of a data folder: state, counts, drops; and the exports of its datasets."""
    from flows.preflight.status import read_exports, read_status

    tables.show_status(read_status(data_dir), as_json)
    for export in read_exports(data_dir) if not as_json else ():
        age = "" if export.is_current else "; the dataset has changed since, export it again with --replace"
        output.say(f"{export.dataset} as {export.format}: {export.num_views:,} views in {export.out}{age}")


@app.command()
def doctor(data_dir: DataDir = "data", as_json: Json = False) -> None:
    """Check what this machine has and lacks, each line ok or with what to do; exit code 1 if something is wrong.

    The key is looked for and never shown; nothing is written, and no network is needed.

    Example: `designclip doctor -d data`
    """
    from flows.preflight.doctor import run_checks, summarise

    results = []
    table = Table("", "what", box=None)
    for name in ("found", "to do"):
        table.add_column(name, overflow="fold")  # paths and addresses are shown whole
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "wrong": "[bold red]wrong[/]"}
    for result in run_checks(data_dir):
        results.append(result)
        table.add_row(marks[result.state], result.name, escape(result.found), escape(result.advice))
    summary = summarise(results)
    output.show_json(summary) if as_json else output.show_table(table)
    if not summary["is_well"]:
        raise typer.Exit(1)


@app.command()
def compare(
    table: Annotated[Path, typer.Argument(help="A table of IMPACT, such as 2021.csv.")],
    data_dir: DataDir,
    out: Annotated[Path | None, typer.Option(help="Also write the comparison as this HTML page.")] = None,
    as_json: Json = False,
) -> None:
    """List each difference between a table of IMPACT and a data folder, column by column, and why.

    Example: `designclip compare 2021.csv -d data --out compare.html`
    """
    from patentdata.rebuild.impact_compare import compare as compare_table
    from patentdata.rebuild.impact_compare import write_page
    from patentdata.store.folder import DataFolder

    folder = DataFolder(data_dir)
    found = compare_table(table, folder)
    if out is not None:
        write_page(found, table.name, folder, out)
    if as_json:
        return output.show_json(found.to_dict())
    _show_comparison(found)
    if out is not None:
        output.say(f"Open {out.resolve()}")


def _show_comparison(found: Comparison) -> None:
    title = f"{found.num_impact:,} rows of IMPACT, {found.num_here:,} patents here, {found.num_both:,} in both"
    table = Table("column", "equal", "different", "why", title=title, title_justify="left")
    for column in found.columns:
        reasons = found.reasons(column)
        why = ", ".join(f"{num:,} {reason}" for reason, num in reasons.most_common())
        table.add_row(column, f"{found.equal[column]:,}", f"{reasons.total():,}", why)
    output.show_table(table)
    one_sided = Counter(item.reason for item in found.one_sided)
    if one_sided:
        output.show_table(_table_of_one_sided(one_sided))


def _table_of_one_sided(one_sided: Counter[str]) -> Table:
    from patentdata.rebuild.impact_compare import PRESENCE_REASONS

    table = Table("patents", "on one side only, because", title_justify="left")
    for reason, num in one_sided.most_common():
        table.add_row(f"{num:,}", PRESENCE_REASONS[reason])
    return table


@app.command()
def specimens(
    out: Annotated[Path, typer.Option(help="Folder for the archive.")],
    week: Annotated[str, typer.Option(help="Name of the week.")] = "I20240102",
    patents: Annotated[int, typer.Option(min=1, help="Number of patents.")] = 24,
    seed: Annotated[int, typer.Option(help="A different seed draws different patents.")] = 0,
    long_tailed: Annotated[
        float, typer.Option(min=1, help="Frequency of the most common class over that of the rarest.")
    ] = 1.0,
    container: Annotated[str, typer.Option(help="tar or zip.")] = "tar",
    partly_claimed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the patents with lines that the grant explains.")
    ] = 0.0,
    shared_surroundings: Annotated[
        int,
        typer.Option(min=0, help="Consecutive patents that are drawn in the same, unclaimed surroundings; 0 for none."),
    ] = 0,
    hazard: Annotated[list[str] | None, typer.Option(help="A kind of difficulty to draw; repeatable.")] = None,
    damage: Annotated[list[str] | None, typer.Option(help="A kind of damage to do; repeatable.")] = None,
    photographs: Annotated[
        int, typer.Option(min=0, help="Photographs of the drawn articles, next to the archive, to search with.")
    ] = 0,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Draw a week of invented design patents, packed like a Red Book week, with a file of the right answers.

    With `--photographs 300`, the articles are also photographed, in turn: lit, coloured and before a background, under
    WEEK.photographs/, and WEEK.photographs.jsonl says which patent and figure each one shows.
    """
    from patentdata.specimens import SpecimenConfig, write_photographs, write_week

    config = build(
        SpecimenConfig,
        {
            "num_patents": patents,
            "seed": seed,
            "long_tailed": long_tailed,
            "partly_claimed": partly_claimed,
            "shared_surroundings": shared_surroundings,
            "hazards": tuple(hazard or ()),
            "damage": tuple(damage or ()),
            "workers": workers or len(os.sched_getaffinity(0)),
        },
    )
    path = write_week(out, week, config, container=container)
    truth = write_photographs(out, week, config, photographs) if photographs else None
    if as_json:
        output.show_json({"archive": str(path), **({"photographs": str(truth)} if truth else {})})
        return
    output.say(f"Drew {patents} patents: {path}")
    if truth:
        output.say(f"Took {photographs} photographs: {truth}")
