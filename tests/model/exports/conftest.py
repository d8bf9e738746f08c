"""A dataset of forty drawn views, and a model to embed them with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.search.searchable import draw_searchable, write_model


@pytest.fixture(scope="session")
def designs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 training and 4 test patents of two views each; a title and a view's name are hostile. Not to be written to."""
    return draw_searchable(tmp_path_factory.mktemp("exported") / "designs")


@pytest.fixture(scope="session")
def model(micro_clip: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model with fresh weights."""
    return str(write_model(micro_clip, tmp_path_factory.mktemp("model") / "clip"))
