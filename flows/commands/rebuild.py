"""The command that takes whole years: rebuild."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.prompt import Confirm

from flows.commands.option_groups import grouped
from flows.commands.options import CaptionOptions, Json, Prefect, WalkOptions, Years, run_flow
from flows.commands.settings import build
from flows.terminal import output, rebuild_tables, tables
from patentdata.errors import ConfigError

if TYPE_CHECKING:
    from flows.preflight.rebuild_plan import RebuildPlan
    from flows.rebuild import RebuildConfig

app = typer.Typer()


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is shown and asked before anything begins."""

    plan: Annotated[bool, typer.Option("--plan", help="Show what it would take, and end.")] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False
    megabytes_a_second: Annotated[
        float | None, typer.Option(min=0.001, help="How fast archives arrive, for the plan; default: assumed.")
    ] = None

    @property
    def bytes_per_s(self) -> float | None:
        """How fast archives arrive; None if that is to be assumed."""
        return None if self.megabytes_a_second is None else self.megabytes_a_second * 1e6


@dataclass(frozen=True, kw_only=True)
class LayoutOptions:
    """Whether IMPACT's own layout is written, and where."""

    layout: Annotated[str, typer.Option(help='"impact" also writes IMPACT\'s own layout; "none" does not.')] = "none"
    layout_dir: Annotated[
        Path | None, typer.Option(help='Folder for that layout; default: the data folder\'s name and "-impact".')
    ] = None


@app.command()
@grouped
def rebuild(
    *,
    walk: WalkOptions,
    years: Years = "2007-2022",
    before: PlanOptions,
    captions: CaptionOptions,
    layout: LayoutOptions,
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = False,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take whole years to a dataset, such as IMPACT's 2007–2022: first a plan, then the work, then the account.

    Nothing begins before it is confirmed, by an answer or by `--yes`. It can be stopped at any moment and resumed
    with the same command, which leaves what is done as it is.

    Examples: `designclip rebuild --years 2021 -s archives -d data --plan`,
    `designclip rebuild --years 2007-2022 -s archives -d data --layout impact --yes`
    """
    from flows.preflight.rebuild_plan import plan_rebuild

    config = _config(walk.settings(captions, years=years, training=training), layout)
    planned = plan_rebuild(config.weeks, layout=config.layout == "impact", bytes_per_s=before.bytes_per_s)
    if before.plan and as_json:
        return output.show_json(planned.to_dict())
    rebuild_tables.show_plan(planned, config.weeks.data_dir)
    if before.plan:
        return
    if not before.yes and not _is_confirmed(planned):
        raise typer.Exit(2)
    _run(config, prefect, as_json)


def _config(values: dict[str, Any], layout: LayoutOptions) -> RebuildConfig:
    """Settings of the rebuild: those of its refresh, and of the layout."""
    from flows.rebuild import RebuildConfig

    if layout.layout not in ("none", "impact"):
        raise ConfigError(f"{layout.layout!r} is not a layout; write --layout impact, or leave it out")
    if not values["weeks"].get("years"):
        raise ConfigError("no years to rebuild; name them, such as --years 2007-2022")
    return build(RebuildConfig, values | vars(layout))


def _is_confirmed(planned: RebuildPlan) -> bool:
    """Whether somebody at a terminal agrees; without a terminal, nobody does."""
    if not sys.stdin.isatty():
        output.say("Nothing was begun: add --yes to begin without being asked.")
        return False
    question = f"Process {planned.num_to_do:,} weeks?" if planned.num_to_do else "All weeks are done; check them?"
    is_confirmed = Confirm.ask(question, default=True)
    if not is_confirmed:
        output.say("Nothing was begun.")
    return is_confirmed


def _run(config: RebuildConfig, prefect: bool, as_json: bool) -> None:
    """Rebuild, and show the result; exit code 1 if a week failed, after the others were done."""
    from flows.outcomes import WeeksFailedError
    from flows.rebuild import rebuild as flow

    exit_code = 0
    try:
        result = run_flow(flow, config, prefect)
    except WeeksFailedError as error:
        result, exit_code = error.result, 1
    if as_json:
        output.show_json(result.to_dict())
    else:
        rebuild_tables.show_account(result.account)
        tables.show_walk(result, as_json=False)
        output.say(f"The account: {result.page}")
        if result.layout_dir is not None:
            output.say(f"IMPACT's layout: {result.layout_dir}")
    if exit_code:
        raise typer.Exit(exit_code)
