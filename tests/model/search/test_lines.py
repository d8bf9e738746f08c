"""Searching by the claimed lines, and pages that tell them from the others."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pytest
from starlette.testclient import TestClient

from model.dataset.images import decode_grey
from model.errors import ConfigError, DatasetError
from model.search.query import Picture, Query
from model.search.record import lines_of, make_record, render_record
from model.search.search import SearchConfig, open_search
from model.search.serve import ServeConfig, make_app
from tests.model.search.searchable import write_model

pytestmark = pytest.mark.slow


def config(lines="all"):
    return SearchConfig(device="cpu", batch_size=16, num_workers=1, lines=lines)


@pytest.fixture(scope="module")
def model_dir(micro_clip, tmp_path_factory):
    return write_model(micro_clip, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def searches(model_dir, surrounded):
    """Lines → a search by them."""
    return {lines: open_search(model_dir, surrounded, config(lines)) for lines in ("all", "claimed")}


def surrounded_row(search):
    return next(row for row in range(len(search.gallery)) if search.gallery.is_layered(row))


def test_views_are_compared_by_the_lines_that_are_asked_for(searches):
    whole, claimed = searches["all"], searches["claimed"]
    for row in range(6):
        is_same = np.array_equal(whole.nearest.row(row), claimed.nearest.row(row))
        assert is_same != whole.gallery.is_layered(row)
    assert claimed.method_sentence == "Every view is compared by its claimed lines."
    assert whole.method_sentence == "Every view is compared."


def test_what_is_stored_for_one_choice_of_lines_is_not_used_for_the_other(searches, model_dir, surrounded):
    query = Query(patent=searches["all"].gallery.patent_number(0), k=3)
    before = {lines: search.find(query).to_dict() for lines, search in searches.items()}
    again = {lines: open_search(model_dir, surrounded, config(lines)).find(query).to_dict() for lines in searches}
    assert again == before
    assert before["all"]["lines"] == "all" and before["claimed"]["lines"] == "claimed"
    assert before["all"]["hits"] != before["claimed"]["hits"]
    assert before["all"]["verdicts"] != before["claimed"]["verdicts"]


def test_pictures_of_a_query_are_compared_as_they_are_and_it_is_said(searches):
    pixels = decode_grey(searches["claimed"].gallery.jpeg(0))
    query = Query(pictures=(Picture(name="chair.png", pixels=pixels),), k=2)
    assert any("compared with all their lines" in remark for remark in searches["claimed"].find(query).remarks)
    assert not any("lines" in remark for remark in searches["all"].find(query).remarks)


def test_the_page_shows_unclaimed_lines_as_a_layer_that_can_be_hidden(searches):
    for lines, is_hidden in (("all", False), ("claimed", True)):
        search = searches[lines]
        page = search.find(Query(text="circle", k=len(search.gallery))).render()
        num_layered = sum(search.gallery.is_layered(row) for row in range(len(search.gallery)))
        assert page.count('<img class="unclaimed" src="data:image/png') == num_layered > 0
        assert re.search(rf'<input type="checkbox" id="hide"{" checked" if is_hidden else ""}>', page)


def test_a_dataset_that_does_not_know_claimed_lines_has_a_page_without_the_switch(model_dir, shapes):
    page = open_search(model_dir, shapes, config()).find(Query(text="circle", k=2)).render()
    assert "checkbox" not in page and "unclaimed" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    with pytest.raises(DatasetError, match="no images of the claimed lines"):
        open_search(model_dir, shapes, config("claimed"))


def test_a_record_says_which_lines_were_compared(searches):
    found = searches["claimed"].find(Query(text="circle", k=2))
    record = make_record(found, datetime.datetime.now(datetime.UTC))
    assert lines_of(record) == "claimed"
    assert lines_of({name: value for name, value in record.items() if name != "lines"}) == "all"
    assert "by its claimed lines" in render_record(found, record)


def test_other_lines_are_refused():
    with pytest.raises(ConfigError, match="lines is 'dashed'; use one of all, claimed"):
        config("dashed")


def test_the_server_sends_the_layers_of_a_view_and_its_page_can_hide_one(searches):
    search = searches["all"]
    view = search.gallery.view(surrounded_row(search))
    with TestClient(make_app(search, ServeConfig()), base_url="http://localhost") as client:
        whole, claimed, unclaimed = (
            client.get("/picture", params={"view": view.view_id, "lines": lines})
            for lines in ("all", "claimed", "unclaimed")
        )
        page = client.get("/patent", params={"number": view.patent_number}).text
    assert [answer.headers["content-type"] for answer in (whole, claimed, unclaimed)] == [
        "image/jpeg",
        "image/png",
        "image/png",
    ]
    layers = search.gallery.layers(view.row)
    assert (claimed.content, unclaimed.content) == (layers.claimed_png, layers.unclaimed_png)
    assert page.count('class="unclaimed"') == 1 and '<input id="hide" type="checkbox">' in page
