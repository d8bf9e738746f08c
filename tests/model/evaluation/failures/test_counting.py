"""Misses that are planted, and what the counts by cause say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.evaluation.failures.causes import Cause, find_causes, rarity_of_words, says_nothing
from model.evaluation.failures.counting import count_failures, lift_of_causes
from model.evaluation.failures.drawings import DrawingMeasures
from model.evaluation.failures.queries import NOTHING, AnsweredQueries, Pool
from model.evaluation.measures.bootstrap import Bootstrap
from tests.model.dataset.drawings import draw_rows

NUM = 40  # views, two of each of 20 patents


def cause(holds: np.ndarray) -> Cause:
    return Cause("c", "c", "it holds", holds)


def bootstrap_of(num: int) -> Bootstrap:
    return Bootstrap(np.arange(num).astype(str), 200, 0)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    rows = draw_rows(NUM // 2, split="test", seed=5)
    for number, row in enumerate(rows):
        row["viewpoint"] = "rear" if number % 4 == 0 else "front"
        row["title"] = "Article" if number < 8 else row["title"]
        row["broken_share"] = 0.9 if number % 8 == 1 else 0.0
    rows[3]["image"] = rows[10]["image"]  # another patent's drawing
    rows[3]["uspc_class"] = rows[10]["uspc_class"]
    return rows


def queries_of(rows: list[dict], **changed: Any) -> AnsweredQueries:
    """Every view is a query, found in its place, with the view of the next patent as the best wrong candidate."""
    pool = Pool((FakeViews(rows),))  # type: ignore[arg-type]
    values: dict[str, Any] = {
        "title": "Views",
        "miss": "none of the first 10 candidates is right",
        "pool": pool,
        "views": np.arange(NUM),
        "is_missed": np.zeros(NUM, bool),
        "notes": lambda query: f"rank {query}",
        "thirds": np.arange(NUM) % 3,
        "wrong": (np.arange(NUM) + 2) % NUM,
    }
    return AnsweredQueries(**values | changed)


class FakeViews:
    def __init__(self, rows: list[dict]) -> None:
        self._rows = rows
        self.images = [row["image"] for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> list[Any]:
        return [row.get(name) for row in self._rows]


DRAWINGS = DrawingMeasures(np.arange(NUM) / NUM, np.arange(NUM)[::-1].astype(float))


def causes_of(queries: AnsweredQueries, near_duplicates: dict[str, set[str]] | None = None) -> dict[str, Cause]:
    return {cause.name: cause for cause in find_causes(queries, DRAWINGS, near_duplicates)[0]}


def held(found: Cause) -> list[int]:
    return np.flatnonzero(found.holds).tolist()


def test_a_lift_is_the_share_among_the_misses_over_the_share_among_all_queries():
    is_missed = np.array([True] * 20 + [False] * 60)
    holds = np.array([True] * 15 + [False] * 5 + [True] * 5 + [False] * 55)  # 15 of 20 misses, 20 of 80 queries
    lift = lift_of_causes([cause(holds)], is_missed, bootstrap_of(80))["c"]
    assert lift is not None and lift["value"] == pytest.approx((15 / 20) / (20 / 80))
    assert 1 < lift["low"] < lift["value"] < lift["high"]


def test_the_interval_of_a_cause_that_has_nothing_to_do_with_the_misses_holds_one():
    numbers = np.arange(400)
    lift = lift_of_causes([cause(numbers % 2 == 0)], numbers % 5 == 0, bootstrap_of(400))["c"]
    assert lift is not None and lift["low"] < 1 < lift["high"]


def test_patents_and_not_views_are_resampled():
    is_missed = np.repeat(np.arange(40) % 2 == 0, 10)
    holds = np.repeat(np.arange(40) % 4 == 0, 10)
    alone = lift_of_causes([cause(holds)], is_missed, bootstrap_of(400))["c"]
    by_patent = lift_of_causes([cause(holds)], is_missed, Bootstrap(np.repeat(np.arange(40), 10).astype(str), 200, 0))[
        "c"
    ]
    assert alone is not None and by_patent is not None and alone["value"] == by_patent["value"] == pytest.approx(2.0)
    assert by_patent["high"] - by_patent["low"] > 2 * (alone["high"] - alone["low"])


@pytest.mark.parametrize(("num_holding", "num_missed"), [(9, 5), (20, 0)])
def test_too_few_queries_or_no_misses_have_no_lift(num_holding, num_missed):
    numbers = np.arange(40)
    assert lift_of_causes([cause(numbers < num_holding)], numbers < num_missed, bootstrap_of(40)) == {"c": None}


def test_causes_of_the_query_hold_for_the_queries_that_have_them(rows):
    found = causes_of(queries_of(rows))
    assert held(found["viewpoint_rear"]) == list(range(0, NUM, 4))
    assert found["viewpoint_rear"].is_partition and not found["vague_title"].is_partition
    assert held(found["vague_title"]) == list(range(8))
    assert held(found["broken_lines"]) == list(range(1, NUM, 8))
    assert held(found["tail_class"]) == list(range(0, NUM, 3))
    assert held(found["little_ink"]) == [0, 1, 2, 3] and held(found["much_ink"]) == [36, 37, 38, 39]
    assert held(found["few_lines"]) == [36, 37, 38, 39]
    assert "less than 9.75 %" in found["little_ink"].definition  # the threshold is in the sentence


def test_what_was_found_instead_is_a_sibling_a_relative_or_a_twin_of_the_right_answer(rows):
    wrong = np.full(NUM, NOTHING)
    wrong[3] = 10  # the same drawing, the same class, another patent
    wrong[4] = 5  # the other view of its patent
    wrong[6] = 12
    found = causes_of(
        queries_of(rows, wrong=wrong, is_right=lambda query, view: (query, view) == (6, 7)),
        {rows[12]["view_id"]: {rows[7]["view_id"], "a view of another split"}, rows[30]["view_id"]: {"x"}},
    )
    assert held(found["alike_sibling"]) == [3]
    assert held(found["same_family"]) == [4]
    assert held(found["near_duplicate"]) == [6]


def test_a_cause_that_cannot_be_looked_for_says_why(rows):
    bare = [{name: value for name, value in row.items() if name != "broken_share"} for row in rows]
    causes, missing = find_causes(queries_of(bare, thirds=None), DRAWINGS, None)
    assert sorted(missing) == ["broken_lines", "near_duplicate", "tail_class"]
    assert {"broken_lines", "near_duplicate", "tail_class"}.isdisjoint(cause.name for cause in causes)
    assert "near-duplicates" in missing["near_duplicate"]


def test_classes_as_candidates_and_whole_patents_have_the_causes_that_make_sense_for_them(rows):
    of_classes = causes_of(queries_of(rows, wrong=None))
    assert {"alike_sibling", "same_family", "near_duplicate"}.isdisjoint(of_classes)
    of_patents = causes_of(queries_of(rows, is_of_patents=True))
    assert not any(name.startswith("viewpoint") for name in of_patents)


@pytest.mark.parametrize(
    ("title", "is_vague"),
    [("Article", True), ("Portion of a device", True), (None, True), ("Article of footwear", False), ("Set", True)],
)
def test_titles_that_fit_any_article(title, is_vague):
    assert says_nothing(title) is is_vague


def test_a_caption_is_rare_by_its_words_and_generic_if_every_caption_has_them():
    captions = ["a front view"] * 8 + ["a quilted gazebo", "a front view of a chair", "…"]
    rarity = rarity_of_words(captions)
    assert rarity[8] > rarity[9] > rarity[0] == min(rarity[:10]) and rarity[10] == 0
    found = causes_of(queries_of(draw_rows(NUM // 2, split="test"), captions=["a b"] * 30 + ["a c"] * 9 + ["z y x"]))
    assert held(found["unusual_caption"]) == [39] and held(found["generic_caption"]) == []  # ties are not extreme


def test_every_miss_is_counted_with_its_causes_or_without_any(rows):
    is_missed = np.zeros(NUM, bool)
    is_missed[[0, 1, 21]] = True  # an article without a title of its own; that with broken lines; nothing
    thirds = np.full(NUM, 2)
    drawings = DrawingMeasures(np.full(NUM, 0.2), np.full(NUM, 5.0))
    queries = queries_of(rows, is_missed=is_missed, thirds=thirds, wrong=np.full(NUM, NOTHING))
    failures = count_failures(queries, drawings, None, bootstrap_of(NUM), seed=0)
    counts = failures.counts
    assert (counts["num_queries"], counts["num_misses"], counts["num_misses_without_cause"]) == (NUM, 3, 1)
    title = counts["causes"]["vague_title"]
    assert (title["num_queries"], title["num_misses"]) == (8, 2)
    assert title["share_of_misses"] == pytest.approx(2 / 3) and title["share_of_queries"] == 8 / NUM
    viewpoints = [values for name, values in counts["causes"].items() if name.startswith("viewpoint")]
    assert sum(values["num_misses"] for values in viewpoints) == 3


def test_examples_are_misses_with_the_cause_and_of_different_patents_if_there_are_enough(rows):
    queries = queries_of(rows, is_missed=np.ones(NUM, bool))
    failures = count_failures(
        queries, DRAWINGS, None, Bootstrap(queries.values("patent_number").astype(str), 20, 0), seed=0
    )
    for name, found in causes_of(queries).items():
        examples = failures.examples[name]
        names = [rows[row]["view_id"] for row in held(found)]
        assert failures.counts["causes"][name]["examples"] == [miss.view_id for miss in examples]
        assert len(examples) == min(6, len(names)) and {miss.view_id for miss in examples} <= set(names)
        patents = {name.partition("-")[0] for name in names}
        assert len({miss.view_id.partition("-")[0] for miss in examples}) == min(6, len(patents))
    shown = failures.examples["viewpoint_front"][0]
    assert shown.jpeg[:2] == b"\xff\xd8" and shown.found_view_id and shown.note.startswith("rank ")
