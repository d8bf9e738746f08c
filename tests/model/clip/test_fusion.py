"""Fusion of rankings: by ranks alone, with ties at the end of their group."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.clip.fusion import fuse, ranks_of
from model.evaluation.measures.metrics import Answers, all_ranks


def scores(*rows: list[float]):
    return lambda first, last: torch.tensor(rows[first:last])


def test_a_candidate_scores_the_sum_of_its_reciprocal_ranks():
    fused = fuse([scores([0.9, 0.5, 0.1]), scores([3.0, 40.0, 3.0])])(0, 1)
    expected = [60 / 61 + 60 / 63, 60 / 62 + 60 / 61, 60 / 63 + 60 / 63]  # the candidates that tie are both third
    assert fused[0].tolist() == pytest.approx(expected)


def test_the_scale_of_a_channel_changes_nothing():
    rng = np.random.default_rng(0)
    one, other = (torch.from_numpy(rng.normal(size=(4, 30))) for _ in range(2))

    def fused(factor):
        return fuse([lambda a, b: one[a:b], lambda a, b: factor * other[a:b]])(1, 4)

    assert torch.equal(fused(1), fused(1e6))


def test_ranks_far_down_are_still_told_apart_by_the_metrics():
    descending = torch.arange(5000, 0, -1).float()[None]
    ranks = all_ranks(fuse([lambda a, b: descending[a:b].clone()] * 2), Answers.listed([[2000, 4000]]), 5000)
    assert ranks.ranks.tolist() == [2001, 4001]


def test_tied_candidates_have_the_last_rank_of_their_group():
    assert ranks_of(torch.tensor([[0.0, 0.0, 1.0, 0.0]])).tolist() == [[4, 4, 1, 4]]
