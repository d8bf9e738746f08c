"""Fixtures that more than one package needs, and which tests run in one worker.

Most of the suite's time used to go into starting things. So a server is started once per test run, and everything that
needs it runs in the same worker; all other tests of a file share a worker, and with it the fixtures of that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.scheduling import GroupScheduling, put_in_order
from tests.sharing import made_once

if TYPE_CHECKING:
    from flows.outcomes import WalkResult
    from tests.caption_server import CaptionServer

# Before torch and its kin are imported, here and in all child processes: models this small spend more time on handing
# work between threads than on the work, and there are more workers than cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

_REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests; what needs a server is slow, and comes first."""
    put_in_order(items)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    """Tests that share a server run in one worker."""
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


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
def drawn_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two drawn weeks of four patents each, a tar and a ZIP; not to be written to."""
    from tests.flows.walks import draw_archives

    return made_once(tmp_path_factory, "weeks", lambda folder: draw_archives(folder, num_patents=4) and None)[0]


@pytest.fixture(scope="session")
def walked(drawn_weeks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WalkResult]:
    """Data folder and result of an undisturbed walk over the drawn weeks, training included; not to be written to."""
    from flows.refresh import refresh
    from tests.flows.walks import small_walk, training_here

    def walk(data_dir: Path) -> WalkResult:
        with training_here():
            return refresh.fn(small_walk(drawn_weeks, data_dir))

    return made_once(tmp_path_factory, "walked", walk)


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a LLaVA of random weights."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from tests.tiny_llava import write_tiny_llava

    return write_tiny_llava(tmp_path_factory.mktemp("model") / "tiny-llava")


@pytest.fixture(scope="session")
def caption_server(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaptionServer]:
    """A real vLLM server on the CPU, managed by a process of its own, one per test run; up after a minute."""
    from tests.caption_server import owned_server

    with owned_server(tiny_llava, tmp_path_factory.mktemp("vllm") / "vllm.log") as server:
        yield server
