"""A rebuild on the terminal: the plan before it, and the account after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from flows.terminal import output

if TYPE_CHECKING:
    from flows.preflight.rebuild_plan import RebuildPlan
    from patentdata.rebuild.account import Account, YearAccount

_SHOWN_WEEKS = 6  # of those without an archive; more are only counted


def show_plan(plan: RebuildPlan, data_dir: str) -> None:
    """The plan on stderr, followed by the rates that it was estimated with."""
    table = Table(title=f"Rebuild of {_span(plan.years)}", title_justify="left", show_header=False)
    table.add_row("weeks", f"{plan.num_weeks:,}, of which {plan.num_done:,} are done")
    if plan.missing:
        table.add_row("Tuesdays without an archive", f"{len(plan.missing):,}: {_some(plan.missing)}")
    table.add_row("archives still to read", f"{_size(plan.archive_bytes)} in all, {_size(plan.move_bytes)} of DESIGN")
    table.add_row("patents, sheets", f"about {plan.num_patents:,} and {plan.num_sheets:,} still to process")
    table.add_row("hours", f"{_hours(plan.hours)}: reading {_hours(plan.move_hours)}, work {_hours(plan.work_hours)}")
    table.add_row("weeks side by side", f"{plan.num_workers:,}")
    free = "free space unknown" if plan.free_bytes is None else f"{_size(plan.free_bytes)} free in {escape(data_dir)}"
    table.add_row("disk", f"about {_size(plan.disk_bytes)} more, {free}")
    output.say_table(table)
    output.say_table(_rates(plan))
    for problem in plan.problems:
        output.say(f"Not offered: {problem}")
    if not plan.fits:
        output.say(
            "The disk may be too small. If it fills up, what is done is kept, and the same command resumes the rebuild."
        )


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


def _rates(plan: RebuildPlan) -> Table:
    table = Table("estimated with", "", "source", title_justify="left", box=None)
    for rate in plan.rates:
        value = f"{rate.value:,.3g}" if rate.value < 1000 else f"{rate.value:,.0f}"
        table.add_row(value, rate.unit, escape(rate.provenance))
    return table


def _counts(year: YearAccount) -> list[str]:
    numbers = [value for name, value in vars(year).items() if name.startswith("num_")]
    return [f"{number:,}" for number in [*numbers, sum(year.drops.values())]]


def _span(years: tuple[int, ...]) -> str:
    return str(years[0]) if len(years) == 1 else f"{years[0]}–{years[-1]}"


def _some(weeks: tuple[str, ...] | list[str]) -> str:
    return ", ".join(weeks[:_SHOWN_WEEKS]) + (" …" if len(weeks) > _SHOWN_WEEKS else "")


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
