"""Splits by family."""

import datetime
import itertools
import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patentdata.dataset.splits import GRANT_COLUMNS, RELATIVES_ON_TWO_SIDES, SplitConfig, assign_splits
from patentdata.errors import ConfigError

TUESDAY = datetime.date(2021, 1, 5)
TEMPORAL = SplitConfig(
    kind="temporal",
    validation_from=TUESDAY + datetime.timedelta(weeks=1),
    test_from=TUESDAY + datetime.timedelta(weeks=2),
)


def grant(number, week=0, **changes):
    """A grant that has no relatives unless `changes` give it some."""
    row = {
        "patent_number": f"D{900000 + number}",
        "grant_date": TUESDAY + datetime.timedelta(weeks=week),
        "title": f"Article {number}",
        "application_number": f"29{700000 + number}",
        "application_date": datetime.date(2019, 6, 1),
        "inventors": [f"Inventor {number}"],
        "applicants": [],
        "assignees": None,
        "related": [],
        "priority_claims": None,
        "hague_number": None,
    } | changes
    assert set(row) == set(GRANT_COLUMNS)
    return row


def child_of(*applications, patent_number=None, date="20180101"):
    return [
        {"relation": "division", "country": "US", "application_number": a, "patent_number": patent_number, "date": date}
        for a in applications
    ]


def priority(number, country="CN", date="20190101"):
    return [{"number": number, "country": country, "date": date, "kind": "national"}]


def families(grants, config=None):
    """The families as sets of patent numbers."""
    groups = {}
    for assignment in assign_splits(grants, config or SplitConfig()):
        groups.setdefault(assignment.family, set()).add(assignment.patent_number)
    return sorted(map(sorted, groups.values()))


def splits(grants, config=None):
    return {a.patent_number: a.split for a in assign_splits(grants, config or SplitConfig())}


@pytest.mark.parametrize(
    ("one", "two", "are_relatives"),
    [
        ({"title": "Shoe"}, {"title": "Shoe"}, True),
        ({"title": "Screen with a graphical interface"}, {"title": "SCREEN WITH GRAPHICAL INTERFACE"}, True),
        ({"title": "Shoe"}, {"title": "Boot"}, False),
        ({"title": None}, {"title": None}, False),
        ({"applicants": ["Nike, Inc."]}, {"assignees": ["NIKE INC"]}, True),
        ({"inventors": ["Ann Lee", "Bo Li"]}, {"inventors": ["Bo Li"]}, True),
        ({}, {}, False),
    ],
)
def test_neighbours_in_number_are_relatives_if_they_share_a_title_or_a_name(one, two, are_relatives):
    assert (len(families([grant(1, **one), grant(2, **two)])) == 1) == are_relatives


def test_neighbours_are_close_in_number_and_granted_on_one_day():
    assert len(families([grant(1, title="Shoe"), grant(11, title="Shoe")])) == 1
    assert len(families([grant(1, title="Shoe"), grant(12, title="Shoe")])) == 2
    linked_by_the_second = [grant(1, title="Shoe"), grant(6, title="Shoe"), grant(12, title="Shoe")]
    assert len(families(linked_by_the_second)) == 1
    assert len(families([grant(1, title="Shoe"), grant(2, week=1, title="Shoe")])) == 2
    assert len(families([grant(1, title="Shoe"), grant(2, title="Shoe")], SplitConfig(max_number_gap=0))) == 2


@pytest.mark.parametrize(
    "later",
    [
        {"related": child_of("29700001")},
        {"related": child_of("29/700,001")},
        {"related": child_of(None, patent_number="D900001")},
    ],
)
def test_a_child_joins_the_family_of_its_parent_in_any_later_week(later):
    assert families([grant(1), grant(5000, week=30, **later)]) == [["D900001", "D905000"]]


def test_children_of_a_parent_that_is_not_in_the_data_are_one_family():
    assert (
        len(families([grant(1, related=child_of("29555555")), grant(500, week=3, related=child_of("29555555"))])) == 1
    )


@pytest.mark.parametrize(
    ("one", "two", "are_relatives"),
    [
        ({"priority_claims": priority("2019 3001")}, {"priority_claims": priority("20193001")}, True),
        ({"priority_claims": priority("1")}, {"priority_claims": priority("1", date="20200202")}, False),
        (
            {"priority_claims": priority("008250391-0001", "EM")},
            {"priority_claims": priority("008250391-0004", "EM")},
            True,
        ),
        ({"hague_number": "DM/200123"}, {"hague_number": "DM200123"}, True),
        ({"application_number": "1"}, {"application_number": "1"}, False),
        ({"application_number": None, "application_date": None}, {"application_number": None}, False),
    ],
)
def test_patents_of_one_priority_or_registration_are_relatives(one, two, are_relatives):
    assert (len(families([grant(1, **one), grant(900, week=4, **two)])) == 1) == are_relatives


