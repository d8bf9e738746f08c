import cv2
import numpy as np
import pytest

from patentdata.views.ink import find_ink
from patentdata.views.labels.labels import find_labels
from patentdata.views.labels.leaders import has_leader


def is_call_out(*lines):
    """Whether the label "FIG. 9" at (400, 500) to (556, 545) seems to have a leader, with these lines on the page."""
    page = np.full((900, 1100), 255, np.uint8)
    cv2.putText(page, "FIG. 9", (400, 545), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 0, 5)
    for line in lines:
        cv2.polylines(page, [np.array(line)], isClosed=False, color=0, thickness=3)
    ink = find_ink(page)
    (label,) = find_labels(page, ink)[0]
    return has_leader(ink, label.box, label.members, label.height)


@pytest.mark.parametrize(
    "line",
    [
        [(580, 525), (900, 525)],
        [(580, 545), (710, 705)],
        [(385, 520), (250, 440)],
        [(500, 480), (520, 300)],
        [(580, 525), (620, 525), (700, 640)],
    ],
    ids=["level", "oblique", "to the left", "upwards", "bent"],
)
def test_a_line_that_ends_at_a_label_and_runs_away_from_it_is_a_leader(line):
    assert is_call_out(line)


@pytest.mark.parametrize(
    "line",
    [
        [(380, 100), (380, 800)],
        [(380, 500), (380, 800)],
        [(100, 580), (900, 580)],
        [(580, 505), (580, 550)],
        [(800, 525), (1000, 525)],
    ],
    ids=["stem that passes", "stem that ends", "line below", "short stroke", "far line"],
)
def test_a_line_that_passes_a_label_or_is_far_from_it_is_no_leader(line):
    assert not is_call_out(line)


def test_a_label_alone_has_no_leader():
    assert not is_call_out()
