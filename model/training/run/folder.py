"""The folder of a training run, and what in it is done, stale or still of use.

config.json      what the run was asked for, and the fingerprint of its dataset
metrics.jsonl    one line a step
checkpoints/     the latest states
model/           the trained model, as stock open_clip loads it
training.json    the summary; written last, so that it marks a finished run

Beside them, and no part of the result: training.html, the page of the run; timings.jsonl, its speed and memory;
tracking/, what a tracker keeps; failed_batch.json, what a run that went wrong was at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.files import atomic_write, hash_folder, read_json, remove, write_json
from model.training.run.checkpoints import is_intact, list_checkpoints, remove_checkpoint


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def summary(self) -> Path:
        return self.folder / "training.json"

    @property
    def page(self) -> Path:
        return self.folder / "training.html"

    @property
    def timings(self) -> Path:
        return self.folder / "timings.jsonl"

    @property
    def tracking(self) -> Path:
        return self.folder / "tracking"

    @property
    def failed_batch(self) -> Path:
        return self.folder / "failed_batch.json"

    def finished_summary(self, identity: dict[str, Any]) -> dict[str, Any] | None:
        """The summary of a finished run of this very identity whose files are all intact; else None."""
        summary = read_json(self.summary)
        if summary is None or summary.get("identity") != identity or read_json(self.config) != identity:
            return None
        files = summary.get("model_files")
        are_intact = bool(files) and hash_folder(self.model) == files
        return summary if are_intact and self.metrics_sha256() == summary.get("metrics_sha256") else None

    def metrics_sha256(self, num_steps: int | None = None) -> str | None:
        """SHA-256 of the first lines of the metrics, of all where none is named; None where there are not so many."""
        lines = self.metrics.read_bytes().splitlines(keepends=True) if self.metrics.is_file() else []
        if not lines or (num_steps is not None and len(lines) < num_steps):
            return None
        return hashlib.sha256(b"".join(lines[:num_steps])).hexdigest()

    def make_ready(self, identity: dict[str, Any]) -> int:
        """Bring the folder to a state that a run of `identity` can go on from.

        Outputs of another identity are removed. Of its own, the latest intact checkpoint stays, and the metrics are cut
        back to it.

        Returns:
            Number of steps done; 0 for a fresh start.
        """
        for path in (self.summary, self.page, self.failed_batch):
            remove(path)
        if read_json(self.config) != identity:
            for path in (self.metrics, self.checkpoints, self.model, self.config, self.timings, self.tracking):
                remove(path)
            write_json(self.config, identity)
        for num_steps_done in list_checkpoints(self.checkpoints):
            metrics_sha256 = self.metrics_sha256(num_steps_done)
            if metrics_sha256 and is_intact(self.checkpoints, num_steps_done, metrics_sha256=metrics_sha256):
                self._cut_metrics(num_steps_done)
                return num_steps_done
            remove_checkpoint(self.checkpoints, num_steps_done)
        remove(self.checkpoints)
        self._cut_metrics(0)
        return 0

    def _cut_metrics(self, num_steps: int) -> None:
        if num_steps == 0:
            remove(self.metrics)
            return
        lines = self.metrics.read_bytes().splitlines(keepends=True)
        if len(lines) > num_steps:
            with atomic_write(self.metrics) as aside:
                aside.write_bytes(b"".join(lines[:num_steps]))
