"""Training and evaluation in a child process, so that a crash (CUDA, lack of memory) does not end the caller.

Finished results are returned without starting a process: starting one takes seconds, checking the files does not.
Therefore this module must not import torch.

The child reports on its standard output: one JSON object a step, {"log": …} for what it logs, and {"summary": …} at the
end. Any other line is kept for the error message.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.errors import ConfigError, ModelError, ProcessKilledError
from model.evaluation.config import EvaluationConfig
from model.evaluation.done import finished_evaluation
from model.progress import Progress, log_again
from model.training.config import TrainConfig
from model.training.done import finished_training
from model.training.run.folder import Replace

_NUM_LAST_LINES = 20
_BAD_ARGUMENTS = 2  # exit code of a child whose settings cannot be used

_LOG = logging.getLogger(__name__)


def train_in_child(
    dataset_dir: str | Path,
    run_dir: str | Path,
    config: TrainConfig,
    *,
    replace: Replace = "nothing",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train in a child process and return the summary; a finished run is returned without one.

    Args:
        dataset_dir: Folder of the dataset.
        run_dir: Folder of the run.
        config: How to train.
        replace: Which other run in the folder may be replaced, once the new one is finished.
        progress: Called after each step with the steps done, the steps in all, and the step's metrics.

    Raises:
        ConfigError: The child cannot use the settings, or the folder holds another run that may not be replaced.
        ProcessKilledError: A signal ended the child.
        ModelError: The child failed; the message is its own error message, or its last lines if it left none.
    """
    summary = finished_training(dataset_dir, run_dir, config, replace=replace)
    if summary is not None:
        _LOG.info("%s: the training run is finished and intact, nothing to do", Path(run_dir).name)
        return summary
    with _settings_file(config) as settings:
        arguments = ["--dataset", str(dataset_dir), "--run-dir", str(run_dir), "--config", str(settings)]
        return _run("model.training.train", [*arguments, "--replace", replace], progress)


def evaluate_in_child(
    model: str | Path,
    dataset_dir: str | Path,
    out_dir: str | Path,
    config: EvaluationConfig,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate in a child process and return what `evaluation.json` holds.

    A finished evaluation of a local model is returned without a process.

    Args:
        model: A run folder, its model/ folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: Folder of the dataset.
        out_dir: Gets `evaluation.json` and `report.html`.
        config: What to measure.
        progress: Called after each part with what is done, how much in all, and under "doing" what is counted.

    Raises:
        ConfigError, ProcessKilledError, ModelError: See `train_in_child`.
    """
    results = finished_evaluation(model, dataset_dir, out_dir, config)
    if results is not None:
        _LOG.info("%s: the evaluation is finished and intact, nothing to do", Path(out_dir).name)
        return results
    with _settings_file(config) as settings:
        arguments = ["--model", str(model), "--dataset", str(dataset_dir), "--out", str(out_dir)]
        return _run("model.evaluation.evaluate", [*arguments, "--config", str(settings)], progress)


@contextlib.contextmanager
def _settings_file(config: TrainConfig | EvaluationConfig) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="designclip-") as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config.to_dict()))
        yield path


def _run(module: str, arguments: list[str], progress: Progress | None) -> dict[str, Any]:
    """Run a module of this library as a program and return its summary. The child never outlives this call."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        summary, errors, last_lines = _follow(child, progress)
    finally:
        if child.poll() is None:
            child.terminate()
        code = child.wait()
    if code == 0 and summary is not None:
        return summary
    if code < 0:
        raise ProcessKilledError(f"the process of {module} was ended by signal {-code}; run again to resume")
    kind = ConfigError if code == _BAD_ARGUMENTS else ModelError
    raise kind(errors[-1] if errors else f"the process of {module} failed:\n" + "\n".join(last_lines))


def _follow(
    child: subprocess.Popen[str], progress: Progress | None
) -> tuple[dict[str, Any] | None, list[str], list[str]]:
    """Read the child's output to its end: its summary, if it has one, its error messages, and its last other lines."""
    summary = None
    errors: list[str] = []
    last_lines: collections.deque[str] = collections.deque(maxlen=_NUM_LAST_LINES)
    for line in child.stdout or ():
        try:
            values = json.loads(line)
        except ValueError:
            last_lines.append(line.rstrip())
            if line.startswith("error: "):  # torchrun prints many lines after it
                errors.append(line.rstrip().removeprefix("error: "))
            continue
        if not isinstance(values, dict):
            continue
        if "log" in values:
            log_again(values["log"])
        elif "summary" in values:
            summary = values["summary"]
        elif progress is not None and "step" in values:
            progress(values["step"], values["num_steps"], values)
    return summary, errors, list(last_lines)
