"""A managed server: it starts, is restarted, says why if it does not start, and leaves no process behind."""

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

from patentdata.captions.config import SamplingConfig, ServerConfig
from patentdata.captions.prompts import load_prompt
from patentdata.captions.stage import caption_views
from patentdata.captions.vllm import server as server_module
from patentdata.captions.vllm.server import Server, ServerError, server_command, serving
from patentdata.errors import ConfigError, SourceError
from patentdata.store.folder import DataFolder
from tests.caption_server import CaptionServer
from tests.patentdata.captions.weeks import WEEK, vlm_config, write_views

pytestmark = pytest.mark.slow

_STAND_IN = Path(__file__).with_name("stand_in_server.py")


def until(condition: Callable[[], bool], timeout_s: float = 60) -> bool:
    """Wait for a condition; returns whether it held within the time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def processes_of(server: Server) -> list[psutil.Process]:
    """The supervisor of a server and all its descendants."""
    (supervisor,) = (process for process in psutil.Process().children() if process.pid == server.supervisor.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def answering_process(server: Server) -> psutil.Process:
    """The process that answers requests, between the supervisor and the engine."""
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
    """Starts a stand-in instead of vLLM; its mode may be changed between starts."""
    chosen = ["healthy"]

    def command(_model: str, _revision: str | None, port: int, _config: ServerConfig) -> list[str]:
        return [sys.executable, str(_STAND_IN), str(port), chosen[0]]

    monkeypatch.setattr(server_module, "server_command", command)
    return chosen


def quick(**settings: object) -> ServerConfig:
    return ServerConfig(**({"startup_timeout_s": 60, "stop_timeout_s": 1} | settings))  # type: ignore[arg-type]


def test_a_server_answers_within_the_block_and_no_process_is_left_after_it(mode, tmp_path):
    with serving("tiny", None, quick(), log_path=tmp_path / "logs" / "vllm.log") as server:
        assert is_up(server)
        assert until(lambda: len(processes_of(server)) == 3)
        processes = processes_of(server)
    assert are_gone(processes)
    assert not is_up(server)


def test_no_process_is_left_after_an_error_in_the_block(mode, tmp_path):
    with pytest.raises(ZeroDivisionError), serving("tiny", None, quick(), log_path=tmp_path / "log") as server:
        processes = processes_of(server)
        raise ZeroDivisionError
    assert are_gone(processes)


def test_a_server_that_dies_is_restarted_on_the_same_port(mode, tmp_path):
    with serving("tiny", None, quick(), log_path=tmp_path / "log") as server:
        url, before = server.url, processes_of(server)
        answering_process(server).kill()
        assert until(lambda: server.num_restarts == 1 and is_up(server))
        assert server.url == url and server.failure is None
        assert are_gone(before)


def test_a_server_that_dies_repeatedly_fails_with_its_last_error(mode, tmp_path):
    with serving("tiny", None, quick(max_restarts=2), log_path=tmp_path / "log") as server:
        mode[0] = "broken"
        answering_process(server).kill()
        assert until(lambda: server.failure is not None)
    assert server.num_restarts == 2
    assert "the vLLM server for tiny died after 2 restarts (exit code 1): OSError: magic/model" in (
        server.failure or ""
    )


def test_no_process_is_left_after_the_supervisor_was_killed(mode, tmp_path):
    with serving("tiny", None, quick(max_restarts=0), log_path=tmp_path / "log") as server:
        assert until(lambda: len(processes_of(server)) == 3)
        processes = processes_of(server)
        processes[0].kill()
        assert until(lambda: server.failure is not None)
    assert are_gone(processes)


def test_a_server_that_does_not_start_says_why_and_names_its_log(mode, tmp_path):
    mode[0] = "broken"
    log_path = tmp_path / "vllm.log"
    message = (
        r"the vLLM server for tiny exited while it started \(exit code 1\): OSError: magic/model is not a local folder"
    )
    with (
        pytest.raises(ServerError, match=message + "; see .*vllm.log"),
        serving("tiny", None, quick(), log_path=log_path),
    ):
        pass
    assert "See root cause above" in log_path.read_text()


def test_a_server_that_never_answers_is_stopped_in_time(mode, tmp_path):
    mode[0] = "deaf"
    waits_s: list[float] = []
    with (
        pytest.raises(ServerError, match="did not answer within 2 s"),
        serving(
            "tiny",
            None,
            quick(startup_timeout_s=2),
            log_path=tmp_path / "log",
            on_wait=lambda waited_s, _line: waits_s.append(waited_s),
        ),
    ):
        pass
    assert waits_s == sorted(waits_s) and waits_s
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if str(_STAND_IN) in (process.info["cmdline"] or [])
    ]


def test_another_port_is_tried_if_the_reserved_one_is_in_use(mode, tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        ports = server_module._ReservedPort.__init__

        def first_taken(self) -> None:
            ports(self)
            if not replaced:
                replaced.append(self.number)
                self.number = taken

        replaced: list[int] = []
        monkeypatch.setattr(server_module._ReservedPort, "__init__", first_taken)
        # The other program does not speak HTTP, so only the server's log says that the port is in use.
        with serving("tiny", None, quick(), log_path=tmp_path / "log") as server:
            assert is_up(server) and str(taken) not in server.url


def test_a_reserved_port_cannot_be_bound_by_another_program():
    port = server_module._ReservedPort()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))
    port.close()


_OWNER = """
import signal, sys, time
from pathlib import Path
from patentdata.captions.vllm import server
from tests.tiny_llava import TINY_SERVER

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in a shell that ignores Ctrl-C

