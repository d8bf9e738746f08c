"""Search for the nearest views by words, pictures and views, with filters."""

from __future__ import annotations

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

from model.dataset.folder import open_dataset
from model.dataset.query_image import QueryError, QueryImageConfig, read_query_file, read_query_image
from model.errors import ConfigError, DatasetError, NonFiniteError
from model.search import nearest
from model.search.gallery import Filters, Gallery
from model.search.nearest import Approximate, ApproximateConfig, Nearest, Probes, approximate, highest
from model.search.search import SearchConfig, check_text, open_search, render_results
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


def test_a_text_finds_the_views_with_the_highest_scores_in_order(search):
    feature = search.encoder.query_features(["a large circle"])[0]
    scores = np.concatenate(search.nearest.parts) @ feature
    hits = search.by_text("  a large\n circle ", k=7)
    assert [hit.view.row for hit in hits] == np.argsort(-scores, kind="stable")[:7].tolist()
    assert [hit.rank for hit in hits] == list(range(1, 8))
    assert [hit.score for hit in hits] == pytest.approx(np.sort(scores)[::-1][:7].tolist())


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
        search.by_text("a circle", 5)
    with pytest.raises(NonFiniteError, match=r"returns .* for 1 of 1: the query image; check its weights"):
        search.by_image(image, 5)


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
    assert {hit.view.split for hit in search.by_text("star", k=40)} == {"train", "test"}
    assert len(search.by_text("star", k=1000)) == len(search.gallery) == 40


def test_only_views_that_pass_the_filters_are_found_and_none_with_unknown_values(search):
    everything = [search.gallery.view(row) for row in range(40)]
    us = everything[0].uspc_class
    cases = {
        Filters.parse([us]): lambda view: view.uspc_class == us,
        Filters.parse(["07"]): lambda view: view.locarno_class.startswith("07"),
        Filters.parse(["6-03"]): lambda view: view.locarno_class == "06-03",
        Filters.parse([us.lower(), "07-01"]): lambda view: view.uspc_class == us or view.locarno_class == "07-01",
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
        found = {hit.view.view_id for hit in search.by_text("circle", 40, filters)}
        assert found == {view.view_id for view in everything if passes(view)}, filters
    assert search.by_text("circle", 5, Filters.parse(granted_from="2030")) == []


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


def test_with_each_patent_once_its_nearest_view_is_found(search):
    hits = search.by_text("circle", 12, a_patent_once=True)
    numbers = [hit.view.patent_number for hit in hits]
    assert len(set(numbers)) == len(numbers) == 12
    best = {}
    for hit in search.by_text("circle", 40):
        best.setdefault(hit.view.patent_number, hit.view.view_id)
    assert [hit.view.view_id for hit in hits] == list(best.values())[:12]
    assert len(search.by_text("circle", 40, a_patent_once=True)) == search.gallery.num_patents == 20


def test_views_like_a_view_are_of_other_patents(search):
    view = search.gallery.view(5)
    hits = search.by_view(5, 40)
    assert len(hits) == 38 and view.patent_number not in {hit.view.patent_number for hit in hits}


def test_a_picture_finds_the_view_it_shows(search):
    jpeg = search.gallery.jpeg(7)
    hits = search.by_image(read_query_image(jpeg, search.image).pixels, 40)
    assert hits[0].score > 0.9 and len(hits) == 40


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
            search.by_text("circle", k)
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_search(model_dir, tmp_path / "nowhere", _CONFIG)
    with pytest.raises(ConfigError, match="min_recall is 2"):
        SearchConfig(min_recall=2.0)


def test_the_page_of_results_is_self_contained_and_escaped(search):
    image = read_query_image(encode(drawing()), search.image).pixels
    page = render_results(search, search.by_text("x", 40), query=HOSTILE, picture=image, filters="class D7")
    assert "<script" not in page and page.count('src="data:image/jpeg;base64,') == 40
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    assert "Every view is compared." in page and "class D7" in page
    assert "No view passes the filters." in render_results(search, [], query="x", picture=None, filters="")


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
    assert len(search.by_text("circle", 5)) == 5


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
