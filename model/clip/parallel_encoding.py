"""Image features by several processes, each with the model on a device of its own: on a machine of several GPUs.

Views are divided into runs of consecutive batches, which the processes take in turn; the features come back in the
order of the views, so that they can be written as they come. A batch is the same whichever process encodes it.
"""

from __future__ import annotations

import collections
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.embeddings import encode_images
from model.clip.loading import Clip, load_clip
from model.clip.source import ModelSource
from model.dataset.folder import Dataset, open_dataset
from model.dataset.views import Views, read_views
from model.errors import DeviceError, ProcessKilledError

_START_METHOD = "spawn"  # a process that has used CUDA cannot be forked
_BATCHES_A_TASK = 8
_TASKS_A_PROCESS = 2  # one that is worked on, and one that waits


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every process is told once.

    Attributes:
        source: Where the model comes from.
        load_weights: False for fresh weights.
        seed: Seed of fresh weights.
        device: Kind of device; of GPUs, each process takes one.
        dataset_dir: Folder of the dataset.
        split, captioned, lines: Which views of it are encoded.
        batch_size: Images a forward pass.
        num_workers: Threads that decode images, in each process.
        num_threads: Threads that compute, in each process.
        precision: As in `encode_images`.
    """

    source: ModelSource
    load_weights: bool
    seed: int
    device: torch.device
    dataset_dir: Path
    split: str
    captioned: bool
    lines: str
    batch_size: int
    num_workers: int
    num_threads: int
    precision: str


def num_processes_on(device: torch.device, num_processes: int) -> int:
    """Number of processes that are started; 0 asks for one a GPU, which is one on the CPU.

    Raises:
        DeviceError: More processes are asked for than there are GPUs.
    """
    if device.type != "cuda":
        return num_processes or 1
    num_gpus = torch.cuda.device_count()
    if num_processes > num_gpus:
        raise DeviceError(f"num_processes is {num_processes}, but there are {num_gpus} GPUs; set it to 0, one a GPU")
    return num_processes or num_gpus


def encode_in_processes(
    dataset: Dataset,
    views: Views,
    *,
    source: ModelSource,
    load_weights: bool,
    seed: int,
    device: torch.device,
    batch_size: int,
    num_workers: int,
    precision: str,
    num_processes: int,
) -> Iterator[np.ndarray]:
    """Yield the model's own image features of all views, in order, a few batches at a time; see `encode_images`.

    Args:
        dataset: The dataset of the views, which each process opens.
        views: The views, read as they are from the dataset.
        source, load_weights, seed, device, batch_size, num_workers, precision: See `Work`.
        num_processes: Number of processes.

    Raises:
        NonFiniteError: The features of a view are not finite.
        ProcessKilledError: A signal ended one of the processes.
    """
    work = Work(
        source=source,
        load_weights=load_weights,
        seed=seed,
        device=device,
        dataset_dir=dataset.folder,
        split=views.split,
        captioned=views.num_without_caption > 0,
        lines=views.lines,
        batch_size=batch_size,
        num_workers=num_workers,
        num_threads=max(1, torch.get_num_threads() // num_processes),
        precision=precision,
    )
    context = multiprocessing.get_context(_START_METHOD)
    size = batch_size * _BATCHES_A_TASK
    starts = iter(range(0, len(views), size))
    waiting: collections.deque[Future[np.ndarray]] = collections.deque()
    pool = ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=_prepare, initargs=(work, context.Value("i", 0))
    )
    try:
        while True:
            while len(waiting) < num_processes * _TASKS_A_PROCESS and (first := next(starts, None)) is not None:
                waiting.append(pool.submit(_encode, first, min(first + size, len(views))))
            if not waiting:
                break
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise ProcessKilledError(
            "a process that computes image features was killed, as the system does if memory runs out; run again with "
            "a smaller num_processes or batch_size"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Prepared:
    """What a process keeps between its tasks."""

    clip: Clip
    views: Views
    work: Work


_PREPARED: list[_Prepared] = []  # of this process, once it is prepared


def _prepare(work: Work, num_prepared: Any) -> None:
    """Called once in each process: load the model, and open the views."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that started this one ends it
    _end_with_parent()
    with num_prepared.get_lock():
        index = num_prepared.value
        num_prepared.value += 1
    torch.set_num_threads(work.num_threads)
    device = torch.device("cuda", index) if work.device.type == "cuda" else work.device
    clip = load_clip(work.source, device=device, load_weights=work.load_weights, seed=work.seed)
    views = read_views(open_dataset(work.dataset_dir), work.split, captioned=work.captioned, lines=work.lines)
    _PREPARED.append(_Prepared(clip, views, work))


def _end_with_parent() -> None:
    """Have this process end as soon as the one that started it has ended, which it would wait for otherwise."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only called in a child"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _encode(first: int, last: int) -> np.ndarray:
    """The features of some rows: (last - first, embed_dim) float32."""
    (prepared,) = _PREPARED
    views, work = prepared.views, prepared.work
    rows = replace(views, table=views.table.slice(first, last - first))
    parts = encode_images(
        prepared.clip, rows, batch_size=work.batch_size, num_workers=work.num_workers, precision=work.precision
    )
    return np.concatenate(list(parts))
