"""The optimiser, whose state can be divided among processes, and the learning rate schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer

from model.training.config import TrainConfig
from model.training.distributed import SINGLE_PROCESS, Processes


def learning_rate_at(step: int, *, num_steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to `peak`, then a cosine that would reach zero at `num_steps`.

    Args:
        step: Counted from 0.
        num_steps: Length of the run.
        warmup_steps: Length of the warm-up, which is limited to half of the run.
        peak: Learning rate at the end of the warm-up.

    >>> [learning_rate_at(step, num_steps=4, warmup_steps=2, peak=1.0) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warmup_steps = min(warmup_steps, num_steps // 2)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (num_steps - warmup_steps)))


def build_optimizer(
    model: torch.nn.Module, config: TrainConfig, processes: Processes = SINGLE_PROCESS
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; as in open_clip, gains, biases and the logit scale have no weight decay.

    With `shard_optimizer` each of several processes keeps the two moments of its own share of the weights, updates
    these, and sends them to the others.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    undecayed = [parameter for name, parameter in named if _is_undecayed(name, parameter)]
    decayed = [parameter for name, parameter in named if not _is_undecayed(name, parameter)]
    groups = [{"params": undecayed, "weight_decay": 0.0}, {"params": decayed, "weight_decay": config.weight_decay}]
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.betas[0], config.betas[1]),
        "eps": config.epsilon,
        "fused": True,  # one pass over the weights: ten times as fast as a loop over them on a CPU
    }
    if config.shard_optimizer and processes.num > 1:
        return ZeroRedundancyOptimizer(groups, torch.optim.AdamW, **settings)
    return torch.optim.AdamW(groups, **settings)


def gather_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Collect the state of a divided optimiser in the first process, whose `state_dict` is then that of the whole.

    Every process calls this. The state is that of an optimiser that is not divided, so a run resumes from it with any
    number of processes.
    """
    if isinstance(optimizer, ZeroRedundancyOptimizer):
        optimizer.consolidate_state_dict(to=0)


def _is_undecayed(name: str, parameter: torch.nn.Parameter) -> bool:
    return parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
