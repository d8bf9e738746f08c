"""Searching with a photograph: as it is and as a line drawing, and which of the two found a patent."""

import datetime
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from model.dataset.images import decode_grey
from model.search.query import Picture, Query
from model.search.ranking import AS_IT_IS, AS_LINES
from model.search.record import compare, make_record, query_of, render_record
from model.search.search import SearchConfig, open_search
from model.search.serve import ServeConfig, make_app
from patentdata.specimens import SpecimenConfig
from patentdata.specimens.photographs.week import photograph_article
from tests.model.search.searchable import draw_searchable, write_model

_NOW = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def search(micro_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    dataset = draw_searchable(folder / "designs")
    model = write_model(micro_clip, folder / "model")
    return open_search(model, dataset, SearchConfig(device="cpu", batch_size=16, num_workers=1))


@pytest.fixture(scope="module")
def drawings(search):
    """The pixels of the first views of the first and the last patent."""
    return [decode_grey(search.gallery.jpeg(row)) for row in (0, len(search.gallery) - 2)]


def _photograph(as_it_is, lines):
    return Picture(name="mug.jpg", pixels=as_it_is, lines=lines)


def test_each_form_finds_its_own_patent_and_the_results_say_which_it_was(search, drawings):
    first, last = (search.gallery.view(row).patent_number for row in (0, len(search.gallery) - 2))

    found = search.find(Query(pictures=(_photograph(drawings[0], drawings[1]),), k=20))

    found_as = {hit.best.patent_number: hit.found_as for hit in found.hits}
    assert found_as[first] == AS_IT_IS and found_as[last] == AS_LINES
    scores = {hit.best.patent_number: hit.picture_score for hit in found.hits}
    assert scores[first] == pytest.approx(1, abs=1e-3) and scores[last] == pytest.approx(1, abs=1e-3)
    assert found.score_kind == "standardised"
    assert {hit["found_as"] for hit in found.to_dict()["hits"]} == {AS_IT_IS, AS_LINES}


def test_a_photograph_counts_by_the_better_of_its_forms_for_each_patent(search, drawings):
    each = [search.find(Query(pictures=(Picture(name="x", pixels=pixels),), k=20)) for pixels in drawings]
    standing = {}
    for found in each:
        scores = np.array([hit.picture_score for hit in found.hits])
        for hit, score in zip(found.hits, (scores - scores.mean()) / scores.std(), strict=True):
            standing.setdefault(hit.best.patent_number, []).append(score)

    both = search.find(Query(pictures=(_photograph(*drawings),), k=20))

    assert len(both.hits) == len(standing) == 20
    for hit in both.hits:
        assert hit.score == pytest.approx(max(standing[hit.best.patent_number]), abs=1e-3)


def test_a_picture_that_is_not_a_photograph_is_found_as_before(search, drawings):
    found = search.find(Query(pictures=(Picture(name="x", pixels=drawings[0]),), k=5))

    assert found.score_kind == "cosine"
    assert all(hit.found_as == "" for hit in found.hits)


def test_filters_and_words_hold_for_both_forms(search, drawings):
    found = search.find(Query(pictures=(_photograph(*drawings),), text="mug", avoid=("chair",), k=20))

    assert {hit.found_as for hit in found.hits} <= {AS_IT_IS, AS_LINES}
    assert all(hit.text_score is not None for hit in found.hits)


def test_a_record_keeps_the_line_drawing_and_repeats_the_search(search, drawings):
    found = search.find(Query(pictures=(_photograph(*drawings),), k=5))
    record = json.loads(json.dumps(make_record(found, _NOW)))

    again = search.find(query_of(record))

    assert compare(record, again).sentences == ["nothing has changed"]
    assert [hit.found_as for hit in again.hits] == [hit.found_as for hit in found.hits]
    page = render_record(found, record)
    assert "Found by the line drawing" in page and "mug.jpg as a line drawing" in page


@pytest.mark.parametrize(("setting", "is_said"), [("auto", True), ("never", False)])
def test_the_page_says_which_form_of_a_photograph_found_a_patent(search, setting, is_said):
    jpeg = photograph_article(900_003, 1, SpecimenConfig(num_patents=4, articles=("mug",))).jpeg
    client = TestClient(make_app(search, ServeConfig(photograph=setting)), base_url="http://127.0.0.1")

    answer = client.post("/picture", content=jpeg, headers={"Content-Type": "image/jpeg"})

    assert answer.status_code == 200
    assert ("Found by the" in answer.text) == is_said
    assert ("as a line drawing" in answer.text) == is_said
