"""Stage views as a task."""

from patentdata.views import ViewsConfig
from prefect import task
from prefect.cache_policies import NO_CACHE

from patentdata import stages
from patentdata.folder import DataFolder
from patentdata.report import Report
from tasks.retry import is_worth_retrying


@task(
    name="views",
    task_run_name="views {week}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=is_worth_retrying,
)
def split_archive(data_dir: str, week: str, config: ViewsConfig) -> Report:
    """Split every sheet of one week into its views."""
    return stages.split_archive(DataFolder(data_dir), week, config)
