import numpy as np
import pytest

from patentdata.grants.claim_scope.scope import read_claim_scope
from patentdata.specimens import SpecimenConfig, draw_patent
from patentdata.specimens.classes import KINDS
from patentdata.specimens.drawing.pen import with_break
from patentdata.specimens.explained import explain_lines
from patentdata.specimens.line_statements import DrawnLines, draw_statements
from patentdata.specimens.shapes import articles
from patentdata.specimens.shapes.solids import BROKEN, box

TITLES = [title for kind in KINDS for title in kind.titles]
DRAWN = [
    DrawnLines(lines="broken", meaning="environment"),
    DrawnLines(lines="broken", meaning="environment", thing="a human foot", figures=("2",)),
    DrawnLines(lines="broken", meaning="unclaimed_portion"),
    DrawnLines(lines="broken", meaning="boundary"),
    DrawnLines(lines="dash_dot", meaning="boundary", figures=("1", "3")),
    DrawnLines(lines="broken", meaning="stitching"),
    DrawnLines(lines="broken", meaning="stitching", is_claimed=True, figures=("1", "2", "4")),
    DrawnLines(lines="broken", meaning="stitching", is_claimed=None),
    DrawnLines(lines="broken", meaning="fold_or_hidden", is_claimed=True),
    DrawnLines(lines="broken", meaning="fold_or_hidden"),
    DrawnLines(lines="other", meaning="break", is_claimed=None),
    DrawnLines(lines="other", meaning="break", figures=("5",)),
]


@pytest.mark.parametrize("drawn", DRAWN, ids=lambda drawn: f"{drawn.lines}-{drawn.meaning}-{drawn.is_claimed}")
def test_what_a_specimen_says_about_its_lines_is_read_as_it_was_meant(drawn):
    rng = np.random.default_rng(0)
    for title in TITLES:
        [paragraph] = draw_statements([drawn], title, rng)
        found = read_claim_scope([paragraph], title=title, labels=["1", "2", "3", "4", "5"])
        assert [(row["lines"], row["meaning"], row["is_claimed"], tuple(row["figures"])) for row in found] == [
            (drawn.lines, drawn.meaning, drawn.is_claimed, drawn.figures)
        ], paragraph


def test_several_statements_are_in_one_paragraph_or_in_one_each():
    drawn = [DRAWN[2], DRAWN[4], DRAWN[6]]
    rng = np.random.default_rng(0)
    drafts = [draw_statements(drawn, "Handbag", rng) for _ in range(40)]
    assert {len(paragraphs) for paragraphs in drafts} == {1, 3}
    for paragraphs in drafts:
        found = read_claim_scope(paragraphs, title="Handbag", labels=["1", "2", "3", "4", "5"])
        assert [(row["meaning"], row["is_claimed"]) for row in found] == [
            ("unclaimed_portion", False),
            ("boundary", False),
            ("stitching", True),
        ], paragraphs
    assert draw_statements([], "Handbag", rng) == []


def test_a_grant_explains_the_broken_lines_of_its_drawings_and_no_others():
    config = SpecimenConfig(num_patents=2, hazards=("dashed_surroundings", "no_label"), drawing_scale=0.3)
    explained, plain = (draw_patent(number, date="20240102", config=config).grant for number in (900_001, 900_002))
    assert [drawn.meaning for drawn in explained.drawn_lines][:1] == ["environment"]
    texts = [text for _, text in explained.paragraphs]
    found = read_claim_scope(texts, title=explained.title, labels=[])
    assert {row["meaning"] for row in found} == {"environment"}
    assert plain.drawn_lines == ()
    assert read_claim_scope([text for _, text in plain.paragraphs], title=plain.title, labels=[]) == []


@pytest.mark.parametrize(
    ("article", "meaning"),
    [
        ("chair", "environment"),
        ("chair", "unclaimed_portion"),
        ("chair", "boundary"),
        ("handbag", "stitching"),
        ("carton", "fold_or_hidden"),
        ("toothbrush", "break"),
    ],
)
def test_articles_get_the_lines_that_become_them(article, meaning):
    explained = [
        explain_lines(articles.build(article, np.random.default_rng(seed)), article, 1.0, np.random.default_rng(seed))
        for seed in range(16)
    ]
    chosen = [found for found in explained if [lines.meaning for lines in found.drawn_lines] == [meaning]]
    assert chosen
    for found in chosen:
        is_broken = [part.broken or any(curve.style == BROKEN for curve in part.curves) for part in found.parts]
        assert any(is_broken) == (meaning != "break")
        assert not all(is_broken)
        assert found.has_break == (meaning == "break")


def test_environment_that_an_article_has_anyway_is_named():
    parts = [box(1, 1, 1), box(0.1, 0.1, 2).as_environment()]
    [lines] = explain_lines(parts, "mailbox", 0.0, np.random.default_rng(0)).drawn_lines
    assert (lines.meaning, lines.thing) == ("environment", "a post")


def test_patents_without_explained_lines_are_drawn_as_without_the_setting():
    plain, explained = (
        SpecimenConfig(
            num_patents=60, drawing_scale=0.2, max_figures=1, articles=("pen", "spoon"), partly_claimed=share
        )
        for share in (0.0, 0.5)
    )
    is_same = set()
    for number in range(900_001, 900_007):
        before, after = (draw_patent(number, date="20240102", config=config) for config in (plain, explained))
        is_same.add(after.files() == before.files())
        assert (after.files() == before.files()) == (after.grant.drawn_lines == ())
    assert is_same == {True, False}


def test_a_long_drawing_with_a_break_is_cut_in_the_middle_and_others_are_left():
    long = np.zeros((40, 600), dtype=bool)
    long[[0, -1]] = True
    broken = with_break(long)
    between = broken[:, 295 - 10 : 295 + 10]
    assert not between.all(axis=1).any()
    assert broken[:, :200].any(axis=0).all()
    assert np.array_equal(with_break(long.T), broken.T)
    square = np.ones((50, 60), dtype=bool)
    assert np.array_equal(with_break(square), square)
