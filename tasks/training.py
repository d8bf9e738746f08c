"""Stage training as a task: in a child process, so that a CUDA fault or a lack of memory ends only that process."""

from model.child_process import train_in_child
from tasks.running.retry import stage_task

train_model = stage_task(train_in_child, stage="training", of="{run_dir.name}")
