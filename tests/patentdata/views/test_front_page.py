import cv2
import numpy as np
import pytest

from patentdata.views.front_page import copied_figures, silhouette


def figure(kind):
    view = np.full((400, 300), 255, np.uint8)
    cv2.rectangle(view, (2, 2), (297, 397), 0, 3)
    if kind == "round":
        cv2.circle(view, (150, 200), 100, 0, 3)
    elif kind == "crossed":
        cv2.line(view, (2, 2), (297, 397), 0, 3)
    elif kind == "wide":
        view = np.ascontiguousarray(view[:120])
        view[-3:] = 0
    return view[1:-1, 1:-1]


def scaled(view, factor):
    small = cv2.resize(view, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.where(small < 200, 0, 255).astype(np.uint8)


def on_paper(*views, margin=10):
    height = max(view.shape[0] for view in views) + 2 * margin
    parts = []
    for view in views:
        part = np.full((height, view.shape[1] + 2 * margin), 255, np.uint8)
        part[margin : margin + view.shape[0], margin:-margin] = view
        parts.append(part)
    return np.hstack(parts)


FIGURES = [silhouette(figure(kind)) for kind in ("round", "crossed", "wide")]


@pytest.mark.parametrize(("kind", "index"), [("round", 0), ("crossed", 1), ("wide", 2)])
@pytest.mark.parametrize("factor", [0.5, 0.83])
def test_a_scaled_copy_is_recognised(kind, index, factor):
    assert copied_figures(on_paper(scaled(figure(kind), factor)), FIGURES) == [index]


def test_two_figures_side_by_side_are_both_recognised():
    assert copied_figures(on_paper(scaled(figure("crossed"), 0.6), scaled(figure("wide"), 0.7)), FIGURES) == [1, 2]


def test_a_copy_of_a_figure_that_is_on_its_side_is_recognised():
    on_its_side = [silhouette(np.ascontiguousarray(np.rot90(figure("round"))))]
    assert copied_figures(on_paper(figure("round")), on_its_side) == [0]


def test_a_drawing_that_resembles_no_figure_copies_none():
    page = np.full((300, 100), 255, np.uint8)
    cv2.line(page, (20, 20), (80, 280), 0, 3)
    assert copied_figures(page, FIGURES) == []


def test_a_front_page_without_ink_copies_none():
    assert copied_figures(np.full((100, 100), 255, np.uint8), FIGURES) == []
