"""Records of searches: what they keep, how they are repeated, and what is refused."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest

from model.dataset.query_image import QueryError, read_query_image
from model.search.gallery import Filters
from model.search.query import Picture, Query, Weights
from model.search.record import compare, make_record, query_of, read_record, write_record
from model.search.search import SearchConfig, open_search
from tests.model.search.searchable import HOSTILE, draw_searchable, write_model

NOW = datetime.datetime(2026, 11, 28, 12, 30, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def search(micro_clip, tmp_path_factory):
    dataset = draw_searchable(tmp_path_factory.mktemp("datasets") / "designs")
    model = write_model(micro_clip, tmp_path_factory.mktemp("models") / "model")
    return open_search(model, dataset, SearchConfig(device="cpu", batch_size=16, num_workers=1))


@pytest.fixture(scope="module")
def found(search):
    picture = Picture(name=HOSTILE, pixels=read_query_image(search.gallery.jpeg(7), search.image).pixels)
    return search.find(
        Query(
            text="star </script>",
            pictures=(picture,),
            avoid=("wheels",),
            weights=Weights(pictures=2),
            scoring="maxsim",
            filters=Filters.parse(["07"], "2020", viewpoints=["front"]),
            k=4,
            offset=1,
            fusion="rrf",
        )
    )


@pytest.mark.parametrize("name", ["kept.json", "kept.html"])
def test_a_record_keeps_the_search_and_repeats_it_without_the_picture_file(search, found, tmp_path, name):
    write_record(found, tmp_path / name, NOW)
    record = read_record(tmp_path / name)
    assert record["time"] == "2026-11-28T12:30:00+00:00"
    assert record["dataset"]["fingerprint"] == search.gallery.dataset.fingerprint
    assert record["model"]["fingerprint"] == search.encoder.fingerprint
    assert [hit["score"] for hit in record["hits"]] == [round(hit.score, 6) for hit in found.hits]
    query = query_of(record)
    assert query.to_dict() == found.query.to_dict()
    assert compare(record, search.find(query)).sentences == ["nothing has changed"]


def test_the_page_of_a_record_runs_nothing_and_says_what_it_is(found, tmp_path):
    write_record(found, tmp_path / "kept.html", NOW)
    page = (tmp_path / "kept.html").read_text()
    assert page.count("<script") == 1 and '<script type="application/json" id="record">' in page
    assert HOSTILE not in page and "Record of the search of 2026-11-28T12:30:00+00:00" in page


def test_a_repeated_search_says_what_has_changed(search, found):
    record = json.loads(json.dumps(make_record(found, NOW)))
    first, second, *_ = record["hits"]
    record["dataset"]["fingerprint"] = record["model"]["fingerprint"] = "0" * 64
    first["rank"], second["rank"] = second["rank"], first["rank"]
    second["score"] += 0.5
    gone = record["hits"].pop()["patent_number"]
    record["hits"].append({**first, "patent_number": "D1"})
    changes = compare(record, search.find(query_of(record)))
    assert changes.dataset and changes.model and changes.new == (gone,) and changes.gone == ("D1",)
    assert changes.moved == {first["patent_number"]: (3, 2), second["patent_number"]: (2, 3)}
    assert list(changes.rescored) == [second["patent_number"]]
    assert changes.sentences[:4] == ["the dataset has changed", "the model has changed", f"new: {gone}", "gone: D1"]
    assert set(changes.to_dict()) == {"dataset_changed", "model_changed", "new", "gone", "moved", "rescored"}


def test_a_file_that_is_no_record_is_refused(found, tmp_path):
    for name, content, sentence in (
        ("a.json", "{", "not the record of a search"),
        ("b.json", '{"hits": []}', "not the record of a search"),
        ("c.html", "<p>no record</p>", "not the record of a search"),
        ("d.json", json.dumps({"record": "designclip search", "version": 9}), "a record of version 9"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(QueryError, match=sentence):
            read_record(tmp_path / name)
    with pytest.raises(QueryError, match="cannot read"):
        read_record(tmp_path / "nowhere.json")
    with pytest.raises(QueryError, match="choose such a name"):
        write_record(found, tmp_path / "kept.txt", NOW)


def test_a_damaged_record_is_refused(found):
    def damaged(**changes):
        record = json.loads(json.dumps(make_record(found, NOW)))
        record["query"] |= changes
        return record

    picture = make_record(found, NOW)["query"]["pictures"][0]
    other = make_record(found, NOW)["query"]["pictures"][0] | {"pixels_sha256": "0" * 64}
    for record, sentence in (
        (damaged(filters=None), "the record is damaged"),
        (damaged(k="many"), "the record is damaged"),
        (damaged(pictures=[picture | {"png": "!"}]), "cannot be read"),
        (damaged(pictures=[picture | {"png": "aGVsbG8="}]), "cannot be read"),
        (damaged(pictures=[other]), "is not the one that was searched with"),
        (damaged(scoring="median"), "scoring is 'median'"),
    ):
        with pytest.raises(QueryError, match=sentence):
            query_of(record)
    record = make_record(found, NOW)
    del record["hits"][0]["rank"]
    with pytest.raises(QueryError, match="the record is damaged"):
        compare(record, found)


def test_the_pixels_of_a_record_are_those_that_were_compared(found):
    (picture,) = query_of(make_record(found, NOW)).pictures
    np.testing.assert_array_equal(picture.pixels, found.query.pictures[0].pixels)
