"""Retrieval of the other views of a patent, and of what its examiner cited."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.clip.embeddings import ImageFeatures
from model.dataset.folder import open_dataset
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import MODEL, EvaluationContext
from model.evaluation.protocols import image_retrieval, patent_queries, prior_art
from tests.model.dataset.drawings import draw_rows, write_dataset
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
    context = context_of(tmp_path, cited_rows(), at_angles(0, 1, 0.1, 1.05, 2), cutoffs=(1, 2, 3), scoring="max")

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


def seen_from(rows: list[dict], *viewpoints: str) -> list[dict]:
    for row, viewpoint in zip(rows, viewpoints, strict=True):
        row["viewpoint"] = viewpoint
    return rows


def values_of(table) -> dict[str, float]:
    return {metric: columns["model"]["value"] for metric, columns in table["figures"].items()}


def test_a_patent_is_found_by_its_other_views_under_each_scoring(tmp_path):
    # One of A's views is a stranger among them: B is nearer to it than A's other views are.
    rows = seen_from(rows_of("A", "A", "A", "A", "B", "C"), "front", "top", "front", "top", "top", "front")
    context = context_of(tmp_path, rows, at_angles(0, 1.5, 0.1, 1.4, 1.51, 3), cutoffs=(1,))

    table = image_retrieval.measure(context).tables["patents_by_scoring"]
    values = values_of(table)

    assert table["terms"]["num_queries"] == 1 and table["terms"]["gallery_size"] == 3
    # All views: A1 (0) and A3 (0.1) ask, A2 and A4 are searched for; B is nearly as near as they are.
    assert values["MRR, all views, maxsim"] == 1.0 and values["R@1, all views, max"] == 1.0
    assert values["MRR, all views, maxsim minus max"] == 0.0
    # The front view is A1: A3 is nearest under max; under the mean B (1.51) is behind A (0.1, 1.4, 1.5).
    assert values["MRR, front view, max"] == values["MRR, front view, mean"] == 1.0
    assert "MRR, all views, weighted" not in values, "there is no training split to learn from"
    assert table["figures"]["R@1, front view, max"]["chance"]["value"] == pytest.approx(1 / 3)


def test_scorings_differ_where_a_single_pair_of_views_misleads(tmp_path):
    # A cites C. One view of A is nearly B's only view; all views of A are near C's.
    rows = rows_of("A", "A", "B", "C", "C")
    for row in rows[:2]:
        row["cited_by_examiner"] = ["C"]
    context = context_of(tmp_path, rows, at_angles(0, 1.0, 1.01, 0.2, 0.8), cutoffs=(1,))

    values = values_of(prior_art.measure(context).tables["citations_by_scoring"])

    assert values["MRR, all views, max"] == 0.5, "A2 and B are the nearest pair"
    assert values["MRR, all views, maxsim"] == values["MRR, all views, mean"] == 1.0
    assert values["MRR, all views, maxsim minus max"] == 0.5
    for scoring, hit in (("maxsim", 1.0), ("max", 0.0)):
        context.config = replace(context.config, scoring=scoring)
        assert values_of(prior_art.measure(context).tables["examiner_citations"])["hit@1"] == hit


def test_a_patent_is_missed_if_nothing_that_was_cited_is_among_the_first(tmp_path):
    rows = rows_of("A", "A", "B", "C", "C")
    for row in rows[:2]:
        row["cited_by_examiner"] = ["C"]
    context = context_of(tmp_path, rows, at_angles(0, 1.0, 1.01, 0.2, 0.8), cutoffs=(1,))
    for scoring, num_missed in (("maxsim", 0), ("max", 1)):
        context.config = replace(context.config, scoring=scoring)
        failures = prior_art.measure(context).failures["examiner_citations"]
        # Of the three patents only A has a cited one in the gallery.
        assert (failures.counts["num_queries"], failures.counts["num_misses"]) == (1, num_missed)
    (miss,) = failures.examples["vague_title"] or failures.examples["tail_class"]
    assert (miss.view_id, miss.found_view_id) == (rows[0]["view_id"], rows[2]["view_id"])
    assert miss.note == "first cited patent at rank 2"


def test_a_view_is_missed_if_no_other_view_of_its_patent_is_among_the_first(tmp_path):
    rows = seen_from(rows_of("A", "A", "B", "B", "C"), "front", "top", "front", "top", "front")
    context = context_of(tmp_path, rows, at_angles(0, 0.1, 1.0, 1.6, 1.05), cutoffs=(1,))
    failures = image_retrieval.measure(context).failures["same_patent"]
    # C has no other view and is no query; B1 finds C, and so does B2.
    assert (failures.counts["num_queries"], failures.counts["num_misses"]) == (4, 2)
    assert failures.counts["causes"]["viewpoint_top"]["num_queries"] == 2
    shown = {
        miss.view_id: miss.found_view_id for name in ("front", "top") for miss in failures.examples[f"viewpoint_{name}"]
    }
    assert shown == {rows[2]["view_id"]: rows[4]["view_id"], rows[3]["view_id"]: rows[4]["view_id"]}


def test_weights_are_learned_from_a_sample_of_the_training_split(tmp_path, monkeypatch):
    monkeypatch.setattr(patent_queries, "_MAX_TRAINING_PATENTS", 12)
    rng = np.random.default_rng(0)
    train = draw_rows(20, split="train", seed=5)
    seen_from(train, *["front", "top"] * 20)
    test = seen_from(rows_of("A", "A", "B", "B"), "front", "top", "front", "top")
    embedded = []

    class Recorded(KnownFeatures):
        def image_features(self, dataset, views):
            embedded.append((views.split, len(views)))
            features = np.repeat(rng.normal(size=(len(views) // 2, 8)), 2, axis=0)  # a patent's two views are alike
            features += 0.1 * rng.normal(size=features.shape)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            return ImageFeatures(features.astype(np.float32), np.ones(len(views), np.float32))

    dataset = open_dataset(write_dataset(tmp_path, {"train": train, "test": test}))
    config = EvaluationConfig(num_resamples=20, num_galleries=0, device="cpu")
    encoder = Recorded(np.zeros((0, 8)), lambda text: np.zeros(8))
    context = EvaluationContext(dataset, {MODEL: encoder}, config, torch.device("cpu"))

    table = image_retrieval.measure(context).tables["patents_by_scoring"]

    assert ("train-sample-0", 24) in embedded, "two views of 12 patents"
    assert "MRR, all views, weighted" in table["figures"]


def test_of_a_large_training_split_only_some_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(patent_queries, "_MAX_TRAINING_VIEWS", 6)
    splits = {name: draw_rows(3, split="train", seed=seed) for seed, name in enumerate(("a", "b", "c"))}
    folder = write_dataset(tmp_path, {**splits, "test": rows_of("A", "A")})
    values = json.loads((folder / "dataset.json").read_text())
    for file in values["files"]:
        file["split"] = "test" if file["split"] == "test" else "train"
    (folder / "dataset.json").write_text(json.dumps(values))
    samples = []
    for seed in range(4):
        config = EvaluationConfig(device="cpu", seed=seed)
        context = EvaluationContext(open_dataset(folder), {}, config, torch.device("cpu"))
        samples.append(tuple(patent_queries.training_sample(context).view_ids))
    assert all(len(sample) == 6 for sample in samples), "one file of three"
    assert len(set(samples)) > 1, "drawn with the seed"


def test_recall_is_broken_down_by_the_viewpoints_of_query_and_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(patent_queries, "_LEAST_QUERIES", 2)
    # Fronts find the other front of their patent; tops look alike, and find the top of another patent.
    rows = seen_from(rows_of("A", "A", "A", "B", "B", "B"), *["front", "front", "top"] * 2)
    context = context_of(tmp_path, rows, at_angles(0, 0.01, 3.0, 1.0, 1.01, 3.01), cutoffs=(1,))

    table = image_retrieval.measure(context).tables["by_viewpoint"]

    values = values_of(table)
    assert values == pytest.approx(
        {"R@1, front to any": 0.5, "R@1, front to front": 1.0, "R@1, front to top": 0.0, "R@1, top to any": 0.0}
        | {"R@1, top to front": 0.0}
    )
    assert any("front to front 4" in note and "top to front 2" in note for note in table["terms"]["notes"])


def test_fusion_and_class_text_axes_add_a_column_with_its_difference(tmp_path):
    rows = rows_of("A", "A", "B", "C", "D")
    for row in rows[:2]:
        row["cited_by_examiner"] = ["C"]
    titles = {"A": "Folding chair", "B": "Lamp", "C": "Folding chair", "D": "Vase"}
    for row in rows:
        row["title"] = row["text"] = titles[row["patent_number"]]
    features = at_angles(0, 0, 0.5, 0.6, 0.55).images  # C is the farthest of all by its image, and A's by its words
    encoder = KnownFeatures(features, lambda text: np.array([len(text) % 5, 1.0]))
    context = context_of(tmp_path, rows, encoder, cutoffs=(1,), fusion="rrf", projection="class_texts")

    table = prior_art.measure(context).tables["examiner_citations"]

    assert {"rrf", "projected", "model"} <= set(table["columns"])
    assert table["figures"]["R@1"]["model"]["value"] == 0.0 and table["figures"]["R@1"]["rrf"]["value"] == 1.0
    assert table["figures"]["R@1, rank fusion minus this model"]["rrf"]["value"] == 1.0
    assert "R@1, class-text axes minus this model" in table["figures"]
    same_patent = image_retrieval.measure(context).tables["same_patent"]
    assert "mAP, class-text axes minus plain" in same_patent["figures"]
