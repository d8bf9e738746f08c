"""What views have in common with the nearest view of another patent."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch

from model.clip.encoder import find_encoder
from model.clip.loading import choose_device
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.evaluation.config import EvaluationConfig
from model.study.outcomes import outcomes_of
from model.study.strangers import ALIKE, LayeredViews, grid_of, nearest_strangers
from tests.model.dataset.drawings import draw_rows, with_surroundings, write_dataset

pytestmark = pytest.mark.slow


def ink(kind, *, scale=1.0, shift=0, width=2, dash=0):
    """The ink of a drawn thing: (200, 200) uint8."""
    page = np.zeros((200, 200), np.uint8)
    corners = {
        "arch": [(0, 100), (0, 40), (20, 10), (50, 0), (80, 10), (100, 40), (100, 100)],
        "cross": [(40, 0), (60, 0), (60, 40), (100, 40), (100, 60), (60, 60), (60, 100), (40, 100), (40, 60), (0, 60)],
        "arrow": [(0, 45), (60, 45), (60, 20), (100, 50), (60, 80), (60, 55), (0, 55)],
    }[kind]
    points = np.array(corners) * scale + 20 + shift
    outline = np.concatenate([points, points[:1]])
    for start, end in itertools.pairwise(outline):
        pieces = np.linspace(0, 1, 1 + 2 * max(1, round(np.hypot(*(end - start)) / dash))) if dash else [0, 1]
        for first, last in zip(pieces[:-1:2] if dash else pieces[:1], pieces[1::2], strict=True):
            one, two = (tuple(np.rint(start + (end - start) * share).astype(int).tolist()) for share in (first, last))
            cv2.line(page, one, two, 255, width, cv2.LINE_AA)
    return page


@pytest.mark.parametrize("kind", ["arch", "cross", "arrow"])
@pytest.mark.parametrize(
    "change", [{"scale": 0.7}, {"shift": 40}, {"width": 4}, {"dash": 8}, {"scale": 1.2, "dash": 6}]
)
def test_drawings_of_one_thing_are_alike_whatever_their_size_position_and_lines(kind, change):
    assert grid_of(ink(kind)) @ grid_of(ink(kind, **change)) >= ALIKE


def test_drawings_of_different_things_are_not_alike():
    grids = [grid_of(ink(kind)) for kind in ("arch", "cross", "arrow")]
    assert max(grids[0] @ grids[1], grids[0] @ grids[2], grids[1] @ grids[2]) < ALIKE


def test_a_pair_shares_only_unclaimed_lines_if_the_claimed_ones_differ(surrounded):
    views = read_views(open_dataset(surrounded), "train", lines="both")
    layered = LayeredViews(views)
    shapes = [text.split()[-3].strip(",") for text in views.texts("text")]
    rows = range(1, len(views), 2)  # every other view has surroundings, the same frame in all
    bar, star = (next(row for row in rows if shapes[row] == name) for name in ("bar", "star"))
    pairs = np.array([[bar, star], [star, bar], [bar, bar], [bar, 0], [0, bar]]).T
    assert layered.share_only_unclaimed(*pairs).tolist()[:4] == [1, 1, 0, 0]
    assert np.isnan(layered.share_only_unclaimed(*pairs)[4])


def test_the_nearest_stranger_is_of_another_family():
    scores = torch.tensor([[1.0, 0.9, 0.5, 0.6], [0.9, 1.0, 0.7, 0.2], [0.5, 0.7, 1.0, 0.8], [0.6, 0.2, 0.8, 1.0]])
    families = np.array([0, 0, 1, 1])
    found = nearest_strangers(lambda first, last: scores[first:last], families)
    assert found.tolist() == [3, 2, 1, 0]


def test_outcomes_of_prior_art_and_strangers_follow_the_features_of_the_chosen_lines(micro_clip, tmp_path):
    rows = with_surroundings(draw_rows(14, split="test", seed=3))
    numbers = sorted({row["patent_number"] for row in rows})
    for row in rows:
        row["cited_by_examiner"] = [numbers[0], "D1"] if row["patent_number"] in numbers[:8] else []
    dataset = open_dataset(write_dataset(tmp_path / "cited", {"test": rows}, name="cited"))
    config = EvaluationConfig(device="cpu", lines="claimed", num_resamples=20)
    outcomes = outcomes_of(micro_clip, dataset, config)

    views = read_views(dataset, "test", lines="claimed")
    features = find_encoder(micro_clip, choose_device("cpu")).image_features(dataset, views).features
    scores = features @ features.T
    patents = views.patent_ids
    for row in range(len(views)):
        if patents[row] == 0 or patents[row] >= 8:  # cites nothing but itself, or nothing
            assert np.isnan(outcomes["prior_art"][row])
            continue
        best = [scores[row, patents == patent].max() for patent in range(14)]
        others = [patent for patent in np.argsort(best)[::-1].tolist() if patent != patents[row]]
        assert outcomes["prior_art"][row] == (0 in others[:10])
    assert np.isnan(outcomes["nearest_stranger"]).tolist() == [row % 2 == 0 for row in range(len(views))]
