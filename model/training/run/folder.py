"""The folder of a training run, and which of its files are finished, stale or can be resumed from.

config.json      the identity of the run: settings, and fingerprint of the dataset
metrics.jsonl    one line a step
checkpoints/     the latest states
model/           the trained model, as stock open_clip loads it
refit/           what the last layer of the head gets from each view, while that layer is refitted
training.json    the summary; written last, so that it marks a finished run

A folder that holds another run, finished or with checkpoints to resume from, is not overwritten: that may be days of
work. If the caller allows it, the new run is trained in `.replacing/NAME` next to the folder, and takes its place when
it is finished. What belonged to the old model, such as its evaluation and its embeddings, goes with it.

These files are not part of the result: training.html, the page of the run; read_outs.json, the accuracy of its head on
validation views; timings.jsonl, its speed and memory;
tracking/, files of a tracker; failed_batch.json, the batch at which a run failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from model.errors import ConfigError
from model.files import atomic_write, hash_folder, read_json, remove, write_json
from model.training.config import UNRECORDED
from model.training.run.checkpoints import is_intact, list_checkpoints, remove_checkpoint

Replace = Literal["nothing", "same_settings", "any"]
"""Which other runs a new run may replace: none; those with the same settings on another dataset or version; or any."""

REPLACE_CHOICES: tuple[Replace, ...] = get_args(Replace)

_LOG = logging.getLogger(__name__)
_ADOPTING = ".adopting"  # exists while a replacement moves in, after the old run was removed
_NUM_NAMED = 3  # settings in an error message


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
    def refit(self) -> Path:
        return self.folder / "refit"

    @property
    def summary(self) -> Path:
        return self.folder / "training.json"

    @property
    def page(self) -> Path:
        return self.folder / "training.html"

    @property
    def read_outs(self) -> Path:
        return self.folder / "read_outs.json"

    @property
    def timings(self) -> Path:
        return self.folder / "timings.jsonl"

    @property
    def tracking(self) -> Path:
        return self.folder / "tracking"

    @property
    def failed_batch(self) -> Path:
        return self.folder / "failed_batch.json"

    @property
    def replacement(self) -> RunFolder:
        """The run that is trained to replace this one; it has the same name."""
        return RunFolder(self.folder.parent / ".replacing" / self.folder.name)

    def other_run(self, identity: dict[str, Any]) -> dict[str, Any] | None:
        """The identity of a run in this folder that is worth keeping and is not the run of `identity`; else None.

        Worth keeping is a finished run, or one with checkpoints.
        """
        earlier = [read_json(self.config), (read_json(self.summary) or {}).get("identity")]
        known = [one for one in earlier if one is not None]
        is_kept = self.summary.is_file() or bool(list_checkpoints(self.checkpoints))
        return known[0] if is_kept and known and identity not in known else None

    def require_replaceable(self, identity: dict[str, Any], replace: Replace) -> None:
        """Raise ConfigError if this folder holds another run that must not be replaced by the run of `identity`."""
        earlier = self.other_run(identity)
        if earlier is None or replace == "any":
            return
        if replace == "same_settings" and _settings_of(earlier) == _settings_of(identity):
            return
        state = "a finished" if self.summary.is_file() else "an unfinished"
        raise ConfigError(
            f"{self.folder.name} is {state} run with {_differences(earlier, identity)}; choose another name with "
            "--run, or train with --replace, which keeps it until the new run is finished"
        )

    def adopt_replacement(self) -> None:
        """Remove this run and put its finished replacement in its place.

        If this is interrupted, `complete_replacement` finishes it. The folder itself stays, since it may be locked.
        """
        marker = self.folder / _ADOPTING
        if not marker.exists():
            remove(self.summary)  # from here on, the old run does not count as finished
            for path in list(self.folder.iterdir()):
                remove(path)
            marker.touch()
        new = self.replacement
        parts = list(new.folder.iterdir()) if new.folder.is_dir() else []
        for path in sorted(parts, key=lambda path: path == new.summary):  # the summary last: it marks a finished run
            path.replace(self.folder / path.name)
        remove(new.folder)
        with contextlib.suppress(OSError):  # other runs are being replaced
            new.folder.parent.rmdir()
        marker.unlink()
        _LOG.info("%s: the earlier run was replaced by the new one", self.folder.name)

    def complete_replacement(self) -> None:
        """Finish a replacement that was interrupted while the new run moved in."""
        if (self.folder / _ADOPTING).exists() or (not self.summary.exists() and self.replacement.summary.exists()):
            self.adopt_replacement()

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
        for path in (self.summary, self.page, self.read_outs, self.failed_batch):
            remove(path)
        earlier = read_json(self.config)
        if earlier != identity:
            if earlier is not None:
                _LOG.info("%s: starts again, the earlier run had another dataset or other settings", self.folder.name)
            for path in (
                *(self.metrics, self.checkpoints, self.model, self.refit),
                *(self.config, self.timings, self.tracking),
            ):
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


def _settings_of(identity: dict[str, Any]) -> dict[str, Any]:
    """The settings in an identity; a run of an earlier version did what the newer settings now say explicitly."""
    return UNRECORDED | (identity.get("config") or {})


def _differences(earlier: dict[str, Any], identity: dict[str, Any]) -> str:
    """What an earlier run had otherwise, in words, such as "another dataset and batch_size 64, not 32"."""
    found = []
    if earlier.get("dataset_fingerprint") != identity["dataset_fingerprint"]:
        found.append("another dataset")
    before, now = _settings_of(earlier), _settings_of(identity)
    names = [name for name in now if before.get(name) != now[name]]
    found += [f"{name} {before.get(name)}, not {now[name]}" for name in names[:_NUM_NAMED]]
    if len(names) > _NUM_NAMED:
        found.append(f"{len(names) - _NUM_NAMED} more other settings")
    if not names and earlier.get("initial_weights") != identity["initial_weights"]:
        found.append("other initial weights")
    return " and ".join(found) or "another version of the training code"
