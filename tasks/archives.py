"""Stage archives as a task."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from patentdata import stages
from patentdata.archives import ArchivesConfig
from patentdata.catalog import WeeklyArchive
from patentdata.folder import DataFolder
from patentdata.report import Report
from tasks.retry import is_worth_retrying


@task(
    name="archives",
    task_run_name="archives {archive.week}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=is_worth_retrying,
)
def keep_archive(data_dir: str, archive: WeeklyArchive, config: ArchivesConfig) -> Report:
    """Keep the DESIGN members of one weekly archive."""
    return stages.keep_archive(DataFolder(data_dir), archive, config)
