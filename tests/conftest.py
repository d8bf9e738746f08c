"""Fixtures that more than one package needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from patentdata.captions.vllm.server import Server, serving
from tests.tiny_llava import TINY_SERVER, write_tiny_llava

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real patents, or a skip that says why."""
    folder = Path(os.environ.get("DESIGNCLIP_REAL_DATA", _REPOSITORY / ".." / "shared" / "data")).resolve()
    if not (folder / "redbook").is_dir():
        pytest.skip(f"no real patents at {folder}; name their folder in DESIGNCLIP_REAL_DATA")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hashes that the tests remember are forgotten with them."""
    os.environ["DESIGNCLIP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a LLaVA of random weights."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    return write_tiny_llava(tmp_path_factory.mktemp("model") / "tiny-llava")


@pytest.fixture(scope="session")
def caption_server(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real vLLM server on the CPU, one for all tests of a session; up after a minute or two."""
    with serving(str(tiny_llava), None, TINY_SERVER, log_path=tmp_path_factory.mktemp("vllm") / "vllm.log") as server:
        yield server
