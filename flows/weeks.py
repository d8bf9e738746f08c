"""The weekly half of the walk: archives → grants → views → captions, weeks side by side."""

from __future__ import annotations

import collections
import logging
import queue
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from prefect import Task

from flows.outcomes import WeekOutcome
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.fetching import FetchQueue, num_at_once
from patentdata.archives.kept import is_kept
from patentdata.archives.portal import PortalConfig
from patentdata.archives.sources import AccessConfig, SourceWeeks, read_source
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.captions.config import CaptionsConfig
from patentdata.errors import ConfigError, PatentDataError, SourceError
from patentdata.grants.config import GrantsConfig
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks, read_note
from patentdata.views.patent_views import ViewsConfig
from tasks.archives import keep_archive
from tasks.captions import caption_views
from tasks.grants import parse_archive
from tasks.running.caption_runner import open_caption_runner
from tasks.running.progress import listener
from tasks.running.runners import Future, Runner, WorkersConfig, open_runner
from tasks.views import split_archive

_LOG = logging.getLogger(__name__)


class Step(NamedTuple):
    """One stage of one week, to be submitted as a task with these parameters."""

    stage: str
    task: Task[..., Any]
    parameters: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WeeksConfig:
    """Which weeks are walked, and how.

    Attributes:
        data_dir: The data folder: a path or any fsspec address.
        source: "portal", a mirror's address, or a folder of weekly archives; without it, the weeks already in the data
            folder are walked again.
        years: Only weeks of these years; empty for all.
        only_stages: Only these stages, in the order of the walk; empty for all four.
        archives: Bounds on members, and how far an archive is read.
        portal: Where the portal is and what it allows; its key is no setting.
        downloads: How patient a download is.
        grants: Which patents are left out.
        views: How sheets are split.
        captions: How captions are made, and by what.
        workers: Where the work runs; changes no byte of the output.
    """

    data_dir: str
    source: str | None = None
    years: tuple[int, ...] = ()
    only_stages: tuple[str, ...] = ()
    archives: ArchivesConfig = ArchivesConfig()
    portal: PortalConfig = PortalConfig()
    downloads: DownloadsConfig = DownloadsConfig()
    grants: GrantsConfig = GrantsConfig()
    views: ViewsConfig = ViewsConfig()
    captions: CaptionsConfig = CaptionsConfig()
    workers: WorkersConfig = WorkersConfig()

    def __post_init__(self) -> None:
        if unknown := set(self.only_stages) - set(WEEKLY_STAGES):
            raise ConfigError(f"no stage {', '.join(sorted(unknown))}; the stages are {', '.join(WEEKLY_STAGES)}")

    @property
    def access(self) -> AccessConfig:
        """How the source is accessed."""
        return AccessConfig(portal=self.portal, downloads=self.downloads)


def offered_weeks(config: WeeksConfig) -> SourceWeeks:
    """What the source offers of the years that are walked; nothing if no source is named. Raises SourceError."""
    if config.source is None:
        return SourceWeeks(weeks=[])
    return read_source(config.source, years=config.years or None, access=config.access)


def walk_weeks(
    config: WeeksConfig, folder: DataFolder | None = None, offered: SourceWeeks | None = None
) -> list[WeekOutcome]:
    """Take every week of the source and of the data folder to its captions; a week that fails stops no other.

    If a week that is kept is offered again but cannot be fetched, it counts as failed, and what is kept of it is
    walked all the same.

    Args:
        config: Which weeks, and how.
        folder: The data folder that `config.data_dir` names, if it is open already.
        offered: What the source offers, if that is known already; the caller reports its problems.

    Returns:
        One outcome a week, in order of date.

    Raises:
        SourceError: There is no week to walk.
    """
    config = replace(config, grants=config.grants.without_file())
    folder = folder or DataFolder(config.data_dir)
    archives = {archive.week: archive for archive in (offered or offered_weeks(config)).weeks}
    kept = [week for week in kept_weeks(folder) if not config.years or int(week[1:5]) in config.years]
    weeks = sorted({*archives, *kept})
    if not weeks:
        raise SourceError(_no_week_in(config))
    _LOG.info("%d weeks to walk: %d offered by %s, %d kept", len(weeks), len(archives), config.source, len(kept))

    steps = {week: list(_steps(config, folder, week, archives.get(week))) for week in weeks}
    listener().on_weeks(weeks, sum(len(of_week) for of_week in steps.values()))
    fetch_queue = FetchQueue(num_at_once(archives.values(), config.workers.num_known_workers))
    with (
        open_runner(config.workers) as runner,
        open_caption_runner(runner, config.workers, folder, config.captions) as caption_runner,
    ):
        scheduler = WeekScheduler(
            steps, lambda stage: caption_runner if stage == "captions" else runner, kept=kept, fetch_queue=fetch_queue
        )
        return scheduler.run()


def _no_week_in(config: WeeksConfig) -> str:
    """Why there is no week to walk: the source or the data folder has none of these years."""
    of_years = f" of {', '.join(map(str, config.years))}" if config.years else ""
    if config.source is not None:
        return f"no week{of_years} in {config.source}"
    return (
        f"no week{of_years} in {config.data_dir}; name a source of weekly archives, as in designclip archives "
        f"--source portal -d {config.data_dir}"
    )


