"""What a grant says about broken lines, against what is seen."""

import pytest

from patentdata.views.broken_lines.statements import NOT_EXPLAINED, NOT_SEEN, are_claimed, disagreements


def view(label, share, is_front_page=False):
    return {"figure_label": label, "broken_share": share, "is_front_page": is_front_page}


def statement(lines="broken", meaning="environment", figures=()):
    return {"lines": lines, "meaning": meaning, "figures": list(figures)}


def flags(views, *statements):
    return [set(found) for found in disagreements(views, statements)]


def test_views_and_grants_that_agree_have_no_flag():
    assert flags([view("1", 0.4), view("2", 0.0)], statement()) == [set(), set()]
    assert flags([view("1", 0.0), view("2", 0.0)]) == [set(), set()]


def test_broken_lines_that_the_grant_does_not_mention_are_flagged_where_they_are():
    assert flags([view("1", 0.4), view("2", 0.0)], statement("shading")) == [{NOT_EXPLAINED}, set()]


def test_a_statement_about_all_figures_needs_broken_lines_in_one_of_them():
    front = view(None, 0.0, is_front_page=True)
    assert flags([front, view("1", 0.0), view("2", 0.0)], statement()) == [set(), {NOT_SEEN}, {NOT_SEEN}]


def test_a_statement_about_certain_figures_needs_broken_lines_in_these():
    views = [view("1", 0.4), view("2A", 0.0), view("3", 0.0)]
    assert flags(views, statement(figures=["1", "2a"])) == [set(), {NOT_SEEN}, set()]


def test_symbolic_breaks_explain_broken_lines_but_do_not_promise_them():
    assert flags([view("1", 0.0)], statement(meaning="break")) == [set()]
    assert flags([view("1", 0.3)], statement(meaning="break")) == [set()]


@pytest.mark.parametrize("statements", [(), (statement(),)])
def test_a_view_that_could_not_be_looked_at_is_not_flagged(statements):
    assert flags([view("1", None)], *statements) == [set()]


def said(meaning, is_claimed, lines="broken", figures=()):
    return {"lines": lines, "meaning": meaning, "is_claimed": is_claimed, "figures": list(figures)}


@pytest.mark.parametrize(
    ("claim_scope", "label", "expected"),
    [
        ([], "1", False),
        (None, "1", False),
        ([said("stitching", True)], "1", True),
        ([said("stitching", None)], "1", False),
        ([said("environment", False)], "1", False),
        ([said("stitching", True), said("environment", False)], "1", False),
        ([said("stitching", True), said("environment", False, figures=["2"])], "1", True),
        ([said("stitching", True, figures=["2"])], "1", False),
        ([said("stitching", True), said("break", None)], "1", True),
        ([said("other", True, lines="shading")], "1", False),
    ],
)
def test_broken_lines_are_claimed_only_if_everything_that_the_grant_says_of_the_figure_claims_them(
    claim_scope, label, expected
):
    assert are_claimed(claim_scope, label) is expected
