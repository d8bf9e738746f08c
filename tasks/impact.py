"""IMPACT's layout as tasks."""

from patentdata.rebuild import impact_layout
from tasks.running.retry import stage_task

write_week = stage_task(impact_layout.write_week, stage="impact", of="{week}")
write_year = stage_task(impact_layout.write_year, stage="impact", of="{year}")
