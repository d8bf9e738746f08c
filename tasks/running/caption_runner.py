"""Where captions by a model are made: in addition to the workers of the other stages, with a managed server if needed.

Asking a model means waiting for answers, so it does not occupy a worker. A few weeks are captioned in parallel: while
the last answers of one come in, the next keeps the model busy.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import Task

from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import captions_are_done
from patentdata.captions.vllm.plan import plan_server, this_machine
from patentdata.captions.vllm.server import Server, ServerError, serving
from patentdata.errors import SourceError
from patentdata.store.folder import DataFolder
from tasks.running.caption_progress import CaptionProgress, watching
from tasks.running.progress import Listener, listener
from tasks.running.runners import Runner, WorkersConfig, open_runner


@contextlib.contextmanager
def open_caption_runner(
    others: Runner, workers: WorkersConfig, folder: DataFolder, config: CaptionsConfig
) -> Iterator[Runner]:
    """A runner for the stage captions, for the length of a block; those that need no model use the others' runner.

    If a model is named and no endpoint, a server is started for the first week that needs a caption, while other work
    continues; it ends with the block.
    """
    if config.captioner != "vllm":
        yield others
        return
    here = WorkersConfig(
        kind="threads" if workers.kind == "threads" else "processes", num_workers=workers.num_caption_weeks
    )
    with (
        concurrent.futures.ThreadPoolExecutor(workers.num_caption_weeks, "captions") as waiting,
        open_runner(here) as runner,
        watching(folder) as progress,
        contextlib.closing(ManagedServer(config, log_path(folder), listener())) as server,
    ):
        try:
            yield CaptionRunner(runner, waiting, config, server, progress)
        finally:
            waiting.shutdown(wait=False, cancel_futures=True)  # weeks still wait if the block was interrupted


def log_path(folder: DataFolder) -> Path:
    """Where a managed server writes its log: in the data folder, or in this machine's cache for an object store."""
    return (
        Path(folder.path("logs")) / "vllm.log" if folder.is_local else folder.local_cache_dir("captions") / "vllm.log"
    )


class CaptionRunner:
    """Takes tasks of the stage captions; each waits in its own thread until its endpoints answer."""

    def __init__(
        self,
        runner: Runner,
        waiting: concurrent.futures.Executor,
        config: CaptionsConfig,
        server: ManagedServer,
        progress: CaptionProgress,
    ) -> None:
        self._runner, self._waiting = runner, waiting
        self._config, self._server, self._progress = config, server, progress

    def submit(self, task: Task[..., Any], **parameters: Any) -> concurrent.futures.Future[Any]:
        """See `Runner`."""
        context = contextvars.copy_context()  # the flow run, for tasks that are submitted within it
        return self._waiting.submit(context.run, self._caption, task, parameters)

    def _caption(self, task: Task[..., Any], parameters: dict[str, Any]) -> Any:
        folder, week = parameters["folder"], parameters["week"]
        if captions_are_done(folder, week, self._config):
            return self._runner.submit(task, **parameters).result()
        if self._config.endpoints:
            with self._progress.of(week):
                return self._runner.submit(task, **parameters).result()
        urls = self._server.urls()
        with self._progress.of(week):
            return self._caption_by_own(task, parameters | {"endpoints": urls})

    def _caption_by_own(self, task: Task[..., Any], parameters: dict[str, Any]) -> Any:
        """Run the task; if it gave up a server that is being restarted, run it again once the server is up."""
        while True:
            num_restarts = self._server.num_restarts
            try:
                return self._runner.submit(task, **parameters).result()
            except SourceError as error:
                if not self._server.is_up_again():
                    raise ServerError(self._server.failure or str(error)) from error
                if self._server.num_restarts == num_restarts:
                    raise


class ManagedServer:
    """A server that is started when its address is first asked for.

    It is kept in its own thread, so that every waiter gets the error if it fails, and `close` also ends a server that
    is still starting.
    """

    def __init__(self, config: CaptionsConfig, log_path: Path, to: Listener) -> None:
        self._config, self._log_path, self._listener = config, log_path, to
        self._is_closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._up: concurrent.futures.Future[Server] = concurrent.futures.Future()

    @property
    def failure(self) -> str | None:
        """Why it is down and will not be restarted; None otherwise."""
        return self._up.result().failure

    @property
    def num_restarts(self) -> int:
        """How often it died in use and was restarted."""
        return self._up.result().num_restarts

    def is_up_again(self) -> bool:
        """Wait while it is being restarted; returns whether it is up afterwards."""
        return self._up.result().is_up_again()

    def urls(self) -> tuple[str, ...]:
        """Its address; the first call starts it, each waits until it answers. Raises ServerError or ConfigError."""
        with self._lock:
            if self._is_closing.is_set():
                raise ServerError(f"the vLLM server for {self._config.model} is being stopped; run again")
            if self._thread is None:
                self._thread = threading.Thread(target=self._live, name="own caption server", daemon=True)
                self._thread.start()
        return (self._up.result().url,)

    def close(self) -> None:
        """Stop it, and return when none of its processes is left."""
        with self._lock:
            self._is_closing.set()
        if self._thread is not None:
            self._thread.join()

    def _live(self) -> None:
        config = self._config
        assert config.model is not None  # CaptionsConfig requires a model if there is no endpoint
        try:
            plan = plan_server(config, this_machine())
            with serving(
                config.model, config.revision, plan.server, log_path=self._log_path, on_wait=self._wait
            ) as server:
                self._listener.on_server(f"{config.model} is served at {server.url}, log {self._log_path}")
                self._up.set_result(server)
                self._is_closing.wait()
        except BaseException as error:
            if self._up.done():
                raise
            self._up.set_exception(error)

    def _wait(self, waited_s: float, line: str) -> None:
        if self._is_closing.is_set():
            raise ServerError(f"the start of the vLLM server for {self._config.model} was interrupted; run again")
        self._listener.on_server(f"starting {self._config.model}, {waited_s:.0f} s: {line}")
