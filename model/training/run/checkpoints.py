"""Checkpoints: everything a run needs to resume as if it had never stopped.

A checkpoint is `step-00000500.pt` (state dicts and plain values) and its receipt `step-00000500.json` with the hash,
which is written after it: a checkpoint without a receipt does not count. The state of random generators is not saved,
since what a step draws depends on nothing but the seed and the step.

torch is imported only to save or load, so that looking at a run's folder does not cost the seconds its import takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.files import atomic_write, read_json, remove, sha256_of_file, write_json


def save_checkpoint(
    folder: Path, state: dict[str, Any], *, num_steps_done: int, num_kept: int, metrics_sha256: str
) -> None:
    """Write the state after `num_steps_done` steps, then remove all but the latest `num_kept` checkpoints.

    Args:
        state: Tensors and plain values, in dicts and lists.
        metrics_sha256: Hash of the metrics up to this step; a resumed run appends to these metrics.
    """
    import torch

    path = checkpoint_path(folder, num_steps_done)
    with atomic_write(path) as aside, aside.open("wb") as file:
        torch.save(state, file)
    write_json(path.with_suffix(".json"), {"sha256": sha256_of_file(path), "metrics_sha256": metrics_sha256})
    for step in list_checkpoints(folder)[num_kept:]:
        remove_checkpoint(folder, step)


def load_checkpoint(folder: Path, *, num_steps_done: int) -> dict[str, Any]:
    """The state after `num_steps_done` steps, its tensors on the CPU."""
    import torch

    path = checkpoint_path(folder, num_steps_done)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def checkpoint_path(folder: Path, num_steps_done: int) -> Path:
    """Path of the checkpoint after `num_steps_done` steps."""
    return folder / f"step-{num_steps_done:08d}.pt"


def list_checkpoints(folder: Path) -> list[int]:
    """Steps done at each checkpoint with a receipt, the latest first; the files are not checked."""
    return sorted((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")), reverse=True)


def remove_checkpoint(folder: Path, num_steps_done: int) -> None:
    """Remove one checkpoint, its receipt first, so that a half-removed one does not count."""
    path = checkpoint_path(folder, num_steps_done)
    remove(path.with_suffix(".json"))
    remove(path)


def is_intact(folder: Path, num_steps_done: int, *, metrics_sha256: str) -> bool:
    """True if the bytes of a checkpoint, and of the metrics up to it, are the ones that were written."""
    path = checkpoint_path(folder, num_steps_done)
    receipt = read_json(path.with_suffix(".json"))
    return (
        receipt is not None
        and receipt.get("metrics_sha256") == metrics_sha256
        and path.is_file()
        and receipt.get("sha256") == sha256_of_file(path)
    )
