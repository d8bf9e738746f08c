"""What a run writes down while it goes: metrics, timings, and what goes wrong."""

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

_TIMED = {"step", "seconds", "wait_s", "pairs_per_s", "memory_bytes"}
_NUM_NAMED = 8  # views in an error message; the file beside it names all


class Readings:
    """The metrics of one step, on their way from the device; `values` waits for them."""

    def __init__(self, scalars: dict[str, torch.Tensor]) -> None:
        self._names = list(scalars)
        stacked = torch.stack([value.float() for value in scalars.values()])
        self._there = None
        if stacked.device.type == "cuda":
            self._numbers = torch.empty(stacked.shape, pin_memory=True)
            self._numbers.copy_(stacked, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()
        else:
            self._numbers = stacked

    def values(self) -> dict[str, float]:
        """Name → number."""
        if self._there is not None:
            self._there.synchronize()
        return dict(zip(self._names, self._numbers.tolist(), strict=True))


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
    """Stop a run that goes wrong.

    The message names the first views of the batch; `failed_batch.json` in the run's folder names all of them.

    Args:
        values: Metrics of the step.
        step: Counted from 1.
        plan: What the step trained on.
        watch: Knows the losses before.
        writes: Whether this process writes that file.

    Raises:
        TrainingError: Loss or gradient is no finite number, or the loss diverges.
    """
    loss, norm = values["loss"], values["grad_norm"]
    if not (math.isfinite(loss) and math.isfinite(norm)):
        trouble = f"loss {loss:g}, gradient norm {norm:g}"
    elif watch.diverges(loss):
        trouble = f"the loss diverges, {loss:.3g} where its median was {watch.median:.3g},"
    else:
        return
    ids = [views.view_id(int(row)) for row in plan.rows]
    others = [] if plan.other_rows is None else [views.view_id(int(row)) for row in plan.other_rows]
    if writes:
        values_of_batch = {"view_ids": ids, "other_view_ids": others, "texts": plan.texts}
        write_json(run.failed_batch, {"step": step, "trouble": trouble.rstrip(","), **values_of_batch})
    raise TrainingError(
        f"step {step}: {trouble} on the views {', '.join(ids[:_NUM_NAMED])}, … ({run.failed_batch.name} names all); "
        "lower learning_rate, or set max_grad_norm"
    )


class Timings:
    """Speed and memory of each step, as JSON lines beside the metrics; no part of the result."""

    def __init__(self, run: RunFolder, *, num_steps_done: int, device: torch.device) -> None:
        earlier = [row for row in read_timings(run) if row["step"] <= num_steps_done]
        run.timings.write_text("".join(json.dumps(row) + "\n" for row in earlier))
        self._file = run.timings.open("a", encoding="utf-8")
        self._device = device
        self._process = psutil.Process()
        self._started = self._last = time.perf_counter()
        self._waited_s = 0.0
        self._num_pairs = 0

    def waited(self, seconds: float) -> None:
        """Training has waited so long for a batch."""
        self._waited_s += seconds

    def append(self, step: int, num_pairs: int) -> dict[str, float]:
        """Note a step, counted from 1, that took in `num_pairs` pairs over all processes; what to show of it."""
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
    """Timings of the steps that have one, in order; a line that was cut short is passed over."""
    lines = run.timings.read_text(encoding="utf-8", errors="replace").splitlines() if run.timings.is_file() else []
    return [row for row in map(_timing, lines) if row is not None]


def _timing(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and set(row) >= _TIMED else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The metrics of each step, in order; ends at the first line that is cut short or out of order."""
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
    """Appends one JSON line a step; `sync` brings the lines to the disk."""

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
