"""Classifiers: their results, and what the linear probe learns."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch

from model.dataset.classes import USPC
from model.dataset.folder import open_dataset
from model.errors import NonFiniteError
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import MODEL, EvaluationContext
from model.evaluation.protocols import linear_probe, zero_shot
from model.evaluation.protocols.classification import (
    accuracy_table,
    missed_classes,
    predicted_classes,
    ranks_of_truth,
    results_by_class,
)
from model.evaluation.protocols.labelled import label_views
from tests.model.dataset.drawings import draw_rows, write_dataset
from tests.model.evaluation.protocols.test_retrieval import KnownFeatures


class FeaturesOfClasses(KnownFeatures):
    """Image features of any split that are a function of the view's class."""

    def __init__(self, features_of_class, text_features=None):
        super().__init__(np.zeros((1, 1)), text_features)
        self.features_of_class = features_of_class

    def image_features(self, dataset, views):
        self.images = np.stack([self.features_of_class(code) for code in views.classes]).astype(np.float32)
        return super().image_features(dataset, views)


def context_of(folder, splits: dict[str, list[str | None]], encoder, **settings) -> EvaluationContext:
    """A dataset with one view for each class listed, and one encoder."""
    rows = {}
    for seed, (split, codes) in enumerate(splits.items(), 1):
        rows[split] = draw_rows(len(codes), split=split, views_per_patent=1, seed=seed)
        for row, code in zip(rows[split], codes, strict=True):
            row["uspc_class"] = code
    settings = {"schemes": ("uspc",), "num_resamples": 20, "device": "cpu"} | settings
    config = EvaluationConfig(**settings)
    return EvaluationContext(open_dataset(write_dataset(folder, rows)), {MODEL: encoder}, config, torch.device("cpu"))


SPLITS = {"train": ["D1"] * 3 + ["D2"], "test": ["D1", "D1", "D2", "D3", None]}


def test_results_and_baselines_equal_those_computed_by_hand(tmp_path):
    context = context_of(tmp_path, SPLITS, KnownFeatures(np.zeros((5, 2)), None))
    labelled = label_views(context, "uspc")
    scores = np.zeros((4, 33))
    scores[[0, 1, 2, 3], [0, 1, 1, 0]] = 1  # right, wrong, right, wrong

    table = accuracy_table(context, labelled, {MODEL: scores}, title="known")
    values = {
        metric: {column: estimate["value"] for column, estimate in columns.items() if column != "unit"}
        for metric, columns in table["figures"].items()
    }

    assert values["accuracy"] == pytest.approx({"model": 0.5, "chance": 1 / 33, "majority": 0.5})
    assert values["macro accuracy"] == pytest.approx({"model": 0.5, "chance": 1 / 33, "majority": 1 / 3})
    assert values["top-5 accuracy"]["majority"] == 0.75  # D1 and D2 are the only classes in training
    assert table["terms"]["num_queries"] == 4 and table["terms"]["num_queries_without_positive"] == 1
    assert any("majority class is D1" in note for note in table["terms"]["notes"])


def test_accuracies_and_confusion_equal_those_of_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    codes = list(rng.choice(USPC.codes[:6], 60))
    context = context_of(tmp_path, {"train": codes, "test": codes}, KnownFeatures(np.zeros((60, 2)), None))
    labelled = label_views(context, "uspc")
    scores = rng.normal(size=(60, 33))
    scores[np.arange(60), labelled.truth] += 1.5
    predicted = scores.argmax(axis=1)

    values = accuracy_table(context, labelled, {MODEL: scores}, title="known")["figures"]
    by_class = results_by_class(labelled, scores)

    truth = labelled.truth
    assert values["accuracy"]["model"]["value"] == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    macro = sklearn.metrics.recall_score(truth, predicted, average="macro", labels=np.unique(truth), zero_division=0)
    assert values["macro accuracy"]["model"]["value"] == pytest.approx(macro)
    top = sklearn.metrics.top_k_accuracy_score(truth, scores, k=5, labels=np.arange(33))
    assert values["top-5 accuracy"]["model"]["value"] == pytest.approx(top)
    matrix = sklearn.metrics.confusion_matrix(truth, predicted, labels=np.arange(33))
    assert by_class["confusion"] == matrix.tolist()
    assert by_class["num_views"] == matrix.sum(axis=1).tolist()


