"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is `step-00000500.pt` (state dicts and plain values) and, written after it, `step-00000500.json` with its
hash. Without the second, or where the hash differs, the checkpoint does not count.
"""

from __future__ import annotations

from pathlib import Path

import torch

from model.files import read_json, remove, sha256_of_file, write_json, written_aside


def checkpoint_path(folder: Path, num_steps_done: int) -> Path:
    """Where the checkpoint after so many steps lies."""
    return folder / f"step-{num_steps_done:08d}.pt"


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    num_steps_done: int,
    num_kept: int,
    metrics_sha256: str,
) -> None:
    """Write the state after `num_steps_done` steps, then drop all but the latest `num_kept` checkpoints.

    Args:
        metrics_sha256: Hash of the metrics up to this step, which the checkpoint goes on from.
    """
    state = {
        "num_steps_done": num_steps_done,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng_cpu": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    path = checkpoint_path(folder, num_steps_done)
    with written_aside(path) as aside, aside.open("wb") as file:
        torch.save(state, file)
    write_json(path.with_suffix(".json"), {"sha256": sha256_of_file(path), "metrics_sha256": metrics_sha256})
    for step in list_checkpoints(folder)[num_kept:]:
        remove_checkpoint(folder, step)


def list_checkpoints(folder: Path) -> list[int]:
    """Steps done at each checkpoint there is, the latest first; says nothing of their health."""
    return sorted((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")), reverse=True)


def remove_checkpoint(folder: Path, num_steps_done: int) -> None:
    """Remove one checkpoint; what makes it count goes first."""
    path = checkpoint_path(folder, num_steps_done)
    remove(path.with_suffix(".json"))
    remove(path)


def is_intact(folder: Path, num_steps_done: int, *, metrics_sha256: str) -> bool:
    """True where the checkpoint's bytes are those that were written, and so are the metrics it goes on from."""
    path = checkpoint_path(folder, num_steps_done)
    receipt = read_json(path.with_suffix(".json"))
    return (
        receipt is not None
        and receipt.get("metrics_sha256") == metrics_sha256
        and path.is_file()
        and receipt.get("sha256") == sha256_of_file(path)
    )


def load_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, num_steps_done: int
) -> None:
    """Put a checkpoint's state into model, optimiser and torch's generators."""
    state = torch.load(checkpoint_path(folder, num_steps_done), map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng_cpu"])
    if torch.cuda.is_available() and len(state["rng_cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["rng_cuda"])
