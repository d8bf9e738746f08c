"""The evidence: intervals, curves and verdicts, what is drawn, how arms differ, and one tiny study from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench.evidence
from bench.evidence.arms import EVEN, READOUT_TAU, RECIPE, Run, candidates, plan, rivals
from bench.evidence.bar import BAR
from bench.evidence.comparison import Difference, Resampling, advantage, tail_at_head
from bench.evidence.runs import Workplace, make
from bench.evidence.scale import SCALES, Data, Length
from bench.evidence.specimens import DATASETS, halves, weeks
from bench.evidence.summary import Evidence, summarise_study, summarise_tuning, tables
from model.dataset.classes import USPC
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.study.config import read_study
from model.training.config import TrainConfig
from patentdata.specimens.classes import HELD_BACK_KINDS, KINDS
from tests.model.conftest import MICRO_CLIP
from tests.model.dataset.drawings import draw_rows, write_dataset

pytestmark = pytest.mark.slow

SMALL = SCALES["small"]
STUDY = Path(bench.evidence.__file__).with_name("study.toml")


def test_the_study_file_has_the_arms_settings_and_bar_of_the_verdict():
    study = read_study(str(STUDY))
    runs = {run.arm: run.config for run in plan(SMALL) if run.study == "verdict" and run.seed == study.seeds[0]}
    assert study.seeds == SMALL.verdict_seeds and {arm.name for arm in study.arms} == set(runs)
    for arm in study.arms:
        architecture = runs[arm.name].architecture
        assert architecture.endswith(study.training["architecture"].removeprefix("local-dir:"))
        own = replace(study.training_of(arm, study.seeds[0]), architecture=architecture)
        assert own.result_settings == runs[arm.name].result_settings, arm.name
    assert {arm.name: arm.readout_tau for arm in study.arms if arm.readout_tau} == {RECIPE: READOUT_TAU}
    measures = {"text_title": "title_to_image"}
    bar = {
        (measures.get(one.measure, one.measure), one.part, one.floor) for one in BAR if one.measure != "text_neutral"
    }
    assert {(claim.measure, claim.part, claim.at_least) for claim in study.claims} == bar
    assert {(claim.arm, claim.baseline) for claim in study.claims} == {(RECIPE, EVEN)}


def resampling(num_views: int, *, views_a_family: int = 1) -> Resampling:
    return Resampling(np.arange(num_views) // views_a_family, 500)


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
    ("low", "mean", "high", "floor", "verdict"),
    [
        (0.01, 0.03, 0.05, 0.0, "holds"),
        (-0.01, 0.02, 0.05, 0.0, "holds on the mean"),
        (-0.04, -0.01, 0.02, 0.0, "missed on the mean"),
        (-0.05, -0.03, -0.01, 0.0, "does not hold"),
        (-0.02, -0.01, 0.01, -0.03, "holds"),
        (-0.08, -0.06, -0.04, -0.03, "does not hold"),
    ],
)
def test_a_verdict_depends_on_the_interval_and_the_floor(low, mean, high, floor, verdict):
    assert Difference(mean, low, high, p=0.5).verdict_with_mean(floor) == verdict


def test_the_head_must_be_kept_with_the_whole_interval_and_gains_on_the_mean():
    head, tail = BAR[0], BAR[1]
    assert (head.part, head.floor, tail.part, tail.floor) == ("head", -0.03, "tail", 0.40)
    assert not head.is_met("holds on the mean")
    assert tail.is_met("holds on the mean")
    assert not tail.is_met("missed on the mean")


def test_a_curve_that_does_not_keep_the_head_accuracy_counts_as_zero_there():
    head, tail = np.array([0.5, 0.3]), np.array([0.1, 0.3])
    assert tail_at_head(head, tail, np.array([0.6, 0.5, 0.4, 0.2])) == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_the_smallest_advantage_is_that_over_all_head_accuracies_at_once():
    head = np.array([0.6, 0.4, 0.2])
    better, worse = np.array([0.2, 0.3, 0.4]), np.array([0.1, 0.3, 0.3])
    samples = np.tile(head, (20, 1)), np.tile(better, (20, 1))
    others = np.tile(head, (20, 1)), np.tile(worse, (20, 1))
    found = advantage((head, better), samples, (head, worse), others, np.array([0.6, 0.4, 0.2]))
    assert found.mean == pytest.approx([0.1, 0.0, 0.1])
    assert found.smallest.mean == pytest.approx(0.0)
    assert found.smallest.verdict_with_mean() == "does not hold"


def test_every_class_has_kinds_of_article_in_both_halves_and_no_kind_is_in_both():
    first, second = halves()
    kinds = {kind.article: kind.uspc_class for kind in (*KINDS, *HELD_BACK_KINDS)}
    assert not set(first) & set(second)
    assert {kinds[article] for article in first} == {kinds[article] for article in second} == set(kinds.values())


def test_the_weeks_of_the_three_parts_follow_each_other_and_show_both_halves():
    data = Data(num_training_patents=264, num_validation_patents=198, num_test_patents=198)
    drawn = list(weeks(data))
    assert [week.split for week in drawn] == ["train"] * 3 + ["validation"] * 2 + ["test"] * 2
    assert sorted(week.day for week in drawn) == [week.day for week in drawn]
    assert {week.half for week in drawn if week.split == "test"} == {0, 1}
    assert sum(week.config.num_patents for week in drawn if week.split == "train") == 264


def test_patents_that_do_not_fill_blocks_of_all_classes_are_refused():
    with pytest.raises(ValueError, match="multiple of 33"):
        Data(num_training_patents=330, num_validation_patents=33, num_test_patents=100)


def test_the_data_that_is_chosen_with_has_no_test_patents():
    drawn = list(weeks(SMALL.data))
    assert {week.split for week in drawn if DATASETS["choice"](week)} == {"train", "validation"}
    assert {week.split for week in drawn if DATASETS["second-half"](week)} == {"train", "validation", "test"}


def test_a_seed_of_the_verdict_cannot_be_a_tuning_seed():
    with pytest.raises(ValueError, match="seed 2 is used for tuning and for the verdict"):
        replace(SMALL, verdict_seeds=(2, 3))


def test_an_arm_differs_from_its_baseline_in_what_its_name_says_and_in_nothing_else():
    methods = {EVEN: next(run.config for run in plan(SMALL) if run.arm == EVEN)}
    methods |= {arm: Length().training(seed=0, **method) for arm, method in {**rivals(), **candidates()}.items()}
    settings = {arm: config.result_settings for arm, config in methods.items()}

    def changed(arm: str, baseline: str) -> set[str]:
        return {name for name, value in settings[arm].items() if settings[baseline][name] != value}

    assert changed("item-1.2", EVEN) == {"beta", "sampler"}
    assert changed("class-1.2", "item-1.2") == {"sampler"}
    assert changed("loss-1.2", EVEN) == {"beta", "weigh_contrastive", "weigh_classification"}
    assert changed("both-1.2", "loss-1.2") == {"sampler"}
    assert changed("strong-head", EVEN) == {"classification_weight", "text_dropout"}
    assert changed("views", "strong-head") == {"multi_view_weight"}
    assert changed("every-view", "views") == {"classify_all_views"}
    assert changed("every-view-adjusted", "every-view") == {"logit_adjustment"}


def test_tuning_is_measured_on_validation_alone_and_the_verdict_with_other_seeds():
    runs = plan(SMALL)
    tuning = [run for run in runs if run.study == "tuning"]
    verdict = [run for run in runs if run.study == "verdict"]
    assert {(run.dataset, run.splits) for run in tuning} == {("choice", ("validation",))}
    assert {run.seed for run in tuning} == {0, 1, 2}
    assert {run.seed for run in verdict} == {10, 11, 12, 13, 14}
    assert {(run.arm, run.seed) for run in verdict} == {
        (arm, seed) for arm in (EVEN, RECIPE, *rivals()) for seed in SMALL.verdict_seeds
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder with the dataset of a tiny study, whose measured patents are of the head, the middle and the tail."""
    folder = tmp_path_factory.mktemp("evidence")
    rows = {
        split: [row | {"uspc_class": USPC.codes[classes[index % 6]]} for index, row in enumerate(drawn)]
        for split, drawn, classes in (
            ("train", draw_rows(24, split="train"), (32, 32, 31, 31, 30, 30)),
            ("validation", draw_rows(6, split="validation", seed=1), (32, 32, 14, 14, 0, 0)),
            ("test", draw_rows(6, split="test", seed=2), (32, 32, 14, 14, 0, 0)),
        )
    }
    write_dataset(folder / "data" / "datasets" / "all", rows)
    (folder / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    return Workplace(folder)


def tiny_run(folder: Path, arm: str) -> Run:
    config = TrainConfig(
        preset="designclip",
        architecture=f"local-dir:{folder}",
        batch_size=8,
        num_steps=2,
        warmup_steps=1,
        device="cpu",
        num_workers=1,
        classification_weight=1.0 if arm == RECIPE else 0.1,
    )
    return Run("verdict", arm, 10, config, "all", ("validation", "test"))


def test_finished_runs_are_not_made_again_and_are_summarised_from_what_they_left(place):
    runs = [tiny_run(place.out, arm) for arm in (EVEN, RECIPE)]
    assert [place.receipt(run) for run in runs] == [None, None]
    for run in runs:
        make(run, place, lambda: False)

    assert all(place.receipt(run) is not None for run in runs)
    assert not place.run_folder(runs[0]).folder.exists()  # the weights are not needed any more
    longer = replace(runs[0], config=replace(runs[0].config, num_steps=3))
    assert place.receipt(longer) is None

    dataset = open_dataset(place.dataset("all"))
    features = {run.name: place.features(run) for run in runs}
    of_test = Evidence(runs, features, read_views(dataset, "train"), read_views(dataset, "test"), 20)
    summary = summarise_study(of_test)
    assert [row["text"] for row in summary["bar"]] == [requirement.text for requirement in BAR]
    assert {(row["arm"], row["refit"]) for row in summary["rivals"]} == {(EVEN, False), (EVEN, True)}
    assert "classification: tail + 40" in tables({"studies": {"verdict": summary}})

    of_validation = Evidence(runs, features, read_views(dataset, "train"), read_views(dataset, "validation"), 20)
    assert {row["arm"] for row in summarise_tuning(of_validation)} == {EVEN, RECIPE}
