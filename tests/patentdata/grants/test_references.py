import pytest

from patentdata.grants.references import expand_references, find_references


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("FIG. 3", "3"),
        ("FIG. 2A", "2A"),
        ("Figure 8", "8"),
        ("FIGS. 5-6", "5 6"),
        ("FIGS. 1 through 4", "1 2 3 4"),
        ("FIGS. 1(a)–1(c)", "1(a) 1(b) 1(c)"),
        ("FIGS. 1(a)-(c)", "1(a) 1(b) 1(c)"),
        ("FIGS. 9 (a), (b) and (c)", "9(a) 9(b) 9(c)"),
        ("FIGS. 2A, 2B and 3", "2A 2B 3"),
        ("FIGS. 9A-C", "9A 9B 9C"),
        ("FIGS. 1A, B and C", "1A 1B 1C"),
        ("FIG. 1 and FIG. 2", "1 2"),
        ("FIGS. 6 to 8, 11 to 12", "6 7 8 11 12"),
        ("FIG. 6A-1", "6A-1"),
        ("FIGS. 16A-1 to 16A-3", "16A-1 16A-2 16A-3"),
        ("FIGS. 3A-5", "3A 4 5"),
        ("FIGS. 1.1-1.3", "1.1 1.2 1.3"),
        ("1.1", "1.1"),
        ("FIGS. 1-2019", "1 2019"),
        ("FIG. 1.-FIG. 4. Reduced views", "1 2 3 4"),
        ("FIGS. 1. - 4. are views", "1 2 3 4"),
        ("FIG. 1. and FIG. 2. are views", "1 2"),
        ("FIG. 1. - 3D view", "1"),
        ("FIG. 1.-A front view", "1"),
        ("FIG. 1-1", "1-1"),
        ("FIGS. 1-1 to 1-3", "1-1 1-2 1-3"),
        ("FIGS. 1-1 and 1-2", "1-1 1-2"),
    ],
)
def test_a_reference_is_expanded_to_its_labels(text, labels):
    assert expand_references(text) == labels.split()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("FIG. 2, a front view of the chair", [("2",)]),
        ("FIG. 1 - a perspective view", [("1",)]),
        ("FIG. 1is a front view", [("1",)]),
        ("FIG. 7 a top view thereof.", [("7",)]),
        ("FIG. 1 is a front view and FIG. 2 is a rear view", [("1",), ("2",)]),
        ("FIG. 5 is a view of FIG. 4; and", [("5",)]),
        ("1.1 : Perspective 1.2 : Front", [("1.1",), ("1.2",)]),
        ("FIG. 1.1 is a front view", [("1.1",)]),
        ("FIG. A is a front view; FIG. B is a rear view", [("A",), ("B",)]),
        ("The broken lines in FIGS. 1 and 2 form no part of the design.", []),
    ],
)
def test_only_a_reference_that_begins_a_clause_declares_a_figure(text, labels):
    assert [reference.labels for reference in find_references(text)] == labels


@pytest.mark.real
def test_every_irregular_reference_of_2020_has_labels(real_data):
    lines = (real_data / "figure_references.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split(":", 1)[1] for line in lines]
    assert [text for text in texts if not expand_references(text)] == []
