"""Stage views as a task."""

from patentdata import stages
from tasks.retry import stage_task

split_archive = stage_task(stages.split_archive, stage="views", of="{week}")
