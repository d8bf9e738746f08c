"""Results of commands as tables on stdout, or as JSON."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from flows.terminal.evaluation_tables import evaluation_tables
from flows.terminal.output import STDOUT, say_error, show_json
from patentdata.store.report import Report, Tally

if TYPE_CHECKING:
    from flows.outcomes import WalkResult, WeekOutcome
    from flows.preflight.status import WeekStatus


def show_walk(result: WalkResult, as_json: bool) -> None:
    """Show a refresh or rebuild: counts in and out of each stage, drops by reason, the evaluation, the failures."""
    if as_json:
        show_json(result.to_dict())
        return
    reports = [report for outcome in result.weeks for report in outcome.reports.values()]
    if result.dataset is not None:
        reports.append(result.dataset)
    STDOUT.print(_table_of_reports(reports, title=f"{len(result.weeks)} weeks in {result.data_dir}"))
    _print_quality(reports)
    if result.evaluation is not None and result.run_dir is not None:
        show_evaluation(result.evaluation, Path(result.run_dir), as_json=False)
    for (stage, error), group in itertools.groupby(
        result.failures, lambda outcome: (outcome.failed_stage, outcome.error)
    ):
        weeks = [outcome.week for outcome in group]
        named = weeks[0] if len(weeks) == 1 else f"{weeks[0]} to {weeks[-1]} ({len(weeks)} weeks)"
        say_error(f"{named} {stage}: {error}")
    for problem in result.problems:
        say_error(problem)


def show_outcomes(outcomes: list[WeekOutcome], as_json: bool, *, problems: Sequence[str] = ()) -> None:
    """Show what one stage did to each week.

    Raises:
        WeeksFailedError: A week failed, or the source could not give all it has.
    """
    from flows.outcomes import WalkResult

    if as_json:
        show_json([outcome.to_dict() for outcome in outcomes])
    else:
        reports = [report for outcome in outcomes for report in outcome.reports.values()]
        STDOUT.print(_table_of_reports(reports, title=f"{len(outcomes)} weeks"))
        _print_quality(reports)
    WalkResult("", weeks=outcomes, problems=list(problems)).raise_if_incomplete()


def _print_quality(reports: list[Report]) -> None:
    from flows.terminal.caption_quality import quality_table

    table = quality_table(reports)
    if table is not None:
        STDOUT.print(table)


def show_reports(reports: list[Report], as_json: bool) -> None:
    """Show counts in and out and drops by reason."""
    if as_json:
        show_json([report.to_dict() for report in reports])
    else:
        STDOUT.print(_table_of_reports(reports, title=", ".join(report.name for report in reports)))


def show_training(summary: dict[str, Any], run_dir: Path, as_json: bool) -> None:
    """Show how a training run went, where its model is, and the page to open."""
    if as_json:
        show_json(summary)
        return
    first, last = summary["first_loss"], summary["last_loss"]
    STDOUT.print(
        f"Trained {summary['num_steps']:,} steps of {summary['batch_size']} pairs, loss {first:.3g} to {last:.3g}; "
        f"the model is in {escape(str(run_dir / 'model'))}"
    )
    STDOUT.print(f"Open [bold]{escape(str((run_dir / 'training.html').resolve()))}[/]", soft_wrap=True)


def show_push(sent: dict[str, Any], as_json: bool) -> None:
    """Show the files of a model or a dataset, and where they went, or would go."""
    if as_json:
        show_json(sent)
        return
    table = Table("file", "bytes")
    for name, size in sent["files"].items():
        table.add_row(name, f"{size:,}")
    STDOUT.print(table)
    repository = escape(sent["repository"])
    if sent["address"] is None:
        STDOUT.print(f"Nothing was sent; without --dry-run these files go to {repository}")
        if "folder" in sent:
            STDOUT.print(f"They are in {escape(sent['folder'])}", soft_wrap=True)
    else:
        STDOUT.print(f"Sent to {repository}: {escape(sent['address'])}", soft_wrap=True)


def show_evaluation(measured: dict[str, Any], run_dir: Path, as_json: bool) -> None:
    """Show the values of each task next to their baselines, and the page to open."""
    if as_json:
        show_json(measured)
        return
    for shown in evaluation_tables(measured):
        STDOUT.print(shown)
    STDOUT.print(f"Open [bold]{escape(str((run_dir / 'report.html').resolve()))}[/]", soft_wrap=True)


def show_study_plan(planned: dict[str, Any], as_json: bool) -> None:
    """Show what a study would train."""
    if as_json:
        show_json(planned)
        return
    table = Table("arms", "seeds", "runs", "done", "taken over", "to train", "steps", "hours")
    hours = "known after the first run" if planned["hours"] is None else f"{planned['hours']:.2g}"
    counts = [planned[name] for name in ("arms", "seeds", "runs", "done", "taken_over", "to_train", "steps")]
    table.add_row(*(f"{count:,}" for count in counts), hours)
    STDOUT.print(table)


def show_study(result: dict[str, Any], folder: Path, as_json: bool) -> None:
    """Show the verdict on each claim, and the page to open."""
    if as_json:
        show_json(result)
        return
    table = Table("claim", "difference in points, 95 %", "verdict")
    for claim in result["claims"]:
        found = claim["difference"]
        points = (
            ""
            if found is None
            else "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * found[name] for name in ("mean", "low", "high")))
        )
        table.add_row(escape(claim["text"]), points, claim["verdict"])
    STDOUT.print(table)
    STDOUT.print(f"Open [bold]{escape(str((folder / 'study.html').resolve()))}[/]", soft_wrap=True)


def show_deep_patent(made: dict[str, Any], folder: Path, as_json: bool) -> None:
    """Show how many images of each list became rows, and why the others did not."""
    if as_json:
        show_json(made)
        return
    table = Table("split", "list", "in", "out", "left out")
    for split, lists in made["lists"].items():
        for entry in lists.values():
            reasons = ", ".join(f"{num:,} {reason.replace('_', ' ')}" for reason, num in entry["dropped"].items())
            table.add_row(split, entry["file"], f"{entry['num_in']:,}", f"{entry['num_out']:,}", reasons)
    STDOUT.print(table)
    STDOUT.print(f"The dataset is in [bold]{escape(str(folder))}[/]", soft_wrap=True)


def show_status(weeks: list[WeekStatus], as_json: bool) -> None:
    """Show the state, the counts and the drops of each stage of each week."""
    if as_json:
        show_json([week.to_dict() for week in weeks])
        return
    if not weeks:
        STDOUT.print("no weeks here yet; `designclip refresh --source …` takes those of a source to a dataset")
        return
    table = Table("week", "stage", "state", "unit", "in", "out", "dropped")
    for week in weeks:
        for stage in week.stages:
            state = {"done": "[green]done[/]", "missing": "[dim]missing[/]"}.get(
                stage.state, f"[yellow]{stage.state}[/]"
            )
            tallies = stage.report.tallies if stage.report else {"": None}
            for unit, tally in tallies.items():
                counts = ("", "", "") if tally is None else _counts(tally)
                table.add_row(week.week, stage.stage, state, unit, *counts)
    STDOUT.print(table)


def _table_of_reports(reports: list[Report], *, title: str) -> Table:
    """One line per stage and unit, summed over the weeks."""
    sums: dict[tuple[str, str], Tally] = {}
    left_out: dict[tuple[str, str], Counter[str]] = {}
    for report in reports:
        for unit, tally in report.tallies.items():
            total = sums.setdefault((report.stage, unit), Tally())
            total.num_in += tally.num_in
            total.num_out += tally.num_out
            left_out.setdefault((report.stage, unit), Counter()).update(tally.dropped)
    table = Table("stage", "unit", "in", "out", "left out", title=escape(title), title_justify="left")
    for (stage, unit), total in sums.items():
        table.add_row(stage, unit, f"{total.num_in:,}", f"{total.num_out:,}", _reasons(left_out[stage, unit]))
    return table


def _counts(tally: Tally) -> tuple[str, str, str]:
    return f"{tally.num_in:,}", f"{tally.num_out:,}", _reasons(tally.dropped)


def _reasons(dropped: dict[str, int]) -> str:
    return ", ".join(f"{num:,} {reason}" for reason, num in sorted(dropped.items()))
