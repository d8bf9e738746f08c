import numpy as np
import pytest

from patentdata.grants.claim_scope.scope import read_claim_scope
from patentdata.specimens import SpecimenConfig, draw_patent
from patentdata.specimens.classes import KINDS
from patentdata.specimens.line_statements import DrawnLines, draw_statements

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
