"""A server of our own: it comes up, stays up, says why where it does not, and leaves nothing behind."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import requests

from patentdata.captions.config import ServerConfig
from patentdata.captions.prompts import MAX_FUNCTION_CHARS, MAX_SHAPE_CHARS, VIEWS_SCHEMA
from patentdata.captions.vllm import server as server_module
from patentdata.captions.vllm.server import Server, ServerError, server_command, serving
from patentdata.errors import ConfigError

_STAND_IN = Path(__file__).with_name("stand_in_server.py")


def until(is_so: Callable[[], bool], timeout_s: float = 60) -> bool:
    """Whether something became so before long."""
    end = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def processes_of(server: Server) -> list[psutil.Process]:
    """The leash of a server and everything that came of it."""
    (supervisor,) = (process for process in psutil.Process().children() if process.pid == server._leash.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def the_server(server: Server) -> psutil.Process:
    """The process that answers, between the leash and the engine."""
    supervisor, *_ = processes_of(server)
    (answering,) = supervisor.children()
    return answering


def is_up(server: Server) -> bool:
    try:
        with urllib.request.urlopen(server.url.removesuffix("/v1") + "/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def are_gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def mode(monkeypatch) -> list[str]:
    """Has a stand-in take the place of vLLM; its mode may be changed between starts."""
    chosen = ["healthy"]

    def command(_model: str, _revision: str | None, port: int, _config: ServerConfig) -> list[str]:
        return [sys.executable, str(_STAND_IN), str(port), chosen[0]]

    monkeypatch.setattr(server_module, "server_command", command)
    return chosen


def quick(**settings: object) -> ServerConfig:
    return ServerConfig(**({"startup_timeout_s": 60, "stop_timeout_s": 1} | settings))  # type: ignore[arg-type]


def test_within_the_block_it_answers_and_after_it_nothing_is_left(mode, tmp_path):
    with serving("tiny", None, quick(), log_path=tmp_path / "logs" / "vllm.log") as server:
        assert is_up(server)
        assert until(lambda: len(processes_of(server)) == 3)
        processes = processes_of(server)
    assert are_gone(processes)
    assert not is_up(server)


def test_an_error_in_the_block_leaves_nothing_either(mode, tmp_path):
    with pytest.raises(ZeroDivisionError), serving("tiny", None, quick(), log_path=tmp_path / "log") as server:
        processes = processes_of(server)
        raise ZeroDivisionError
    assert are_gone(processes)


def test_one_that_dies_is_started_again_on_the_same_port(mode, tmp_path):
    with serving("tiny", None, quick(), log_path=tmp_path / "log") as server:
        url, before = server.url, processes_of(server)
        the_server(server).kill()
        assert until(lambda: server.num_restarts == 1 and is_up(server))
        assert server.url == url and server.failure is None
        assert are_gone(before)


def test_one_that_dies_again_and_again_is_given_up_with_a_sentence(mode, tmp_path):
    with serving("tiny", None, quick(max_restarts=2), log_path=tmp_path / "log") as server:
        mode[0] = "broken"
        the_server(server).kill()
        assert until(lambda: server.failure is not None)
    assert server.num_restarts == 2
    assert (
        "the vLLM server for tiny died, and was started again 2 times already (exit code 1): OSError: magic/model"
        in (server.failure or "")
    )


def test_a_leash_that_is_killed_is_no_way_out(mode, tmp_path):
    with serving("tiny", None, quick(max_restarts=0), log_path=tmp_path / "log") as server:
        assert until(lambda: len(processes_of(server)) == 3)
        processes = processes_of(server)
        processes[0].kill()
        assert until(lambda: server.failure is not None)
    assert are_gone(processes)


def test_one_that_does_not_come_up_says_why_and_where_to_read_on(mode, tmp_path):
    mode[0] = "broken"
    log_path = tmp_path / "vllm.log"
    message = (
        r"the vLLM server for tiny ended while it started \(exit code 1\): OSError: magic/model is not a local folder"
    )
    with (
        pytest.raises(ServerError, match=message + "; see .*vllm.log"),
        serving("tiny", None, quick(), log_path=log_path),
    ):
        pass
    assert "See root cause above" in log_path.read_text()


def test_one_that_never_answers_is_ended_in_time(mode, tmp_path):
    mode[0] = "deaf"
    heard: list[float] = []
    with (
        pytest.raises(ServerError, match="did not answer within 2 s"),
        serving(
            "tiny",
            None,
            quick(startup_timeout_s=2),
            log_path=tmp_path / "log",
            on_wait=lambda waited_s, _line: heard.append(waited_s),
        ),
    ):
        pass
    assert heard == sorted(heard) and heard
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(_STAND_IN) in (process.info["cmdline"] or [])
    ]


def test_a_port_that_another_took_is_left_to_it(mode, tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        ports = server_module._HeldPort.__init__

        def first_taken(self) -> None:
            ports(self)
            if not given:
                given.append(self.number)
                self.number = taken

        given: list[int] = []
        monkeypatch.setattr(server_module._HeldPort, "__init__", first_taken)
        # The other answers no HTTP, so only the server's own words tell that the port is taken.
        with serving("tiny", None, quick(), log_path=tmp_path / "log") as server:
            assert is_up(server) and str(taken) not in server.url


def test_a_held_port_is_given_to_nobody_else():
    port = server_module._HeldPort()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))
    port.close()


_OWNER = """
import signal, sys, time
from pathlib import Path
from patentdata.captions.vllm import server
from tests.tiny_llava import TINY_SERVER

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where Ctrl-C is ignored

