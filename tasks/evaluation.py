"""Stage evaluation as a task, in a child process like training."""

from model.child_process import evaluate_in_child
from tasks.running.retry import stage_task

evaluate_model = stage_task(evaluate_in_child, stage="evaluation", of="{out_dir.name}")
