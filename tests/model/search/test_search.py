"""Search for the nearest views by words, pictures and views, with filters."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import io
import json
import re
import shutil
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from model.clip.view_weights import ViewWeights
from model.dataset.folder import open_dataset
from model.dataset.query_image import QueryError, QueryImageConfig, read_query_file, read_query_image
from model.errors import ConfigError, DatasetError, NonFiniteError
from model.search import nearest
from model.search import search as search_module
from model.search.gallery import Filters, Gallery
from model.search.nearest import Approximate, ApproximateConfig, Nearest, Probes, approximate, highest
from model.search.query import MAX_PICTURES, Picture, Query, Weights, check_text
from model.search.search import SearchConfig, open_search
from patentdata.views.square_images import TrainingImageConfig, training_image
from tests.model.search.searchable import HOSTILE, draw_searchable, write_model

_CONFIG = SearchConfig(device="cpu", batch_size=16, num_workers=1)


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    return draw_searchable(tmp_path_factory.mktemp("datasets") / "designs")


@pytest.fixture(scope="module")
def model_dir(micro_clip, tmp_path_factory):
    return write_model(micro_clip, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def search(model_dir, dataset_dir):
    return open_search(model_dir, dataset_dir, _CONFIG)


def unit(num: int, seed: int = 0, dim: int = 16) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def encode(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def views_of(found) -> list[str]:
    """The views of all patents found, in the order of their own scores."""
    pairs = [pair for hit in found.hits for pair in zip(hit.view_scores, hit.views, strict=True)]
    return [view.view_id for _, view in sorted(pairs, key=lambda pair: (-pair[0], pair[1].row))]


def numbers(found) -> list[str]:
    return [hit.best.patent_number for hit in found.hits]


def by_text(search, text: str, k: int, filters: Filters | None = None, **values):
    return search.find(Query(text=text, k=k, filters=filters or Filters(), **values))


def picture_of(search, row: int) -> Picture:
    return Picture(name=f"view {row}", pixels=read_query_image(search.gallery.jpeg(row), search.image).pixels)


def drawing(size=(300, 200)) -> Image.Image:
    image = Image.new("L", size, 255)
    image.paste(0, (100, 60, 180, 64))
    image.paste(0, (100, 60, 104, 150))
    return image


def test_a_view_is_the_first_result_for_its_own_feature(search):
    for row in (0, 9, len(search.gallery) - 1):
        feature = search.nearest.row(row)
        rows, scores = search.nearest.search(feature, 3)
        assert rows[0] == row and scores[0] == pytest.approx(1, abs=1e-5)


def test_a_text_finds_the_patents_with_the_nearest_views_in_order(search):
    feature = search.encoder.query_features(["a large circle"])[0]
    scores = np.concatenate(search.nearest.parts) @ feature
    found = by_text(search, "  a large\n circle ", 7)
    best = {}
    for row in np.argsort(-scores, kind="stable"):
        best.setdefault(search.gallery.view(int(row)).patent_number, int(row))
    assert [hit.best.row for hit in found.hits] == list(best.values())[:7]
    assert [hit.rank for hit in found.hits] == list(range(1, 8)) and found.num_patents == 20
    assert [hit.score for hit in found.hits] == pytest.approx(scores[list(best.values())[:7]].tolist())
    assert all(hit.verdict is None and hit.picture_score is None for hit in found.hits)


def test_the_other_views_of_a_patent_are_folded_under_its_best_one(search):
    for hit in by_text(search, "circle", 20).hits:
        assert {view.row for view in hit.views} == set(search.gallery.rows_of(hit.best.patent_number))
        assert list(hit.view_scores) == sorted(hit.view_scores, reverse=True) and hit.score == pytest.approx(
            hit.view_scores[0], abs=1e-6
        )


def test_a_text_longer_than_the_context_is_answered_with_a_remark(search):
    words = ["circle"] * 14  # the model reads 16 tokens, two of which mark start and end
    assert search.remarks_on(" ".join(words)) == () and search.remarks_on("a  large\n circle") == ()
    (remark,) = search.remarks_on(" ".join([*words, "star", "lamp"]))
    assert remark.startswith('the model reads only the first 14 of 16 words, up to "circle"; shorten the query')


def test_a_query_whose_features_are_not_finite_is_refused_with_the_name_of_the_model(search, monkeypatch):
    clip = search.encoder.load()
    image = read_query_image(encode(drawing()), search.image).pixels
    for name in ("encode_text", "encode_image"):
        monkeypatch.setattr(clip.model, name, lambda *_, **__: torch.full((1, 16), torch.nan))
    with pytest.raises(
        NonFiniteError, match=rf"the model {search.encoder.name} returns .* for 1 of 1: the text 'a circle'"
    ):
        by_text(search, "a circle", 5)
    with pytest.raises(NonFiniteError, match=r"returns .* for 1 of 1: the query image; check its weights"):
        search.find(Query(pictures=(Picture(name="x", pixels=image),)))


def test_scores_that_are_not_numbers_are_refused():
    features = unit(50)
    query = features[0].copy()
    query[3] = np.nan
    exact = Nearest([features])
    with pytest.raises(NonFiniteError, match="scores of a search are not numbers"):
        exact.search(query, 3)
    with pytest.raises(NonFiniteError, match="features of the query are not finite"):
        Approximate(exact, None, 1, {}).search(query, 3)


def test_all_splits_are_searched(search):
    found = by_text(search, "star", 1000)
    assert {hit.best.split for hit in found.hits} == {"train", "test"}
    assert len(found.hits) == search.gallery.num_patents == 20


def test_only_views_that_pass_the_filters_are_found_and_none_with_unknown_values(search):
    everything = [search.gallery.view(row) for row in range(40)]
    us = everything[0].uspc_class
    cases = {
        Filters.parse(viewpoints=["Front"]): lambda view: view.viewpoint == "front",
        Filters.parse(viewpoints=["top", "front"]): lambda view: view.viewpoint in ("top", "front"),
        Filters.parse([us]): lambda view: view.uspc_class == us,
        Filters.parse(["07"]): lambda view: view.locarno_class.startswith("07"),
        Filters.parse(["6-03"]): lambda view: view.locarno_class == "06-03",
        Filters.parse([us.lower(), "07-01"]): lambda view: view.uspc_class == us or view.locarno_class == "07-01",
        Filters.parse(owners=["ACME"]): lambda view: any("Acme" in name for name in view.owners),
        Filters.parse(owners=["acme, inc", "doe"]): lambda view: view.owners in (("Acme, Inc.",), ("Jane Doe",)),
        Filters.parse(granted_from="2021"): lambda view: view.grant_date and view.grant_date.year >= 2021,
        Filters.parse(granted_to="2020-02"): lambda view: (
            view.grant_date and view.grant_date < datetime.date(2020, 3, 1)
        ),
        Filters.parse([us], "2020-03-05", "2020-12-31"): lambda view: (
            view.uspc_class == us
            and view.grant_date
            and datetime.date(2020, 3, 5) <= view.grant_date < datetime.date(2021, 1, 1)
        ),
    }
    for filters, passes in cases.items():
        found = by_text(search, "circle", 40, filters)
        assert set(views_of(found)) == {view.view_id for view in everything if passes(view)}, filters
        assert found.num_patents == len(found.hits) == len(set(numbers(found)))
    assert by_text(search, "circle", 5, Filters.parse(granted_from="2030")).hits == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"classes": ["D77"]}, "'D77' is not a class; name one such as D7"),
        ({"classes": ["99-01"]}, "'99-01' is not a class"),
        ({"granted_from": "soon"}, "'soon' is not a day; write 2021-03-31, 2021-03 or 2021"),
        ({"granted_from": "2021-02-30"}, "is not a day"),
        ({"granted_to": "99999"}, "is not a day"),
        ({"granted_to": "2021-13"}, "is not a day"),
        (
            {"granted_from": "2022", "granted_to": "2021"},
            "empty date range 2022-01-01 to 2021-12-31: the start is after the end",
        ),
    ],
)
def test_invalid_filters_are_refused_with_the_expected_form(values, sentence):
    with pytest.raises(QueryError, match=re.escape(sentence)):
        Filters.parse(**values)


def test_months_and_years_become_their_first_and_last_day():
    assert Filters.parse(granted_from="2020-02", granted_to="2020-02") == Filters(
        granted_from=datetime.date(2020, 2, 1), granted_to=datetime.date(2020, 2, 29)
    )
    assert Filters.parse(granted_to="2021").granted_to == datetime.date(2021, 12, 31)


def test_an_unknown_viewpoint_is_refused_with_those_of_the_dataset(search):
    with pytest.raises(QueryError, match="'above' is not a viewpoint of this dataset; use one of front, top"):
        by_text(search, "circle", 5, Filters.parse(viewpoints=["above"]))


def test_pages_follow_each_other(search):
    whole = numbers(by_text(search, "circle", 20))
    pages = [by_text(search, "circle", 6, offset=offset) for offset in (0, 6, 12, 18)]
    assert [number for page in pages for number in numbers(page)] == whole
    assert [hit.rank for hit in pages[3].hits] == [19, 20] and by_text(search, "circle", 5, offset=20).hits == []
    assert "patents 7 to 12 of 20, from 40 views of 20 patents" in pages[1].summary


def test_a_view_and_a_patent_find_other_patents(search):
    view = search.gallery.view(5)
    written = f"US {view.patent_number[:4]},{view.patent_number[4:]} S1"
    for query in (Query(view=view.view_id, k=40), Query(patent=view.patent_number, k=40), Query(patent=written, k=40)):
        found = numbers(search.find(query))
        assert len(found) == 19 and view.patent_number not in found
    for query, sentence in (
        (Query(view="D1-1"), "there is no view 'D1-1'"),
        (Query(patent="D1"), "there is no patent 'D1' in this dataset"),
    ):
        with pytest.raises(QueryError, match=sentence):
            search.find(query)


@pytest.mark.parametrize("scoring", ["max", "mean", "maxsim", "weighted"])
def test_the_views_of_a_patent_are_pooled_as_the_scoring_says(search, scoring):
    rows = search.gallery.rows_of(search.gallery.view(8).patent_number)
    features = np.concatenate(search.nearest.parts)
    weights = search.view_weights.of([search.gallery.viewpoint_of(row) for row in rows])
    for hit in search.find(Query(patent=search.gallery.view(8).patent_number, scoring=scoring, k=19)).hits:
        similarity = features[rows] @ features[search.gallery.rows_of(hit.best.patent_number)].T
        best = similarity.max(axis=1)
        expected = {
            "max": similarity.max(),
            "mean": similarity.mean(),
            "maxsim": best.mean(),
            "weighted": (best * weights).sum() / weights.sum(),
        }
        assert hit.score == pytest.approx(float(expected[scoring]), abs=1e-5)


def test_weights_of_views_are_learned_from_the_training_split_alone_and_stored(model_dir, dataset_dir, monkeypatch):
    learned = []

    def learn(features, patents, viewpoints):
        learned.append((len(features), patents.max() + 1, set(viewpoints)))
        return ViewWeights({"front": 1.5, "top": 0.5}, len(features))

    monkeypatch.setattr(search_module, "learn_view_weights", learn)
    monkeypatch.setattr(search_module, "_WEIGHTS_VERSION", "of this test")
    for _ in range(2):
        weights = open_search(model_dir, dataset_dir, _CONFIG).view_weights
        assert weights.of(["front", "top"]).tolist() == [1.5, 0.5]
    assert learned == [(32, 16, {"front", "top"})], "the 16 patents of the training split, once"


def test_a_picture_finds_the_patent_it_shows(search):
    found = search.find(Query(pictures=(picture_of(search, 7),), k=40))
    assert found.hits[0].score > 0.9 and len(found.hits) == 20
    assert search.gallery.view(7).patent_number in numbers(found)[:3]


def test_several_pictures_are_one_query_and_each_counts(search):
    one, other = picture_of(search, 7), picture_of(search, 20)
    both = search.find(Query(pictures=(one, other), scoring="maxsim", k=20))
    scores = {}
    for picture in (one, other):
        for hit in search.find(Query(pictures=(picture,), scoring="maxsim", k=20)).hits:
            scores.setdefault(hit.best.patent_number, []).append(hit.score)
    for hit in both.hits:
        assert hit.score == pytest.approx(np.mean(scores[hit.best.patent_number]), abs=1e-5)
    assert both.score_kind == "cosine"


def test_pictures_with_words_are_added_in_standard_deviations_with_their_weights(search):
    picture = picture_of(search, 7)
    by_picture = {h.best.patent_number: h.score for h in search.find(Query(pictures=(picture,), k=20)).hits}
    by_words = {h.best.patent_number: h.score for h in by_text(search, "star", 20).hits}

    def standardised(scores):
        values = np.array(list(scores.values()))
        return {number: (score - values.mean()) / values.std() for number, score in scores.items()}

    pictures, words = standardised(by_picture), standardised(by_words)
    found = search.find(Query(pictures=(picture,), text="star", weights=Weights(pictures=3, text=1), k=20))
    assert found.score_kind == "standardised"
    for hit in found.hits:
        number = hit.best.patent_number
        assert hit.score == pytest.approx(0.75 * pictures[number] + 0.25 * words[number], rel=1e-3, abs=1e-3)
        assert hit.picture_score == pytest.approx(by_picture[number], abs=1e-6)
        assert hit.text_score == pytest.approx(by_words[number], abs=1e-6)
    alone = search.find(Query(pictures=(picture,), text="star", weights=Weights(text=0), k=20))
    for hit in alone.hits:  # words of weight 0 decide nothing
        assert hit.score == pytest.approx(pictures[hit.best.patent_number], rel=1e-3, abs=1e-3)


def test_words_to_avoid_push_down_what_resembles_them_and_lift_nothing(search):
    plain = {h.best.patent_number: h for h in by_text(search, "circle", 20).hits}
    avoided = {h.best.patent_number: h.score for h in by_text(search, "star", 20).hits}
    found = by_text(search, "circle", 20, avoid=("star",), weights=Weights(avoid=2))
    values, unwanted = np.array([hit.score for hit in plain.values()]), np.array(list(avoided.values()))
    for hit in found.hits:
        number = hit.best.patent_number
        wanted = (plain[number].score - values.mean()) / values.std()
        too_near = max(0.0, (avoided[number] - unwanted.mean()) / unwanted.std())
        assert hit.score == pytest.approx(wanted - 2 * too_near, rel=1e-3, abs=1e-3)
    assert numbers(found) != list(plain)


def test_rank_fusion_adds_the_ranks_by_titles_and_captions_and_shows_each(search):
    by_model = numbers(by_text(search, "star", 20))
    found = by_text(search, "star", 20, fusion="rrf")
    assert found.score_kind == "fused"
    for hit in found.hits:
        assert set(hit.channels) == {"model", "titles", "captions"}
        assert hit.score == pytest.approx(sum(60 / (60 + rank) for rank in hit.channels.values()), abs=1e-5)
        assert hit.channels["model"] == by_model.index(hit.best.patent_number) + 1
    with_word = {hit.best.patent_number for hit in found.hits if "star" in (hit.best.text or "")}
    assert (
        with_word
        and {hit.best.patent_number for hit in found.hits if hit.channels["captions"] <= len(with_word)} == with_word
    )
    few = by_text(search, "star", 20, Filters.parse(["07-01"]), fusion="rrf")
    assert max(hit.channels["model"] for hit in few.hits) == len(few.hits) < 20, "ranks among what passes the filters"
    assert "Rank by model" in few.render()


def test_patents_below_the_least_score_are_not_found(search):
    scores = [hit.score for hit in by_text(search, "circle", 20).hits]
    found = by_text(search, "circle", 20, min_score=str((scores[4] + scores[5]) / 2))
    assert len(found.hits) == found.num_patents == 5


def test_scores_of_pictures_come_with_a_verdict_and_can_be_limited_by_it(search):
    query = {"pictures": (picture_of(search, 7),), "k": 20}
    found = search.find(Query(**query))
    similar, maybe = found.scale.limit("similar"), found.scale.limit("maybe")
    for hit in found.hits:
        expected = "similar" if hit.score >= similar else "maybe" if hit.score >= maybe else "unlike"
        assert hit.verdict == expected
    limited = search.find(Query(**query, min_score="maybe"))
    assert numbers(limited) == [hit.best.patent_number for hit in found.hits if hit.verdict != "unlike"]


def test_features_are_computed_once_and_stored(model_dir, dataset_dir, monkeypatch):
    reported = []
    open_search(model_dir, dataset_dir, _CONFIG)
    again = open_search(model_dir, dataset_dir, _CONFIG, progress=lambda *args: reported.append(args))
    assert reported == [] and again.encoder._clip is None


def test_the_gallery_lists_patents_views_classes_and_days(search):
    gallery = search.gallery
    view = gallery.view(4)
    assert gallery.rows_of(view.patent_number) == [4, 5]
    assert gallery.row_of(view.view_id) == 4 and gallery.row_of("D1-1") is None
    assert gallery.rows_of("../../etc/passwd") == [] and gallery.row_of("") is None
    assert sum(num for _, _, num in gallery.classes) == 40
    assert gallery.days == (datetime.date(2020, 1, 5), datetime.date(2021, 8, 5))


def test_a_dataset_without_days_classes_and_citations_can_be_searched(shapes):
    gallery = Gallery(open_dataset(shapes))
    assert gallery.days is None and gallery.view(0).cited_by_examiner == ()
    assert not gallery.allowed(Filters.parse(["07"])).any()
    assert not gallery.allowed(Filters.parse(granted_from="1999")).any()


def test_invalid_queries_are_refused_in_one_sentence(search, dataset_dir, model_dir, tmp_path):
    with pytest.raises(QueryError, match="the query is empty; describe what to search for"):
        check_text(" \n ")
    for k in (0, 1001):
        with pytest.raises(QueryError, match="choose 1 to 1000"):
            by_text(search, "circle", k)
    with pytest.raises(QueryError, match="9 pictures are too many; give at most 8"):
        Query(pictures=(Picture(name="x", pixels=np.zeros((4, 4), np.uint8)),) * (MAX_PICTURES + 1))
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_search(model_dir, tmp_path / "nowhere", _CONFIG)
    with pytest.raises(ConfigError, match="min_recall is 2"):
        SearchConfig(min_recall=2.0)


def test_the_page_of_results_is_self_contained_and_escaped(search):
    image = Picture(name=HOSTILE, pixels=read_query_image(encode(drawing()), search.image).pixels)
    filters = Filters.parse(granted_from="1999")
    page = search.find(Query(text="x", pictures=(image,), k=40, filters=filters)).render()
    assert "<script" not in page and page.count('src="data:image/jpeg;base64,') == 38  # two have no day of grant
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    assert "Every view is compared." in page and "granted since 1999-01-01" in page and "1 more view" in page
    nothing = by_text(search, "x", 5, Filters.parse(granted_from="2030")).render()
    assert "No patent passes the filters." in nothing


def test_equal_scores_are_in_the_order_of_the_rows():
    scores = np.random.default_rng(1).integers(0, 4, 200).astype(np.float32)
    for k in (1, 7, 199, 200, 500):
        assert highest(scores, k).tolist() == np.lexsort((np.arange(200), -scores))[:k].tolist()
    assert highest(scores, 0).tolist() == [] and highest(scores[:0], 3).tolist() == []


def test_parts_are_searched_as_one():
    features = unit(300)
    whole, parts = Nearest([features]), Nearest([features[:7], features[7:299], features[299:]])
    query, allowed = unit(1, seed=5)[0], np.arange(300) % 3 == 0
    for given in (None, allowed):
        assert [found.tolist() for found in whole.search(query, 9, given)] == [
            found.tolist() for found in parts.search(query, 9, given)
        ]
    assert all((parts.row(row) == features[row]).all() for row in (0, 6, 7, 298, 299))
    assert np.concatenate(list(parts.blocks())).tolist() == features.tolist()


@pytest.fixture
def large(tmp_path):
    """An approximate index over 6,000 clustered features, with the exact one."""
    centres = unit(60, seed=2)
    features = centres.repeat(100, axis=0) + 0.3 * unit(6000, seed=3)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    exact = Nearest([features[:2500], features[2500:]])
    probes = {"text": Probes(unit(40, seed=4), np.full(40, -1)), "image": Probes(features[:40], np.arange(40))}
    return exact, lambda **changes: approximate(
        exact, lambda: probes, ApproximateConfig(**changes), path=tmp_path / "x.faiss", identity={"model": "m"}
    )


def test_the_approximate_index_reaches_its_recall_and_measures_it_correctly(large):
    exact, build = large
    index = build(min_recall=0.9, k=10)
    assert set(index.recall) == {"text", "image"} and min(index.recall.values()) >= 0.9
    queries = unit(40, seed=4)
    hits = [len({*exact.search(query, 10)[0]} & {*index.search(query, 10)[0]}) / 10 for query in queries]
    assert np.mean(hits) == pytest.approx(index.recall["text"], abs=0.005)  # half precision may swap neighbours
    assert index.num_probed < index.num_lists


def test_the_approximate_index_returns_exact_scores_and_applies_filters(large):
    exact, build = large
    index = build()
    query = unit(1, seed=9)[0]
    rows, scores = index.search(query, 15)
    assert scores == pytest.approx(np.stack([exact.row(int(row)) for row in rows]) @ query)
    assert (np.diff(scores) <= 0).all()
    for allowed in (np.arange(6000) % 2 == 0, np.arange(6000) == 17, np.zeros(6000, bool)):
        rows, _ = index.search(query, 15, allowed)
        assert allowed[rows].all() and len(rows) == min(15, allowed.sum())


def test_the_approximate_index_works_after_faiss_is_patched_to_accept_tensors(large):
    importlib.import_module(
        "faiss.contrib.torch_utils"
    )  # pytorch_metric_learning imports it; it replaces methods of all indexes
    _, build = large
    index = build(min_recall=0.9, k=10)
    assert min(index.recall.values()) >= 0.9
    allowed = np.arange(6000) % 2 == 0
    rows, _ = index.search(unit(1, seed=9)[0], 15, allowed)
    assert allowed[rows].all() and len(rows) == 15


def test_a_stored_index_is_reused_and_a_damaged_one_or_one_of_other_settings_is_rebuilt(large, tmp_path, monkeypatch):
    _, build = large
    first = build()
    built = []
    original = nearest._build
    monkeypatch.setattr(nearest, "_build", lambda *args: built.append(1) or original(*args))
    assert build().recall == first.recall and built == []
    (tmp_path / "x.faiss").write_bytes(b"broken")
    assert isinstance(build(), Approximate) and built == [1]
    build(min_recall=0.5)
    assert built == [1, 1]


def test_a_large_gallery_is_searched_approximately_and_the_sentence_says_so(model_dir, dataset_dir):
    search = open_search(model_dir, dataset_dir, SearchConfig(device="cpu", num_workers=1, approximate_from=10))
    assert isinstance(search.nearest, Approximate)
    assert re.match(
        r"Approximate search: of the 20 nearest views it finds [\d.]+ % by text, [\d.]+ % by image",
        search.method_sentence,
    )
    assert search.method["recall_at_20"] == search.nearest.recall
    exact = open_search(model_dir, dataset_dir, _CONFIG)
    for offset in (0, 3):
        assert len(by_text(search, "circle", 5, offset=offset).hits) == 5
    assert numbers(by_text(search, "circle", 20)) == numbers(by_text(exact, "circle", 20)), "all lists are probed"
    several = Query(patent=exact.gallery.view(4).patent_number, scoring="maxsim", k=5)
    assert numbers(search.find(several)) == numbers(exact.find(several)), "several views are compared exactly"


def test_a_query_picture_is_prepared_like_the_images_of_the_dataset():
    sheet = drawing((500, 300)).convert("1")
    mine = read_query_image(encode(sheet), QueryImageConfig()).pixels
    jpeg = training_image(encode(sheet), TrainingImageConfig(jpeg_quality=100))
    theirs = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert mine.shape == theirs.shape and np.abs(mine.astype(int) - theirs).max() <= 6


def test_query_pictures_use_the_image_settings_of_the_dataset(dataset_dir, tmp_path):
    assert QueryImageConfig.of_dataset(open_dataset(dataset_dir)) == QueryImageConfig()
    copy = tmp_path / "copy"
    shutil.copytree(dataset_dir, copy)
    values = json.loads((copy / "dataset.json").read_text())
    values["made"] = {"config": {"image": {"size_px": 128, "margin_share": 0.1, "jpeg_quality": 90}}}
    (copy / "dataset.json").write_text(json.dumps(values))
    config = QueryImageConfig.of_dataset(open_dataset(copy))
    assert (config.size_px, config.margin_share, config.max_enlargement) == (128, 0.1, 2.0)
    assert read_query_image(encode(drawing()), config).pixels.shape == (128, 128)


@pytest.mark.parametrize(
    ("kind", "mode", "settings"),
    [
        ("PNG", "L", {}),
        ("PNG", "1", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("PNG", "LA", {}),
        ("PNG", "I;16", {}),
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "L", {}),
    ],
)
def test_pictures_of_every_format_become_the_same_drawing(kind, mode, settings):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(drawing()).astype(np.uint16) * 257)
    else:
        image = drawing().convert(mode)
    found = read_query_image(encode(image, kind, **settings), QueryImageConfig())
    assert found.remarks == () and found.pixels.dtype == np.uint8 and difference(found.pixels) < 12


def difference(pixels: np.ndarray) -> float:
    """Mean difference from the drawing as an 8-bit image."""
    plain = read_query_image(encode(drawing()), QueryImageConfig()).pixels
    return float(np.abs(pixels.astype(int) - plain).mean())


@pytest.mark.parametrize("white", [1.0, 1.02, 255.0, 65_535.0])
def test_white_of_a_float_image_is_found_from_its_values(white):
    image = Image.fromarray(np.asarray(drawing(), np.float32) * (white / 255))
    assert difference(read_query_image(encode(image, "TIFF"), QueryImageConfig()).pixels) < 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("num_bits", [10, 12, 14, 16])
def test_white_of_a_16_bit_image_is_that_of_the_bits_it_uses(kind, num_bits):
    image = Image.fromarray((np.asarray(drawing(), np.uint16) // 255) * (2**num_bits - 1))
    assert difference(read_query_image(encode(image, kind), QueryImageConfig()).pixels) < 2


@pytest.mark.parametrize("num_bits", [1, 4])
def test_an_8_bit_image_that_uses_few_bits_is_read_as_a_drawing_too(num_bits):
    """A mask of 0 and 1, and what is left of 12 bits in a 16-bit colour image."""
    image = Image.fromarray(np.asarray(drawing()) // 255 * np.uint8(2**num_bits - 1))
    assert difference(read_query_image(encode(image), QueryImageConfig()).pixels) < 2


@pytest.mark.parametrize("values", [np.nan, -1.0, 1e6])
def test_values_without_a_known_white_are_refused(values):
    image = np.full((50, 50), 1.0, np.float32)
    image[10:20, 10:20] = values
    with pytest.raises(QueryError, match="values outside 0 to 65535; save it as 8-bit grey or colour"):
        read_query_image(encode(Image.fromarray(image), "TIFF"), QueryImageConfig())


def white_on_transparent() -> Image.Image:
    ink = np.asarray(drawing()) == 0
    return Image.fromarray(np.dstack([np.where(ink, 240, 0)] * 3 + [np.where(ink, 255, 0)]).astype(np.uint8), "RGBA")


@pytest.mark.parametrize(
    "image",
    [
        ImageOps.invert(drawing()),
        ImageOps.invert(drawing()).convert("RGBA"),
        Image.fromarray(255 * np.uint16(257) - np.asarray(drawing()).astype(np.uint16) * 257),
        white_on_transparent(),
    ],
    ids=["grey", "opaque colour", "16 bits", "transparent"],
)
def test_light_lines_on_dark_or_transparent_paper_are_inverted_and_it_is_said(image):
    found = read_query_image(encode(image), QueryImageConfig())
    assert difference(found.pixels) < 12
    assert found.remarks == ("the image shows light lines on dark paper, so it was inverted",)


def test_a_dark_drawing_with_a_frame_on_white_paper_is_not_inverted():
    image = drawing()
    image.paste(0, (60, 40, 240, 180))
    framed = ImageOps.expand(image, border=6, fill=0)
    found = read_query_image(encode(framed), QueryImageConfig())
    assert found.remarks == () and found.pixels[128, 128] == 0 and (found.pixels[20:236, 20] == 255).sum() > 20


def test_opaque_white_paper_with_a_transparent_margin_is_not_inverted():
    image = ImageOps.expand(drawing().convert("RGBA"), border=200, fill=(0, 0, 0, 0))
    found = read_query_image(encode(image), QueryImageConfig())
    assert found.remarks == () and difference(found.pixels) < 12


def test_transparent_pixels_become_paper():
    image = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (100, 60, 180, 64))
    image.paste((0, 0, 0, 255), (100, 60, 104, 150))
    assert difference(read_query_image(encode(image), QueryImageConfig()).pixels) == 0


def _bomb() -> bytes:
    """A PNG whose header claims 60,000 × 60,000 px."""
    data = bytearray(encode(Image.new("1", (8, 8))))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the image cannot be read; choose a TIFF, PNG or JPEG file"),
        (b"%PDF-1.4", "the image cannot be read"),
        (encode(drawing())[:-200], "the image cannot be read"),
        (encode(drawing(), "GIF"), "the image cannot be read"),
        (encode(Image.new("L", (50, 50), 255)), "the image is blank"),
        (encode(Image.new("L", (50, 50), 0)), "the image is blank"),
        (encode(Image.new("RGBA", (50, 50), (0, 0, 0, 0))), "the image is blank"),
        (_bomb(), "the image is too large|60000 × 60000 px; at most"),
        (b"\x89PNG" + bytes(33 << 20), "more than 32 MiB; make it smaller"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused_in_one_sentence(data, sentence):
    with pytest.raises(QueryError, match=sentence):
        read_query_image(data, QueryImageConfig())


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(QueryError, match=r"cannot read .*none\.png: No such file"):
        read_query_file(tmp_path / "none.png", QueryImageConfig())
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(QueryError, match=r"a\.png: the image cannot be read"):
        read_query_file(tmp_path / "a.png", QueryImageConfig())


def test_a_search_in_another_precision_compares_features_of_its_own(search, model_dir, dataset_dir):
    rough = open_search(model_dir, dataset_dir, dataclasses.replace(_CONFIG, precision="bf16"))
    assert not np.array_equal(rough.nearest.row(0), search.nearest.row(0))
    assert rough.nearest.row(0) @ search.nearest.row(0) > 0.99
    with pytest.raises(ConfigError, match="tf32 needs a GPU"):
        open_search(model_dir, dataset_dir, dataclasses.replace(_CONFIG, precision="tf32"))
