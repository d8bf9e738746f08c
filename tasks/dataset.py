"""Stage dataset as tasks: the plan, which concerns all weeks, each week, and the end, which makes the dataset done."""

from patentdata.dataset import stage
from tasks.running.retry import stage_task

plan_dataset = stage_task(stage.plan_dataset, stage="dataset", of="{config.name} planned")
freeze_week = stage_task(stage.freeze_week, stage="dataset", of="{plan.week}")
finish_dataset = stage_task(stage.finish_dataset, stage="dataset", of="{config.name}")
