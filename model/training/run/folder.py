"""The folder of a training run, and which of its files are finished, stale or can be resumed from.

config.json      the identity of the run: settings, and fingerprint of the dataset
metrics.jsonl    one line a step
checkpoints/     the latest states
model/           the trained model, as stock open_clip loads it
training.json    the summary; written last, so that it marks a finished run

These files are not part of the result: training.html, the page of the run; timings.jsonl, its speed and memory;
tracking/, files of a tracker; failed_batch.json, the batch at which a run failed.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.files import atomic_write, hash_folder, read_json, remove, write_json
from model.training.run.checkpoints import is_intact, list_checkpoints, remove_checkpoint

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """Paths and state of one run."""

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
        """The summary if the run is finished, has this identity, and all its files are intact; else None."""
        summary = read_json(self.summary)
        if summary is None or summary.get("identity") != identity or read_json(self.config) != identity:
            return None
        files = summary.get("model_files")
        are_intact = bool(files) and hash_folder(self.model) == files
        return summary if are_intact and self.metrics_sha256() == summary.get("metrics_sha256") else None

    def metrics_sha256(self, num_steps: int | None = None) -> str | None:
        """SHA-256 of the first `num_steps` lines of the metrics, or of all; None if there are not that many."""
        lines = self.metrics.read_bytes().splitlines(keepends=True) if self.metrics.is_file() else []
        if not lines or (num_steps is not None and len(lines) < num_steps):
            return None
        return hashlib.sha256(b"".join(lines[:num_steps])).hexdigest()

    def make_ready(self, identity: dict[str, Any]) -> int:
        """Bring the folder into a state from which a run with `identity` can start or resume.

        Outputs of another identity are removed. Otherwise the latest intact checkpoint stays, and the metrics are
        truncated to its step.

        Returns:
            Number of steps done; 0 for a fresh start.
        """
        for path in (self.summary, self.page, self.failed_batch):
            remove(path)
        earlier = read_json(self.config)
        if earlier != identity:
            if earlier is not None:
                _LOG.info("%s: starts again, the earlier run had another dataset or other settings", self.folder.name)
            for path in (self.metrics, self.checkpoints, self.model, self.config, self.timings, self.tracking):
                remove(path)
            write_json(self.config, identity)
        for num_steps_done in list_checkpoints(self.checkpoints):
            metrics_sha256 = self.metrics_sha256(num_steps_done)
            if metrics_sha256 and is_intact(self.checkpoints, num_steps_done, metrics_sha256=metrics_sha256):
                self._truncate_metrics(num_steps_done)
                _LOG.info("%s: resumes after step %d", self.folder.name, num_steps_done)
                return num_steps_done
            _LOG.info("%s: skips the checkpoint after step %d, which is damaged", self.folder.name, num_steps_done)
            remove_checkpoint(self.checkpoints, num_steps_done)
        remove(self.checkpoints)
        self._truncate_metrics(0)
        return 0

    def _truncate_metrics(self, num_steps: int) -> None:
        if num_steps == 0:
            remove(self.metrics)
            return
        lines = self.metrics.read_bytes().splitlines(keepends=True)
        if len(lines) > num_steps:
            with atomic_write(self.metrics) as temporary:
                temporary.write_bytes(b"".join(lines[:num_steps]))
