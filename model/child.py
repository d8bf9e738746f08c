"""Training in a process of its own, which may die without taking its caller with it."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.config import TrainConfig
from model.errors import TrainingError

Progress = Callable[[int, int, dict[str, Any]], None]

_NUM_LAST_LINES = 20


def train_in_child(
    dataset_dir: str | Path, run_dir: str | Path, config: TrainConfig, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Run `model.train.train` in a child process and return its summary.

    Args:
        dataset_dir: Folder of the dataset.
        run_dir: Folder of the run.
        config: How to train.
        progress: Called after each step with the steps done, the steps in all, and the step's metrics.

    Raises:
        TrainingError: The child failed; the message is its own, or its last lines where it left none.
    """
    with tempfile.TemporaryDirectory(prefix="designclip-") as folder:
        config_path = Path(folder) / "config.json"
        config_path.write_text(json.dumps(config.to_dict()))
        command = [sys.executable, "-m", "model.train", "--dataset", str(dataset_dir), "--run", str(run_dir)]
        child = subprocess.Popen(
            [*command, "--config", str(config_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            summary, last_lines = _follow(child, progress)
        finally:
            if child.poll() is None:
                child.terminate()
            code = child.wait()
    if code == 0 and summary is not None:
        return summary
    if code < 0:
        raise TrainingError(f"the training process was ended by signal {-code}; run again to go on from its checkpoint")
    errors = [line.removeprefix("error: ") for line in last_lines if line.startswith("error: ")]
    raise TrainingError(errors[-1] if errors else "the training process failed:\n" + "\n".join(last_lines))


def _follow(child: subprocess.Popen[str], progress: Progress | None) -> tuple[dict[str, Any] | None, list[str]]:
    """The child's summary, if it came to one, and its last lines that were no JSON."""
    summary = None
    last_lines: collections.deque[str] = collections.deque(maxlen=_NUM_LAST_LINES)
    for line in child.stdout or ():
        try:
            values = json.loads(line)
        except ValueError:
            last_lines.append(line.rstrip())
            continue
        if not isinstance(values, dict):
            continue
        if "summary" in values:
            summary = values["summary"]
        elif progress is not None and "step" in values:
            progress(values["step"], values["num_steps"], values)
    return summary, list(last_lines)
