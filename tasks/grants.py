"""Stage grants as a task."""

from patentdata import stages
from tasks.retry import stage_task

parse_archive = stage_task(stages.parse_archive, stage="grants", of="{week}")
