"""The account of whole years: what came in, what went out, and what was dropped and why, checked from stage to stage.

The report of each stage balances by itself, but something may still be lost between two stages. So the output of each
stage is compared with the input of the next, and a difference is an error, not a number in a table.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patentdata.errors import OutputError, ReconciliationError
from patentdata.pages import page_environment
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table, read_report
from patentdata.store.report import Report
from patentdata.store.weeks import WEEKLY_STAGES, missing_weeks, state_of, table_path


@dataclass
class YearAccount:
    """The numbers of one year.

    Attributes:
        year: The year, such as 2021.
        num_weeks: Number of weeks counted.
        num_patents: Number of grants with a row.
        num_sheets: Number of sheets that were split, without front pages.
        num_declared: Number of figures that the grants declare.
        num_figures: Number of declared figures that were found on a sheet.
        num_views: Number of views, including front pages.
        num_captions: Number of rows with a caption.
        drops: (stage, unit, reason) → number dropped.
    """

    year: int
    num_weeks: int = 0
    num_patents: int = 0
    num_sheets: int = 0
    num_declared: int = 0
    num_figures: int = 0
    num_views: int = 0
    num_captions: int = 0
    drops: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, other: YearAccount) -> None:
        """Add the numbers of another account to this one."""
        for name, value in vars(other).items():
            if name.startswith("num_"):
                setattr(self, name, getattr(self, name) + value)
        self.drops.update(other.drops)

    def to_dict(self) -> dict[str, Any]:
        """The account as JSON values."""
        drops: dict[str, dict[str, int]] = {}
        for (stage, unit, reason), num in sorted(self.drops.items()):
            drops.setdefault(f"{stage} {unit}", {})[reason] = num
        return {name: value for name, value in vars(self).items() if name != "drops"} | {"drops": drops}


@dataclass
class Account:
    """The numbers of a whole rebuild.

    Attributes:
        years: One account a year, in order.
        missing: Weeks ("I20210112") of Tuesdays in these years that have no archive here.
        dataset: Report of the dataset that was frozen from exactly these weeks, if any.
        failed: Week → why it failed, in a sentence.
    """

    years: list[YearAccount] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    dataset: Report | None = None
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> YearAccount:
        """The sum of all years; its `year` is 0."""
        total = YearAccount(0)
        for year in self.years:
            total.add(year)
        return total

    def to_dict(self) -> dict[str, Any]:
        """The account as JSON values."""
        total = self.total.to_dict()
        del total["year"]
        return {
            "years": [year.to_dict() for year in self.years],
            "total": total,
            "missing": self.missing,
            "failed": self.failed,
            "dataset": self.dataset.to_dict()["tallies"] if self.dataset else None,
        }


def reconcile(
    folder: DataFolder,
    weeks: Iterable[str],
    *,
    years: Sequence[int],
    today: datetime.date,
    dataset: Report | None = None,
    failed: dict[str, str] | None = None,
) -> Account:
    """Add up weeks whose stages are done, and compare the output of each stage with the input of the next.

    Args:
        folder: The data folder.
        weeks: Names of the weeks, such as "I20210105".
        years: Years in which each Tuesday should have an archive.
        today: Tuesdays after this day are not missing.
        dataset: Report of the dataset frozen from these weeks.
        failed: Week → why it failed, for weeks that are not done; such weeks do not count as missing.

    Raises:
        ReconciliationError: Something was lost or duplicated between two stages; the message says where.
        OutputError: A stage of a week is missing or damaged.
    """
    weeks, failed = sorted(weeks), failed or {}
    by_year = {year: YearAccount(year) for year in sorted({*years, *(int(week[1:5]) for week in weeks)})}
    for week in weeks:
        by_year[int(week[1:5])].add(_account_of(folder, week))
    account = Account(list(by_year.values()), missing_weeks(years, {*weeks, *failed}, today), dataset, dict(failed))
    if dataset is not None:
        _check("dataset", account.total.num_captions, "captions", "dataset", dataset.tally("views").num_in)
    return account


def _account_of(folder: DataFolder, week: str) -> YearAccount:
    """The numbers of one week, whose four stages are compared with one another."""
    reports, num_rows = _read_stages(folder, week)
    _check_stages(week, reports, num_rows)
    grants, figures = reports["grants"].tally("grants"), reports["views"].tally("figures")
    return YearAccount(
        int(week[1:5]),
        num_weeks=1,
        num_patents=grants.num_out,
        num_sheets=reports["views"].tally("sheets").num_out,
        num_declared=figures.num_in,
        num_figures=figures.num_out,
        num_views=num_rows["views"],
        num_captions=reports["captions"].tally("views").num_out,
        drops=Counter(
            (stage, unit, drop.reason)
            for stage, report in reports.items()
            for unit, tally in report.tallies.items()
            for drop in tally.drops
        ),
    )


def _read_stages(folder: DataFolder, week: str) -> tuple[dict[str, Report], dict[str, int]]:
    """Report of every weekly stage, and number of rows of every table; OutputError if a stage is not done."""
    state, kept = state_of(folder, "archives", week)
    if kept is None:
        raise OutputError(f"the kept archive of {week} is {state}; run rebuild again")
    reports = {"archives": kept}
    num_rows: dict[str, int] = {}
    for stage in WEEKLY_STAGES[1:]:
        path = table_path(folder, stage, week)
        reports[stage] = read_report(folder, path)
        with open_table(folder, path) as table:
            num_rows[stage] = table.metadata.num_rows
    return reports, num_rows


def _check_stages(week: str, reports: dict[str, Report], num_rows: dict[str, int]) -> None:
    """Raise ReconciliationError unless every stage received what the stage before it gave."""
    members, grants = reports["archives"].tally("members"), reports["grants"].tally("grants")
    figures, captions = reports["views"].tally("figures"), reports["captions"].tally("views")
    _check(week, members.num_out, "members", "grants", grants.num_in)
    _check(week, grants.num_out, "grants", "the table of grants", num_rows["grants"])
    _check(week, reports["grants"].counts.get("figures", 0), "declared figures", "views", figures.num_in)
    _check(week, num_rows["views"], "views", "captions", captions.num_in)
    _check(week, captions.num_out, "captions", "the table of captions", num_rows["captions"])


def _check(where: str, num_out: int, unit: str, into: str, num_in: int) -> None:
    """Raise ReconciliationError unless as many came in as went out."""
    if num_out != num_in:
        raise ReconciliationError(
            f"{where}: {num_out} {unit} went out, but {num_in} came into {into}; please report this as a bug"
        )


def write_account(account: Account, folder: DataFolder) -> str:
    """Write `rebuild.json` and `rebuild.html` into the data folder; equal accounts give equal bytes.

    Returns:
        The path of the page.

    Raises:
        OutputError: The folder cannot be written.
    """
    folder.write_json(folder.path("rebuild.json"), account.to_dict())
    environment = page_environment(Path(__file__).parent)
    first, last = account.years[0].year, account.years[-1].year
    span = str(first) if first == last else f"{first}–{last}"
    page = environment.get_template("account.html").render(account=account, total=account.total, span=span)
    path = folder.path("rebuild.html")
    with folder.writing(path) as file:
        file.write(page.encode())
    return path
