"""What each measure of caption quality counts."""

from __future__ import annotations

import itertools
import random

import pytest

from patentdata.captions.clip_tokens import num_tokens
from patentdata.captions.quality import (
    MEASURES,
    PREFIX,
    Commonest,
    DistinctInClass,
    Quality,
    Share,
    calls_picture_square,
    counts_in,
    faults_of,
    holds_title,
    measure,
    measuring,
    patent_number_of,
    repeats_itself,
    shares_of,
)
from patentdata.store.report import Report


def row(text: str | None, number: str = "D1", **changes) -> dict:
    """A caption with what is known of its patent."""
    values = {
        "view_id": f"{number}-1",
        "patent_number": number,
        "title": "Chair",
        "uspc_class": "D6",
        "text": text,
        "shape": None,
        "function": None,
        "num_tokens": num_tokens(text) if text else None,
        "finish_reason": "stop" if text else "timeout",
    }
    return values | changes


@pytest.mark.parametrize(
    "text",
    [
        "The image is a square.",
        "The image is square, with a chair in its middle.",
        "The shape of the image is rectangular.",
        "The shape of the image is a rectangle. The chair is for sitting.",
        "The picture itself is rectangular in shape.",
        "This drawing has a square shape and shows a chair.",
        "A chair in a square image.",
        "The image's shape is square.",
        "A chair on a rectangular white background.",
        "The drawing appears to be nearly square!",
        "The image\n is a\tsquare",
    ],
)
def test_a_caption_that_calls_the_picture_square_is_found(text):
    assert calls_picture_square(text, "Chair")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("The image is a square table with four legs.", "Table"),
        ("The image shows a rectangular table.", "Table"),
        ("A square seat on four legs.", "Chair"),
        ("The shape of the chair is square.", "Chair"),
        ("The shape of the image is a rectangular prism.", "Box"),
        ("The shape of the image is round.", "Plate"),
        ("The picture is square, for hanging on a wall.", "Picture frame"),
        ("A rectangular canvas stretched over a frame.", "Artist's canvas"),
        ("The image features a square-shaped lamp.", "Lamp"),
        ("", "Chair"),
    ],
)
def test_a_square_article_is_not_taken_for_the_canvas(text, title):
    assert not calls_picture_square(text, title)


@pytest.mark.parametrize(
    ("text", "is_loop"),
    [
        ("a chair with a back with a back with a back", True),
        ("legs legs legs legs", True),
        ("very, very, very tall legs", False),
        ("a long, long time ago a long, long table", False),
        ("The chair has four legs. It is tall. The chair has four legs.", True),
        ("A chair. A chair.", False),
        ("Front view of a chair with a high back and two arms.", False),
        ("x" * 5_000, False),
        ("", False),
    ],
)
def test_loops_of_words_and_sentences_said_twice_are_repetition(text, is_loop):
    assert repeats_itself(text) is is_loop


@pytest.mark.parametrize(
    ("text", "title", "is_held"),
    [
        ("Front view of an LED lamp.", "LED Lamp", True),
        ("A lamp (LED) on a stand", "LED lamp", False),
        ("A chairlift", "Chair", False),
        ("Artist's easel, folded", "Artist's easel", True),
        ("Anything", "", False),
        ("Anything", None, False),
    ],
)
def test_a_title_is_held_whole_or_not_at_all(text, title, is_held):
    assert holds_title(text, title) is is_held


def test_every_count_of_a_few_captions_is_the_one_counted_by_hand():
    long = "a chair with " + " and ".join(f"a part numbered {n}" for n in range(30))
    counts = measure(
        [
            row("The image is square. It shows a chair.", "D1"),
            row(" The image is round.", "D2", title="Plate"),
            row(long, "D3", shape=long, function="For sitting"),
            row("the  IMAGE is round.", "D4", title="", shape="round"),
            row(None, "D5"),
            row("  ", "D6"),
        ]
    ).counts()
    assert counts == {
        "views": 6,
        "empty": 2,
        "captions": 4,
        "over_length": 1,
        "with_parts": 2,
        "parts_over_length": 1,
        "titled": 3,
        "with_title": 2,
        "square_words": 1,
        "canvas_words": 1,
        "looping": 0,
        "common_opening": 3,
        "untrimmed": 1,
        "distinct": 3,
        "patent_captions": 4,
        "tokens": sum(
            num_tokens(text)
            for text in ("The image is square. It shows a chair.", " The image is round.", long, "the IMAGE is round.")
        ),
    }


