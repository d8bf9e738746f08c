"""Patents that share surroundings and claim different articles."""

import numpy as np
import pytest

from patentdata.errors import ConfigError
from patentdata.specimens import SpecimenConfig
from patentdata.specimens.design import draw_patent
from patentdata.specimens.shapes import articles
from patentdata.specimens.surroundings import extents, surrounded


def parts_of(article, number):
    return articles.build(article, np.random.default_rng([0, number]))


def host_points(explained):
    return np.concatenate([p.grid.reshape(-1, 3) for part in explained.parts if part.broken for p in part.patches])


def test_consecutive_patents_have_the_same_surroundings_and_their_own_articles():
    drawn = [surrounded(parts_of(article, n), n, 0, 3) for n, article in ((9, "mug"), (10, "lamp"), (12, "mug"))]
    assert np.array_equal(host_points(drawn[0]), host_points(drawn[1]))
    assert host_points(drawn[0]).shape != host_points(drawn[2]).shape or not np.allclose(
        host_points(drawn[0]), host_points(drawn[2])
    )
    assert drawn[0].drawn_lines == drawn[1].drawn_lines
    assert drawn[0].drawn_lines[0].meaning == "environment" and drawn[0].drawn_lines[0].thing


@pytest.mark.parametrize("article", ["mug", "pen", "car"])
def test_the_claimed_article_is_smaller_than_its_surroundings_and_sticks_out_of_them_on_three_sides(article):
    for number in range(20, 26):
        explained = surrounded(parts_of(article, number), number, 0, 2)
        low, high = extents([part for part in explained.parts if not part.broken])
        host_low, host_high = extents([part for part in explained.parts if part.broken])
        assert (high - low).max() < 0.6 * (host_high - host_low).max()
        assert high[0] > host_high[0] and low[1] < host_low[1] and high[2] > host_high[2]


def test_the_grant_disclaims_the_surroundings():
    config = SpecimenConfig(first_number=900_000, max_figures=1, drawing_scale=0.2, shared_surroundings=2)
    grant = draw_patent(900_000, date="20240102", config=config).grant
    said = grant.paragraphs[-1][1]
    assert "lines" in said and ("claimed" in said or "claim" in said)


@pytest.mark.parametrize("settings", [{"shared_surroundings": 1}, {"shared_surroundings": 2, "partly_claimed": 0.5}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match="shared_surroundings"):
        SpecimenConfig(**settings)
