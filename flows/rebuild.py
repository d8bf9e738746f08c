"""Flow rebuild: whole years, such as IMPACT's 2007 to 2022, to a dataset, an account, and IMPACT's own layout."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from prefect import flow

from flows.outcomes import WalkResult, WeekOutcome, WeeksFailedError
from flows.preflight.rates import Stopwatch, write_speed
from flows.refresh import RefreshConfig, refresh
from model.training.config import TrainConfig
from patentdata.errors import ConfigError, PatentDataError
from patentdata.rebuild.account import Account, reconcile, write_account
from patentdata.rebuild.impact_layout import locked_layout
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import weeks_of
from tasks.impact import write_week, write_year
from tasks.running.progress import listening
from tasks.running.runners import call_flow, call_task, open_runner


@dataclass(frozen=True, kw_only=True)
class RebuildConfig(RefreshConfig):
    """Settings of a rebuild: those of a refresh, over whole years, without training unless it is asked for.

    Attributes:
        layout: "impact" also writes IMPACT's own layout; "none" does not.
        layout_dir: Folder for it, on this machine; None for the data folder's name and "-impact".
    """

    training: TrainConfig | None = None
    layout: Literal["none", "impact"] = "none"
    layout_dir: Path | None = None

    def __post_init__(self) -> None:
        if not self.weeks.years:
            raise ConfigError("no years to rebuild; name them, such as [2021, 2022]")
        if self.layout == "impact" and self.layout_dir is None and not DataFolder(self.weeks.data_dir).is_local:
            raise ConfigError(f"{self.weeks.data_dir} is not on this machine; name a --layout-dir that is")

    @property
    def impact_dir(self) -> Path:
        """Where IMPACT's layout goes."""
        return self.layout_dir or Path(f"{DataFolder(self.weeks.data_dir).root}-impact")


@dataclass
class RebuildResult(WalkResult):
    """What became of a rebuild.

    Attributes:
        account: Years, drops by reason, Tuesdays without an archive.
        page: The account as a page.
        layout_dir: Where IMPACT's layout is, or None.
    """

    account: Account | None = None
    page: str | None = None
    layout_dir: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        account = self.account.to_dict() if self.account else None
        return super().to_dict() | {"account": account, "page": self.page, "layout_dir": self.layout_dir}


@flow(name="rebuild", validate_parameters=True)
def rebuild(config: RebuildConfig) -> RebuildResult:
    """Walk whole years to a dataset, write IMPACT's layout if asked, and account for every patent, sheet and figure.

    What is done already is left as it is, so a rebuild can be stopped at any moment and run again.

    Raises:
        WeeksFailedError: Some weeks failed, or the source could not give all it has, after everything else was done.
        ReconciliationError: The outputs of a stage are not the inputs of the next.
    """
    folder = DataFolder(config.weeks.data_dir)
    walked = _walk(folder, config)
    result = RebuildResult(**vars(walked))
    with folder.locked():
        if config.layout == "impact":
            result.layout_dir = str(config.impact_dir)
            with locked_layout(config.impact_dir):
                write_layout(folder, config.impact_dir, result.weeks, config)
        result.account = reconcile(
            folder,
            [outcome.week for outcome in result.weeks if _is_walked(outcome)],
            years=config.weeks.years,
            today=datetime.date.today(),
            dataset=result.dataset,
            failed={failure.week: f"{failure.failed_stage}: {failure.error}" for failure in result.failures},
        )
        result.page = write_account(result.account, folder)
    result.raise_if_incomplete()
    return result


def _walk(folder: DataFolder, config: RebuildConfig) -> WalkResult:
    """The refresh of the years, timed; under Prefect a subflow, whose own page shows the weeks."""
    refreshed = RefreshConfig(**{setting.name: getattr(config, setting.name) for setting in fields(RefreshConfig)})
    watch = Stopwatch(weeks_of(folder, "views"), time.monotonic)
    try:
        with listening(watch):
            return call_flow(refresh, refreshed)
    except WeeksFailedError as failed:
        return failed.result
    finally:
        write_speed(folder, watch, config.weeks.workers.num_workers_here, datetime.date.today())


def _is_walked(outcome: WeekOutcome) -> bool:
    """Whether a week is whole, though its folders in IMPACT's layout may not be."""
    return outcome.is_whole or outcome.failed_stage == "impact"


def write_layout(folder: DataFolder, out: Path, outcomes: list[WeekOutcome], config: RebuildConfig) -> None:
    """IMPACT's layout of whole weeks in parallel, then the years' tables; a failure goes into its week's outcome."""
    whole = [outcome for outcome in outcomes if outcome.is_whole]
    with open_runner(config.weeks.workers) as runner:
        futures = [runner.submit(write_week, folder=folder, week=outcome.week, out=out) for outcome in whole]
        for outcome, future in zip(whole, futures, strict=True):
            try:
                outcome.reports["impact"] = future.result()
            except PatentDataError as error:
                outcome.failed_stage, outcome.error = "impact", str(error)
    weeks = [outcome.week for outcome in whole if outcome.failed_stage != "impact"]
    for year in sorted({int(week[1:5]) for week in weeks}):
        call_task(write_year, year=year, weeks=[week for week in weeks if int(week[1:5]) == year], out=out)
