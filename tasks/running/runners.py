"""Where tasks run: in this program's threads or processes, on a Dask cluster, or under Prefect.

A flow submits tasks to a runner and gets futures. A task does the same in each of them, so the bytes are the same too.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from prefect import Flow, Task
from prefect.context import FlowRunContext
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from patentdata.errors import PatentDataError
from patentdata.worker import end_with_parent, prepare_worker


class Future(Protocol):
    """What a runner returns for a task."""

    def result(self) -> Any:
        """The task's value; raises what the task raised."""

    def add_done_callback(self, fn: Any, /) -> None:
        """Call `fn` with this future once it is done."""


class Runner(Protocol):
    """Takes tasks."""

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        """Run a task with these parameters, now or as soon as a worker is free."""


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How many weeks are processed in parallel, and where.

    Attributes:
        kind: "processes" (one core per worker), "threads", or "dask".
        num_workers: Tasks in parallel; 0 for one per core.
        dask_address: Scheduler of a Dask cluster, "tcp://host:8786"; needed for "dask" alone.
        num_caption_weeks: Weeks that a model captions in parallel, on this machine and in addition to the other tasks;
            with two, the model stays busy while the last answers of a week come in.
    """

    kind: Literal["processes", "threads", "dask"] = "processes"
    num_workers: int = 0
    dask_address: str | None = None
    num_caption_weeks: int = 2

    def __post_init__(self) -> None:
        if self.num_caption_weeks < 1:
            raise ValueError(f"num_caption_weeks is {self.num_caption_weeks}; choose 1 or more")
        if self.num_workers < 0:
            raise ValueError(f"num_workers is {self.num_workers}; choose a number, or 0 for one per core")
        if (self.kind == "dask") != (self.dask_address is not None):
            raise ValueError('dask_address belongs to kind "dask"; give both, such as tcp://127.0.0.1:8786, or neither')

    @property
    def num_workers_here(self) -> int:
        return self.num_workers or len(os.sched_getaffinity(0))

    @property
    def num_known_workers(self) -> int | None:
        """Workers that run at a time; None on a cluster, whose size its scheduler alone knows."""
        return None if self.kind == "dask" else self.num_workers_here


@contextlib.contextmanager
def open_runner(config: WorkersConfig) -> Iterator[Runner]:
    """A runner for the length of a block: Prefect's within a flow run, a pool of this program's outside of one."""
    if FlowRunContext.get() is not None:
        with _prefect_task_runner(config) as task_runner:
            yield _PrefectRunner(task_runner)
        return
    if config.kind == "dask":
        with _dask_client(config.dask_address) as client, client.get_executor() as executor:
            yield _ClusterRunner(executor, str(config.dask_address))
        return
    if config.kind == "threads":
        runner = _PoolRunner(concurrent.futures.ThreadPoolExecutor(config.num_workers_here))
    else:
        runner = _ProcessRunner(config.num_workers_here)
    try:
        yield runner
    except (KeyboardInterrupt, SystemExit):
        runner.drop_waiting()
        _end_now(runner.executor)
        raise
    except BaseException:
        runner.drop_waiting()
        runner.executor.shutdown(cancel_futures=True)
        raise
    else:
        runner.executor.shutdown()


def _end_now(executor: concurrent.futures.Executor) -> None:
    """Drop what waits, and stop worker processes in the middle of their work; threads cannot be stopped."""
    if not isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        return executor.shutdown(wait=False, cancel_futures=True)
    for worker in multiprocessing.active_children():
        worker.terminate()
    executor.shutdown(cancel_futures=True)  # waits for the pool's own thread, which releases its semaphores


def _dask_client(address: str | None) -> Any:
    """A client of a Dask scheduler. Raises PatentDataError if none answers."""
    import distributed

    try:
        return distributed.Client(address)
    except OSError:
        raise PatentDataError(
            f"no Dask scheduler answers at {address}; start one with `dask scheduler` and workers, or name another"
        ) from None


def call_flow(flow: Flow[..., Any], config: Any) -> Any:
    """Run one flow to its end: as a subflow within a flow run, as a plain call outside of one."""
    return flow(config) if FlowRunContext.get() is not None else flow.fn(config)


def call_task(task: Task[..., Any], **parameters: Any) -> Any:
    """Run one task to its end: as a task run within a flow run, as a plain call outside of one."""
    return task(**parameters) if FlowRunContext.get() is not None else task.fn(**parameters)


class _PoolRunner:
    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self.executor = executor

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        return self.executor.submit(task.fn, **parameters)  # a stage's own function: workers import no Prefect

    def drop_waiting(self) -> None:
        """Nothing waits here: the pool takes all tasks at once."""


class ClusterLostError(PatentDataError):
    """The scheduler of a Dask cluster is gone, and with it what was submitted to it."""


@dataclass(frozen=True)
class _ClusterFuture:
    """A future of a Dask cluster, which says in a sentence that the cluster was lost.

    Attributes:
        future: That of the cluster's executor.
        address: Of the scheduler.
    """

    future: concurrent.futures.Future[Any]
    address: str

    def result(self) -> Any:
        try:
            return self.future.result()
        except concurrent.futures.CancelledError:
            raise ClusterLostError(
                f"the Dask scheduler at {self.address} was lost; run again when it is back, and what is done stays"
            ) from None

    def add_done_callback(self, fn: Any, /) -> None:
        self.future.add_done_callback(lambda _: fn(self))


class _ClusterRunner(_PoolRunner):
    """Submits tasks to a Dask cluster."""

    def __init__(self, executor: concurrent.futures.Executor, address: str) -> None:
        super().__init__(executor)
        self._address = address

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        return _ClusterFuture(self.executor.submit(task.fn, **parameters), self._address)


class WorkerKilledError(PatentDataError):
    """A worker process ended in the middle of its work, and the tasks of the pool's other workers were lost with it."""


