import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from flows.cli import app
from flows.commands.settings import build
from flows.refresh import RefreshConfig

_REPOSITORY = Path(__file__).resolve().parents[1]
_PAGES = sorted(
    [
        "README.md",
        "CONTRIBUTING.md",
        *(str(path.relative_to(_REPOSITORY)) for path in (_REPOSITORY / "docs").glob("*.md")),
    ]
)


def _commands(page: str) -> list[str]:
    """Every call of designclip in the shell blocks of a page."""
    blocks = re.findall(r"```bash\n(.*?)```", (_REPOSITORY / page).read_text(), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix(".venv/bin/designclip") for line in lines if line.startswith(".venv/bin/designclip")]


def test_the_page_of_the_data_is_the_one_the_schemas_give():
    data_page = runpy.run_path(str(_REPOSITORY / "docs" / "write_data.py"))["data_page"]
    assert (_REPOSITORY / "docs" / "data.md").read_text() == data_page(), "run: make docs"


@pytest.mark.parametrize("page", _PAGES)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#]+)\)", (_REPOSITORY / page).read_text())
    here = (_REPOSITORY / page).parent
    assert [link for link in links if not link.startswith("http") and not (here / link).exists()] == []


@pytest.mark.parametrize("line", [line for page in _PAGES for line in _commands(page)])
def test_a_command_on_a_page_is_one_that_the_command_line_takes(line):
    name, *arguments = shlex.split(line, comments=True)
    if name.startswith("--"):
        return
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    command.make_context(name, arguments)  # raises at an option that is not there


def test_the_tree_on_the_front_page_has_a_line_for_each_folder_of_code():
    tree = re.findall(r"```\n(flows/.*?)```", (_REPOSITORY / "README.md").read_text(), flags=re.DOTALL)[0]
    named, package = set(), ""
    for line in tree.splitlines():
        folder = line.split("/")[0]
        package = package if folder.startswith(" ") else folder
        named.add(folder if folder == package else f"{package}/{folder.strip()}")
    packages = ("flows", "tasks", "patentdata", "model", "bench")
    modules = [path for package in packages for path in _REPOSITORY.glob(f"{package}/*/*.py")]
    folders = {path.parent.relative_to(_REPOSITORY).as_posix() for path in modules}
    assert named == folders | {*packages, "docs", "tests"}


def test_the_settings_on_the_front_page_are_settings():
    (settings,) = re.findall(r"```toml\n(.*?)```", (_REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    values = tomllib.loads(settings)
    assert set(values) == {"weeks", "dataset", "training"}
    build(RefreshConfig, {**values, "weeks": {**values["weeks"], "data_dir": "data"}})
