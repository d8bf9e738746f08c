"""What can be searched for, and what is refused before a gallery is opened."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model.dataset.query_image import QueryError, QueryImageConfig
from model.search.gallery import Filters
from model.search.query import Picture, Query, Weights, read_pictures


def picture(name: str = "front.png", remarks: tuple[str, ...] = ()) -> Picture:
    return Picture(name=name, pixels=np.zeros((8, 8), np.uint8), remarks=remarks)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "give words, pictures or a patent to search for"),
        ({"avoid": ("wheels",)}, "give words, pictures or a patent to search for"),
        ({"text": " "}, "the query is empty"),
        ({"text": "lamp", "avoid": ("",)}, "the query is empty"),
        ({"text": "lamp", "k": 0}, "k is 0; choose 1 to 1000"),
        ({"text": "lamp", "offset": -1}, "the offset is -1; choose 0 to 100000"),
        ({"text": "lamp", "scoring": "median"}, "scoring is 'median'; use one of max, mean, maxsim, weighted"),
        ({"text": "lamp", "fusion": "sum"}, "fusion is 'sum'; use one of none, rrf"),
        ({"patent": "D1", "fusion": "rrf"}, "rank fusion compares words; give words"),
        ({"text": "lamp", "min_score": "high"}, "'high' is not a least score; use a number, similar or maybe"),
        ({"text": "lamp", "min_score": "nan"}, "'nan' is not a least score"),
        ({"text": "lamp", "min_score": "similar"}, "is a verdict on pictures; give a number"),
        ({"pictures": (picture(),), "patent": "D1"}, "give pictures or a patent number, one of the two"),
        ({"pictures": (picture(),) * 9}, "9 pictures are too many; give at most 8"),
        ({"text": "lamp", "avoid": ("wheels",) * 9}, "9 texts to avoid are too many"),
        ({"text": "lamp", "weights": Weights(pictures=0, text=0)}, "both 0; nothing would be searched for"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(values, sentence):
    with pytest.raises(QueryError, match=sentence):
        Query(**values)


def test_a_weight_out_of_range_is_refused():
    with pytest.raises(QueryError, match="the weight of avoid is -1; use 0 to 100"):
        Weights(avoid=-1)


def test_a_query_is_named_by_all_its_parts():
    query = Query(text=" a  chair", pictures=(picture("a.png"), picture("b.png")), avoid=("wheels",))
    assert query.name == "a.png, b.png, a chair, not wheels"
    assert Query(patent="D907292").name == "views of D907292"


def test_what_was_changed_in_one_of_several_pictures_is_said_with_its_name():
    assert Query(pictures=(picture(remarks=("it was inverted",)),)).remarks == ("it was inverted",)
    both = Query(pictures=(picture("a.png"), picture("b.png", ("it was inverted",))))
    assert both.remarks == ("b.png: it was inverted",)


def test_pictures_are_read_from_files_and_prepared(tmp_path):
    Image.fromarray(np.pad(np.zeros((40, 60), np.uint8), 30, constant_values=255)).save(tmp_path / "sheet.png")
    (read,) = read_pictures([tmp_path / "sheet.png"], QueryImageConfig())
    assert read.pixels.shape == (256, 256) and read.name == str(tmp_path / "sheet.png")
    with pytest.raises(QueryError, match="No such file"):
        read_pictures([tmp_path / "nowhere.png"], QueryImageConfig())
    with pytest.raises(QueryError, match="9 pictures are too many"):
        read_pictures([tmp_path / "sheet.png"] * 9, QueryImageConfig())


def test_filters_are_described_and_read_back():
    filters = Filters.parse(["07-01"], "2021", "2021-06", ["in use", "front"], [" Acme  Inc "])
    assert filters.describe() == (
        "class 07-01, granted since 2021-01-01, granted until 2021-06-30, in use or front views, owned by Acme Inc"
    )
    values = filters.to_dict()
    again = Filters.parse(**values)
    assert again == filters
    assert Filters().describe() == "" and Filters.parse() == Filters()
