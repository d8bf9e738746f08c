"""Stage grants as a task."""

from patentdata.grants import stage
from tasks.running.retry import stage_task

parse_archive = stage_task(stage.parse_archive, stage="grants", of="{week}")
