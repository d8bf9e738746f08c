r"""A program of two processes: each takes a few steps of some learners, and saves what they came to.

python -m tests.model.training.two_processes DATASET OUT CONFIG.json …

A config named `resumed` is that of a run: it is stopped in the middle in `OUT/stopped`, and stopped and resumed in
`OUT/resumed`.

The two are forked, so that torch is imported once, and find each other by what torchrun would put in their environment.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path

import torch

from model.errors import TrainingStoppedError
from model.training.config import TrainConfig
from model.training.distributed import join_processes
from model.training.train import train
from tests.model.training.learners import take_steps

NUM = 2


def take_steps_as(rank: int, port: int, dataset: Path, out: Path, configs: list[Path]) -> None:
    """Take the steps of each config as one of the processes, and save `CONFIG-rank.pt`."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(NUM),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with join_processes(torch.device("cpu")) as processes:
        for path in configs:
            config = TrainConfig.from_dict(json.loads(path.read_text()))
            if path.stem == "resumed":
                for folder in ("stopped", "resumed"):
                    stop_after(2, dataset, out / folder, config)
                train(dataset, out / "resumed", config)
                continue
            torch.save(take_steps(dataset, config, processes), out / f"{path.stem}-{processes.rank}.pt")


def stop_after(num_steps: int, dataset: Path, run_dir: Path, config: TrainConfig) -> None:
    """Train until so many steps are done and in a checkpoint."""
    done = itertools.count(1)
    with contextlib.suppress(TrainingStoppedError):
        train(dataset, run_dir, config, should_stop=lambda: next(done) >= num_steps)


def main() -> int:
    """Returns 0 if both processes have done their steps."""
    dataset, out, *configs = map(Path, sys.argv[1:])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=take_steps_as, args=(rank, port, dataset, out, configs), daemon=True) for rank in range(NUM)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode or 0) for process in processes)


if __name__ == "__main__":
    sys.exit(main())
