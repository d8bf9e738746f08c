"""The command that takes whole years: rebuild."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.prompt import Confirm
from rich.table import Table

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
    run_flow,
)
from flows.commands.refresh import refresh_config
from flows.terminal import output, tables
from patentdata.errors import ConfigError

if TYPE_CHECKING:
    from flows.preflight.rebuild_plan import RebuildPlan
    from flows.rebuild import RebuildConfig
    from patentdata.rebuild.account import Account, YearAccount

app = typer.Typer()


@app.command()
def rebuild(
    data_dir: DataDir,
    source: Source = None,
    years: Years = "2007-2022",
    plan: Annotated[bool, typer.Option("--plan", help="Show what it would take, and end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    layout: Annotated[str, typer.Option(help='"impact" also writes IMPACT\'s own layout; "none" does not.')] = "none",
    layout_dir: Annotated[
        Path | None, typer.Option(help='Folder for that layout; default: the data folder\'s name and "-impact".')
    ] = None,
    megabytes_a_second: Annotated[
        float | None, typer.Option(min=0.001, help="How fast archives arrive, for the plan; default: assumed.")
    ] = None,
    captioner: Captioner = None,
    endpoint: Endpoint = None,
    model: Model = None,
    prompt: PromptName = None,
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = False,
    workers: Workers = 0,
    kind: Kind = "processes",
    dask_address: DaskAddress = None,
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take whole years to a dataset, such as IMPACT's 2007–2022: first a plan, then the work, then the account.

    Nothing begins before it is confirmed, by an answer or by `--yes`. It can be stopped at any moment, and run
    again with the same command; what is done is left alone.

    Examples: `designclip rebuild --years 2021 -s archives -d data --plan`,
    `designclip rebuild --years 2007-2022 -s archives -d data --layout impact --yes`
    """
    from flows.preflight.rebuild_plan import plan_rebuild
    from flows.rebuild import rebuild as flow

    settings = _settings(locals())
    weeks = settings.weeks
    bytes_per_s = None if megabytes_a_second is None else megabytes_a_second * 1e6
    planned = plan_rebuild(
        weeks.data_dir,
        weeks.source,
        weeks.years,
        weeks.workers,
        layout=settings.layout == "impact",
        whole=weeks.archives.whole,
        bytes_per_s=bytes_per_s,
        portal=weeks.portal,
        downloads=weeks.downloads,
    )
    if plan and as_json:
        return output.show_json(planned.to_dict())
    show_plan(planned, weeks.data_dir)
    if plan:
        return
    if not yes and not _is_confirmed(planned):
        raise typer.Exit(2)
    _run(flow, settings, prefect, as_json)


def _settings(options: dict[str, Any]) -> RebuildConfig:
    from flows.rebuild import RebuildConfig

    if options["layout"] not in ("none", "impact"):
        raise ConfigError(f"{options['layout']!r} is no layout; write --layout impact, or leave it out")
    refreshing = refresh_config(options)
    if not options["years"]:
        raise ConfigError("no years to rebuild; name them, such as --years 2007-2022")
    values = vars(refreshing) | {"layout": options["layout"], "layout_dir": options["layout_dir"]}
    return RebuildConfig(**values)


def _is_confirmed(planned: RebuildPlan) -> bool:
    """Whether a person at a terminal says so; without one nobody does."""
    if not sys.stdin.isatty():
        output.say("Nothing was begun: add --yes to begin without being asked.")
        return False
    question = f"Walk {planned.num_to_do:,} weeks?" if planned.num_to_do else "All weeks are here; look through them?"
    is_confirmed = Confirm.ask(question, default=True)
    if not is_confirmed:
        output.say("Nothing was begun.")
    return is_confirmed


def _run(flow: Any, settings: RebuildConfig, prefect: bool, as_json: bool) -> None:
    from flows.outcomes import WeeksFailedError

    exit_code = 0
    try:
        result = run_flow(flow, settings, prefect)
    except WeeksFailedError as error:
        result, exit_code = error.result, 1
    if as_json:
        output.show_json(result.to_dict())
    else:
        show_account(result.account)
        tables.show_walk(result, as_json=False)
        output.say(f"The account: {result.page}")
        if result.layout_dir is not None:
            output.say(f"IMPACT's layout: {result.layout_dir}")
    if exit_code:
        raise typer.Exit(exit_code)


# --- Tables -----------------------------------------------------------------------------------------------------------


def show_plan(plan: RebuildPlan, data_dir: str) -> None:
    """The plan on stderr, and beneath it what it was reckoned with."""
    table = Table(title=f"Rebuild of {_span(plan.years)}", title_justify="left", show_header=False)
    table.add_row("weeks", f"{plan.num_weeks:,}, of which {plan.num_done:,} are done")
    if plan.missing:
        table.add_row("Tuesdays without an archive", f"{len(plan.missing):,}: {_some(plan.missing)}")
    table.add_row("archives still to read", f"{_size(plan.archive_bytes)} in all, {_size(plan.move_bytes)} of DESIGN")
    table.add_row("patents, sheets", f"about {plan.num_patents:,} and {plan.num_sheets:,} still to walk")
    table.add_row("hours", f"{_hours(plan.hours)}: reading {_hours(plan.move_hours)}, work {_hours(plan.work_hours)}")
    table.add_row("weeks side by side", f"{plan.num_workers:,}")
    free = "free space unknown" if plan.free_bytes is None else f"{_size(plan.free_bytes)} free in {escape(data_dir)}"
    table.add_row("disk", f"about {_size(plan.disk_bytes)} more, {free}")
    output.say_table(table)
    rates = Table("reckoned with", "", "where from", title_justify="left", box=None)
    for rate in plan.rates:
        rates.add_row(
            f"{rate.value:,.3g}" if rate.value < 1000 else f"{rate.value:,.0f}", rate.unit, escape(rate.provenance)
        )
    output.say_table(rates)
    if not plan.fits:
        output.say("The disk may not suffice; what is done is kept when it fills, and the same command goes on.")


def show_account(account: Account) -> None:
    """Years, drops by reason and missing weeks on stdout."""
    table = Table("year", "weeks", "patents", "sheets", "declared", "found", "views", "captions", "dropped")
    for column in table.columns[1:]:
        column.justify = "right"
    for year in account.years:
        table.add_row(str(year.year), *_counts(year))
    table.add_section()
    table.add_row("all", *_counts(account.total))
    output.show_table(table)
    if drops := account.total.drops:
        reasons = Table("stage", "unit", "reason", "dropped")
        for (stage, unit, reason), num in sorted(drops.items()):
            reasons.add_row(stage, unit, reason, f"{num:,}")
        output.show_table(reasons)
    if account.missing:
        output.say(f"{len(account.missing):,} Tuesdays without an archive: {_some(account.missing)}")


def _counts(year: YearAccount) -> list[str]:
    numbers = [value for name, value in vars(year).items() if name.startswith("num_")]
    return [f"{number:,}" for number in [*numbers, sum(year.drops.values())]]


def _span(years: tuple[int, ...]) -> str:
    return str(years[0]) if len(years) == 1 else f"{years[0]}–{years[-1]}"


def _some(weeks: tuple[str, ...] | list[str]) -> str:
    return ", ".join(weeks[:6]) + (" …" if len(weeks) > 6 else "")


def _size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} TB"


def _hours(hours: float) -> str:
    if hours * 60 < 1:
        return "under a minute"
    return f"about {hours:,.1f} h" if hours >= 1 else f"about {hours * 60:,.0f} min"