def test_a_tie_counts_against_the_model():
    scores = np.array([[1.0, 1.0, 0.0], [0.5, 0.2, 0.5 - 1e-9], [0.0, 0.0, 0.0]])
    truth = np.array([0, 0, 2])

    assert ranks_of_truth(scores, truth).tolist() == [2, 2, 3]
    assert (predicted_classes(scores, truth) != truth).all()


def test_a_view_is_assigned_to_the_class_whose_prompts_it_is_nearest_to(tmp_path):
    def text_features(text):  # the prompts of class n have the direction of axis n
        title = text.removeprefix("a drawing of ").removeprefix("one of ")
        return np.eye(33)[[name.lower() for name in USPC.titles].index(title)]

    images = FeaturesOfClasses(lambda code: np.eye(33)[USPC.index_of(code)], text_features)
    context = context_of(tmp_path, SPLITS, images, prompts=("a drawing of {}", "one of {}"))

    result = zero_shot.measure(context)

    assert result.tables["uspc"]["figures"]["accuracy"]["model"]["value"] == 1.0
    assert any("a drawing of {}; one of {}" in note for note in result.tables["uspc"]["terms"]["notes"])
    assert result.by_class["uspc"]["num_training_views"][:3] == [3, 1, 0]


def test_without_classes_a_task_gives_its_reason(tmp_path):
    context = context_of(tmp_path, {"train": [None] * 2, "test": [None] * 2}, KnownFeatures(np.zeros((2, 2)), None))
    assert "has a class of uspc" in zero_shot.measure(context).reason
    assert "fewer than two classes" in linear_probe.measure(context).reason


