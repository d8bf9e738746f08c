"""The pure parts of the evidence: thirds of classes, intervals, verdicts, and how arms differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.evidence.arms import BOTH, EVEN, LOSS, TITLES, arms, multi_view, sampled
from bench.evidence.claims import MAX_HEAD_LOSS, claims
from bench.evidence.comparison import Difference, Resampling, third_of_class
from bench.evidence.runs import Run, plan
from bench.evidence.scale import SCALES
from model.dataset.folder import Dataset
from model.files import write_json

SMALL = SCALES["small"]


def resampling(num_views: int, *, views_a_family: int = 1) -> Resampling:
    return Resampling(np.arange(num_views) // views_a_family, 500)


def test_classes_are_divided_into_thirds_by_frequency_and_those_never_seen_are_in_the_tail():
    assert third_of_class(np.array([50, 0, 7, 60, 2, 9])).tolist() == [2, 0, 1, 2, 0, 1]


def test_a_difference_is_paired_so_that_hard_views_and_bad_seeds_of_both_arms_cancel_out():
    rng = np.random.default_rng(0)
    baseline = rng.random((200, 3)) + 5 * rng.random((1, 3))
    found = resampling(200).difference(baseline + 0.1, baseline)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.p < 0.01


def test_an_interval_includes_the_variation_between_seeds():
    values = np.tile([[0.2, 0.5, 0.8]], (400, 1))
    found = resampling(400).estimate(values)
    assert found.mean == pytest.approx(0.5)
    assert found.high - found.low >= 0.5


def test_an_interval_is_wider_if_views_come_in_families():
    values = np.repeat(np.random.default_rng(0).random((40, 3)) < 0.5, 10, axis=0).astype(float)
    alone, together = resampling(400).estimate(values), resampling(400, views_a_family=10).estimate(values)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_views_without_a_value_are_left_out():
    values = np.array([[1.0, 1.0], [np.nan, np.nan], [0.0, 0.0]])
    assert resampling(3).estimate(values).mean == 0.5


@pytest.mark.parametrize(
    ("low", "high", "floor", "verdict"),
    [
        (0.01, 0.05, 0.0, "holds"),
        (-0.01, 0.05, 0.0, "not decided"),
        (-0.05, -0.01, 0.0, "does not hold"),
        (-0.02, 0.01, -0.03, "holds"),
        (-0.04, 0.01, -0.03, "not decided"),
        (-0.08, -0.04, -0.03, "does not hold"),
    ],
)
def test_a_claim_holds_if_the_whole_interval_is_above_its_floor(low, high, floor, verdict):
    assert Difference((low + high) / 2, low, high, p=0.5).verdict(floor) == verdict


def test_an_arm_differs_from_its_baseline_in_what_its_name_says_and_in_nothing_else():
    settings = {arm: SMALL.training(seed=0, **method).result_settings for arm, method in arms(SMALL).items()}

    def changed(arm: str, baseline: str) -> set[str]:
        return {name for name, value in settings[arm].items() if settings[baseline][name] != value}

    assert changed(multi_view(0.2), BOTH) == {"multi_view_weight"}
    assert changed(multi_view(0.2, base=EVEN), EVEN) == {"multi_view_weight"}
    assert changed(TITLES, BOTH) == {"caption"}
    assert changed(BOTH, LOSS) == {"sampler"}
    assert changed(LOSS, EVEN) == {"beta", "weigh_contrastive", "weigh_classification"}
    assert changed(sampled("item", 1.2), EVEN) == {"beta", "sampler"}
    assert changed(sampled("class", 1.2), sampled("item", 1.2)) == {"sampler"}


def test_every_claim_compares_arms_that_are_run_with_every_seed():
    for scale in SCALES.values():
        runs = {(run.arm, run.seed) for run in plan(scale)}
        for claim in claims(scale):
            assert {(arm, seed) for arm in (claim.arm, claim.baseline) for seed in scale.seeds} <= runs


def test_the_head_third_may_lose_three_points():
    floors = {claim.floor for claim in claims(SMALL) if claim.part == "head"}
    assert floors == {-MAX_HEAD_LOSS} == {-0.03}


def test_a_result_of_other_data_or_settings_is_made_again(tmp_path):
    dataset = Dataset(tmp_path, "evidence", "f" * 64, ())
    run = Run(EVEN, 0, replace(SMALL, architecture="designclip-tiny").training(seed=0))
    assert run.result(tmp_path, dataset) is None
    write_json(run.result_path(tmp_path), {"identity": run.identity(dataset)})
    assert run.result(tmp_path, dataset) is not None
    assert run.result(tmp_path, replace(dataset, fingerprint="0" * 64)) is None
    longer = Run(EVEN, 0, replace(SMALL, architecture="designclip-tiny", num_steps=7).training(seed=0))
    assert longer.result(tmp_path, dataset) is None


def test_patents_that_do_not_fill_blocks_of_all_classes_are_refused():
    with pytest.raises(ValueError, match="multiple of 33"):
        replace(SMALL, num_test_patents=100)


def test_a_curve_without_its_ends_is_refused():
    with pytest.raises(ValueError, match="betas"):
        replace(SMALL, betas=(0.5, 1.2))
