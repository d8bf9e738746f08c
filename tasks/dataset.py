"""Stage dataset as a task."""

from patentdata.dataset.stage import build_dataset
from tasks.running.retry import stage_task

freeze_dataset = stage_task(build_dataset, stage="dataset", of="{config.name}")
