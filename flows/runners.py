"""Where tasks run: in this program's threads or processes, on a Dask cluster, or under Prefect.

A flow hands tasks to a runner and gets futures. What a task does is the same in each, so the bytes are the same too.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from prefect import Task
from prefect.context import FlowRunContext
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from patentdata.errors import PatentDataError
from patentdata.worker import prepare_worker


class Future(Protocol):
    """What a runner gives for a task."""

    def result(self) -> Any:
        """The task's value; raises what the task raised."""

    def add_done_callback(self, fn: Any, /) -> None:
        """Have `fn` called with this future once it is done."""


class Runner(Protocol):
    """Takes tasks."""

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        """Run a task with these parameters, now or as soon as a worker is free."""


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How many weeks go side by side, and where.

    Attributes:
        kind: "processes" (one core a worker), "threads", or "dask".
        num_workers: Tasks at a time; 0 takes as many as there are cores.
        dask_address: Scheduler of a Dask cluster, "tcp://host:8786"; needed for "dask" alone.
        num_caption_weeks: Weeks that a model is asked about at a time, on this machine and beside the other tasks; with
            two, the model is busy while the last answers of a week come in.
    """

    kind: Literal["processes", "threads", "dask"] = "processes"
    num_workers: int = 0
    dask_address: str | None = None
    num_caption_weeks: int = 2

    def __post_init__(self) -> None:
        if self.num_caption_weeks < 1:
            raise ValueError(f"num_caption_weeks is {self.num_caption_weeks}; name 1 or more")
        if self.num_workers < 0:
            raise ValueError(f"num_workers is {self.num_workers}; name a number, or 0 for one a core")
        if (self.kind == "dask") != (self.dask_address is not None):
            raise ValueError('dask_address belongs to kind "dask"; give both, such as tcp://127.0.0.1:8786, or neither')

    @property
    def num_workers_here(self) -> int:
        return self.num_workers or len(os.sched_getaffinity(0))


@contextlib.contextmanager
def open_runner(config: WorkersConfig) -> Iterator[Runner]:
    """A runner for the length of a block: Prefect's within a flow run, a pool of this program's outside of one."""
    if FlowRunContext.get() is not None:
        with _prefect_task_runner(config) as task_runner:
            yield _PrefectRunner(task_runner)
        return
    if config.kind == "dask":
        with _dask_client(config.dask_address) as client, client.get_executor() as executor:
            yield _PoolRunner(executor)
        return
    executor = (
        concurrent.futures.ThreadPoolExecutor(config.num_workers_here)
        if config.kind == "threads"
        else concurrent.futures.ProcessPoolExecutor(
            config.num_workers_here, mp_context=multiprocessing.get_context("spawn"), initializer=prepare_worker
        )
    )
    try:
        yield _PoolRunner(executor)
    except (KeyboardInterrupt, SystemExit):
        _end_now(executor)
        raise
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    else:
        executor.shutdown()


def _end_now(executor: concurrent.futures.Executor) -> None:
    """Drop what waits, and end worker processes in the middle of their work; threads cannot be ended."""
    if not isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        return executor.shutdown(wait=False, cancel_futures=True)
    for worker in multiprocessing.active_children():
        worker.terminate()
    executor.shutdown(cancel_futures=True)  # waits for the pool's own thread, which gives its semaphores back


def _dask_client(address: str | None) -> Any:
    """A client of a Dask scheduler. Raises PatentDataError where none answers."""
    import distributed

    try:
        return distributed.Client(address)
    except OSError:
        raise PatentDataError(
            f"no Dask scheduler answers at {address}; start one with `dask scheduler` and workers, or name another"
        ) from None


def call_task(task: Task[..., Any], **parameters: Any) -> Any:
    """Run one task to its end: as a task run within a flow run, as a plain call outside of one."""
    return task(**parameters) if FlowRunContext.get() is not None else task.fn(**parameters)


class _PoolRunner:
    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        return self._executor.submit(task.fn, **parameters)  # a stage's own function: workers import no Prefect


class _PrefectRunner:
    def __init__(self, task_runner: TaskRunner[Any]) -> None:
        self._task_runner = task_runner

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        return self._task_runner.submit(task, parameters)


def _prefect_task_runner(config: WorkersConfig) -> TaskRunner[Any]:
    if config.kind == "dask":
        from prefect_dask import DaskTaskRunner

        _dask_client(config.dask_address).close()  # Prefect's runner would say less
        return DaskTaskRunner(address=config.dask_address)
    kind = ThreadPoolTaskRunner if config.kind == "threads" else ProcessPoolTaskRunner
    return kind(max_workers=config.num_workers_here)
