"""On a fresh machine, Prefect keeps its files in the chosen folder and prints no warning that concerns nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_PREPARE = "import flows, pathlib; flows.use_prefect_home(pathlib.Path({folder!r})); "
_SHOW_MEMO_STORE = "from prefect.settings import get_current_settings as s; print(s().server.memo_store_path)"
_RUN_A_FLOW = "from prefect import flow; flow(lambda: 1, name='one')()"


def python(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process of a user who has never run Prefect."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = kept | {"HOME": str(home)} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)


def test_the_memo_store_is_in_the_folder_that_is_chosen(tmp_path):
    shown = python(_PREPARE.format(folder=str(tmp_path / "prefect")) + _SHOW_MEMO_STORE, tmp_path / "home")
    assert shown.stdout.strip() == str(tmp_path / "prefect" / "memo_store.toml")


def test_a_folder_that_the_environment_names_takes_precedence(tmp_path):
    code = _PREPARE.format(folder=str(tmp_path / "unused")) + _SHOW_MEMO_STORE
    shown = python(code, tmp_path / "home", PREFECT_HOME=str(tmp_path / "mine"))
    assert shown.stdout.strip() == str(tmp_path / "mine" / "memo_store.toml")


@pytest.mark.slow
def test_a_temporary_server_prints_no_warning_on_a_fresh_machine(tmp_path):
    (tmp_path / "prefect").mkdir()
    code = _PREPARE.format(folder=str(tmp_path / "prefect")) + _RUN_A_FLOW
    shown = python(code, tmp_path / "home", PREFECT_LOGGING_LEVEL="WARNING")
    assert shown.stderr == ""
    assert (tmp_path / "prefect" / "memo_store.toml").is_file()
