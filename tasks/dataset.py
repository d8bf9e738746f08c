"""Stage dataset as a task."""

from patentdata.dataset import DatasetConfig, build_dataset
from prefect import task
from prefect.cache_policies import NO_CACHE

from patentdata.folder import DataFolder
from patentdata.report import Report
from tasks.retry import is_worth_retrying


@task(
    name="dataset",
    task_run_name="dataset {config.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=is_worth_retrying,
)
def freeze_dataset(data_dir: str, weeks: list[str], config: DatasetConfig) -> Report:
    """Freeze the weeks' captioned views into a dataset."""
    return build_dataset(DataFolder(data_dir), weeks, config)
