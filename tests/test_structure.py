"""The layout of the code: few names a folder, tests that mirror it, and imports that point one way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]
_MOST_NAMES = 16  # in a folder below the four packages


def _names(folder: Path) -> tuple[set[str], set[str]]:
    """Modules and sub-folders of a folder of code."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    return modules, {path.parent.name for path in folder.glob("*/__init__.py")}


def _folders(package: str) -> list[Path]:
    """A package's folders of code, the package included."""
    return sorted(path.parent for path in (_REPOSITORY / package).rglob("__init__.py"))


@pytest.mark.parametrize(
    ("package", "modules", "folders"),
    [
        (
            "patentdata",
            {"errors", "classes", "pages", "worker"},
            {"store", "archives", "grants", "views", "captions", "dataset", "rebuild", "specimens", "audit"},
        ),
        (
            "model",
            {"errors", "files", "settings", "progress", "pages", "charts", "child_process"},
            {"dataset", "clip", "training", "evaluation", "search", "study", "exports"},
        ),
        (
            "flows",
            {"cli", "refresh", "rebuild", "retrain", "evaluate", "weeks", "outcomes", "steps", "publishing"},
            {"commands", "terminal", "preflight"},
        ),
        (
            "tasks",
            {"archives", "grants", "views", "captions", "dataset", "training", "evaluation", "impact"},
            {"running"},
        ),
    ],
)
def test_a_package_shows_one_folder_a_stage_and_a_dozen_names(package, modules, folders):
    assert _names(_REPOSITORY / package) == (modules, folders)


@pytest.mark.parametrize("package", ["patentdata", "model", "flows", "tasks"])
def test_no_folder_shows_more_names_than_a_reader_takes_in_at_one_glance(package):
    crowded = {
        str(folder.relative_to(_REPOSITORY)): len(modules) + len(folders)
        for folder in _folders(package)
        for modules, folders in [_names(folder)]
        if len(modules) + len(folders) > _MOST_NAMES
    }
    assert not crowded


@pytest.mark.parametrize("stage", ["archives", "grants", "views", "captions", "dataset"])
def test_every_stage_folder_has_the_same_door(stage):
    assert (_REPOSITORY / "patentdata" / stage / "stage.py").is_file()


@pytest.mark.parametrize("package", ["patentdata", "model", "flows", "tasks"])
def test_the_tests_mirror_the_packages_folder_by_folder(package):
    code = {folder.relative_to(_REPOSITORY) for folder in _folders(package)}
    tests = {path.parent.relative_to(_REPOSITORY / "tests") for path in (_REPOSITORY / "tests" / package).rglob("*.py")}
    assert tests <= code, "a folder of tests without its folder of code"


def test_imports_point_the_way_that_the_contracts_say():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    checked = subprocess.run([*command, "--no-cache"], cwd=_REPOSITORY, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