_KILLED = (
    "a worker process was killed, which is what the system does where memory runs out; run again, and with fewer "
    "workers if it happens again"
)


class _ProcessRunner(_PoolRunner):
    """Gives worker processes no more tasks than they work on; when one is killed, the others go to a new pool.

    A pool that loses a worker loses all it was given. So few tasks fail, and the others come through.
    """

    def __init__(self, num_workers: int) -> None:
        super().__init__(self._new_pool(num_workers))
        self._num_workers = self._num_free = num_workers
        self._waiting: collections.deque[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = collections.deque()
        self._lock = threading.RLock()  # a task may be done before it is handed out whole

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            self._waiting.append((future, functools.partial(task.fn, **parameters)))
        self._hand_out()
        return future

    def drop_waiting(self) -> None:
        """Submit nothing more."""
        with self._lock:
            self._waiting.clear()

    def _hand_out(self) -> None:
        with self._lock:
            while self._num_free and self._waiting:
                future, work = self._waiting.popleft()
                self._num_free -= 1
                try:
                    done = self.executor.submit(work)
                except concurrent.futures.BrokenExecutor:
                    self.executor = self._new_pool(self._num_workers)
                    done = self.executor.submit(work)
                done.add_done_callback(functools.partial(self._pass_on, future))

    def _pass_on(self, future: concurrent.futures.Future[Any], done: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._num_free += 1
        self._hand_out()
        error = None if done.cancelled() else done.exception()
        if done.cancelled():
            future.cancel()
        elif isinstance(error, concurrent.futures.BrokenExecutor):
            future.set_exception(WorkerKilledError(_KILLED))
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result())

    @staticmethod
    def _new_pool(num_workers: int) -> concurrent.futures.Executor:
        return concurrent.futures.ProcessPoolExecutor(
            num_workers, mp_context=multiprocessing.get_context("spawn"), initializer=prepare_worker
        )


class _PrefectRunner:
    def __init__(self, task_runner: TaskRunner[Any]) -> None:
        self._task_runner = task_runner

    def submit(self, task: Task[..., Any], **parameters: Any) -> Future:
        return self._task_runner.submit(task, parameters)


class _ProcessPoolTaskRunner(ProcessPoolTaskRunner):
    """Prefect's pool, whose worker processes end with the flow run, however that ends.

    Those of Prefect's own pool wait for work for ever if the run is killed, as a stopped `prefect worker` kills it.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        executor: Any = self._executor  # it starts its processes when it gets work
        executor._initializer = functools.partial(_prepare_prefect_worker, executor._initializer)
        return self


def _prepare_prefect_worker(prepare: Callable[..., None], *arguments: Any) -> None:
    end_with_parent()
    prepare(*arguments)


def _prefect_task_runner(config: WorkersConfig) -> TaskRunner[Any]:
    if config.kind == "dask":
        from prefect_dask import DaskTaskRunner

        _dask_client(config.dask_address).close()  # Prefect's runner would say less
        return DaskTaskRunner(address=config.dask_address)
    kind = ThreadPoolTaskRunner if config.kind == "threads" else _ProcessPoolTaskRunner
    return kind(max_workers=config.num_workers_here)
