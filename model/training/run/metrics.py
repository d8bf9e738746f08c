"""What a run records while it trains: metrics, timings, and the batch at which it fails."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import torch

from model.dataset.views import Views
from model.errors import TrainingError
from model.files import write_json
from model.training.batches import BatchPlan
from model.training.run.divergence import LossWatch
from model.training.run.folder import RunFolder

_TIMING_KEYS = {"step", "seconds", "wait_s", "pairs_per_s", "memory_bytes"}
_NUM_NAMED = 8  # number of views in an error message; the file it refers to lists all


class PendingMetrics:
    """The metrics of one step, being copied from the device; `values` waits for the copy."""

    def __init__(self, scalars: dict[str, torch.Tensor]) -> None:
        self._names = list(scalars)
        stacked = torch.stack([value.float() for value in scalars.values()])
        self._copied = None
        if stacked.device.type == "cuda":
            self._values = torch.empty(stacked.shape, pin_memory=True)
            self._values.copy_(stacked, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._values = stacked

    def values(self) -> dict[str, float]:
        """Name → value."""
        if self._copied is not None:
            self._copied.synchronize()
        return dict(zip(self._names, self._values.tolist(), strict=True))


def check_step(
    values: dict[str, float],
    *,
    step: int,
    plan: BatchPlan,
    views: Views,
    watch: LossWatch,
    run: RunFolder,
    writes: bool = True,
) -> None:
    """Raise TrainingError if a step shows that the run fails.

    The message names the first views of the batch; `failed_batch.json` in the run's folder lists all of them.

    Args:
        values: Metrics of the step.
        step: Counted from 1.
        plan: What the step trained on.
        views: The training views.
        watch: Has seen the losses of all earlier steps.
        run: Folder of the run.
        writes: Whether this process writes `failed_batch.json`.

    Raises:
        TrainingError: Loss or gradient is not finite, or the loss diverges.
    """
    loss, norm = values["loss"], values["grad_norm"]
    if not (math.isfinite(loss) and math.isfinite(norm)):
        reason = f"loss {loss:g}, gradient norm {norm:g}"
    elif watch.diverges(loss):
        reason = f"the loss diverges, {loss:.3g} where its median was {watch.median:.3g},"
    else:
        return
    ids = [views.view_id(int(row)) for row in plan.rows]
    others = [] if plan.other_rows is None else [views.view_id(int(row)) for row in plan.other_rows]
    if writes:
        values_of_batch = {"view_ids": ids, "other_view_ids": others, "texts": plan.texts}
        write_json(run.failed_batch, {"step": step, "trouble": reason.rstrip(","), **values_of_batch})
    raise TrainingError(
        f"step {step}: {reason} on the views {', '.join(ids[:_NUM_NAMED])}, … ({run.failed_batch.name} lists all); "
        "lower learning_rate, or set max_grad_norm"
    )


class Timings:
    """Records speed and memory of each step as JSON lines.

    They differ between runs, so they have their own file and are not part of the result.
    """

    def __init__(self, run: RunFolder, *, num_steps_done: int, device: torch.device) -> None:
        earlier = [row for row in read_timings(run) if row["step"] <= num_steps_done]
        run.timings.write_text("".join(json.dumps(row) + "\n" for row in earlier))
        self._file = run.timings.open("a", encoding="utf-8")
        self._device = device
        self._process = psutil.Process()
        self._started = self._last = time.perf_counter()
        self._waited_s = 0.0
        self._num_pairs = 0

    def add_wait(self, seconds: float) -> None:
        """Add time that training has waited for a batch."""
        self._waited_s += seconds

    def append(self, step: int, num_pairs: int) -> dict[str, float]:
        """Record a step and return values for progress reports.

        Args:
            step: Counted from 1.
            num_pairs: Pairs of the step, over all processes.

        Returns:
            pairs_per_s, the mean since the start, and memory_bytes.
        """
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        row = {
            "step": step,
            "seconds": round(seconds, 6),
            "wait_s": round(self._waited_s, 6),
            "pairs_per_s": round(num_pairs / seconds, 2),
            "memory_bytes": self._memory_bytes(),
        }
        self._waited_s = 0.0
        self._num_pairs += num_pairs
        self._file.write(json.dumps(row) + "\n")
        return {"pairs_per_s": self._num_pairs / (now - self._started), "memory_bytes": row["memory_bytes"]}

    def _memory_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return int(self._process.memory_info().rss)

    def close(self) -> None:
        self._file.close()


def read_timings(run: RunFolder) -> list[dict[str, Any]]:
    """The recorded timings in order; incomplete lines are skipped."""
    lines = run.timings.read_text(encoding="utf-8", errors="replace").splitlines() if run.timings.is_file() else []
    return [row for row in map(_timing, lines) if row is not None]


def _timing(line: str) -> dict[str, Any] | None:
    """The timing in a line; None if the line is incomplete."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and set(row) >= _TIMING_KEYS else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The metrics of each step, in order, up to the first line that is incomplete or out of order."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if not line.endswith("\n") or not isinstance(row, dict) or row.get("step") != len(rows) + 1:
            break
        rows.append(row)
    return rows


class MetricsLog:
    """Appends one JSON line a step; `sync` flushes the lines to the disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, values: dict[str, Any]) -> None:
        self._file.write(json.dumps(values) + "\n")

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
