"""Stage views as a task."""

from patentdata.views import stage
from tasks.running.retry import stage_task

split_archive = stage_task(stage.split_archive, stage="views", of="{week}")
