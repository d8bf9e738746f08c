"""One search from its query to its results: the query is checked first, and the results name the filters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.dataset.query_image import QueryError
from model.search import query as query_module
from model.search.gallery import Filters
from model.search.query import Query, describe_filters, find_views
from model.search.search import SearchConfig
from tests.model.search.searchable import draw_searchable, write_model

_CONFIG = SearchConfig(device="cpu", batch_size=16, num_workers=1)


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    return draw_searchable(tmp_path_factory.mktemp("datasets") / "designs")


@pytest.fixture(scope="module")
def model_dir(micro_clip, tmp_path_factory):
    return write_model(micro_clip, tmp_path_factory.mktemp("models") / "model")


def test_words_find_the_views_that_pass_the_filters(model_dir, dataset_dir, tmp_path):
    filters = Filters.parse(["07-01"], "2021", "2021-06")
    found = find_views(Query(text=" a  large circle", k=40, filters=filters), model_dir, dataset_dir, _CONFIG)
    values = found.to_dict()
    assert values["query"] == "a large circle" and values["num_views"] == 40
    assert len(values["hits"]) == len(found.hits) > 0
    assert {hit["locarno_class"] for hit in values["hits"]} == {"07-01"}
    found.write_page(tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text()
    assert "class 07-01, granted since 2021-01-01, granted until 2021-06-30" in page
    assert page.count('src="data:image/jpeg;base64,') == len(found.hits)


def test_a_picture_finds_views_and_each_patent_can_be_found_once(model_dir, dataset_dir, tmp_path):
    Image.fromarray(np.pad(np.zeros((40, 60), np.uint8), 30, constant_values=255)).save(tmp_path / "sheet.png")
    query = Query(image=tmp_path / "sheet.png", k=20, a_patent_once=True)
    found = find_views(query, model_dir, dataset_dir, _CONFIG)
    assert found.picture is not None and found.to_dict()["query"] == str(tmp_path / "sheet.png")
    assert len({hit.view.patent_number for hit in found.hits}) == len(found.hits) == 20


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "give a text or an image"),
        ({"text": " "}, "the query is empty"),
        ({"text": "lamp", "k": 0}, "k is 0; choose 1 to 1000"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(values, sentence):
    with pytest.raises(QueryError, match=sentence):
        Query(**values)


def test_a_picture_that_cannot_be_read_is_refused_before_the_gallery_is_opened(monkeypatch, dataset_dir, tmp_path):
    def fail(*_, **__):
        pytest.fail("the gallery was opened")

    monkeypatch.setattr(query_module, "open_search", fail)
    with pytest.raises(QueryError, match="No such file"):
        find_views(Query(image=tmp_path / "nowhere.png"), "any", dataset_dir, _CONFIG)


def test_what_was_changed_in_the_query_is_said_in_the_results_and_on_the_page(model_dir, dataset_dir, tmp_path):
    page = np.zeros((100, 120), np.uint8)
    page[40:44, 30:90] = 255
    Image.fromarray(page).save(tmp_path / "negative.png")
    inverted = find_views(Query(image=tmp_path / "negative.png"), model_dir, dataset_dir, _CONFIG)
    shortened = find_views(Query(text="circle " * 40), model_dir, dataset_dir, _CONFIG)
    assert inverted.to_dict()["remarks"] == ["the image shows light lines on dark paper, so it was inverted"]
    assert "reads only the first 14 of 40 words" in shortened.remarks[0]
    inverted.write_page(tmp_path / "found.html")
    assert "The image shows light lines on dark paper, so it was inverted." in (tmp_path / "found.html").read_text()


def test_without_filters_there_is_nothing_to_describe():
    assert describe_filters(Filters()) == ""
