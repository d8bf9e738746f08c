"""Stage evaluation as a task, in a child process like training."""

from model.child import evaluate_in_child
from tasks.retry import stage_task

evaluate_model = stage_task(evaluate_in_child, stage="evaluation", of="{out_dir.name}")
