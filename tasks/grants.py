"""Stage grants as a task."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from patentdata import stages
from patentdata.folder import DataFolder
from patentdata.report import Report
from tasks.retry import is_worth_retrying


@task(
    name="grants",
    task_run_name="grants {week}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=is_worth_retrying,
)
def parse_archive(data_dir: str, week: str) -> Report:
    """Parse every grant of one kept archive."""
    return stages.parse_archive(DataFolder(data_dir), week)