def test_every_measure_is_a_share_of_a_count_that_is_there():
    quality = measure([row("A chair.")])
    assert all({item.name, item.of} <= quality.counts().keys() for item in MEASURES)
    assert quality.shares()["empty"] == Share(0, 1) and quality.mean_num_tokens == 5
    assert Quality().shares()["empty"].value is None and Quality().mean_num_tokens is None


def test_reasons_for_missing_captions_are_counted():
    quality = measure(
        [row(None, finish_reason="timeout"), row(None, finish_reason=None), row("", finish_reason="empty")]
    )
    assert quality.reasons == {"timeout": 1, "unknown": 1, "empty": 1}


def test_the_views_of_a_patent_with_one_caption_count_once_among_those_of_its_class():
    same = [row("A chair.", "D1"), row("A chair.", "D1"), row("A chair.", "D2"), row("A chair.", "D3", uspc_class="D7")]
    assert measure(same).shares()["distinct"] == Share(2, 3)
    assert measure([row("A chair.", uspc_class=None)]).shares()["distinct"] == Share(0, 0)


def test_weeks_measured_apart_and_added_are_the_weeks_measured_together():
    draw = random.Random(5)
    weeks = [
        [
            row(draw.choice(["A chair.", "The image is square.", None, f"A lamp {n}"]), f"D{week}{n:03}")
            for n in range(40)
        ]
        for week in range(3)
    ]
    together, apart = measure(itertools.chain(*weeks)), Quality()
    for week in weeks:
        apart.update(measure(week))
    assert apart.counts() == together.counts() and apart.reasons == together.reasons


def test_the_stage_hands_captions_on_and_its_report_holds_the_counts():
    captions = [row("The image is square.", "D1"), row("A chair.", "D2")]
    report = Report("captions", "I20240102")
    grants = {"D1": {"title": "Lamp", "uspc_class": "D26"}, "D2": {"title": "Chair", "uspc_class": "D6"}}
    assert list(measuring(iter(captions), grants, report)) == captions
    assert report.counts[PREFIX + "canvas_words"] == 1 and report.counts[PREFIX + "with_title"] == 1
    summed = counts_in([report, report, Report("views", counts={PREFIX + "views": 9})])
    assert shares_of(summed)["canvas_words"] == Share(2, 4)
    assert counts_in([Report("captions")]) == {}


def test_faults_of_one_caption_are_named():
    assert faults_of(row(" The image is square. The chair is a chair"), "Chair") == [
        "with_title",
        "canvas_words",
        "untrimmed",
    ]


def test_a_view_id_names_its_patent_whatever_its_figure_is_called():
    assert [patent_number_of(name) for name in ("D907292-3", "D907292-2-A", "D907292-front-page")] == ["D907292"] * 3


def test_the_commonest_texts_are_found_in_bounded_memory():
    draw = random.Random(3)
    stream = ["the image shows"] * 4_000 + [f"opening {n}" for n in range(8_000)]
    draw.shuffle(stream)
    commonest = Commonest(capacity=50)
    for text in stream:
        commonest.add(text)
        assert len(commonest._nums) <= 101
    ((text, num),) = commonest.top(1)
    assert text == "the image shows" and 4_000 - commonest.num_missed <= num <= 4_000
    assert commonest.num_missed <= len(stream) / 50


def test_distinct_captions_are_estimated_in_bounded_memory_and_the_same_whatever_the_parting():
    captions = [(f"D{n}", f"D{n % 7}", f"caption {n % 3_000}") for n in range(9_000)]
    exact, bounded, parts = DistinctInClass(), DistinctInClass(capacity=1_000), DistinctInClass(capacity=1_000)
    for caption in captions:
        exact.add(*caption)
        bounded.add(*caption)
        assert len(bounded._patents) <= 1_000
    for first in range(0, 9_000, 3_000):
        part = DistinctInClass(capacity=1_000)
        for caption in captions[first : first + 3_000]:
            part.add(*caption)
        parts.update(part)
    assert bounded.is_estimate and not exact.is_estimate
    assert bounded.share().value == pytest.approx(exact.share().value, rel=0.1)
    assert bounded.share().of == pytest.approx(exact.share().of, rel=0.15)
    assert parts.share() == bounded.share() and parts.by_class() == bounded.by_class()
