"""Stage captions as a task."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from patentdata import stages
from patentdata.captions import DescribedConfig, described
from patentdata.folder import DataFolder
from patentdata.report import Report
from tasks.retry import is_worth_retrying


@task(
    name="captions",
    task_run_name="captions {week}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=is_worth_retrying,
)
def caption_views(data_dir: str, week: str, config: DescribedConfig) -> Report:
    """Caption every view of one week."""
    return stages.caption_views(DataFolder(data_dir), week, described(config))