if sys.argv[2] == "stand-in":
    server.server_command = lambda model, revision, port, config: [sys.executable, sys.argv[3], str(port), "healthy"]
with server.serving(sys.argv[3], None, TINY_SERVER, log_path=Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""


def own_a_server(tmp_path: Path, kind: str, what: Path) -> subprocess.Popen[str]:
    """Another process that has a server of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path / "vllm.log"), kind, str(what)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_however_its_owner_dies_the_server_and_its_children_die_too(tmp_path, number):
    with own_a_server(tmp_path, "stand-in", _STAND_IN) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "up\n"
        family = psutil.Process(owner.pid)
        assert until(lambda: len(family.children(recursive=True)) == 3)
        processes = family.children(recursive=True)
        owner.send_signal(number)
        owner.wait(60)
        assert until(lambda: are_gone(processes))


def test_settings_become_options_and_extra_arguments_have_the_last_word():
    config = ServerConfig(
        tensor_parallel_size=4,
        data_parallel_size=2,
        dtype="bfloat16",
        max_model_len=4096,
        gpu_memory_utilization=0.8,
        extra_arguments=("--max-model-len", "2048"),
    )
    command = " ".join(server_command("llava-hf/x", "abc", 8123, config))
    for part in (
        "-m vllm.entrypoints.openai.api_server --model llava-hf/x --host 127.0.0.1 --port 8123 --dtype bfloat16",
        "--revision abc",
        "--tensor-parallel-size 4",
        "--data-parallel-size 2",
        "--gpu-memory-utilization 0.8",
    ):
        assert part in command
    assert command.endswith("--max-model-len 2048")
    assert "parallel" not in " ".join(server_command("x", None, 8123, ServerConfig()))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tensor_parallel_size": 0}, "tensor_parallel_size is 0; name a number of GPUs"),
        ({"max_model_len": 0}, "max_model_len is 0; name a number of tokens"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization is 1.5; choose a share"),
        (
            {"extra_arguments": "--enforce-eager"},
            r'extra_arguments is one text; give a list such as \["--enforce-eager"\]',
        ),
        ({"startup_timeout_s": 0}, "startup_timeout_s is 0; name a number of seconds"),
        ({"max_restarts": -1}, "max_restarts is -1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ServerConfig(**settings)


def test_without_vllm_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with (
        pytest.raises(ConfigError, match=r"no vLLM here to serve tiny; install it .*or name a running server"),
        serving("tiny", None, ServerConfig(), log_path=tmp_path / "log"),
    ):
        pass


# With a real engine.


def ask(server: Server, model: Path, seed: int) -> dict[str, Any]:
    """What the model says of a picture of noise, in the schema of the default prompt."""
    picture = np.random.default_rng(seed).integers(0, 256, (56, 56), dtype=np.uint8)
    png = base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}},
        {"type": "text", "text": "Shape and function, in JSON."},
    ]
    question = {
        "model": str(model),
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "seed": 0,
        "max_tokens": 700,
        "response_format": {"type": "json_schema", "json_schema": {"name": "caption", "schema": VIEWS_SCHEMA}},
    }
    answer = requests.post(f"{server.url}/chat/completions", json=question, timeout=300)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.timeout(600)
def test_a_real_server_keeps_to_the_schema_and_answers_equal_questions_equally(caption_server, tiny_llava):
    answers = [ask(caption_server, tiny_llava, seed) for seed in (0, 0, 1)]
    for answer in answers:
        (choice,) = answer["choices"]
        assert choice["finish_reason"] == "stop"
        said = json.loads(choice["message"]["content"])
        assert set(said) == {"shape", "function"}
        assert len(said["shape"]) <= MAX_SHAPE_CHARS and len(said["function"]) <= MAX_FUNCTION_CHARS
        assert answer["usage"]["prompt_tokens"] > 16  # patches of the picture are among them
    assert answers[0]["choices"][0]["message"] == answers[1]["choices"][0]["message"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_engine_dies_with_its_owner(tiny_llava, tmp_path):
    (tmp_path / "vllm.log").touch()
    with own_a_server(tmp_path, "real", tiny_llava) as owner:
        assert until(lambda: "(EngineCore pid=" in (tmp_path / "vllm.log").read_text(), timeout_s=240)
        processes = psutil.Process(owner.pid).children(recursive=True)
        assert len(processes) >= 3  # leash, server, engine
        owner.kill()
        owner.wait()
        assert until(lambda: are_gone(processes))


@pytest.mark.timeout(600)
def test_a_model_that_is_none_is_named_with_vllms_own_reason(tmp_path):
    pytest.importorskip("vllm")
    (tmp_path / "model").mkdir()
    with (
        pytest.raises(ServerError, match=r"\(exit code 1\): .*Invalid repository ID or local directory"),
        serving(str(tmp_path / "model"), None, ServerConfig(startup_timeout_s=280), log_path=tmp_path / "log"),
    ):
        pass
