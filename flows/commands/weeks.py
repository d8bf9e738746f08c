"""Commands about weekly archives: what a source offers, and keeping it: weeks, archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows.commands.options import ConfigFile, DataDir, Json, Source, Workers, Years
from flows.commands.settings import build, parse_years, read_toml
from flows.terminal import output, tables
from flows.terminal.bars import Bars

if TYPE_CHECKING:
    from flows.preflight.source_listing import SourceListing
    from flows.weeks import WeeksConfig

app = typer.Typer()

_MB = 1_000_000
Whole = Annotated[
    bool, typer.Option("--whole", help="Read archives of a server to their end, not only to the end of their designs.")
]


@app.command()
def weeks(
    source: Source = None,
    data_dir: DataDir = "data",
    years: Years = "",
    whole: Whole = False,
    megabytes_a_second: Annotated[
        float | None, typer.Option(min=0.001, help="How fast archives arrive; default: assumed.")
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the weeks a source offers and a data folder holds, what is missing, and what fetching it would cost.

    Sources are `portal` (the Open Data Portal; its key in ODP_API_KEY), a mirror's address, or a folder.

    Example: `designclip weeks --source portal --data-dir data --years 2024`
    """
    from flows.preflight.source_listing import list_source

    settings = _settings(source, data_dir, years, config, whole=whole)
    rate = None if megabytes_a_second is None else megabytes_a_second * _MB
    listing = list_source(settings, bytes_per_s=rate)
    if as_json:
        output.show_json(listing.to_dict())
    else:
        _show_listing(listing)
    for problem in listing.problems:
        output.say_error(problem)
    if listing.problems:
        raise typer.Exit(1)


@app.command()
def archives(
    source: Annotated[
        str, typer.Option("--source", "-s", help='"portal", a mirror\'s address, or a folder of weekly archives.')
    ],
    data_dir: DataDir,
    years: Years = "",
    whole: Whole = False,
    workers: Workers = 0,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Keep the DESIGN members of each weekly archive, byte for byte.

    Example: `designclip archives --source portal --data-dir data --years 2024`
    """
    from flows.weeks import offered_weeks, walk_weeks
    from patentdata.store.folder import DataFolder
    from tasks.running.progress import listening

    settings = _settings(
        source, data_dir, years, config, whole=whole, only_stages=("archives",), workers={"num_workers": workers}
    )
    folder = DataFolder(data_dir)
    with folder.locked(), Bars() as bars, listening(bars):
        offered = offered_weeks(settings)
        outcomes = walk_weeks(settings, folder, offered)
    tables.show_outcomes(outcomes, as_json, problems=offered.problems)


def _settings(source: str | None, data_dir: str, years: str, config: Any, *, whole: bool, **more: Any) -> WeeksConfig:
    """Settings of weeks: the settings file's, overridden by what the command line says."""
    from flows.weeks import WeeksConfig

    values = dict(read_toml(config).get("weeks", {}))
    values["data_dir"] = data_dir
    if source is not None:
        values["source"] = source
    if years:
        values["years"] = parse_years(years)
    if whole:
        values["archives"] = values.get("archives", {}) | {"whole": True}
    return build(WeeksConfig, values | more)


def _show_listing(listing: SourceListing) -> None:
    out = Console()
    has_limits = any(week.downloads_left is not None for week in listing.weeks)
    table = Table("week", "offered", "MB", "state", "MB to fetch", "numbers missing")
    if has_limits:
        table.add_column("downloads left")
    states = {"here": "[green]here[/]", "missing": "[yellow]missing[/]", "changed": "[yellow]changed[/]"}
    for week in listing.weeks:
        row = [
            week.week,
            week.file_name or "–",
            "–" if week.num_bytes is None else f"{week.num_bytes / _MB:,.1f}",
            states.get(week.state, f"[dim]{week.state}[/]"),
            f"{week.num_bytes_to_fetch / _MB:,.1f}" if week.num_bytes_to_fetch else "",
            _missing_numbers(week.num_numbers_missing, week.num_numbers_before),
        ]
        table.add_row(*row, *([] if week.downloads_left is None else [str(week.downloads_left)]))
    out.print(table)
    for sentence in _summary(listing):
        out.print(sentence, highlight=False)


def _missing_numbers(within: int | None, before: int | None) -> str:
    parts = [f"{within}" if within else "", f"{before} before" if before else ""]
    return ", ".join(part for part in parts if part)


def _summary(listing: SourceListing) -> list[str]:
    num_here = sum(week.state in ("here", "not offered") for week in listing.weeks)
    sentences = [f"{len(listing.weeks):,} weeks, {num_here:,} of them here, {listing.num_to_fetch:,} to fetch."]
    if listing.without_archive:
        first, last = listing.without_archive[0], listing.without_archive[-1]
        sentences.append(f"{len(listing.without_archive):,} Tuesdays in between have no archive, {first} to {last}.")
    if listing.num_to_fetch:
        sentences.append(
            f"To fetch: about {listing.num_bytes_to_fetch / 1e9:,.2f} GB ({listing.share.value:.3f} "
            f"{listing.share.unit}: {listing.share.provenance}), {listing.seconds_to_fetch / 3600:,.1f} h at "
            f"{listing.speed.value / _MB:,.1f} MB/s ({listing.speed.provenance})."
        )
    used_up = [week.week for week in listing.weeks if week.downloads_left == 0 and week.num_bytes_to_fetch]
    if used_up:
        sentences.append(
            f"{', '.join(used_up)}: no downloads are left this year; name a mirror or a folder as the source."
        )
    return sentences
