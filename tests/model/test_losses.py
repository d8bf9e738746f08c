"""The losses against open_clip's and against figures done by hand."""

from __future__ import annotations

import math

import open_clip
import pytest
import torch
from torch.nn import functional

from model.losses import symmetric_contrastive_loss


def unit_rows(num: int, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(num, 8, generator=generator), dim=-1)


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_the_contrastive_loss_and_its_gradient_are_open_clips(batch):
    scale = torch.tensor(14.0)
    ours, theirs = unit_rows(batch, seed=0).requires_grad_(), unit_rows(batch, seed=0).requires_grad_()
    texts = unit_rows(batch, seed=1)

    loss = symmetric_contrastive_loss(ours, texts, scale)
    expected = open_clip.loss.ClipLoss()(theirs, texts, scale)
    loss.backward()
    expected.backward()

    assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-7)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_features_that_tell_nothing_apart_cost_the_logarithm_of_the_batch():
    same = functional.normalize(torch.ones(16, 4), dim=-1)

    assert symmetric_contrastive_loss(same, same, torch.tensor(100.0)).item() == pytest.approx(math.log(16))


def test_two_orthogonal_pairs_cost_what_pen_and_paper_say():
    pairs = torch.eye(2)

    # Each row of logits is (2, 0): -2 + ln(e^2 + 1)
    assert symmetric_contrastive_loss(pairs, pairs, torch.tensor(2.0)).item() == pytest.approx(
        math.log(math.exp(2) + 1) - 2
    )


def test_features_in_bfloat16_are_compared_in_float32():
    images, texts = unit_rows(8, seed=2).bfloat16(), unit_rows(8, seed=3).bfloat16()

    loss = symmetric_contrastive_loss(images, texts, torch.tensor(50.0))

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        symmetric_contrastive_loss(images.float(), texts.float(), torch.tensor(50.0)).item()
    )