def test_a_parent_found_in_an_older_week_does_not_move_its_child():
    parents = [grant(i, application_date=datetime.date(2018, 1, 1)) for i in range(0, 4000, 20)]
    children = [grant(9000 + i, week=9, related=child_of(f"29{700000 + i}")) for i in range(0, 4000, 20)]
    after = splits(parents + children, SplitConfig(test_share=0.3))
    assert splits(children, SplitConfig(test_share=0.3)).items() <= after.items()
    assert len(set(after.values())) == 3


def test_a_patent_with_relatives_in_two_splits_is_left_out_and_so_are_its_children():
    parents = [grant(number) for number in range(0, 2000, 20)]
    split_of = splits(parents)
    train = next(number for number, split in split_of.items() if split == "train")
    test = next(number for number, split in split_of.items() if split == "test")
    between = grant(5000, week=1, related=child_of(None, patent_number=train) + child_of(None, patent_number=test))
    child = grant(6000, week=2, related=child_of("29705000"))
    last = assign_splits([*parents, between, child], SplitConfig())[-2:]
    assert [(a.patent_number, a.split, a.reason) for a in last] == [
        ("D905000", None, RELATIVES_ON_TWO_SIDES),
        ("D906000", None, RELATIVES_ON_TWO_SIDES),
    ]


def test_a_patent_that_links_two_families_of_one_split_joins_the_earlier():
    parents = [grant(number) for number in range(0, 2000, 20)]
    first, second = [number for number, split in splits(parents).items() if split == "train"][:2]
    link = grant(5000, week=1, related=child_of(None, patent_number=second) + child_of(None, patent_number=first))
    last = assign_splits([*parents, link], SplitConfig())[-1]
    assert (last.family, last.split) == (first, "train")


def test_relatives_of_one_day_follow_the_one_with_a_parent():
    parents = [grant(number) for number in range(0, 2000, 20)]
    parent = next(number for number, split in splits(parents).items() if split == "test")
    siblings = [
        grant(5000, week=1, priority_claims=priority("20193001")),
        grant(6000, week=1, priority_claims=priority("20193001"), related=child_of(None, patent_number=parent)),
    ]
    last = assign_splits([*parents, *siblings], SplitConfig())[-2:]
    assert [(a.family, a.split) for a in last] == [(parent, "test")] * 2


def test_a_temporal_split_divides_by_the_day_of_grant():
    assert splits([grant(1), grant(2, week=1), grant(3, week=2), grant(4, week=50)], TEMPORAL) == {
        "D900001": "train",
        "D900002": "validation",
        "D900003": "test",
        "D900004": "test",
    }


def test_a_temporal_split_leaves_out_the_later_members_of_a_family_that_crosses_the_boundary():
    grants = [
        grant(1),
        grant(200, week=2, related=child_of("29700001")),
        grant(201, week=2, inventors=["Inventor 200"]),
        grant(300, week=3, related=child_of("29700200")),
    ]
    assert splits(grants, TEMPORAL) == {"D900001": "train", "D900200": None, "D900201": "test", "D900300": None}


def test_another_seed_draws_other_families_and_the_shares_are_met():
    grants = [grant(i) for i in range(0, 60000, 20)]
    drawn = splits(grants)
    assert drawn == splits(grants)
    assert drawn != splits(grants, SplitConfig(seed=1))
    counts = Counter(drawn.values())
    assert 240 < counts["test"] < 360  # 300 expected, standard deviation 16
    assert 100 < counts["validation"] < 200  # 150 expected, standard deviation 12


@pytest.mark.parametrize("seed", range(20))
def test_a_small_data_set_has_patents_in_every_split(seed):
    counts = Counter(splits([grant(i) for i in range(0, 22 * 20, 20)], SplitConfig(seed=seed)).values())
    assert counts["test"] and counts["validation"] and counts["train"] > 11


def test_a_split_with_a_share_of_0_stays_empty():
    counts = Counter(splits([grant(i) for i in range(0, 2000, 20)], SplitConfig(validation_share=0)).values())
    assert "validation" not in counts


def test_a_number_granted_again_counts_at_its_first_grant():
    assignments = assign_splits([grant(1, week=2), grant(1), grant(2, week=1)], TEMPORAL)
    assert [(a.patent_number, a.split) for a in assignments] == [("D900001", "train"), ("D900002", "validation")]


