"""Line drawings: hidden lines are removed, outlines are complete."""

from __future__ import annotations

import numpy as np
import pytest

from patentdata.specimens.classes import HELD_BACK_KINDS, KINDS
from patentdata.specimens.drawing.pen import Pen, ink_lines
from patentdata.specimens.drawing.projection import VIEWS, Camera, Lines, project
from patentdata.specimens.shapes.articles import BUILDERS, build
from patentdata.specimens.shapes.solids import BROKEN, assemble, box, lathe, merged, torus


def _length(lines: Lines) -> float:
    return float(sum(np.hypot(*np.diff(run, axis=0).T).sum() for run in lines.runs))


@pytest.mark.parametrize("view", list(VIEWS))
def test_a_cube_seen_square_on_is_a_square_and_nothing_else(view: str):
    ink = ink_lines(project(assemble([box(1, 1, 1)]), VIEWS[view]), 200, Pen(solid_px=3))
    assert ink.shape[0] == ink.shape[1]
    assert not ink[8:-8, 8:-8].any()
    assert ink[1, 3:-3].all()  # the pen is round, so the corners are
    assert ink[3:-3, 1].all()


def test_a_cube_seen_from_a_corner_shows_nine_of_its_twelve_edges():
    seen = project(assemble([box(1, 1, 1)]), Camera(azimuth=45, elevation=np.degrees(np.arctan(1 / np.sqrt(2)))))
    assert _length(seen) == pytest.approx(9 * np.sqrt(2 / 3), rel=0.03)  # each edge foreshortened by sqrt(2/3)


def test_a_box_hides_what_is_behind_it():
    pen, big, small = Pen(solid_px=3), box(1, 1, 1), box(0.5, 0.5, 0.5).moved(y=2)
    alone = ink_lines(project(assemble([big]), VIEWS["front"]), 200, pen)
    before = ink_lines(project(assemble([big, small]), VIEWS["front"]), 200, pen)
    behind = ink_lines(project(assemble([big, small]), VIEWS["rear"]), 200, pen)
    assert (before != alone).mean() < 0.001
    assert behind[8:-8, 8:-8].any()  # seen from the rear, the small box is in front


def test_a_cylinder_has_an_outline_although_it_has_no_edge_there():
    seen = project(assemble([lathe([(0, 0), (1, 0), (1, 3), (0, 3)], rims=(1, 2))]), VIEWS["front"])
    ink = ink_lines(seen, 100, Pen(solid_px=3))
    assert ink.shape == pytest.approx((303, 203), abs=4)
    assert ink[:, :5].any(axis=1).mean() > 0.97
    assert ink[:, -5:].any(axis=1).mean() > 0.97
    assert not ink[10:-10, 10:-10].any()


def test_a_ring_seen_along_its_axis_is_two_circles():
    ink = ink_lines(project(assemble([torus(1, 0.5)]), VIEWS["top"]), 100, Pen(solid_px=3))
    middle = ink[ink.shape[0] // 2].astype(int)
    assert np.count_nonzero(np.diff(middle) == 1) + middle[0] == 4  # the line through the middle meets four strokes


def test_environment_is_drawn_in_broken_lines():
    seen = project(assemble([box(1, 1, 1).as_environment()]), VIEWS["front"], dash=(0.05, 0.05))
    assert set(seen.styles) == {BROKEN}
    assert _length(seen) == pytest.approx(2, rel=0.25)  # half of the outline is gaps


def test_opposite_views_of_a_design_mirror_each_other():
    model = assemble([merged(box(3, 1, 1), box(1, 1, 1, x=1, z=1))])
    front = ink_lines(project(model, VIEWS["front"]), 100, Pen(solid_px=3))
    rear = ink_lines(project(model, VIEWS["rear"]), 100, Pen(solid_px=3))
    assert (front[:, ::-1] != rear).mean() < 0.02


def test_every_kind_has_a_builder_and_every_builder_a_kind():
    assert {kind.article for kind in (*KINDS, *HELD_BACK_KINDS)} == set(BUILDERS)


@pytest.mark.parametrize("article", sorted(BUILDERS))
def test_each_article_can_be_drawn_and_differs_from_one_patent_to_the_next(article: str):
    first, second = (
        project(assemble(build(article, np.random.default_rng(seed))), Camera(azimuth=35, elevation=25))
        for seed in (1, 2)
    )
    assert min(first.extent.min(), second.extent.min()) > 0.2
    assert first.extent.tolist() != second.extent.tolist()


def test_a_broken_line_does_not_fill_the_gaps_of_another_one():
    edge_on = project(assemble([box(1, 0.001, 1).as_environment()]), VIEWS["top"], dash=(0.05, 0.05))
    ink = ink_lines(edge_on, 1000, Pen(broken_px=2)).any(axis=0)
    assert np.count_nonzero(np.diff(ink.astype(int)) == 1) >= 8


def test_the_lengths_of_a_broken_line_repeat_as_asked():
    seen = project(assemble([box(1, 1, 1).as_environment()]), VIEWS["front"], dash=(0.1, 0.03, 0.02, 0.03))
    lengths = [np.hypot(*(run[-1] - run[0])) for run in seen.runs]
    assert sum(length > 0.07 for length in lengths) >= 12
    assert sum(length < 0.03 for length in lengths) >= 12
