"""The example of a cluster in docs/operations.md: its commands run here in small, with an S3 server on the loopback."""

import contextlib
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import typer

from flows.cli import app
from flows.commands.settings import build
from flows.retrain import RetrainConfig
from patentdata.store.folder import DataFolder
from tests.flows.programs import designclip, started
from tests.flows.walks import WEEKS

_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_SECTION = re.search(r"### A cluster with a bucket.*?(?=\n## )", _PAGE.read_text(), re.DOTALL)[0]
_PYTHON, _DESIGNCLIP = ".venv/bin/python", ".venv/bin/designclip"


def commands() -> list[list[str]]:
    """The words of each command of the example, without Slurm around it."""
    (block,) = re.findall(r"```bash\n(.*?)```", _SECTION, re.DOTALL)
    lines = [shlex.split(line.rstrip("& ")) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(words[words.index("--wrap") + 1]) if words[0] == "sbatch" else words for words in lines]


def options_of(words: list[str]) -> dict[str, object]:
    """What the command line makes of a call of designclip; raises for an option that it does not take."""
    command = typer.main.get_command(app).commands[words[1]]
    return command.make_context(words[1], words[2:]).params


def test_every_call_of_designclip_is_one_that_the_command_line_takes():
    calls = [words for words in commands() if words[0] == _DESIGNCLIP]
    assert [words[1] for words in calls] == ["doctor", "refresh", "retrain", "evaluate"]
    assert {options_of(words)["data_dir"] for words in calls} == {"s3://designs/impact"}


def test_the_settings_are_settings():
    (block,) = re.findall(r"```toml\n(.*?)```", _SECTION, re.DOTALL)
    settings = build(RetrainConfig, {"data_dir": "data", **tomllib.loads(block)})
    assert settings.training.shard_optimizer and settings.evaluation.num_processes == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_scheduler_the_workers_and_the_refresh_of_the_example_take_weeks_to_a_dataset(
    drawn_weeks, walked, bucket, tmp_path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {
        "8786": str(port),
        "tcp://login:8786": f"tcp://127.0.0.1:{port}",
        "16": "1",
        "portal": str(drawn_weeks),
        "s3://designs/impact": bucket,
    }
    scheduler, worker, _, _, refresh, *_ = commands()
    assert (scheduler[:3], worker[:3]) == ([_PYTHON, "-m", "dask"], [_PYTHON, "-m", "dask"])
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "dask.log").open("wb"))
        for words in (scheduler, worker):
            arguments = [*(here.get(word, word) for word in words[1:]), "--host", "127.0.0.1", "--no-dashboard"]
            program = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)
            stack.callback(program.wait, 30)
            stack.callback(program.terminate)
        _wait_for_port(port)
        first_endpoint = refresh.index("--endpoint")  # there are no caption servers here
        arguments = [here.get(word, word) for word in refresh[1:first_endpoint]]
        with started(designclip, *arguments, log=tmp_path / "refresh.log") as run:
            run.join(240)
        assert run.exitcode == 0, (tmp_path / "refresh.log").read_text()
    folder = DataFolder(bucket)
    assert folder.names("captions") == [f"{week}.parquet" for week in WEEKS]
    for week in WEEKS:
        there, local = (DataFolder(url) for url in (bucket, walked[0]))
        path = ("views", f"{week}.parquet")
        assert there.fs.cat_file(there.path(*path)) == local.fs.cat_file(local.path(*path))
    assert folder.exists(folder.path("datasets", "designs", "dataset.json"))


def _wait_for_port(port: int) -> None:
    ends_at = time.monotonic() + 120
    while time.monotonic() < ends_at:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at port {port}")
