"""The weekly half of the walk: archives → grants → views → captions, weeks side by side."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any

from prefect import Task

from flows.outcomes import WeekOutcome
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.fetching import FetchQueue, num_at_once
from patentdata.archives.kept import state_of_offer
from patentdata.archives.portal import PortalConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.captions.config import CaptionsConfig
from patentdata.errors import ConfigError, PatentDataError, SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import WEEKLY_STAGES, kept_weeks
from patentdata.views.patent_views import ViewsConfig
from tasks.archives import keep_archive
from tasks.captions import caption_views
from tasks.grants import parse_archive
from tasks.running.caption_runner import open_caption_runner
from tasks.running.progress import listener
from tasks.running.runners import Future, Runner, WorkersConfig, open_runner
from tasks.views import split_archive

_LOG = logging.getLogger(__name__)

Step = tuple[str, Task[..., Any], dict[str, Any]]


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
    views: ViewsConfig = ViewsConfig()
    captions: CaptionsConfig = CaptionsConfig()
    workers: WorkersConfig = WorkersConfig()

    def __post_init__(self) -> None:
        if unknown := set(self.only_stages) - set(WEEKLY_STAGES):
            raise ConfigError(f"no stage {', '.join(sorted(unknown))}; the stages are {', '.join(WEEKLY_STAGES)}")


def walk_weeks(config: WeeksConfig) -> list[WeekOutcome]:
    """Take every week of the source and of the data folder to its captions; a week that fails stops no other.

    A week that is here and offered anew, but cannot be fetched, has failed; what is here of it is walked all the same.

    Returns:
        One outcome a week, in order of date.

    Raises:
        SourceError: There is no week to walk.
    """
    folder = DataFolder(config.data_dir)
    years = config.years or None
    offered = {week.week: week for week in _offered(config)}
    kept = [week for week in kept_weeks(folder) if years is None or int(week[1:5]) in years]
    outcomes = {week: WeekOutcome(week) for week in sorted({*offered, *kept})}
    if not outcomes:
        raise SourceError(f"no week to walk in {config.source or config.data_dir}; name a --source of weekly archives")
    steps = {week: list(_steps(config, folder, week, offered.get(week))) for week in outcomes}
    listener().on_weeks(list(outcomes), sum(len(of_week) for of_week in steps.values()))
    fetching = FetchQueue(num_at_once(offered.values(), config.workers.num_known_workers))
    with (
        open_runner(config.workers) as runner,
        open_caption_runner(runner, config.workers, folder, config.captions) as caption_runner,
    ):
        _drive(lambda stage: caption_runner if stage == "captions" else runner, steps, outcomes, set(kept), fetching)
    return list(outcomes.values())


def _offered(config: WeeksConfig) -> list[WeeklyArchive]:
    if config.source is None:
        return []
    return list_weeks(config.source, years=config.years or None, portal=config.portal, downloads=config.downloads)


def _steps(config: WeeksConfig, folder: DataFolder, week: str, archive: WeeklyArchive | None) -> Iterator[Step]:
    steps: list[Step] = [
        ("archives", keep_archive, {"archive": archive, "config": config.archives}),
        ("grants", parse_archive, {"week": week}),
        ("views", split_archive, {"week": week, "config": config.views}),
        ("captions", caption_views, {"week": week, "config": config.captions}),
    ]
    wanted = config.only_stages or WEEKLY_STAGES
    for stage, task, parameters in steps:
        if stage in wanted and (stage != "archives" or archive is not None):
            yield stage, task, {"folder": folder, **parameters}


def _drive(
    runner_of: Callable[[str], Runner],
    steps: dict[str, list[Step]],
    outcomes: dict[str, WeekOutcome],
    kept: Container[str],
    fetching: FetchQueue,
) -> None:
    """Hand out each week's next step as soon as the one before it is done, so that no worker waits within a task.

    Archives are fetched as `fetching` says, while other weeks go on behind them.
    """
    done: queue.SimpleQueue[tuple[str, str, bool, Future]] = queue.SimpleQueue()
    num_running = 0

    def start_next(week: str, *, has_turn: bool = False) -> int:
        if not steps[week]:
            return 0
        stage, task, parameters = steps[week][0]
        is_fetched = has_turn or (stage == "archives" and _is_to_fetch(**parameters))
        if is_fetched and fetching.stop_reason is not None:
            del steps[week][0]
            return fail(week, stage, fetching.stop_reason)
        if is_fetched and not has_turn and not fetching.begins(week):
            return 0
        if is_fetched:
            parameters["archive"] = fetching.asked_for(parameters["archive"])
        del steps[week][0]
        future = runner_of(stage).submit(task, **parameters)
        future.add_done_callback(lambda finished: done.put((week, stage, is_fetched, finished)))
        return 1

    def fail(week: str, stage: str, error: str) -> int:
        outcome = outcomes[week]
        if outcome.error is None:
            outcome.failed_stage, outcome.error = stage, error
        listener().on_stage(week, stage, None)
        return start_next(week) if stage == "archives" and week in kept else 0

    for week in outcomes:
        num_running += start_next(week)
    while num_running:
        week, stage, is_fetched, future = done.get()
        num_running -= 1
        failure = None
        try:
            outcomes[week].reports[stage] = future.result()
        except Exception as error:  # whatever it is, it ends this week alone, and is told at the end
            failure = error
            if not isinstance(error, PatentDataError):
                _LOG.exception("%s %s failed", stage, week)
            num_running += fail(week, stage, _sentence(error))
        else:
            listener().on_stage(week, stage, outcomes[week].reports[stage])
            num_running += start_next(week)
        if is_fetched:
            num_running += sum(start_next(waiting, has_turn=True) for waiting in fetching.ended(failure))


def _is_to_fetch(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig) -> bool:
    """Whether an archive has yet to come, as far as its note tells; one that is here is only looked through."""
    note = folder.read_json(folder.path("archives", f"{archive.week}.json"))
    return state_of_offer(archive, note if isinstance(note, dict) else None, whole=config.whole) != "here"


def _sentence(error: Exception) -> str:
    if isinstance(error, PatentDataError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"
