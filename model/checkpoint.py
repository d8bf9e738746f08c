"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is `step-00000500.pt` (state dicts and plain values) and, written after it, its receipt
`step-00000500.json` with the hash, which `model.run` reads.
"""

from __future__ import annotations

from pathlib import Path

import torch

from model.files import sha256_of_file, write_json, written_aside
from model.run import checkpoint_path, list_checkpoints, remove_checkpoint


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
