"""The search for near-duplicates."""

import cv2
import numpy as np
import pytest

from patentdata.dataset.near_duplicates import search
from patentdata.dataset.near_duplicates.search import NearDuplicateConfig, find_pairs
from patentdata.dataset.near_duplicates.similarity import TURNS, compare, details_of, turned
from patentdata.errors import ConfigError
from patentdata.views.signatures import NUM_BYTES
from tests.patentdata.dataset.near_duplicates.drawn import figure, signatures

CONFIG = NearDuplicateConfig()


def pairs_of(pages, config=CONFIG):
    found = find_pairs(signatures(pages), config)
    return {(one, other): turn for one, other, turn in zip(found.first, found.second, found.turns, strict=True)}


def brute_force(all_signatures):
    first, second = np.triu_indices(len(all_signatures), 1)
    similarities, _ = compare(details_of(all_signatures), first, second, max_proportion_gap=CONFIG.max_proportion_gap)
    is_same = similarities >= CONFIG.min_similarity
    return set(zip(first[is_same].tolist(), second[is_same].tolist(), strict=True))


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_a_turned_and_mirrored_copy_is_found_with_its_turn(turn):
    pages = [figure(seed) for seed in range(6)]
    assert pairs_of([*pages, turned(pages[2], turn)]) == {(2, 6): turn}


@pytest.mark.parametrize("side", [200, 201])
def test_a_square_drawing_is_found_turned_although_its_longer_side_is_not_known(side):
    pages = [figure(seed, 200, side) for seed in range(6)]
    assert pairs_of([*pages, turned(pages[4], 1)]) == {(4, 6): 1}


def test_drawings_of_other_proportions_are_no_near_duplicates():
    stretched = cv2.resize(figure(1), None, fx=1.05, fy=1, interpolation=cv2.INTER_AREA)
    assert not pairs_of([figure(1), stretched])
    slightly = cv2.resize(figure(1), None, fx=1.01, fy=1, interpolation=cv2.INTER_AREA)
    assert set(pairs_of([figure(1), slightly])) == {(0, 1)}


def test_the_keys_find_nearly_all_that_comparing_every_pair_finds():
    rng = np.random.default_rng(0)
    pages = [figure(seed, 220 + seed % 60) for seed in range(60)]
    copies = []
    for page in pages:
        scale = rng.uniform(0.7, 1.3)
        copy = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        copies.append(turned(cv2.erode(copy, np.ones((2, 2))), int(rng.integers(8))))
    found, truth = set(pairs_of(pages + copies)), brute_force(signatures(pages + copies))
    assert found <= truth
    assert len(truth) >= 58 and len(found & truth) >= 0.97 * len(truth)


def test_a_pair_is_found_or_not_whatever_else_there_is():
    pages = [figure(seed) for seed in range(12)] + [turned(figure(3), 5), turned(figure(7), 2)]
    few = set(pairs_of([pages[3], pages[12], pages[7], pages[13]]))
    assert few == {(0, 1), (2, 3)}
    assert set(pairs_of(pages)) == {(3, 12), (7, 13)}


def test_of_very_many_equal_drawings_each_is_found_and_the_crowd_is_counted(monkeypatch):
    monkeypatch.setattr(search, "_MOST_FOUND", 8)
    found = find_pairs(signatures([figure(1)] * 40), CONFIG)
    assert set(found.first) | set(found.second) == set(range(40))
    assert found.num_crowded == 40 and len(found.first) < 40 * 8
    assert find_pairs(signatures([figure(1)] * 5), CONFIG).num_crowded == 0


def test_without_drawings_there_are_no_pairs():
    assert len(find_pairs(np.empty((0, NUM_BYTES), np.uint8), CONFIG).first) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [({"min_similarity": 0.4}, "min_similarity is 0.4"), ({"max_proportion_gap": 0.1}, "max_proportion_gap is 0.1")],
)
def test_settings_out_of_range_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        NearDuplicateConfig(**values)
