"""Stage archives as a task."""

from patentdata.archives import stage
from tasks.running.retry import stage_task

keep_archive = stage_task(stage.keep_archive, stage="archives", of="{archive.week}")
