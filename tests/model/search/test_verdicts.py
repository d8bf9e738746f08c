"""What scores mean: limits from random pairs, their worth from cited pairs, measured once and stored."""

from __future__ import annotations

import numpy as np
import pytest

from model.dataset.folder import open_dataset
from model.search import verdicts
from model.search.gallery import Gallery
from model.search.verdicts import ALL_VIEWS, ONE_VIEW, VerdictScale, verdict_scale
from tests.model.search.searchable import draw_searchable

RANDOM = np.linspace(0, 1, 1001)


def test_limits_are_scores_that_few_random_pairs_reach_and_cited_pairs_say_what_they_are_worth():
    scale = VerdictScale.of_scores(RANDOM, np.linspace(0.5, 1.5, 1001))
    assert scale.limit("similar") == pytest.approx(0.99) and scale.limit("maybe") == pytest.approx(0.9)
    assert [scale.verdict(score) for score in (1.2, 0.991, 0.95, 0.5)] == ["similar", "similar", "maybe", "unlike"]
    assert scale.cited_share(0.99) == pytest.approx(0.51, abs=0.01)
    assert scale.random_share(0.25) == pytest.approx(0.75, abs=0.01)
    assert scale.random_share(-1) == 1 and scale.random_share(2) == 0
    assert scale.sentences()[0] == (
        '"similar" from 0.990: 1 % of random pairs of patents and 51 % of 1,001 examiner-cited pairs reach it'
    )


def test_without_cited_pairs_the_limits_stand_and_their_worth_is_unknown():
    scale = VerdictScale.of_scores(RANDOM, np.empty(0))
    assert scale.verdict(0.95) == "maybe" and scale.cited_share(0.95) is None
    assert "an unknown share of examiner-cited pairs" in scale.sentences()[1]
    assert scale.to_dict()["similar"]["cited_share"] is None


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return Gallery(open_dataset(draw_searchable(tmp_path_factory.mktemp("datasets") / "designs")))


def test_pairs_are_scored_like_searches_and_the_scale_is_stored(monkeypatch, gallery, tmp_path):
    # The first patent, which all others cite, is the only one whose views resemble those of others.
    popular = set(gallery.rows_of("D710000"))
    away = [row for row in range(len(gallery)) if row not in popular]

    def feature(row: int) -> np.ndarray:
        values = np.zeros(len(gallery) + 1, np.float32)
        values[-1] = 1.0 if row in popular else 0.6
        values[row] = 0.0 if row in popular else 0.8
        return values

    def scale(kind: str, scoring: str = "max", version: str = "1") -> VerdictScale:
        return verdict_scale(
            gallery,
            feature,
            lambda rows: np.ones(len(rows), np.float32),
            scoring=scoring,
            kind=kind,
            path=tmp_path / f"{scoring}-{kind}.json",
            identity={"model": version},
        )

    measured = scale(ALL_VIEWS)
    assert measured.num_cited == gallery.num_patents - 1 and len(away) == 38
    assert measured.cited[0] == measured.cited[-1] == pytest.approx(0.6)  # 1.0 · 0.6
    assert measured.random[-1] == pytest.approx(0.36) and measured.cited_share(measured.limit("similar")) == 1
    for scoring in ("mean", "maxsim", "weighted"):
        assert scale(ONE_VIEW, scoring).cited[0] == pytest.approx(0.6)
    assert measured.num_random == 20 * 19 - 2 * 19, "every pair of which none cites the other"
    monkeypatch.setattr(verdicts, "_NUM_RANDOM", 200)
    assert 0 < scale(ALL_VIEWS, "mean", version="drawn").num_random <= 200
    assert scale(ALL_VIEWS) == measured
    monkeypatch.setattr(verdicts, "_random_pairs", lambda *_: pytest.fail("measured again"))
    assert scale(ALL_VIEWS) == measured
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        scale(ALL_VIEWS, version="2")
