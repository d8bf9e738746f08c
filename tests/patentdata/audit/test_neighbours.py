"""Classes that disagree with those of their neighbours."""

import numpy as np
import pytest

from patentdata.audit.neighbours import ClassCheckConfig, doubtful_classes, score_by_drawing, score_by_features
from tests.patentdata.dataset.near_duplicates.drawn import figure, signatures

VIEWS_A_PATENT = 2
CONFIG = ClassCheckConfig(num_neighbours=4, min_votes=8)


def clustered(labels):
    """Features of patents of two kinds, the first half near one point and the others near another."""
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)
    kinds = np.repeat(np.arange(len(labels)) * 2 // len(labels), VIEWS_A_PATENT)
    features = centres[kinds] + 0.05 * rng.normal(size=(len(kinds), 8)).astype(np.float32)
    patents = [f"D{number}" for number in range(len(labels)) for _ in range(VIEWS_A_PATENT)]
    classes = [label for label in labels for _ in range(VIEWS_A_PATENT)]
    return classes, patents, features / np.linalg.norm(features, axis=1, keepdims=True)


def found(labels, *, families=None, config=CONFIG):
    classes, patents, features = clustered(labels)
    doubtful = doubtful_classes(classes, patents, families or patents, score_by_features(features), config)
    return {doubt.patent_number: (doubt.own_class, doubt.other_class) for doubt in doubtful}


def test_a_patent_labelled_unlike_all_its_neighbours_is_doubtful_and_no_other():
    labels = ["D6"] * 6 + ["D9"] * 6
    assert found(labels) == {}
    labels[2] = "D9"
    assert found(labels) == {"D2": ("D9", "D6")}


def test_a_patent_is_not_judged_by_its_own_family():
    labels = ["D6"] * 6 + ["D9"] * 6
    labels[1] = labels[2] = "D9"
    _, patents, _ = clustered(labels)
    assert set(found(labels, families=["D1" if patent == "D2" else patent for patent in patents])) == {"D1", "D2"}


def test_views_without_a_class_are_neither_judged_nor_asked():
    labels = ["D6", *[None] * 5, *["D9"] * 6]
    assert found(labels, config=ClassCheckConfig(num_neighbours=4, min_votes=8, min_other_share=1.0)) == {
        "D0": ("D6", "D9")
    }
    assert found([None] * 12) == {}


def test_too_few_neighbours_are_no_reason_for_doubt():
    assert found(["D6", "D9", "D9", "D9"], config=ClassCheckConfig(num_neighbours=4, min_votes=9)) == {}


def test_a_finding_names_the_view_that_is_nearest_to_its_neighbours():
    labels = ["D9"] + ["D6"] * 5 + ["D9"] * 6
    classes, patents, features = clustered(labels)
    (doubt,) = doubtful_classes(classes, patents, patents, score_by_features(features), CONFIG)
    others = features[[row for row in range(12) if patents[row] != "D0"]]
    nearness = [np.sort(features[row] @ others.T)[-4:].mean() for row in (0, 1)]
    assert doubt.row == int(np.argmax(nearness))
    assert all(patents[row] != "D0" and classes[row] == "D6" for row in doubt.neighbours)
    assert (doubt.share, doubt.num_neighbours) == (1.0, 8)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_without_a_model_turned_and_mirrored_drawings_are_near(turn):
    pages = [figure(1), np.rot90(figure(1), turn)[:, ::-1], figure(2), figure(3)]
    scores = score_by_drawing(signatures(pages))(np.array([0]))[0]
    assert set(scores.argsort()[::-1][:2].tolist()) == {0, 1}
    assert scores[1] > 0.9


def test_drawings_that_are_hardly_alike_have_no_vote():
    pages = [figure(seed) for seed in range(6)]
    scores = score_by_drawing(signatures(pages))(np.arange(6))
    assert np.isneginf(scores[~np.eye(6, dtype=bool)]).all()
    names = [f"D{number}" for number in range(6)]
    config = ClassCheckConfig(num_neighbours=4, min_votes=1)
    assert not doubtful_classes(["D1"] + ["D2"] * 5, names, names, score_by_drawing(signatures(pages)), config)
