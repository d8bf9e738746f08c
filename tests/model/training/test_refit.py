"""The last layer that is fitted is the optimum, however its inputs are stored and whatever their scale is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from model.clip.readout import NEVER
from model.errors import NonFiniteError
from model.training import refit
from model.training.refit import InputStore, choose_views, fit_last_layer

CPU = torch.device("cpu")
NUM_CLASSES, WIDTH = 5, 6
PRESENT = [0, 1, 3, 4]  # class 2 has no views


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """(300, 6) inputs of very different scales and offsets, and their classes, of which one has half the views."""
    rng = np.random.default_rng(0)
    classes = rng.choice(PRESENT, 300, p=[0.5, 0.3, 0.15, 0.05])
    centres = rng.normal(size=(NUM_CLASSES, WIDTH))
    inputs = (centres[classes] + rng.normal(size=(300, WIDTH))) * np.geomspace(0.01, 100, WIDTH) + 5
    return inputs.astype(np.float32), classes


def posteriors(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().softmax(dim=1).numpy()


@pytest.mark.parametrize("l2", [0.1, 1.0, 10.0])
def test_with_the_class_frequencies_added_the_layer_is_scikit_learns_regression(drawn, l2):
    inputs, classes = drawn
    fitted = fit_last_layer([inputs], classes, num_classes=NUM_CLASSES, l2=l2, device=CPU)
    standardised = StandardScaler().fit_transform(inputs.astype(np.float64))
    reference = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=5000).fit(standardised, classes)

    logits = inputs @ fitted.weight.T + fitted.bias
    natural = logits[:, PRESENT] + np.log(np.bincount(classes)[PRESENT] / len(classes))

    assert posteriors(natural) == pytest.approx(reference.predict_proba(standardised), abs=2e-3)
    right = posteriors(natural)[np.arange(300), np.searchsorted(PRESENT, classes)]
    assert fitted.loss == pytest.approx(-np.log(right).mean(), rel=1e-3)


def test_a_class_without_views_is_never_predicted(drawn):
    inputs, classes = drawn
    fitted = fit_last_layer([inputs], classes, num_classes=NUM_CLASSES, l2=1.0, device=CPU)

    assert (fitted.weight[2] == 0).all() and fitted.bias[2] == NEVER


def test_the_layer_does_not_depend_on_how_its_inputs_are_divided(drawn):
    inputs, classes = drawn
    whole, parts = (
        fit_last_layer(blocks, classes, num_classes=NUM_CLASSES, l2=1.0, device=CPU)
        for blocks in ([inputs], np.split(inputs, [1, 100, 180]))
    )

    np.testing.assert_allclose(parts.weight, whole.weight, rtol=0.02, atol=1e-4 * np.abs(whole.weight).max())
    assert parts.loss == pytest.approx(whole.loss, rel=1e-4)


def test_an_input_that_never_varies_changes_nothing(drawn):
    inputs, classes = drawn
    extended = np.column_stack([inputs, np.full(len(inputs), 7, np.float32)])
    fitted, other = (
        fit_last_layer([one], classes, num_classes=NUM_CLASSES, l2=1.0, device=CPU) for one in (inputs, extended)
    )

    assert np.isfinite(other.weight).all()
    assert other.loss == pytest.approx(fitted.loss, rel=1e-4)


def test_inputs_that_are_not_finite_are_an_error(drawn):
    inputs, classes = drawn
    broken = inputs.copy()
    broken[7, 2] = np.nan

    with pytest.raises(NonFiniteError, match="inputs that are not finite"):
        fit_last_layer([broken], classes, num_classes=NUM_CLASSES, l2=1.0, device=CPU)


def test_all_views_of_rare_classes_are_chosen_and_only_some_of_common_ones():
    classes = np.array([0] * 50 + [-1] * 10 + [3] * 4 + [1] * 9)
    rows = choose_views(classes, most=8, seed=1)

    assert np.bincount(classes[rows]).tolist() == [8, 8, 0, 4]
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == choose_views(classes, most=8, seed=1).tolist()
    assert rows.tolist() != choose_views(classes, most=8, seed=2).tolist()
    assert len(np.unique(rows[classes[rows] == 0] // 10)) > 2  # not the first ones


class Computing:
    """Inputs that show their rows, and which rows were asked for."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.rows += rows.tolist()
        return np.column_stack([rows, 2 * rows]).astype(np.float32)


def test_stored_inputs_are_computed_once_and_in_the_order_of_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(refit, "_VIEWS_A_FILE", 3)
    store, first, second = InputStore(tmp_path / "refit", np.arange(7) * 10, "a"), Computing(), Computing()

    assert not store.complete(first, lambda: len(first.rows) > 3)  # stopped after the second file
    assert store.complete(second, lambda: False)

    assert (first.rows, second.rows) == ([0, 10, 20, 30, 40, 50], [60])
    assert np.concatenate(store.blocks())[:, 1].tolist() == [0, 20, 40, 60, 80, 100, 120]
    assert [len(block) for block in store.blocks()] == [3, 3, 1]


def test_inputs_stored_under_other_weights_are_computed_again(tmp_path):
    InputStore(tmp_path / "refit", np.arange(5), "a").complete(Computing(), lambda: False)
    again = Computing()

    assert InputStore(tmp_path / "refit", np.arange(5), "b").complete(again, lambda: False)
    assert again.rows == [0, 1, 2, 3, 4]
