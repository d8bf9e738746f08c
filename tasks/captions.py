"""Stage captions as a task."""

from patentdata import stages
from tasks.retry import stage_task

caption_views = stage_task(stages.caption_views, stage="captions", of="{week}")
