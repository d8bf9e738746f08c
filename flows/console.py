"""What the command line shows: bars while work goes on, tables when it is done, one sentence when it fails."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from flows.download_bars import showing_downloads
from flows.evaluation_tables import evaluation_tables
from flows.progress import Listener
from patentdata.errors import ConfigError
from patentdata.report import Report, Tally

if TYPE_CHECKING:
    from flows.refresh import WalkResult
    from flows.status import WeekStatus
    from flows.weeks import WeekOutcome

_OUT = Console()
_ERR = Console(stderr=True)

SettingsT = TypeVar("SettingsT")


def say(text: str) -> None:
    """One line for the user, on stderr, where it never mixes with results."""
    _ERR.print(escape(text), highlight=False)


def say_error(text: str) -> None:
    _ERR.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)


def say_table(table: Table) -> None:
    """A table for the user, on stderr."""
    _ERR.print(table)


def show_table(table: Table) -> None:
    """A table that is a result, on stdout."""
    _OUT.print(table)


def show_json(values: Any) -> None:
    """Values as JSON on stdout, and nothing else there."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False, indent=1, default=str) + "\n")


def read_toml(path: Path | None) -> dict[str, Any]:
    """The tables of a settings file; empty without one. Raises ConfigError."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error


def build(kind: type[SettingsT], values: dict[str, Any]) -> SettingsT:
    """Settings from plain values, types and names checked. Raises ConfigError that names the setting."""
    try:
        return _strict_adapter(kind).validate_python((values,))[0]
    except pydantic.ValidationError as error:
        shown = []
        for problem in error.errors(include_url=False):
            place = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
            message = problem["msg"].removeprefix("Value error, ")
            shown.append(f"{place}: {message}" if place else message)
        raise ConfigError("; ".join(shown)) from None


def _strict_adapter(kind: type[SettingsT]) -> pydantic.TypeAdapter[tuple[SettingsT]]:
    """Refuses unknown names at any depth; pydantic takes that wish for a container, not for a bare dataclass."""
    return pydantic.TypeAdapter(tuple[kind], config=pydantic.ConfigDict(extra="forbid"))  # type: ignore[valid-type, arg-type]


def parse_years(text: str) -> tuple[int, ...]:
    """Years from "2021", "2007-2022" or "2007-2010,2015". Raises ConfigError.

    >>> parse_years("2007-2009,2015")
    (2007, 2008, 2009, 2015)
    """
    years: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(\d{4})(?:\s*[-–]\s*(\d{4}))?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(f"{part!r} names no years; write 2021, 2007-2022 or 2007-2010,2015")
        years.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(years))


class Bars(Listener):
    """Progress bars on stderr for the length of a block; on a dull terminal they stay away."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=_ERR,
            disable=not _ERR.is_terminal,
        )
        self._bars: dict[str, TaskID] = {}
        self._downloads = contextlib.ExitStack()

    def __enter__(self) -> Bars:
        self._progress.start()
        self._downloads.enter_context(showing_downloads(self._progress))
        return self

    def __exit__(self, *_: object) -> None:
        self._downloads.close()
        self._progress.stop()

    def on_weeks(self, weeks: list[str], num_steps: int) -> None:
        self._bars["weeks"] = self._progress.add_task(f"{len(weeks)} weeks", total=num_steps)

    def on_stage(self, week: str, stage: str, report: Report | None) -> None:
        outcome = "" if report is not None else " [red]failed[/]"
        self._progress.update(self._bars["weeks"], advance=1, description=f"{week} {stage}{outcome}")

    def on_server(self, text: str) -> None:
        if "server" not in self._bars:
            self._bars["server"] = self._progress.add_task("", total=None)
        self._progress.update(self._bars["server"], description=escape(_shortened(text)))

    def on_captions(self, num_done: int, num_all: int) -> None:
        if "captions" not in self._bars:
            self._bars["captions"] = self._progress.add_task("captions", total=num_all)
            self._first_caption = (time.monotonic(), num_done)
        started, num_before = self._first_caption
        seconds = time.monotonic() - started
        rate = f", {(num_done - num_before) / seconds:,.1f} a second" if seconds >= 1 else ""
        self._progress.update(self._bars["captions"], completed=num_done, total=num_all, description=f"captions{rate}")

    def on_dataset(self, name: str) -> None:
        self._bars["dataset"] = self._progress.add_task(f"dataset {escape(name)}", total=None)

    def on_training(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        if "training" not in self._bars:
            self._bars["training"] = self._progress.add_task("training", total=num_steps)
        loss = values.get("loss")
        description = "training" if loss is None else f"training, loss {loss:.3f}"
        self._progress.update(self._bars["training"], completed=step, description=description)

    def on_evaluation(self, model: str) -> None:
        self._bars["evaluation"] = self._progress.add_task("evaluation", total=None)

    def on_evaluation_step(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        description = f"evaluation, {escape(str(values.get('doing', '')))}"
        self._progress.update(self._bars["evaluation"], completed=step, total=num_steps, description=description)


def _shortened(text: str, num_chars: int = 100) -> str:
    return text if len(text) <= num_chars else text[: num_chars - 1] + "…"


def show_walk(result: WalkResult, as_json: bool) -> None:
    """Summary of a refresh or rebuild: counts in and out of each stage, drops by reason, figures, the page to open."""
    if as_json:
        show_json(result.to_dict())
        return
    reports = [report for outcome in result.weeks for report in outcome.reports.values()]
    if result.dataset is not None:
        reports.append(result.dataset)
    _OUT.print(_table_of_reports(reports, title=f"{len(result.weeks)} weeks in {result.data_dir}"))
    _print_quality(reports)
    if result.evaluation is not None and result.run_dir is not None:
        show_evaluation(result.evaluation, Path(result.run_dir), as_json=False)
    for (stage, error), group in itertools.groupby(
        result.failures, lambda outcome: (outcome.failed_stage, outcome.error)
    ):
        weeks = [outcome.week for outcome in group]
        named = weeks[0] if len(weeks) == 1 else f"{weeks[0]} to {weeks[-1]} ({len(weeks)} weeks)"
        say_error(f"{named} {stage}: {error}")


def show_outcomes(outcomes: list[WeekOutcome], as_json: bool) -> None:
    """What one stage did to each week; raises WeeksFailedError after it where a week failed."""
    from flows.refresh import WalkResult, WeeksFailedError

    if as_json:
        show_json([outcome.to_dict() for outcome in outcomes])
    else:
        reports = [report for outcome in outcomes for report in outcome.reports.values()]
        _OUT.print(_table_of_reports(reports, title=f"{len(outcomes)} weeks"))
        _print_quality(reports)
    result = WalkResult("", weeks=outcomes)
    if result.failures:
        raise WeeksFailedError(result)


def _print_quality(reports: list[Report]) -> None:
    from flows.caption_quality import quality_table

    table = quality_table(reports)
    if table is not None:
        _OUT.print(table)


def show_reports(reports: list[Report], as_json: bool) -> None:
    if as_json:
        show_json([report.to_dict() for report in reports])
    else:
        _OUT.print(_table_of_reports(reports, title=", ".join(report.name for report in reports)))


def show_training(summary: dict[str, Any], run_dir: Path, as_json: bool) -> None:
    if as_json:
        show_json(summary)
        return
    first, last = summary["first_loss"], summary["last_loss"]
    _OUT.print(
        f"Trained {summary['num_steps']:,} steps of {summary['batch_size']} pairs, loss {first:.3g} to {last:.3g}; "
        f"the model is in {escape(str(run_dir / 'model'))}"
    )
    _OUT.print(f"Open [bold]{escape(str((run_dir / 'training.html').resolve()))}[/]", soft_wrap=True)


def show_push(sent: dict[str, Any], as_json: bool) -> None:
    """The files of a model and where they went, or would go."""
    if as_json:
        show_json(sent)
        return
    table = Table("file", "bytes")
    for name, size in sent["files"].items():
        table.add_row(name, f"{size:,}")
    _OUT.print(table)
    repository = escape(sent["repository"])
    if sent["address"] is None:
        _OUT.print(f"Nothing was sent; without --dry-run these files go to {repository}")
    else:
        _OUT.print(f"Sent to {repository}: {escape(sent['address'])}", soft_wrap=True)


def show_evaluation(measured: dict[str, Any], run_dir: Path, as_json: bool) -> None:
    """The figures of each task beside their baselines, and the page to open."""
    if as_json:
        show_json(measured)
        return
    for shown in evaluation_tables(measured):
        _OUT.print(shown)
    _OUT.print(f"Open [bold]{escape(str((run_dir / 'report.html').resolve()))}[/]", soft_wrap=True)


def show_deep_patent(made: dict[str, Any], folder: Path, as_json: bool) -> None:
    """How many images of each list became rows, and why the others did not."""
    if as_json:
        show_json(made)
        return
    table = Table("split", "list", "in", "out", "left out")
    for split, lists in made["lists"].items():
        for entry in lists.values():
            reasons = ", ".join(f"{num:,} {reason.replace('_', ' ')}" for reason, num in entry["dropped"].items())
            table.add_row(split, entry["file"], f"{entry['num_in']:,}", f"{entry['num_out']:,}", reasons)
    _OUT.print(table)
    _OUT.print(f"The dataset is in [bold]{escape(str(folder))}[/]", soft_wrap=True)


def show_status(weeks: list[WeekStatus], as_json: bool) -> None:
    if as_json:
        show_json([week.to_dict() for week in weeks])
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
    _OUT.print(table)


def counter(unit: str) -> Callable[[int, int], None]:
    """A one-line progress report for work outside the walk: call with done and total."""

    def show(num_done: int, num_all: int) -> None:
        if _ERR.is_terminal:
            end = "\n" if num_done == num_all else "\r"
            _ERR.print(f"{num_done:,} of {num_all:,} {unit}", end=end, highlight=False)

    return show


def _table_of_reports(reports: list[Report], *, title: str) -> Table:
    """One line a stage and unit, summed over the weeks."""
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
