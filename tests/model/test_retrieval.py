"""Who asks, what answers, and what is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.embed import Features
from model.retrieval import choose_queries, curve, measure, nearest, rank_both_ways

TEXTS = ["a cup", "a lamp", "a cup", "a chair"]
PATENTS = ["D1", "D2", "D1", "D3"]


def test_views_that_share_a_caption_answer_each_other():
    queries = choose_queries(TEXTS, PATENTS, max_queries=None, seed=0)

    assert queries.rows.tolist() == [0, 1, 2, 3]
    assert queries.groups[0] == queries.groups[2] != queries.groups[1] != queries.groups[3]
    assert queries.num_right.tolist() == [2, 1, 2, 1]
    assert queries.patents.tolist() == PATENTS


def test_some_views_ask_and_all_answer_where_queries_are_few():
    queries = choose_queries(TEXTS * 10, PATENTS * 10, max_queries=7, seed=0)
    again = choose_queries(TEXTS * 10, PATENTS * 10, max_queries=7, seed=0)

    assert len(set(queries.rows.tolist())) == 7 and queries.rows.tolist() == sorted(again.rows.tolist())
    assert len(queries.groups) == 40


def test_ranks_are_those_of_each_direction():
    # Images 0 and 2 show cups; text "a cup" points between them; text 3 points at image 2.
    images = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.1, 0.99]], np.float32)
    texts = np.array([[0.9, 0.4], [0, 1], [0.9, 0.4], [0.6, 0.8]], np.float32)
    queries = choose_queries(TEXTS, PATENTS, max_queries=None, seed=0)

    ranks = rank_both_ways(Features(images, texts), queries, device=torch.device("cpu"), chunk_size=3)

    assert ranks["text_to_image"].tolist() == [1, 1, 1, 2]
    assert ranks["image_to_text"].tolist() == [1, 1, 2, 2]


def test_figures_carry_their_interval():
    figures = measure(np.array([1, 1, 4, 0]), np.array(PATENTS), cutoffs=(1, 5), num_resamples=200, seed=0)

    assert figures["recall"]["1"]["value"] == pytest.approx(2 / 3)
    assert figures["recall"]["1"]["low"] < 2 / 3 < figures["recall"]["1"]["high"]
    assert figures["recall"]["5"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert figures["median_rank"] == 1


def test_the_curve_ends_at_the_whole_gallery():
    assert curve(np.array([1, 4]), 6) == {"k": [1, 2, 3, 5, 6], "recall": [0.5, 0.5, 0.5, 1.0, 1.0]}
    assert curve(np.array([1]), 1) == {"k": [1], "recall": [1.0]}


def test_the_nearest_come_first_and_each_group_once_where_asked():
    gallery = np.array([[0.1], [0.9], [0.5], [0.9]], np.float32)

    assert [row for row, _ in nearest(np.ones(1, np.float32), gallery, 3)] == [1, 3, 2]
    groups = np.array([0, 1, 0, 1])
    assert [row for row, _ in nearest(np.ones(1, np.float32), gallery, 3, groups=groups)] == [1, 2]
