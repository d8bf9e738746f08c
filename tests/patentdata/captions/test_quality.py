"""What each measure of caption quality counts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from patentdata.captions.clip_tokens import num_tokens
from patentdata.captions.quality import (
    MEASURES,
    PREFIX,
    DistinctInClass,
    MostCommon,
    Quality,
    Share,
    calls_picture_square,
    count_quality,
    counts_in,
    examples_in,
    faults_of,
    holds_title,
    repeats_itself,
    shares_of,
)
from patentdata.store.report import Report


def row(text: str | None, number: str = "D1", **changes) -> dict:
    """A caption with the columns of its grant."""
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


def measure(rows: Iterable[dict]) -> Quality:
    quality = Quality()
    for caption in rows:
        patent = {name: caption[name] for name in ("patent_number", "title", "uspc_class")}
        quality.add(caption, **patent)
    return quality


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
def test_a_square_article_is_not_mistaken_for_a_square_picture(text, title):
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
        ("Leg 1 is round, leg 2 is round, leg 3 is round, leg 4 is round", True),
        ("a first shelf, a second shelf, a third shelf, a fourth shelf", True),
        ("a 10 cm shelf, a 20 cm shelf, a 30 cm shelf, a 40 cm shelf", True),
        ("a first shelf, a second shelf and a third shelf", False),
        ("a dial with the hours 1 2 3 4 5 6 7 8 9 10 11 12", False),
        ("numbers " + " ".join(map(str, range(30))), True),
        ("", False),
    ],
)
def test_loops_of_words_and_repeated_sentences_are_found(text, is_loop):
    assert repeats_itself(text) is is_loop


@pytest.mark.parametrize(
    ("text", "title", "is_contained"),
    [
        ("Front view of an LED lamp.", "LED Lamp", True),
        ("A lamp (LED) on a stand", "LED lamp", False),
        ("A chairlift", "Chair", False),
        ("Artist's easel, folded", "Artist's easel", True),
        ("Anything", "", False),
        ("Anything", None, False),
    ],
)
def test_a_title_counts_only_as_a_whole(text, title, is_contained):
    assert holds_title(text, title) is is_contained


def test_the_counts_of_a_few_captions_equal_those_counted_by_hand():
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
    unfaithful = {name: num for name, num in counts.items() if name.startswith(("judged_", "unfaithful_"))}
    assert not any(unfaithful.values())
    assert {name: num for name, num in counts.items() if name not in unfaithful} == {
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
        "looping": 1,
        "common_opening": 3,
        "untrimmed": 1,
        "distinct": 3,
        "patent_captions": 4,
        "tokens": sum(
            num_tokens(text)
            for text in ("The image is square. It shows a chair.", " The image is round.", long, "the IMAGE is round.")
        ),
    }


def test_every_measure_is_a_share_of_an_existing_count():
    quality = measure([row("A chair.")])
    assert all({item.name, item.of} <= quality.counts().keys() for item in MEASURES)
    assert quality.shares()["empty"] == Share(0, 1) and quality.mean_num_tokens == 5
    assert Quality().shares()["empty"].value is None and Quality().mean_num_tokens is None


def test_reasons_for_missing_captions_are_counted():
    quality = measure(
        [row(None, finish_reason="timeout"), row(None, finish_reason=None), row("", finish_reason="empty")]
    )
    assert quality.reasons == {"timeout": 1, "unknown": 1, "empty": 1}


def test_a_caption_on_several_views_of_a_patent_counts_once_in_its_class():
    same = [row("A chair.", "D1"), row("A chair.", "D1"), row("A chair.", "D2"), row("A chair.", "D3", uspc_class="D7")]
    assert measure(same).shares()["distinct"] == Share(2, 3)
    assert measure([row("A chair.", uspc_class=None)]).shares()["distinct"] == Share(0, 0)


def test_weeks_measured_separately_and_added_equal_weeks_measured_together():
    rng = random.Random(5)
    weeks = [
        [
            row(rng.choice(["A chair.", "The image is square.", None, f"A lamp {n}"]), f"D{week}{n:03}")
            for n in range(40)
        ]
        for week in range(3)
    ]
    together, apart = measure(itertools.chain(*weeks)), Quality()
    for week in weeks:
        apart.update(measure(week))
    assert apart.counts() == together.counts() and apart.reasons == together.reasons


def test_captions_pass_through_and_their_counts_enter_the_report():
    captions = [row("The image is square.", "D1"), row("A chair.", "D2")]
    report = Report("captions", "I20240102")
    views = [{"patent_number": "D1", "title": "Lamp"}, {"patent_number": "D2", "title": "Chair", "uspc_class": "D6"}]
    assert list(count_quality(zip(captions, views, strict=True), report)) == captions
    assert report.examples == {}
    assert report.counts[PREFIX + "canvas_words"] == 1 and report.counts[PREFIX + "with_title"] == 1
    summed = counts_in([report, report, Report("views", counts={PREFIX + "views": 9})])
    assert shares_of(summed)["canvas_words"] == Share(2, 4)
    assert counts_in([Report("captions")]) == {}


def test_unfaithful_captions_are_counted_with_examples_and_their_views_once_a_patent():
    texts = ["A red chair, seen from above.", "A red chair.", "A chair with a curved back.", "A wooden chair.", None]
    captions = [row(text, number) for text, number in zip(texts, ("D1", "D1", "D2", "D3", "D3"), strict=True)]
    view = {"title": "Chair", "viewpoint": "front", "viewpoint_direction": None}
    views = [view | {"patent_number": caption["patent_number"]} for caption in captions]
    report = Report("captions", "I20240102")
    list(count_quality(zip(captions, views, strict=True), report))
    shares = shares_of(counts_in([Report.from_dict(report.to_dict()), report]))
    assert shares["unfaithful_colour"] == Share(4, 8, num_clusters=6)
    assert shares["unfaithful_viewpoint"] == Share(2, 2, num_clusters=2)
    assert shares["unfaithful_material"] == Share(2, 8, num_clusters=6)
    assert shares["unfaithful_prompt"].value is None  # no model was asked
    assert examples_in([Report("views"), report]) == {
        "unfaithful_viewpoint": "D1-1: seen from above",
        "unfaithful_colour": "D1-1: red",
        "unfaithful_material": "D3-1: wooden chair",
    }


def test_the_interval_of_a_share_is_that_of_its_independent_samples():
    """Against the values of R's prop.test(…, correct = FALSE) for 10 of 100 and 5 of 50."""
    assert Share(10, 100, num_clusters=100).interval == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert Share(10, 100, num_clusters=50).interval == pytest.approx((0.0435, 0.2136), abs=1e-4)
    assert Share(0, 20, num_clusters=20).interval == pytest.approx((0, 0.1611), abs=1e-4)
    assert Share(10, 100).interval is None and Share(0, 0, num_clusters=0).interval is None


def test_faults_of_one_caption_are_named():
    assert faults_of(row(" The image is square. The chair is a chair"), "Chair") == [
        "with_title",
        "canvas_words",
        "untrimmed",
    ]


def test_the_most_common_texts_are_found_in_bounded_memory():
    rng = random.Random(3)
    stream = ["the image shows"] * 4_000 + [f"opening {n}" for n in range(8_000)]
    rng.shuffle(stream)
    most_common = MostCommon(capacity=50)
    for text in stream:
        most_common.add(text)
        assert len(most_common._nums) <= 101
    ((text, num),) = most_common.top(1)
    assert text == "the image shows" and 4_000 - most_common.num_missed <= num <= 4_000
    assert most_common.num_missed <= len(stream) / 50


def test_distinct_captions_are_estimated_in_bounded_memory_and_independently_of_the_partition():
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