@st.composite
def weeks_of_grants(draw):
    """Four weeks of patents with few distinct values, so that there are many relatives of every kind."""
    num_patents = draw(st.integers(1, 24))
    step = draw(st.sampled_from([1, 4, 9, 11]))  # neighbours are at most 10 apart
    grants = []
    for number in range(num_patents):
        ancestors = draw(st.lists(st.integers(0, num_patents + 3), max_size=2))
        grants.append(
            grant(
                number * step,
                week=number * 4 // num_patents,
                title=draw(st.sampled_from(["Shoe", "Bottle", "Lamp", f"Thing {number}", None])),
                inventors=draw(st.lists(st.sampled_from(["Ann", "Bo", "Cy", f"I{number}"]), max_size=2)),
                application_number=f"29{100000 + number}",
                related=child_of(*(f"29{100000 + ancestor}" for ancestor in ancestors)),
                priority_claims=draw(st.sampled_from([None, None, priority("77"), priority(f"x{number}")])),
            )
        )
    return grants


CONFIGS = st.one_of(
    st.builds(SplitConfig, seed=st.integers(0, 5), test_share=st.just(0.3), validation_share=st.just(0.2)),
    st.just(TEMPORAL),
)


def are_relatives(one, two):
    """Whether two grants are relatives, computed literally from the definition."""
    gap = abs(int(one["patent_number"][1:]) - int(two["patent_number"][1:]))
    if one["grant_date"] == two["grant_date"] and gap <= 10:
        if one["title"] is not None and one["title"] == two["title"]:
            return True
        if set(one["inventors"]) & set(two["inventors"]):
            return True

    def sources(row):
        claims = [claim["number"] for claim in row["priority_claims"] or []]
        return {row["application_number"], *(r["application_number"] for r in row["related"]), *claims}

    return bool(sources(one) & sources(two))


@pytest.mark.slow
@given(weeks_of_grants(), CONFIGS)
@settings(max_examples=150, deadline=None)
def test_relatives_are_never_in_two_splits(grants, config):
    split_of = splits(grants, config)
    assert len(split_of) == len(grants)
    for one, two in itertools.combinations(grants, 2):
        both = {split_of[one["patent_number"]], split_of[two["patent_number"]]} - {None}
        assert len(both) < 2 or not are_relatives(one, two)


@given(weeks_of_grants(), CONFIGS)
@settings(max_examples=80, deadline=None)
def test_a_family_is_in_one_split(grants, config):
    splits_of = {}
    for assignment in assign_splits(grants, config):
        if assignment.split:
            splits_of.setdefault(assignment.family, set()).add(assignment.split)
    assert all(len(of_family) == 1 for of_family in splits_of.values())


@given(weeks_of_grants(), CONFIGS)
@settings(max_examples=80, deadline=None)
def test_later_weeks_change_no_assignment_of_earlier_ones(grants, config):
    days = sorted({row["grant_date"] for row in grants})
    whole = assign_splits(grants, config)
    for day in days:
        part = assign_splits([row for row in grants if row["grant_date"] <= day], config)
        assert part == whole[: len(part)]


@given(weeks_of_grants(), CONFIGS, st.randoms())
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_rows_does_not_matter(grants, config, rng):
    shuffled = grants[:]
    rng.shuffle(shuffled)
    assert assign_splits(shuffled, config) == assign_splits(grants, config)


def test_twenty_thousand_patents_are_divided_in_seconds():
    rng = random.Random(0)
    grants = (
        grant(
            number,
            week=number // 700,
            title=rng.choice(["Shoe", "Lamp", f"Thing {number}"]),
            related=child_of(f"29{700000 + rng.randrange(number)}") if number % 10 == 9 else [],
        )
        for number in range(20_000)
    )
    start = time.perf_counter()
    assert len(assign_splits(grants, SplitConfig())) == 20_000
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "stratified"}, 'choose "random" or "temporal"'),
        ({"test_share": 1.0}, "add up to less than 1"),
        ({"validation_share": 0.5, "test_share": 0.5}, "add up to less than 1"),
        ({"kind": "temporal"}, "needs test_from"),
        ({"test_from": TUESDAY}, 'belong to kind "temporal"'),
        ({"kind": "temporal", "test_from": TUESDAY, "validation_from": TUESDAY}, "must be before"),
        ({"max_number_gap": -1}, "choose 0"),
    ],
)
def test_settings_of_a_split_that_cannot_be_used_are_refused_with_a_remedy(changes, message):
    with pytest.raises(ConfigError, match=message):
        SplitConfig(**changes)
