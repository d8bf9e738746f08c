"""Several processes that train one model: who they are, and what they tell each other.

`torchrun` starts them and says who is who in the environment. Without it a run is one process, and everything here is
then the identity.
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
    """The processes of a run as one of them sees them.

    Attributes:
        rank: Which one this is, from 0; the first alone writes files.
        num: How many there are.
    """

    rank: int = 0
    num: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part_of(self, num_rows: int) -> slice:
        """This process's rows of a batch, which the processes share in equal parts and in the order of their ranks."""
        size = num_rows // self.num
        return slice(self.rank * size, (self.rank + 1) * size)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes in the order of their ranks: (num · num_rows, …), with gradient.

        The gradient is right where every process computes the same loss of what is gathered, and gradients are then
        averaged over the processes, as DistributedDataParallel does: each takes its own rows' part, `num` times.
        """
        if self.num == 1:
            return rows
        gathered: torch.Tensor = _Gather.apply(rows, self)
        return gathered

    def any(self, flag: bool) -> bool:
        """True on every process where it is true on one."""
        if self.num == 1:
            return flag
        flags = torch.tensor(int(flag))  # on the CPU: no wait for the GPU
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags.item())

    def from_first(self, value: ValueT) -> ValueT:
        """The plain value that the first process passed."""
        if self.num == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]  # type: ignore[no-any-return]

    def wait_for_all(self) -> None:
        """Go on when every process has come this far."""
        if self.num > 1:
            distributed.barrier()


ALONE = Processes()


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


def num_processes_here() -> int:
    """How many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """The device of this process among those of its machine: each takes a GPU of its own."""
    if device.type != "cuda" or num_processes_here() == 1:
        return device
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if place >= torch.cuda.device_count():
        raise TrainingError(
            f"process {place} of this machine finds {torch.cuda.device_count()} GPUs; start one process a GPU, or set "
            'device = "cpu"'
        )
    return torch.device("cuda", place)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started, for the length of the block.

    Features on a GPU go through NCCL, all else through Gloo.
    """
    num = num_processes_here()
    if num == 1:
        yield ALONE
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
            distributed.destroy_process_group()
