"""Retrieval of the other views of a patent, and of what its examiner cited."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.protocols import image_retrieval, prior_art
from tests.model.dataset.drawings import draw_rows
from tests.model.evaluation.protocols.test_retrieval import KnownFeatures, context_of


def rows_of(*patents: str) -> list[dict]:
    """One row for each of these patents, in this order; a patent may occur several times."""
    rows = draw_rows(len(patents), split="test", views_per_patent=1)
    for number, (row, patent) in enumerate(zip(rows, patents, strict=True), start=1):
        row |= {"patent_number": patent, "view_id": f"{patent}-{number}", "title": f"Thing of {patent}"}
    return rows


def at_angles(*radians: float) -> KnownFeatures:
    """Features on a half circle: the smaller the angle between two views, the higher their score."""
    angles = np.array(radians)
    return KnownFeatures(np.stack([np.cos(angles), np.sin(angles)], axis=1), lambda text: np.zeros(2))


def test_a_view_finds_the_other_views_of_its_patent_and_never_itself(tmp_path):
    context = context_of(tmp_path, rows_of("A", "A", "B", "B", "C"), at_angles(0, 0.1, 0.15, 0.5, 0.9), cutoffs=(1, 2))

    table = image_retrieval.measure(context).tables["same_patent"]

    # A1 → A2 first; A2 → B1, then A1; B1 → A2, A1, then B2; B2 → B1 first.
    precisions = [1, 1 / 2, 1 / 3, 1]
    assert table["figures"]["mAP"]["model"]["value"] == pytest.approx(np.mean(precisions))
    assert table["figures"]["top-1"]["model"]["value"] == 0.5
    assert table["figures"]["top-2"]["model"]["value"] == 0.75
    assert table["terms"]["num_queries_without_positive"] == 1
    assert table["terms"]["gallery_size"] == 4
    assert table["figures"]["top-1"]["chance"]["value"] == 0.25


def test_front_pages_are_neither_queries_nor_in_the_gallery(tmp_path):
    rows = rows_of("A", "A", "A", "B")
    rows[2]["view_id"] = "A-0"  # a copy of A-1, and nearer to it than any view
    context = context_of(tmp_path, rows, at_angles(0, 0.4, 0, 0.2), cutoffs=(1,))

    table = image_retrieval.measure(context).tables["same_patent"]

    assert table["terms"]["gallery_size"] == 2 and table["terms"]["num_queries"] == 3
    assert table["figures"]["top-1"]["model"]["value"] == 0.0
    assert any("1 front-page drawings left out" in note for note in table["terms"]["notes"])


def test_without_a_patent_of_two_views_the_task_gives_its_reason(tmp_path):
    context = context_of(tmp_path, rows_of("A", "B"), at_angles(0, 1))
    assert "second view" in image_retrieval.measure(context).reason


def cited_rows() -> list[dict]:
    rows = rows_of("A", "A", "B", "C", "D")
    for row in rows[:2]:
        row["cited_by_examiner"] = ["C", "D", "A", "X"]  # X is not in the gallery, A is the patent itself
    rows[2]["cited_by_examiner"] = ["X"]
    return rows


def test_cited_patents_are_ranked_by_their_nearest_pair_of_views(tmp_path):
    # From A's views at 0 and 1: C (1.05) is nearest, then B (0.1), then D (2).
    context = context_of(tmp_path, cited_rows(), at_angles(0, 1, 0.1, 1.05, 2), cutoffs=(1, 2, 3))

    table = prior_art.measure(context).tables["examiner_citations"]
    values = {metric: columns["model"]["value"] for metric, columns in table["figures"].items()}

    assert table["terms"]["num_queries"] == 4 and table["terms"]["num_queries_without_positive"] == 3
    assert table["terms"]["gallery_size"] == 3
    assert values == pytest.approx(
        {"R@1": 0.5, "R@2": 0.5, "R@3": 1.0, "hit@1": 1.0, "hit@2": 1.0, "hit@3": 1.0, "MRR": 1.0}
    )
    assert table["figures"]["R@1"]["chance"]["value"] == pytest.approx(1 / 3)
    assert set(table["columns"]) == {"model", "bm25_title", "chance"}


def test_without_a_cited_patent_in_the_gallery_the_task_gives_its_reason(tmp_path):
    context = context_of(tmp_path, rows_of("A", "B"), at_angles(0, 1))
    assert "cited one of the 2 patents" in prior_art.measure(context).reason