def noisy_classes(seed: int):
    """Noisy features around a direction for each class; classes can be learned, but not perfectly."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(33, 12))

    def features_of_class(code):
        features = directions[USPC.index_of(code)] + rng.normal(scale=0.7, size=12)
        return features / np.linalg.norm(features)

    return features_of_class


def test_the_probe_learns_linear_classes_and_chooses_its_penalty_on_the_validation_split(tmp_path):
    codes = ["D1", "D2", "D3", "D4"] * 15
    splits = {"train": codes, "validation": codes[:20], "test": codes[:40]}
    context = context_of(tmp_path, splits, FeaturesOfClasses(noisy_classes(1)), probe_strengths=(0.01, 1.0, 100.0))

    result = linear_probe.measure(context)
    chosen = result.settings["uspc"][MODEL]

    assert result.tables["uspc"]["figures"]["accuracy"]["model"]["value"] > 0.8
    assert chosen["chosen_on"] == "the validation split"
    best = max(chosen["accuracy_by_strength"].values())
    assert chosen["accuracy_by_strength"][str(chosen["strength"])] == best
    assert set(result.tables) == {"uspc", "uspc_five_epochs"}
    assert linear_probe.measure(context).tables == result.tables  # equal seeds, equal results


def test_the_probe_equals_scikit_learn_on_the_same_features(tmp_path):
    codes = ["D1", "D2", "D3"] * 20
    encoder = FeaturesOfClasses(noisy_classes(2))
    splits = {"train": codes, "validation": codes, "test": codes}
    context = context_of(tmp_path, splits, encoder, probe_strengths=(10.0,))
    train, test = context.image_features(MODEL, "train").features, context.image_features(MODEL).features
    truth = np.arange(60) % 3

    model = sklearn.linear_model.LogisticRegression(C=10.0, max_iter=1000).fit(train.astype(float), truth)

    expected = model.score(test.astype(float), truth)
    assert linear_probe.measure(context).tables["uspc"]["figures"]["accuracy"]["model"]["value"] == pytest.approx(
        expected
    )


def test_a_class_without_training_views_is_never_predicted(tmp_path):
    splits = {"train": ["D1", "D2"] * 10, "test": ["D1", "D2", "D9"]}
    result = linear_probe.measure(context_of(tmp_path, splits, FeaturesOfClasses(noisy_classes(3))))

    confusion = np.array(result.by_class["uspc"]["confusion"])
    assert confusion[:, 8].sum() == 0 and confusion[8].sum() == 1
    assert result.settings["uspc"][MODEL]["chosen_on"] == "a fifth of the training patents"


@pytest.mark.parametrize("count", [ranks_of_truth, predicted_classes])
def test_class_scores_that_are_not_numbers_are_refused(count):
    scores = np.array([[0.5, 0.1], [0.2, np.nan], [np.nan, np.nan]])

    with pytest.raises(NonFiniteError, match=r"2 of 3 views have class scores .*; the first is number 2"):
        count(scores, np.array([0, 0, 1]))
    assert ranks_of_truth(np.array([[-np.inf, 0.1]]), np.array([0])).tolist() == [2]  # an unknown class is no NaN


@pytest.mark.parametrize("module", [zero_shot, linear_probe])
@pytest.mark.parametrize("wrong_classes", [("D1", "D2", "D3"), ("D1",)])
def test_a_model_that_returns_nan_is_not_scored(tmp_path, module, wrong_classes):
    encoder = FeaturesOfClasses(
        lambda code: np.full(4, np.nan) if code in wrong_classes else np.ones(4), lambda text: np.ones(4)
    )

    with pytest.raises(NonFiniteError, match=r"not numbers|not finite"):
        module.measure(context_of(tmp_path / "shapes", SPLITS, encoder))


# Three classes in each split; D1 is frequent in training, D2 is less so, and all others are never seen.
THIRDS_SPLITS = {"train": ["D1"] * 5 + ["D2"] * 2 + ["D3"], "test": ["D1", "D1", "D2", "D99", "D14", None]}


def test_thirds_of_the_classes_have_their_sizes_and_the_mean_over_their_own_classes(tmp_path):
    context = context_of(tmp_path, THIRDS_SPLITS, KnownFeatures(np.zeros((6, 2)), None))
    labelled = label_views(context, "uspc")
    scores = np.zeros((5, 33))
    scores[[0, 1, 2], [0, 1, 1]] = 1  # right, wrong, right; the last two are wrong
    table = accuracy_table(context, labelled, {MODEL: scores}, title="known")
    thirds = table["thirds"]

    assert {name: size["num_queries"] for name, size in thirds["sizes"].items()} == {"tail": 1, "middle": 0, "head": 4}
    assert all(size["num_classes"] == 11 for size in thirds["sizes"].values())
    assert thirds["sizes"]["head"]["num_training_views"] == 8
    values = {name: columns["model"]["value"] for name, columns in thirds["figures"].items()}
    assert list(values) == ["macro accuracy, tail", "macro accuracy, head"]  # nothing is measured of the middle
    assert values["macro accuracy, head"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert thirds["figures"]["macro accuracy, head"]["majority"]["value"] == pytest.approx(1 / 3)


def test_views_that_are_assigned_to_another_class_are_the_misses(tmp_path):
    context = context_of(tmp_path, THIRDS_SPLITS, KnownFeatures(np.zeros((6, 2)), None))
    labelled = label_views(context, "uspc")
    scores = np.zeros((5, 33))
    scores[[0, 1, 2], [0, 1, 1]] = 1
    failures = missed_classes(context, labelled, scores, "known")
    assert (failures.counts["num_queries"], failures.counts["num_misses"]) == (5, 3)
    front = failures.examples["viewpoint_front"]
    assert sorted(miss.view_id for miss in front) == [context.views.view_ids[row] for row in (1, 3, 4)]
    (second,) = (miss for miss in front if miss.view_id == context.views.view_ids[1])
    assert second.note.startswith("D1, taken for D2: ") and second.found_jpeg is None
