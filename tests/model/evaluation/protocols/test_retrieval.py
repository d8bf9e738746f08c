"""Retrieval between texts and images: queries, galleries, right candidates and results."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.clip.embeddings import ImageFeatures
from model.dataset.folder import open_dataset
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import MODEL, EvaluationContext
from model.evaluation.protocols import retrieval
from model.evaluation.protocols.ranking import best_and_worst, choose_rows, nearest, number_texts
from model.evaluation.protocols.retrieval import draw_galleries, measure
from tests.model.dataset.drawings import draw_rows, write_dataset


class KnownFeatures:
    """An encoder with given features: one row a view, and a function of the text."""

    def __init__(self, images: np.ndarray, text_features):
        self.images, self.feature_of_text = images.astype(np.float32), text_features

    def image_features(self, dataset, views):
        return ImageFeatures(self.images, np.ones(len(self.images), np.float32))

    def text_features(self, dataset, texts, *, kind):
        return np.stack([self.feature_of_text(text) for text in texts]).astype(np.float32)


def context_of(folder, rows, encoder, **settings) -> EvaluationContext:
    config = EvaluationConfig(num_resamples=20, num_examples=1, num_galleries=0, device="cpu", **settings)
    dataset = open_dataset(write_dataset(folder, {"test": rows}))
    return EvaluationContext(dataset, {MODEL: encoder}, config, torch.device("cpu"))


def rows_with_captions(*captions: str, titles: tuple[str, ...] = ()) -> list[dict]:
    rows = draw_rows(len(captions), split="test", views_per_patent=1)
    for index, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        row["text"] = caption
        row["title"] = titles[index] if titles else "Thing"
    return rows


def test_the_results_of_both_directions_equal_those_computed_by_hand(tmp_path):
    # Images 0 and 2 show cups; "a cup" points between them; "a chair" points at image 2.
    images = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.1, 0.99]])
    texts = {"a cup": (0.9, 0.4), "a lamp": (0, 1), "a chair": (0.6, 0.8)}
    rows = rows_with_captions("a cup", "a lamp", "a cup", "a chair")
    context = context_of(tmp_path, rows, KnownFeatures(images, texts.get), cutoffs=(1, 2))

    tables = measure(context).tables

    assert set(tables) == {"text_to_image", "image_to_text", "text_to_patent"}  # no caption contains a title
    ranks = {"text_to_image": [1, 1, 1, 2], "image_to_text": [1, 1, 2, 2]}
    for direction, expected in ranks.items():
        values = tables[direction]["figures"]
        assert values["R@1"]["model"]["value"] == pytest.approx(np.mean([rank == 1 for rank in expected]))
        assert values["R@2"]["model"]["value"] == 1.0
        assert values["MRR"]["model"]["value"] == pytest.approx(np.mean([1 / rank for rank in expected]))
        assert values["median rank"]["model"]["value"] == np.median(expected)
        assert values["R@1"]["chance"]["value"] == pytest.approx((2 * 2 / 4 + 2 * 1 / 4) / 4)
        assert tables[direction]["terms"]["mean_positives"] == 1.5


def test_a_caption_finds_patents_by_their_nearest_view_or_by_the_mean_of_their_views(tmp_path, monkeypatch):
    # Patents A (cups seen twice), B (a lamp) and C (a cup and a lid). "a cup" points at (1, 0).
    images = np.array([[0.8, 0.6], [0.8, -0.6], [0.9, 0.44], [1.0, 0.0], [-1.0, 0.0]])
    texts = {"a cup": (1, 0), "a lamp": (0.9, 0.44), "a lid": (-1, 0)}
    rows = rows_with_captions("a cup", "a cup", "a lamp", "a cup", "a lid")
    for row, patent in zip(rows, "AABCC", strict=True):
        row["patent_number"] = patent
    context = context_of(tmp_path, rows, KnownFeatures(images, texts.get), cutoffs=(1,))

    for max_scores in (2**24, 1):  # all at once, and one text at a time
        monkeypatch.setattr(retrieval, "_MAX_SCORES", max_scores)
        table = measure(context).tables["text_to_patent"]
        values = {name: columns["model"]["value"] for name, columns in table["figures"].items()}
        # Under max, "a cup" finds C first, which is right, and "a lid" finds C. Under the mean, "a cup" finds B (0.9)
        # before A (0.8) and C (0), so its first right answer is second.
        assert values["R@1, max"] == values["MRR, max"] == 1.0
        assert values["R@1, mean"] == pytest.approx(2 / 5)
        assert values["MRR, mean"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 / 2 + 1) / 5)
        assert values["MRR, mean minus max"] == pytest.approx(values["MRR, mean"] - 1)
    assert table["terms"]["gallery_size"] == 3 and table["terms"]["mean_positives"] == pytest.approx(
        (2 * 3 + 1 + 1) / 5
    )


def test_results_do_not_depend_on_the_order_of_the_gallery(tmp_path):
    rng = np.random.default_rng(0)
    captions = [f"caption {number % 7}" for number in range(20)]
    images = rng.normal(size=(20, 4))
    texts = {caption: rng.normal(size=4) for caption in captions}
    rows, order = rows_with_captions(*captions), rng.permutation(20)

    tables = measure(context_of(tmp_path / "a", rows, KnownFeatures(images, texts.get))).tables
    shuffled = [rows[index] for index in order]
    again = measure(context_of(tmp_path / "b", shuffled, KnownFeatures(images[order], texts.get))).tables

    for name, table in tables.items():
        for metric, columns in table["figures"].items():
            for column in table["columns"]:
                if column in columns:
                    assert columns[column] == pytest.approx(again[name]["figures"][metric][column]), (name, metric)


def test_captions_are_also_measured_without_titles(tmp_path):
    # This encoder distinguishes only titles: without them all captions are the same text.
    features = {"front view of a cup": (1, 0), "front view of a lamp": (0, 1), "front view of a design": (1, 1)}
    rows = rows_with_captions("front view of a cup", "front view of a lamp", titles=("Cup", "Lamp"))
    context = context_of(tmp_path, rows, KnownFeatures(np.eye(2), features.get), cutoffs=(1,))

    tables = measure(context).tables

    assert tables["text_to_image"]["figures"]["R@1"]["model"]["value"] == 1.0
    assert tables["text_to_image"]["figures"]["R@1"]["bm25_title"]["value"] == 1.0
    bare = tables["text_to_image_without_title"]
    assert bare["terms"]["mean_positives"] == 2.0  # equal captions are right answers to each other
    assert bare["figures"]["R@1"]["chance"]["value"] == 1.0
    assert any("replaced by the word" in note for note in bare["terms"]["notes"])


def test_small_galleries_have_one_view_each_of_a_given_number_of_patents():
    patents = [f"D{number // 3}" for number in range(30)]
    galleries = draw_galleries(patents, size=6, num=4, seed=0)

    assert len(galleries) == 4
    for rows in galleries:
        assert len({patents[row] for row in rows}) == len(rows) == 6
        assert rows.tolist() == sorted(rows)
    assert any(galleries[0].tolist() != rows.tolist() for rows in galleries[1:])
    again = draw_galleries(patents, size=6, num=4, seed=0)
    assert [rows.tolist() for rows in again] == [rows.tolist() for rows in galleries]
    assert draw_galleries(patents, size=11, num=4, seed=0) == []


def test_every_view_of_a_patent_is_drawn_about_equally_often():
    patents = ["D1"] * 4 + ["D2"]
    rows = np.concatenate(draw_galleries(patents, size=2, num=400, seed=0))

    assert np.bincount(rows, minlength=5)[:4].min() > 70
    assert (rows == 4).sum() == 400


def test_the_number_of_queries_can_be_limited():
    rows = choose_rows(40, max_queries=7, seed=0)

    assert len(set(rows.tolist())) == 7 and rows.tolist() == sorted(rows.tolist())
    assert choose_rows(40, max_queries=7, seed=0).tolist() == rows.tolist()
    assert choose_rows(4, max_queries=None, seed=0).tolist() == [0, 1, 2, 3]


def test_equal_texts_have_equal_numbers():
    numbers = number_texts(["a cup", "a lamp", "a cup"])
    assert numbers[0] == numbers[2] != numbers[1]


def test_the_nearest_come_first_and_each_group_at_most_once_if_groups_are_given():
    gallery = np.array([[0.1], [0.9], [0.5], [0.9]], np.float32)

    assert [row for row, _ in nearest(np.ones(1, np.float32), gallery, 3)] == [1, 3, 2]
    groups = np.array([0, 1, 0, 1])
    assert [row for row, _ in nearest(np.ones(1, np.float32), gallery, 3, groups=groups)] == [1, 2]


def test_the_worst_queries_are_those_that_rank_a_wrong_candidate_first():
    chosen = best_and_worst(np.array([1, 9, 1, 0, 4]), np.array([0, 1, 0, 2, 3]), 2)
    assert chosen == {"best": [0, 4], "worst": [1, 4]}
