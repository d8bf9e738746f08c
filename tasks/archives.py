"""Stage archives as a task."""

from patentdata import stages
from tasks.retry import stage_task

keep_archive = stage_task(stages.keep_archive, stage="archives", of="{archive.week}")
