"""Where captions by a model are made: beside the workers of the other stages, and with a server of our own if need be.

Asking a model is waiting for answers, so it takes no worker's place. A few weeks are asked about at a time: while the
last answers of one come in, the next keeps the model busy.
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
    """A runner for the stage captions, for the length of a block; captions that need no model go where the others go.

    Where a model is named and no endpoint, a server is started for the first week that needs a caption, in the midst of
    other work; it ends with the block.
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
            waiting.shutdown(wait=False, cancel_futures=True)  # where the block was broken off, weeks still wait


def log_path(folder: DataFolder) -> Path:
    """Where a server of our own writes its log: beside the data, or on this machine for an object store."""
    return (
        Path(folder.path("logs")) / "vllm.log" if folder.is_local else folder.local_cache_dir("captions") / "vllm.log"
    )


class CaptionRunner:
    """Takes tasks of the stage captions; each waits in a thread of its own until its endpoints answer."""

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
        """Run the task; where it gave up a server that was being started again meanwhile, go on when that is up."""
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

    It lives in a thread of its own, so that whoever waits for it can be told of a failure, and `close` ends a start
    that is under way.
    """

    def __init__(self, config: CaptionsConfig, log_path: Path, to: Listener) -> None:
        self._config, self._log_path, self._listener = config, log_path, to
        self._is_closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._up: concurrent.futures.Future[Server] = concurrent.futures.Future()

    @property
    def failure(self) -> str | None:
        """Why it is down for good; None otherwise."""
        return self._up.result().failure

    @property
    def num_restarts(self) -> int:
        """Times it died in use and was started again."""
        return self._up.result().num_restarts

    def is_up_again(self) -> bool:
        """Wait while it is being started again; whether it is up then."""
        return self._up.result().is_up_again()

    def urls(self) -> tuple[str, ...]:
        """Its address; the first call starts it, every call waits until it answers. Raises ServerError, ConfigError."""
        with self._lock:
            if self._is_closing.is_set():
                raise ServerError(f"the vLLM server for {self._config.model} is being ended; run again")
            if self._thread is None:
                self._thread = threading.Thread(target=self._live, name="own caption server", daemon=True)
                self._thread.start()
        return (self._up.result().url,)

    def close(self) -> None:
        """End it, and return when nothing of it is left."""
        with self._lock:
            self._is_closing.set()
        if self._thread is not None:
            self._thread.join()

    def _live(self) -> None:
        config = self._config
        assert config.model is not None  # CaptionsConfig asks for a model where there is no endpoint
        try:
            with serving(
                config.model, config.revision, config.server, log_path=self._log_path, on_wait=self._wait
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
            raise ServerError(f"the start of the vLLM server for {self._config.model} was broken off; run again")
        self._listener.on_server(f"starting {self._config.model}, {waited_s:.0f} s: {line}")
