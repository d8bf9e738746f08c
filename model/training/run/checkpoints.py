"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is `step-00000500.pt` (state dicts and plain values) and, written after it, its receipt
`step-00000500.json` with the hash, which `model.run` reads. It holds no state of random generators: what a step draws
follows from the seed and the step alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from model.files import atomic_write, read_json, remove, sha256_of_file, write_json


def save_checkpoint(
    folder: Path, state: dict[str, Any], *, num_steps_done: int, num_kept: int, metrics_sha256: str
) -> None:
    """Write the state after `num_steps_done` steps, then drop all but the latest `num_kept` checkpoints.

    Args:
        state: Tensors and plain values, in dicts and lists.
        metrics_sha256: Hash of the metrics up to this step, which the checkpoint goes on from.
    """
    path = checkpoint_path(folder, num_steps_done)
    with atomic_write(path) as aside, aside.open("wb") as file:
        torch.save(state, file)
    write_json(path.with_suffix(".json"), {"sha256": sha256_of_file(path), "metrics_sha256": metrics_sha256})
    for step in list_checkpoints(folder)[num_kept:]:
        remove_checkpoint(folder, step)


def load_checkpoint(folder: Path, *, num_steps_done: int) -> dict[str, Any]:
    """The state after so many steps, its tensors on the CPU."""
    path = checkpoint_path(folder, num_steps_done)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def checkpoint_path(folder: Path, num_steps_done: int) -> Path:
    """Where the checkpoint after so many steps lies."""
    return folder / f"step-{num_steps_done:08d}.pt"


def list_checkpoints(folder: Path) -> list[int]:
    """Steps done at each checkpoint there is, the latest first; says nothing of their health."""
    return sorted((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")), reverse=True)


def remove_checkpoint(folder: Path, num_steps_done: int) -> None:
    """Remove one checkpoint; what makes it count goes first."""
    path = checkpoint_path(folder, num_steps_done)
    remove(path.with_suffix(".json"))
    remove(path)


def is_intact(folder: Path, num_steps_done: int, *, metrics_sha256: str) -> bool:
    """True where a checkpoint's bytes are those that were written, and so are the metrics it goes on from."""
    path = checkpoint_path(folder, num_steps_done)
    receipt = read_json(path.with_suffix(".json"))
    return (
        receipt is not None
        and receipt.get("metrics_sha256") == metrics_sha256
        and path.is_file()
        and receipt.get("sha256") == sha256_of_file(path)
    )
