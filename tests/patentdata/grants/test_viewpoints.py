import json
import subprocess
import sys
from pathlib import Path

import pytest

from patentdata.grants.viewpoints import read_viewpoint
from patentdata.store.schemas import VIEWPOINTS


@pytest.mark.parametrize(
    ("text", "viewpoint", "direction"),
    [
        ("is a perspective view of a chair", "perspective", None),
        ("is a top, front and left side perspective view thereof", "perspective", "top front left"),
        ("is a back perspective view thereof", "perspective", "rear"),
        ("is a perspective view showing the front and left sides of a heat press", "perspective", "front left"),
        ("is an isometric view thereof", "perspective", None),
        ("is a top view perspective view thereof", "perspective", "top"),
        ("is a front elevational view thereof", "front", None),
        ("is a back view thereof", "rear", None),
        ("is a left-side view thereof, the right side being a mirror image", "left", None),
        ("is a right side view", "right", None),
        ("is a top plan view", "top", None),
        ("is a plan view thereof", "top", None),
        ("is a bottom plan view thereof", "bottom", None),
        ("is a side view thereof, the opposite side being a mirror image", "side", None),
        ("is a plan view of the back of the glove", "rear", None),
        ("is a cross-sectional view taken along line 8-8 of FIG. 2", "section", None),
        ("is an enlarged view of portion 3-3 of FIG. 2", "detail", None),
        ("is an enlarged front view thereof", "front", None),
        ("is an exploded perspective view", "exploded", None),
        ("is an environmental perspective view thereof", "in_use", None),
        ("is a view showing the bag in use", "in_use", None),
        (": Back", "rear", None),
        (": Bottom Perspective, in condition of use", "perspective", "bottom"),
        (": Reference view of usage", "in_use", None),
        ("is a front edge view thereof", "front", None),
        ("is a right side edge view of the tablet", "right", None),
        ("is an edge view thereof", "side", None),
        ("is a front perspective (elevational) view", "perspective", "front"),
        ("is a front view (enlarged) of the chair", "front", None),
        ("is a view of the back panel of the bag", "rear", None),
        ("is an elevational palm-side view of a glove", "side", None),
        ("is a front door view of a house", "front", None),
        ("is a top plan vie thereof", "top", None),
        ("is a plain view thereof", "top", None),
        ("is a from view thereof", "front", None),
        ("is a rear persepctive veiw thereof", "perspective", "rear"),
        ("is a botom view thereof", "bottom", None),
        ("is a rigth side elevaton", "right", None),
        ("is an image from view 3", "other", None),
        ("is from elevational view", "front", None),
        ("is a front ¾ view", "perspective", "front"),
        ("is a 3/4 view from behind", "perspective", "rear"),
        ("is a bird’s eye view thereof", "top", None),
        ("is a backside view", "rear", None),
        ("is a plan view from the bottom", "bottom", None),
        ("shows the chair as seen from the front", "front", None),
        ("shows the chair from below;", "bottom", None),
        ("shows the chair in light from above the table", "none", None),
        ("shows a drawer taken from the top of a chest", "none", None),
        ("is a light fixture view", "other", None),
        (": Reference view 2", "other", None),
        ("is a second image thereof", "none", None),
        ("shows a left earphone", "none", None),
        ("", "none", None),
    ],
)
def test_the_viewpoint_is_read_from_the_words_that_name_the_view(text, viewpoint, direction):
    reading = read_viewpoint(text)
    assert (reading.viewpoint, reading.direction) == (viewpoint, direction)
    assert reading.viewpoint in VIEWPOINTS


@pytest.mark.parametrize(
    ("text", "article"),
    [
        ("is a front view of a chair showing my new design;", "chair"),
        ("is a front view thereof;", None),
        ("is a front view of the tool handle of FIG. 1;", "tool handle"),
        (
            "is a top view of a second embodiment of the mobile phone holder for vehicle,",
            "mobile phone holder for vehicle",
        ),
        ("is a front view of the embodiment shown in FIG. 1;", None),
        ("is a front view of a display screen or portion thereof", "display screen"),
        ("shows a left earphone", "left earphone"),
        ("is a right side elevation a seat for a bicycle", "seat for a bicycle"),
        (": Reference view of usage", None),
    ],
)
def test_the_article_is_named_in_the_words_of_the_sentence(text, article):
    assert read_viewpoint(text).object == article


def test_the_title_shows_where_a_name_ends():
    text = "is a front view of a lamp with a shade showing the design"
    assert read_viewpoint(text).object == "lamp"
    assert read_viewpoint(text, title="Lamp with a shade").object == "lamp with a shade"


@pytest.mark.real
def test_at_least_95_percent_of_tagged_descriptions_get_the_viewpoint_of_the_annotators(real_data):
    command = [sys.executable, "-m", "bench.viewpoints", str(real_data / "viewpoints" / "train.txt")]
    repository = Path(__file__).resolve().parents[3]
    measured = json.loads(subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout)
    assert measured["num_descriptions"] > 2000
    assert measured["held_out"]["viewpoint_accuracy"] >= 0.95
