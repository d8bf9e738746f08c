"""Several processes that train one model, and the communication between them.

`torchrun` starts the processes and passes rank and world size in the environment. Without it a run is a single process,
and every operation here is the identity.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

from model.errors import TrainingError

ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, from the point of view of one of them.

    Attributes:
        rank: Rank of this process, from 0. Only the first process writes files.
        num: Number of processes.
    """

    rank: int = 0
    num: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part_of(self, num_rows: int) -> slice:
        """The rows of a batch that this process takes: equal parts, in the order of the ranks."""
        size = num_rows // self.num
        return slice(self.rank * size, (self.rank + 1) * size)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes in the order of their ranks: (num · num_rows, …), differentiable.

        The gradient is correct if every process computes the same loss from the gathered rows, and gradients are then
        averaged over the processes, as DistributedDataParallel does: each process takes the gradient of its own rows,
        multiplied by `num`.
        """
        if self.num == 1:
            return rows
        gathered: torch.Tensor = _Gather.apply(rows, self)
        return gathered

    def any(self, flag: bool) -> bool:
        """True on every process if `flag` is true on any of them."""
        if self.num == 1:
            return flag
        flags = torch.tensor(int(flag))  # on the CPU: no wait for the GPU
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags.item())

    def broadcast(self, value: ValueT) -> ValueT:
        """The plain value that the first process passes; the values of the others are ignored."""
        if self.num == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]  # type: ignore[no-any-return]

    def wait_for_all(self) -> None:
        """Return when every process has called this."""
        if self.num > 1:
            distributed.barrier()


SINGLE_PROCESS = Processes()
"""A run without torchrun."""


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, processes: Processes) -> torch.Tensor:
        ctx.processes = processes
        parts = [torch.empty_like(rows) for _ in range(processes.num)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        return gradient[ctx.processes.part_of(len(gradient))] * ctx.processes.num, None


def world_size() -> int:
    """Number of processes that torchrun started for this run; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """The device of this process: on GPUs, every process of a machine takes a GPU of its own.

    Raises:
        TrainingError: The machine has fewer GPUs than processes.
    """
    if device.type != "cuda" or world_size() == 1:
        return device
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if local_rank >= torch.cuda.device_count():
        raise TrainingError(
            f"process {local_rank} of this machine finds {torch.cuda.device_count()} GPUs; start one process a GPU, "
            'or set device = "cpu"'
        )
    return torch.device("cuda", local_rank)


_KEPT: list[Any] = []  # process groups, see `join_processes`


@contextlib.contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started, until the block ends.

    Tensors on a GPU are sent with NCCL, everything else with Gloo.

    The group itself is kept until the process ends. torch would destroy it together with its last user, holding the
    lock of the interpreter while it joins the group's thread; right after a collective that thread may be waiting for
    the same lock, and the process would hang for ever.
    """
    if world_size() == 1:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    was_joined = distributed.is_initialized()
    if not was_joined:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        if not was_joined:
            _KEPT.append(distributed.group.WORLD)
            distributed.destroy_process_group()