server.server_command = lambda model, revision, port, config: [sys.executable, model, str(port), "healthy"]
with server.serving(sys.argv[2], None, TINY_SERVER, log_path=Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""


def own_a_server(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process, with a managed stand-in of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path / "vllm.log"), str(_STAND_IN)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_and_its_children_die_with_their_owner_however_it_dies(tmp_path, number):
    with own_a_server(tmp_path) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "up\n"
        family = psutil.Process(owner.pid)
        assert until(lambda: len(family.children(recursive=True)) == 3)
        processes = family.children(recursive=True)
        owner.send_signal(number)
        owner.wait(60)
        assert until(lambda: are_gone(processes))


def test_settings_become_options_and_extra_arguments_come_last():
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
        '--limit-mm-per-prompt {"image": 1}',
        "--revision abc",
        "--tensor-parallel-size 4",
        "--data-parallel-size 2",
        "--gpu-memory-utilization 0.8",
    ):
        assert part in command
    assert command.endswith("--max-model-len 2048")
    plain = " ".join(server_command("x", None, 8123, ServerConfig()))
    assert not [option for option in ("parallel", "kwargs", "api-server-count", "max-model-len") if option in plain]


def test_several_api_processes_are_started_by_the_command_line_of_vllm():
    config = ServerConfig(
        api_server_count=3, limit_mm_per_prompt={"image": 4, "video": 0}, mm_processor_kwargs={"size": {"height": 56}}
    )
    command = server_command("qwen", None, 8123, config)
    assert command[1:5] == ["-m", "vllm.entrypoints.cli.main", "serve", "qwen"]
    assert command[command.index("--api-server-count") + 1] == "3"
    assert command[command.index("--limit-mm-per-prompt") + 1] == '{"image": 4, "video": 0}'
    assert command[command.index("--mm-processor-kwargs") + 1] == '{"size": {"height": 56}}'


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tensor_parallel_size": 0}, "tensor_parallel_size is 0; choose 1 or more"),
        ({"max_model_len": 0}, "max_model_len is 0; choose 1 or more tokens"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization is 1.5; choose a share"),
        (
            {"extra_arguments": "--enforce-eager"},
            r'extra_arguments is one text; give a list such as \["--enforce-eager"\]',
        ),
        ({"startup_timeout_s": 0}, "startup_timeout_s is 0; choose seconds above 0"),
        ({"max_restarts": -1}, "max_restarts is -1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ServerConfig(**settings)


def test_without_vllm_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with (
        pytest.raises(
            ConfigError, match=r"vLLM is not installed, so tiny cannot be served; .*or name a running server"
        ),
        serving("tiny", None, ServerConfig(), log_path=tmp_path / "log"),
    ):
        pass


# With a real engine.


def ask(server: CaptionServer, model: Path, seed: int) -> dict[str, Any]:
    """The model's completion for a picture of noise, with the schema of the default prompt."""
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
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "caption", "schema": load_prompt("views").schema},
        },
    }
    answer = requests.post(f"{server.url}/chat/completions", json=question, timeout=300)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.timeout(600)
def test_a_real_server_follows_the_schema_and_answers_equal_questions_equally(caption_server, tiny_llava):
    answers = [ask(caption_server, tiny_llava, seed) for seed in (0, 0, 1)]
    for answer in answers:
        (choice,) = answer["choices"]
        assert choice["finish_reason"] == "stop"
        said = json.loads(choice["message"]["content"], strict=False)  # random weights may write a control character
        assert set(said) == {"shape", "function"}
        assert all(len(said[name]) <= of.max_chars for name, of in load_prompt("views").fields.items())
        assert answer["usage"]["prompt_tokens"] > 16  # patches of the picture are among them
    assert answers[0]["choices"][0]["message"] == answers[1]["choices"][0]["message"]


@pytest.mark.timeout(600)
def test_a_real_server_whose_context_is_too_short_fails_the_week_in_its_own_words(caption_server, tiny_llava, tmp_path):
    folder = DataFolder(tmp_path / "data")
    write_views(folder, 12)
    config = vlm_config(caption_server.url, model=str(tiny_llava), sampling=SamplingConfig(max_tokens=4096))
    with pytest.raises(SourceError, match=r'status 400: ".*4096.*"; captions finished so far are kept: fix the server'):
        caption_views(folder, WEEK, config)
    assert folder.names("captions") == []


@pytest.mark.last
def test_a_real_engine_dies_with_its_owner(caption_server):
    processes = caption_server.owner.children(recursive=True)
    assert len(processes) >= 3  # supervisor, server, engine
    caption_server.owner.kill()
    assert until(lambda: are_gone(processes))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_that_is_not_a_model_is_reported_with_the_reason_that_vllm_gives(tmp_path):
    pytest.importorskip("vllm")
    (tmp_path / "model").mkdir()
    with (
        pytest.raises(ServerError, match=r"\(exit code 1\): .*Invalid repository ID or local directory"),
        serving(str(tmp_path / "model"), None, ServerConfig(startup_timeout_s=280), log_path=tmp_path / "log"),
    ):
        pass
