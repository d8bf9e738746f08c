"""The real vLLM server of a test run, managed by a process of its own, so that a test can see it die with that process.

python -m tests.caption_server MODEL LOG    # prints the server's address once it answers
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from patentdata.captions.config import CaptionsConfig
from patentdata.captions.vllm.plan import Machine, plan_server
from patentdata.captions.vllm.server import serving
from tests.tiny_llava import TINY_SERVER


@dataclass(frozen=True)
class CaptionServer:
    """The server, seen from outside of the process that manages it.

    Attributes:
        url: Address for clients, "http://127.0.0.1:PORT/v1".
        log_path: Its log, of all its starts.
        owner: The process that manages it.
    """

    url: str
    log_path: Path
    owner: psutil.Process

    def answering_process(self) -> psutil.Process:
        """The process that answers requests, between the supervisor and the engine."""
        (supervisor,) = self.owner.children()
        (answering,) = supervisor.children()
        return answering


@contextlib.contextmanager
def owned_server(model: Path, log_path: Path) -> Iterator[CaptionServer]:
    """A vLLM server for the length of a block, started in a new process. Raises AssertionError if it does not start."""
    command = [sys.executable, "-m", "tests.caption_server", str(model), str(log_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            url = owner.stdout.readline().strip()
            assert url, f"the caption server did not start:\n{log_path.read_text()[-4000:]}"
            yield CaptionServer(url, log_path, psutil.Process(owner.pid))
        finally:
            owner.terminate()


if __name__ == "__main__":
    config = CaptionsConfig(captioner="vllm", model=sys.argv[1], server=TINY_SERVER)
    plan = plan_server(config, Machine(num_gpus=0, gpu_bytes=0, num_cores=2))
    with serving(sys.argv[1], None, plan.server, log_path=Path(sys.argv[2])) as server:
        print(server.url, flush=True)
        time.sleep(3600)
