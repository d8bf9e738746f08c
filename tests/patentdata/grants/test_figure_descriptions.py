import pytest

from patentdata.grants.figure_descriptions import describe_figures
from patentdata.store.schemas import FIGURE


def described(*paragraphs, title="Chair", num_figures=None):
    """The figures by label, and the paragraphs that describe none."""
    figures, others = describe_figures(list(paragraphs), title=title, num_figures=num_figures)
    return {figure["label"]: figure for figure in figures}, others


def test_figures_are_found_by_label_whatever_is_between_them():
    figures, others = described(
        "A portion of the disclosure contains material which is subject to copyright protection.",
        "FIG. 1 is a perspective view of a chair;",
        "The file of this patent contains at least one drawing executed in color.",
        "FIG. 3 is a rear view thereof.",
        "The broken lines in FIG. 2 form no part of the claimed design.",
    )
    assert list(figures) == ["1", "3"]
    assert figures["3"]["text"] == "FIG. 3 is a rear view thereof."
    assert [other.split()[0] for other in others] == ["A", "The", "The"]


def test_a_figure_has_the_fields_of_the_schema():
    figures, _ = described("FIG. 1 is a top, front perspective view of a chair showing my new design;")
    assert set(figures["1"]) == {field.name for field in FIGURE}
    assert figures["1"]["viewpoint"] == "perspective"
    assert figures["1"]["viewpoint_direction"] == "top front"
    assert figures["1"]["object"] == "chair"


def test_each_figure_of_a_range_gets_its_own_view():
    figures, _ = described("FIGS. 5-6 are front and rear views, respectively, of the chair.")
    assert {label: figure["viewpoint"] for label, figure in figures.items()} == {"5": "front", "6": "rear"}


def test_each_figure_in_a_paragraph_about_several_gets_its_own_text_and_view():
    figures, others = described("FIG. 1 is a front view; FIG. 2 is a rear view; and FIG. 3 is a top view of FIG. 1.")
    assert {label: figure["viewpoint"] for label, figure in figures.items()} == {"1": "front", "2": "rear", "3": "top"}
    assert figures["2"]["text"] == "FIG. 2 is a rear view; and"
    assert others == []


def test_a_sentence_about_one_figure_is_preferred_to_one_about_many():
    figures, others = described(
        "FIGS. 1-2 depict a first embodiment of a chair.", "FIG. 1 is a front view;", "FIG. 2 is a rear view."
    )
    assert figures["1"]["text"] == "FIG. 1 is a front view;"
    assert others == ["FIGS. 1-2 depict a first embodiment of a chair."]


@pytest.mark.parametrize(
    "paragraph",
    ["The sole FIGURE is a front view of a chair.", "The FIGURE is a front view.", "A front view of the chair."],
)
def test_a_sole_figure_without_number_gets_the_label_1(paragraph):
    figures, _ = described(paragraph, num_figures=1)
    assert list(figures) == ["1"]
    assert figures["1"]["viewpoint"] == "front"


def test_hague_labels_are_preferred_to_the_heading_of_their_design():
    figures, others = described("1. Belt buckle", "1.1 : Perspective", "1.2 : Front", "1.3 : Left")
    assert [figure["viewpoint"] for figure in figures.values()] == ["perspective", "front", "left"]
    assert others == ["1. Belt buckle"]


def test_a_heading_without_labels_is_a_figure():
    assert list(described("1. Belt buckle")[0]) == ["1"]


def test_an_aside_adds_what_the_declaration_does_not_state():
    figures, others = described(
        "1.1 : Perspective",
        "The broken lines are environment; reproduction 1.1 is a front perspective view of a chair.",
    )
    assert figures["1.1"]["text"] == "1.1 : Perspective"
    assert figures["1.1"]["viewpoint_direction"] == "front"
    assert figures["1.1"]["object"] == "chair"
    assert len(others) == 1


def test_a_clause_about_a_mirror_image_does_not_change_the_view():
    figures, _ = described("FIG. 3 is a left side view thereof, the right side view being a mirror image;")
    assert figures["3"]["viewpoint"] == "left"


def test_without_paragraphs_there_are_no_figures():
    assert described() == ({}, [])


def test_statements_separated_by_commas_declare_their_own_figures():
    text = "FIG. 1 is a front view of a lamp, FIG. 2 is a rear view, and the base of FIG. 1, FIG. 3, is omitted."
    figures, others = describe_figures([text], title="Lamp", num_figures=2)
    assert [(figure["label"], figure["viewpoint"]) for figure in figures] == [("1", "front"), ("2", "rear")]
    assert others == []


@pytest.mark.parametrize(
    ("references", "labels"),
    [
        (["FIG. 1-1", "FIG. 1-2", "FIG. 2-1", "FIG. 4"], ["1-1", "1-2", "2-1", "4"]),
        (["FIG. 1-2", "FIG. 1-3"], ["1-2", "1-3"]),
        (["FIG. 1-1", "FIGS. 2-4"], ["1-1", "2", "3", "4"]),
        (["FIG. 1-2", "FIG. 3-4"], ["1", "2", "3", "4"]),
        (["FIG. 1", "FIGS. 2-3"], ["1", "2", "3"]),
    ],
)
def test_the_labels_of_a_grant_say_together_whether_a_hyphen_is_a_range(references, labels):
    figures, _ = described(*(f"{reference} is a front view;" for reference in references))
    assert list(figures) == labels


def test_a_range_whose_labels_end_with_points_declares_every_figure():
    figures, _ = described("FIGS. 1. - 4. are front, rear, left and right views of a chair.")
    assert [figure["viewpoint"] for figure in figures.values()] == ["front", "rear", "left", "right"]
