"""Captions from a template filled with the grant's own words."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patentdata import classes
from patentdata.captions import clip_tokens
from patentdata.captions.captioner import cache_key
from patentdata.captions.described import DescribedConfig, TemplateCaptioner, with_article
from patentdata.errors import ConfigError
from patentdata.store import schemas


def view(**changes):
    return {
        "view_id": "D900001-1",
        "patent_number": "D900001",
        "figure_label": "1",
        "viewpoint": "perspective",
        "viewpoint_direction": "top front",
        "description": "FIG. 1 is a top front perspective view of a chair;",
        "image_sha256": "ab" * 32,
        "is_front_page": False,
        "title": "Chair",
        "uspc_class": "D6",
        "locarno_class": "06-01",
    } | changes


def caption(**changes):
    (row,) = TemplateCaptioner().caption([view(**changes)])
    return row


def test_a_caption_is_made_of_viewpoint_title_and_class():
    row = caption()
    assert row["text"] == "Top front perspective view of a chair, classed under furnishings"
    assert row["shape"] == "Top front perspective view of a chair"
    assert row["function"] == "A chair, classed under furnishings"


def test_a_row_says_how_its_caption_was_made():
    row = caption()
    assert list(row) == schemas.CAPTIONS.names
    assert (row["captioner"], row["model"], row["prompt"]) == ("described", None, "described/1")
    assert (row["finish_reason"], row["num_tokens"]) == ("stop", clip_tokens.num_tokens(row["text"]))
    assert (row["view_id"], row["image_sha256"]) == ("D900001-1", "ab" * 32)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"viewpoint": "perspective", "viewpoint_direction": None}, "Perspective view of a chair"),
        ({"viewpoint": "left"}, "Left side view of a chair"),
        ({"viewpoint": "in_use"}, "View of a chair in use"),
        ({"viewpoint": "none"}, "View of a chair"),
        ({"is_front_page": True, "viewpoint": "none"}, "Front-page drawing of a chair"),
        ({"title": None}, "Top front perspective view of an article"),
        ({"title": "Pair of  earrings"}, "Top front perspective view of a pair of earrings"),
    ],
)
def test_each_kind_of_view_has_its_phrase(changes, shape):
    assert caption(**changes)["shape"] == shape


@pytest.mark.parametrize("viewpoint", schemas.VIEWPOINTS)
def test_every_viewpoint_of_the_schema_has_a_phrase(viewpoint):
    assert caption(viewpoint=viewpoint)["shape"].startswith(
        {"none": "View of", "other": "View of", "in_use": "View of"}.get(viewpoint, "")
    )
    assert "chair" in caption(viewpoint=viewpoint)["shape"]


def test_the_locarno_class_is_used_if_the_us_class_is_unknown():
    assert caption(uspc_class=None)["function"] == "A chair, classed under furnishing"
    assert caption(uspc_class=None, locarno_class=None)["text"] == "Top front perspective view of a chair"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Umbrella", "an umbrella"),
        ("Utensil", "a utensil"),
        ("Uniform", "a uniform"),
        ("Unicycle", "a unicycle"),
        ("Uninterruptible power supply", "an uninterruptible power supply"),
        ("USB hub", "a USB hub"),
        ("LED lamp", "an LED lamp"),
        ("LCD monitor", "an LCD monitor"),
        ("T-shirt", "a T-shirt"),
        ("X-ray machine", "an X-ray machine"),
        ("NASCAR cap", "a NASCAR cap"),
        ("Hourglass", "an hourglass"),
        ("European plug", "a european plug"),
        ("Ewer", "a ewer"),
        ("Eyeglasses", "eyeglasses"),
        ("Set of tiles", "a set of tiles"),
        ("Shoe and socks", "a shoe and socks"),
        ("Jewelry", "jewelry"),
        ("Mattress", "a mattress"),
        ("A chair", "a chair"),
        ("DINING CHAIR", "a dining chair"),
        ("Iris lens", "an iris lens"),
        ("3D printer", "a 3D printer"),
        ("8-track player", "an 8-track player"),
    ],
)
def test_titles_take_the_article_that_fits_their_sound(title, expected):
    assert with_article(title) == expected


def test_a_long_title_is_shortened_at_a_word_and_the_row_says_so():
    row = caption(title="Ornamental " + "chair with adjustable armrest " * 60)
    assert row["finish_reason"] == "length"
    assert row["num_tokens"] <= 77
    assert row["text"].endswith(", classed under furnishings")
    assert " adjustable " in row["text"] and not row["text"].split(",")[0].endswith(("adjus", "arm"))


@given(
    title=st.one_of(
        st.none(), st.text(max_size=400), st.lists(st.text(min_size=1, max_size=30), max_size=90).map(" ".join)
    ),
    viewpoint=st.sampled_from(schemas.VIEWPOINTS),
    uspc_class=st.sampled_from([None, *classes.USPC_TITLES]),
    is_front_page=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_text_fits_the_clip_context_whatever_the_title(title, viewpoint, uspc_class, is_front_page):
    row = caption(title=title, viewpoint=viewpoint, uspc_class=uspc_class, is_front_page=is_front_page)
    assert clip_tokens.fits([row["text"], row["shape"], row["function"]])
    assert row["finish_reason"] in ("stop", "length")


def test_class_titles_are_used_without_their_catalogue_words():
    assert caption(uspc_class="D15")["function"] == "A chair, classed under machines"
    assert caption(uspc_class="D19")["function"].endswith("office supplies, artists' and teachers' materials")


@pytest.mark.parametrize("locarno_class", classes.LOCARNO_TITLES)
def test_the_smallest_limit_has_room_for_every_class(locarno_class):
    captioner = TemplateCaptioner(DescribedConfig(max_tokens=40))
    long_title = view(title="word " * 50, uspc_class=None, locarno_class=locarno_class)
    (row,) = captioner.caption([long_title])
    assert row["num_tokens"] == 40 and " a word" in row["text"]


def test_captions_come_in_the_order_of_the_views_and_are_the_same_each_time():
    views = [view(view_id=f"D900001-{i}", viewpoint=v) for i, v in enumerate(schemas.VIEWPOINTS)]
    rows = list(TemplateCaptioner().caption(iter(views)))
    assert [row["view_id"] for row in rows] == [row["view_id"] for row in views]
    assert rows == list(TemplateCaptioner().caption(views))


def test_the_cache_key_follows_image_prompt_model_revision_and_sampling():
    def key(image="a", prompt="p", **changes):
        return cache_key(image, prompt, **({"model": "m", "revision": "r", "sampling": {"t": 0.2, "n": 1}} | changes))

    assert key() == key(sampling={"n": 1, "t": 0.2})
    others = [key(image="b"), key(prompt="q"), key(model="n"), key(revision="s"), key(sampling={"t": 0.3, "n": 1})]
    assert len({key(), *others}) == 6
    assert caption()["cache_key"] != caption(title="Stool")["cache_key"]


def test_the_settings_name_captioner_prompt_and_limit():
    assert TemplateCaptioner(DescribedConfig(max_tokens=60)).settings == {
        "captioner": "described",
        "prompt": "described/1",
        "max_tokens": 60,
    }


def test_a_limit_above_the_clip_context_is_refused():
    with pytest.raises(ConfigError, match=r"max_tokens is 78; choose 40 .* to 77"):
        DescribedConfig(max_tokens=78)


def test_a_week_of_700_patents_is_captioned_in_seconds():
    views = [view(view_id=f"D{i}", title=f"Chair with {i} legs") for i in range(5600)]
    start = time.perf_counter()
    assert sum(1 for _ in TemplateCaptioner().caption(views)) == 5600
    assert time.perf_counter() - start < 15
