r"""A program for torchrun: takes a few steps with each config, and saves the results of each process.

python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.model.training.two_processes DATASET OUT \
    CONFIG.json …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from model.training.config import TrainConfig
from model.training.distributed import join_processes
from tests.model.training.learners import take_steps


def main() -> None:
    """Take the steps of each config and save `CONFIG-rank.pt`."""
    dataset, out, *configs = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    with join_processes(torch.device("cpu")) as processes:
        for path in configs:
            config = TrainConfig.from_dict(json.loads(path.read_text()))
            torch.save(take_steps(dataset, config, processes), out / f"{path.stem}-{processes.rank}.pt")


if __name__ == "__main__":
    main()
