"""The page of sizes, hours and cost, and the arithmetic behind it."""

import runpy
from pathlib import Path

import pytest

_DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def scale() -> dict:
    return runpy.run_path(str(_DOCS / "write_scale.py"))


def test_the_page_is_the_one_that_its_rates_give(scale):
    assert (_DOCS / "scale.md").read_text(encoding="utf-8") == scale["scale_page"](), "run: make docs"


def test_more_cores_do_not_shorten_the_fetching_from_the_portal(scale):
    slow = scale["SLOW"]
    of_16, of_256 = (scale["core_hours"](num, slow) for num in (16, 256))
    assert of_16[0] == of_256[0] == scale["fetching_h"](scale["MOVED_BYTES"], slow)
    assert of_256[1] == pytest.approx(of_16[1] / 16)
    assert of_256[3] >= of_256[0]


def test_however_fast_the_network_is_files_are_not_requested_faster_than_the_portal_allows(scale):
    assert scale["fetching_h"](0, scale["FAST"]) == pytest.approx(835 * 2 / 3600)


def test_a_single_core_fetches_and_works_one_after_the_other(scale):
    fetching, walk, dataset, total = scale["core_hours"](1, scale["SLOW"])
    assert total == pytest.approx(fetching + walk + dataset)


def test_the_first_paragraph_names_every_rate_that_is_assumed(scale):
    first = " ".join(scale["scale_page"]().partition("## Sizes")[0].split())
    assumed = [value for value in scale.values() if getattr(value, "provenance", "").startswith("assumed")]
    assert len(assumed) > 5
    assert [rate.unit for rate in assumed if rate.unit not in first] == []