def _steps(config: WeeksConfig, folder: DataFolder, week: str, archive: WeeklyArchive | None) -> Iterator[Step]:
    steps = [
        Step("archives", keep_archive, {"archive": archive, "config": config.archives, "access": config.access}),
        Step("grants", parse_archive, {"week": week, "config": config.grants}),
        Step("views", split_archive, {"week": week, "config": config.views}),
        Step("captions", caption_views, {"week": week, "config": config.captions}),
    ]
    wanted = config.only_stages or WEEKLY_STAGES
    for step in steps:
        if step.stage in wanted and (step.stage != "archives" or archive is not None):
            yield step._replace(parameters={"folder": folder, **step.parameters})


class WeekScheduler:
    """Submits each week's next step as soon as the one before it is done, so that no worker waits within a task.

    Archives are fetched as the fetch queue allows, while other weeks continue behind them. All decisions are made in
    the thread that calls `run`; finished tasks reach it through a queue.

    Args:
        steps: Week → its steps in the order of the walk.
        runner_of: Stage → the runner that takes its tasks.
        kept: Weeks whose archive is in the data folder already; if it cannot be fetched again, what is kept is walked.
        fetch_queue: Which archives are fetched when.

    Attributes:
        outcomes: Week → what became of it so far.
    """

    def __init__(
        self,
        steps: Mapping[str, list[Step]],
        runner_of: Callable[[str], Runner],
        *,
        kept: Container[str],
        fetch_queue: FetchQueue,
    ) -> None:
        self.outcomes = {week: WeekOutcome(week) for week in steps}
        self._steps = {week: collections.deque(of_week) for week, of_week in steps.items()}
        self._runner_of, self._kept, self._fetch_queue = runner_of, kept, fetch_queue
        self._done: queue.SimpleQueue[tuple[str, str, bool, Future]] = queue.SimpleQueue()
        self._num_running = 0

    def run(self) -> list[WeekOutcome]:
        """Take every step that can be taken; returns one outcome a week, in the order of `steps`."""
        for week in self.outcomes:
            self.start(week)
        while self._num_running:
            self.finish(*self._done.get())
        return list(self.outcomes.values())

    def start(self, week: str, *, has_turn: bool = False) -> None:
        """Submit the next step of a week, unless it has none left or its archive has to wait for its turn.

        Args:
            week: The week.
            has_turn: The fetch queue has just named this week; its archive is fetched now.
        """
        if not self._steps[week]:
            return
        stage, task, parameters = self._steps[week][0]
        is_fetched = has_turn or (stage == "archives" and _is_to_fetch(**parameters))
        if is_fetched and self._fetch_queue.stop_reason is not None:
            self._steps[week].popleft()
            self.fail(week, stage, self._fetch_queue.stop_reason)
            return
        if is_fetched and not has_turn and not self._fetch_queue.begins(week):
            return
        if is_fetched:
            parameters["access"] = self._fetch_queue.access(parameters["access"])
        self._steps[week].popleft()
        future = self._runner_of(stage).submit(task, **parameters)
        future.add_done_callback(lambda finished: self._done.put((week, stage, is_fetched, finished)))
        self._num_running += 1

    def finish(self, week: str, stage: str, is_fetched: bool, future: Future) -> None:
        """Record what a finished step came to, and start what can follow it."""
        self._num_running -= 1
        failure = None
        try:
            report = future.result()
        except Exception as error:  # whatever it is, it ends this week alone, and is reported at the end
            failure = error
            if not isinstance(error, PatentDataError):
                _LOG.exception("%s %s failed", week, stage)
            self.fail(week, stage, _sentence(error))
        else:
            self.outcomes[week].reports[stage] = report
            _LOG.info("%s %s: %s", week, stage, _counts(report))
            listener().on_stage(week, stage, report)
            self.start(week)
        if is_fetched:
            for waiting in self._fetch_queue.ended(failure):
                self.start(waiting, has_turn=True)

    def fail(self, week: str, stage: str, error: str) -> None:
        """Record the failure of a week; an archive that is kept is walked all the same."""
        outcome = self.outcomes[week]
        if outcome.error is None:
            outcome.failed_stage, outcome.error = stage, error
        _LOG.info("%s %s failed: %s", week, stage, error)
        listener().on_stage(week, stage, None)
        if stage == "archives" and week in self._kept:
            _LOG.info("%s: its kept archive is walked in place of the one that could not be fetched", week)
            self.start(week)


def _counts(report: Report) -> str:
    """What went in and came out of a stage, for the log."""
    return ", ".join(f"{tally.num_out:,} of {tally.num_in:,} {unit}" for unit, tally in report.tallies.items())


def _is_to_fetch(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig, **_: object) -> bool:
    """Whether the stage archives will fetch an archive, as far as its note says; one that is kept is only checked."""
    return not is_kept(read_note(folder, archive.week), archive, config)


def _sentence(error: Exception) -> str:
    if isinstance(error, PatentDataError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"
