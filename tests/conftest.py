"""Fixtures that more than one package needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
