import re
import runpy
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_page_of_the_data_is_the_one_the_schemas_give():
    data_page = runpy.run_path(str(_REPOSITORY / "docs" / "write_data.py"))["data_page"]
    assert (_REPOSITORY / "docs" / "data.md").read_text() == data_page(), "run: make docs"


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/decisions.md", "docs/benchmarks.md"])
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#]+)\)", (_REPOSITORY / page).read_text())
    here = (_REPOSITORY / page).parent
    assert [link for link in links if not link.startswith("http") and not (here / link).exists()] == []
