"""Stage captions as a task."""

from patentdata.captions import stage
from tasks.running.retry import stage_task

caption_views = stage_task(stage.caption_views, stage="captions", of="{week}")
