import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", ["flows", "tasks", "patentdata", "model"])
def test_from_outside_the_repository_a_package_is_ours(package, tmp_path):
    code = f"import {package}; print({package}.__file__)"
    where = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(where.stdout.strip()) == _REPOSITORY / package / "__init__.py"


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("patentdata.captions.stage", ("prefect", "torch", "open_clip", "transformers")),
        pytest.param("model.training.train", ("prefect", "patentdata"), marks=pytest.mark.slow),  # imports torch
    ],
)
def test_what_a_library_loads_is_only_what_it_may_know(package, forbidden):
    code = f"import sys, {package}; print([name for name in {forbidden!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
