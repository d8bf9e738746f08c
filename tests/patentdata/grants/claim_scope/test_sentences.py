import pytest

from patentdata.grants.claim_scope.sentences import split_clauses, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["FIG. 1 is a view.", "The broken lines of FIGS. 2 and 3 show a bag."],
        ["The lines in the FIGS.", "The dashed lines show a bag."],
        ["FIG. A is a front view and FIG. B is a rear view."],
        ["Some lines, e.g. The short ones, are dashed.", "Others (Ser. No. 29/1) are not."],
        ["A bag is shown;", "reproduction 1.1 is a front view; it is new."],
        ['The word "OPEN."', "The broken lines are not claimed."],
    ],
)
def test_a_sentence_ends_at_its_point_and_not_at_that_of_an_abbreviation(sentences):
    text = " ".join(sentences)
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


def test_a_sentence_ends_although_the_blank_after_it_is_missing():
    text = "The dashed lines show a bag.The dotted lines show a box."
    assert [text[start:end] for start, end in split_sentences(text)] == text.replace(".T", ".|T").split("|")


@pytest.mark.parametrize(
    "clauses",
    [
        ["the broken lines show a bag; ", "they are not claimed."],
        ["the broken lines show a bag, while ", "all other broken lines show a box."],
        ["the dashed lines mark the bounds, with ", "the dotted lines forming no part."],
        ["the broken lines showing a bag in fig. 1, and the broken lines showing a box in fig. 2, are not claimed."],
        ["the broken lines and the shaded areas are not claimed."],
        ["the broken lines are dashed and ", "the stippling shows contrast."],
    ],
)
def test_a_clause_ends_where_other_lines_become_the_subject(clauses):
    text = "".join(clauses)
    found = [text[start:end] for start, end in split_clauses(text)]
    assert found == [clause.removesuffix("; ") for clause in _without_conjunctions(clauses)]


def _without_conjunctions(clauses: list[str]) -> list[str]:
    """The clauses but for the conjunction that begins the next one."""
    return [clause.removesuffix("while ").removesuffix("with ").removesuffix("and ") for clause in clauses]
