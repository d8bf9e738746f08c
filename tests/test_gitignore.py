"""What a checkout makes for itself is not offered for a commit."""

import shutil
import subprocess
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", [".venv", ".venv-gpu", "data", "demo"])
@pytest.mark.parametrize("is_link", [False, True], ids=["folder", "link"])
def test_the_environment_and_data_folders_are_ignored_as_folders_and_as_links(tmp_path, name, is_link):
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    checkout.mkdir()
    elsewhere.mkdir()
    shutil.copy(_REPOSITORY / ".gitignore", checkout)
    subprocess.run(["git", "init", "--quiet"], cwd=checkout, check=True)
    if is_link:
        (checkout / name).symlink_to(elsewhere)
    else:
        (checkout / name).mkdir()
    (checkout / name / "file").write_text("x")
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout
    assert status == "?? .gitignore\n"
