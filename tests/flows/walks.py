"""Small walks for the tests: a drawn week, settings for it, and the bytes a data folder holds."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.refresh import RefreshConfig
from flows.weeks import WeeksConfig
from model import child_process
from model.evaluation.config import EvaluationConfig
from model.training.config import TrainConfig
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.specimens import SpecimenConfig, write_week
from tasks.running.runners import WorkersConfig

WEEKS = ("I20240102", "I20240109")
BESIDE_THE_RESULT = {"timings.jsonl", "training.html"}  # how fast a training run went, which differs from run to run
BRIEF_TRAINING = TrainConfig(architecture="designclip-tiny", batch_size=16, num_steps=4, warmup_steps=1, device="cpu")


def draw_archives(folder: Path, num_patents: int = 5) -> Path:
    """A folder of two small drawn weeks, one tar and one ZIP."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, week in enumerate(WEEKS):
        config = SpecimenConfig(num_patents=num_patents, first_number=900_001 + i * num_patents)
        write_week(folder, week, config, container="zip" if i else "tar")
    return folder


def small_walk(source: Path | None, data_dir: Path | str, **weeks: object) -> RefreshConfig:
    """Settings of a short walk; a third of the few patents is for the test."""
    return RefreshConfig(
        weeks=WeeksConfig(
            data_dir=str(data_dir),
            source=None if source is None else str(source),
            **({"workers": WorkersConfig(kind="threads", num_workers=2)} | weeks),  # type: ignore[arg-type]
        ),
        dataset=DatasetConfig(split=SplitConfig(test_share=0.34, validation_share=0.1)),
        training=BRIEF_TRAINING,
        evaluation=EvaluationConfig(tasks=("retrieval",), untrained=False, num_resamples=20, device="cpu"),
    )


@contextlib.contextmanager
def training_here() -> Iterator[None]:
    """Train and evaluate in this process for the length of a block: a child spends ten seconds on importing torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child_process, "subprocess", SimpleNamespace(Popen=_CallHere, PIPE=None, STDOUT=None))
        yield


class _CallHere:
    """Replaces `subprocess.Popen` for `python -m MODULE …`: calls the module's `main`, and has then ended."""

    def __init__(self, command: list[str], **_: object) -> None:
        _python, _option, module, *arguments = command
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            self._code = importlib.import_module(module).main(arguments)
        self.stdout = io.StringIO(output.getvalue())

    def poll(self) -> int:
        return self._code

    def wait(self) -> int:
        return self._code


def hashes(data_dir: Path) -> dict[str, str]:
    """Path → SHA-256 of every file in a data folder but those beside the result."""
    return {
        str(path.relative_to(data_dir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path.name not in BESIDE_THE_RESULT
    }


def times(data_dir: Path) -> dict[str, int]:
    """Path → time of the last change of every file in a data folder but the lock."""
    return {
        str(path.relative_to(data_dir)): path.stat().st_mtime_ns
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
