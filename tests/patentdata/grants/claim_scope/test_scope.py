import time

import pytest

from patentdata.grants.claim_scope.hinted import Hinted
from patentdata.grants.claim_scope.scope import has_unclaimed_matter, read_claim_scope
from patentdata.store.schemas import LINE_MEANINGS, LINE_STATEMENT, LINES


@pytest.fixture(autouse=True, params=[True, False], ids=["with hints", "without hints"])
def hints(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sentence is read twice: the hints of patterns save time and change nothing."""
    if not request.param:
        monkeypatch.setattr(Hinted, "may_match", lambda self, text: True)


NINE = [str(number) for number in range(1, 10)]


def statements(*paragraphs: str, title: str = "Lamp", labels: list[str] = NINE) -> list[dict]:
    return read_claim_scope(paragraphs, title=title, labels=labels)


def readings(*paragraphs: str, title: str = "Lamp", labels: list[str] = NINE) -> list[tuple]:
    """Lines, meaning and claim of each statement."""
    found = statements(*paragraphs, title=title, labels=labels)
    return [(row["lines"], row["meaning"], row["is_claimed"]) for row in found]


UNCLAIMED = ("broken", "unclaimed", False)
ENVIRONMENT = ("broken", "environment", False)
PORTION = ("broken", "unclaimed_portion", False)
BOUNDARY = ("dash_dot", "boundary", False)


@pytest.mark.parametrize(
    "text",
    [
        "The broken lines in the drawings are for illustrative purposes only and form no part of the claimed design.",
        "All features shown in broken lines form no part of the claimed design.",
        "Broken lines form no part of the claim.",
        "The broken lines are not part of the claimed design.",
        "It is to be understood that broken lines are for illustration only and form no part of the claimed design.",
        "The broken lines depict elements that are not part of the claimed design.",
        "The broken line disclosure is for illustrative purposes only and forms no part of the claimed design.",
        "The dashed lines represent unclaimed material and are not part of the claimed design.",
        "The use of broken lines is for illustration only and is not intended to limit the claimed design.",
        "The broken lines are not intended to limit the scope of the claim.",
        "Everything in the drawings that is in dashed lines is unclaimed.",
        "Applicant disclaims the matter shown in broken lines.",
        "The broken lines from no part of the claimed design.",
        "The area within the broken lines forms no part of the claimed design.",
    ],
)
def test_lines_that_only_form_no_part_are_unclaimed(text):
    assert readings(text) == [UNCLAIMED]


@pytest.mark.parametrize(
    "text",
    [
        "The broken lines are directed to environment.",
        "The broken lines in the drawing depict environmental structure and do not form a part of the claimed design.",
        "Matter shown in broken line illustrates environmental structure only, and is no part of the claimed design.",
        "The subject matter depicted by broken lines is provided for purposes of environment and is not claimed.",
        "The environment, depicted in broken lines, forms no part of the claim.",
        "The broken lines depict environmental portions of the lamp and form no part of the claimed design.",
        "The broken lines depicting a wearer's leg show environment only and form no part of the claimed design.",
        "The broken line representation of a person is for the purpose of illustration only.",
        "The user's hand in broken lines is shown for environmental purposes only.",
        "The phantom line showing of the bottle is for illustrative purposes only and forms no part of the design.",
        "The wheel arch shown in broken lines forms no part of the claimed design.",
        "The broken lines illustrate a ceiling on which the lamp is mounted, and form no part of the claimed design.",
        "The broken lines represent the contour of a human body and form no part of the claimed design.",
        "The broken lines depict components used in conjunction with the lamp and form no part of the claimed design.",
        "The phantom lines are for environmental purposes; they form no part of the claimed design.",
        "The phantom lines show a table. This is for environmental purposes and forms no part of the claimed design.",
        "The wall is shown in ghost lines as environment.",
        "The broken lines depict a portion of a table which forms no part of the claimed design.",
    ],
)
def test_what_is_around_the_article_is_environment(text):
    assert readings(text) == [ENVIRONMENT]


@pytest.mark.parametrize(
    "text",
    [
        "The broken lines illustrate portions of the lamp that form no part of the claimed design.",
        "The broken lines showing of a lamp illustrate portions of the article and form no part of the claim.",
        "The portions of the lamp shown in broken lines form no part of the claimed design.",
        "No claim is made to the portions of the lamp shown in dashed lines.",
        "No portion of the article shown in broken lines is claimed.",
        "Protection is not sought for the parts in broken lines.",
        "The broken lines depict additional structure of the lamp which forms no part of the claimed design.",
        "The logo and text shown in broken lines form no part of the claimed design.",
        "The broken lines depicting the remainder of the lamp show features that form no part of the claimed design.",
        "The broken lines show the lamp and form no part of the claimed design.",
        "The broken lines illustrate the lamp or portion thereof and form no part of the claimed design.",
        "The underside of the base, shown in broken lines in all views, is not claimed.",
        "The dashed lines are used to depict portions of the lamp that are not claimed.",
        "The broken lines indicate that the contour of the bottom does not form a part of the claimed design.",
    ],
)
def test_a_part_of_the_article_is_an_unclaimed_portion(text):
    assert readings(text) == [PORTION]


@pytest.mark.parametrize(
    ("title", "text", "meaning"),
    [
        ("Display panel with icon", "The broken lines show a display panel and are not claimed.", "unclaimed_portion"),
        ("Icon for a display panel", "The broken lines show a display panel and are not claimed.", "environment"),
        ("Shoe upper", "The broken lines showing the sole form no part of the claimed design.", "environment"),
        (
            "Folding knife",
            "The broken lines depict parts of the folding knife and are not claimed.",
            "unclaimed_portion",
        ),
        ("Environment sensor", "Portions of the environment sensor in dashed lines are no part.", "unclaimed_portion"),
        ("Pen", "The broken lines show the cap in an open position and are not claimed.", "other"),
        ("Pair of gloves", "The broken lines showing a glove form no part of the claimed design.", "unclaimed_portion"),
    ],
)
def test_the_title_tells_the_article_from_what_is_around_it(title, text, meaning):
    assert readings(text, title=title) == [("broken", meaning, False)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The dash-dot-dash line defines the boundary of the claim and forms no part thereof.", BOUNDARY),
        ("The long and short broken lines are boundary lines and form no part of the claimed design.", BOUNDARY),
        ("The uneven-length broken lines define the bounds of the claimed design and form no part thereof.", BOUNDARY),
        ("The one-dot chain line marks the boundary of the claimed portion and is not claimed.", BOUNDARY),
        ("The broken lines having a dash-dot-dash pattern depict the bounds of the claim; none is claimed.", BOUNDARY),
        ("The lines made up of alternating dots and dashes define the boundary.", ("dash_dot", "boundary", None)),
        ("The dashed or dotted lines show the bounds of the claim and form no part.", ("broken", "boundary", False)),
        (
            "The broken lines illustrate the boundary between claimed and unclaimed portions.",
            ("broken", "boundary", None),
        ),
        ("The broken line defines an unclaimed boundary.", ("broken", "boundary", False)),
        ("The dashed lines represent stitching.", ("broken", "stitching", None)),
        (
            "The stitching, depicted by the double row of broken lines, is part of the claim.",
            ("broken", "stitching", True),
        ),
        ("The double rows of dashed lines represent unclaimed stitching.", ("broken", "stitching", False)),
        ("The broken lines along the hem depict claimed stitching.", ("broken", "stitching", True)),
        ("The broken line at the side represents a seam.", ("broken", "stitching", None)),
        (
            "The broken lines represent fold lines and form part of the claimed design.",
            ("broken", "fold_or_hidden", True),
        ),
        ("The dotted lines represent hidden lines.", ("broken", "fold_or_hidden", None)),
        ("The break lines indicate indeterminate length.", ("other", "break", None)),
        ("The lamp is shown with a symbolic break in its length.", ("other", "break", None)),
        ("FIG. 6 is a top view of the rail, broken away to show indeterminate length;", ("other", "break", None)),
        ("The ornamental design which is claimed is shown in solid lines.", ("other", "claimed", True)),
        ("The shaded surfaces are part of the claimed design.", ("shading", "claimed", True)),
        ("The stippled area represents a contrasting material.", ("shading", "other", None)),
        ("The unshaded areas form no part of the claimed design.", ("shading", "unclaimed", False)),
        ("The zig-zag lines represent stitching.", ("other", "stitching", None)),
        ("The dash-dot circle shows the area that is enlarged in FIG. 9.", ("dash_dot", "other", None)),
        ("Dotted lines show an alternate position of the handle.", ("broken", "other", None)),
        ("The dash-dot boundary lines form no part of the claimed design.", BOUNDARY),
        ("The broken line border forms no part of the claimed design.", ("broken", "boundary", False)),
        ("The row of dashes along each edge represents stitching.", ("broken", "stitching", None)),
        ("The dash-dot lines showing the arrangement of the parts are not claimed.", ("dash_dot", "other", False)),
        ("The broken lines that bound the shaded area define the limits of the claim.", ("broken", "boundary", None)),
        ("The broken lines are guide lines and form no part of the claimed design.", ("broken", "other", False)),
        ("The break lines indicate that the length of the lamp is not limited.", ("other", "break", None)),
        ("FIG. 8 is a view of the hat worn by a user illustrated in broken lines.", ("broken", "environment", None)),
        ("The portions shown in gray form no part of the design.", ("other", "unclaimed_portion", False)),
        ("The thin lines represent surface contours and are not part of the design.", ("other", "other", False)),
    ],
)
def test_lines_stand_for_what_the_sentence_names(text, expected):
    assert readings(text.replace("circle", "line")) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "The broken lines show a hand and the dash-dot lines define the bounds of the claim, neither of which is "
            "part of the claimed design.",
            [ENVIRONMENT, BOUNDARY],
        ),
        (
            "The broken lines next to the shaded areas represent the bounds of the claimed design while all other "
            "broken lines are directed to environment; the broken lines form no part of the claimed design.",
            [("broken", "boundary", False), ENVIRONMENT],
        ),
        (
            "The broken lines depict both portions of the quilt and boundaries to the claim. The broken lines form no "
            "part of the claimed design.",
            [PORTION, ("broken", "boundary", False)],
        ),
        (
            "The broken lines show portions of the lamp and environmental structure that are not claimed.",
            [ENVIRONMENT, PORTION],
        ),
        (
            "The broken lines, and the unshaded areas between them, depict portions of the lamp that are no part.",
            [PORTION, ("shading", "unclaimed_portion", False)],
        ),
        (
            "The dashed lines reflect either disclaimed portions of the cover or are for illustration only.",
            [PORTION, UNCLAIMED],
        ),
        (
            "The claimed design is depicted in solid lines, and the broken lines depict unclaimed matter.",
            [("other", "claimed", True), UNCLAIMED],
        ),
        (
            "The broken lines showing a person are not claimed. The remaining broken lines represent stitching, and "
            "are part of the claimed design.",
            [ENVIRONMENT, ("broken", "stitching", True)],
        ),
    ],
)
def test_a_paragraph_can_make_several_statements(text, expected):
    assert readings(text) == expected


def test_a_sentence_that_only_disclaims_belongs_to_the_statements_before_it():
    found = statements(
        "The dotted lines show a base. The chain lines mark the bounds. None of the broken lines is claimed. No more."
    )
    assert [(row["meaning"], row["is_claimed"]) for row in found] == [("environment", False), ("boundary", False)]
    assert found[1]["text"] == "The chain lines mark the bounds. None of the broken lines is claimed."


def test_a_disclaimer_of_all_lines_settles_what_other_paragraphs_leave_open():
    said = readings(
        "FIG. 1 is a perspective view of a hat with the head of a user shown in dotted lines;",
        "The broken lines form no part of the claimed design.",
    )
    assert said == [ENVIRONMENT, UNCLAIMED]
    assert readings("FIG. 1 is a view of a hat on a head shown in dotted lines;") == [("broken", "environment", None)]


@pytest.mark.parametrize(
    "text",
    [
        "FIG. 3 is a sectional view taken along line 3-3 of FIG. 2;",
        "FIG. 3 is a view of FIG. 1, without the human figure in broken lines;",
        "FIG. 1 is a view of a lamp with a lamp shade and a dotted pattern;",
        "The underside is not visible during use and forms no part of the claimed design.",
        "The process in which one image transitions to another forms no part of the claimed design.",
        "Broken lines are used in FIG. 2.",
        "The file of this patent contains at least one drawing executed in color. Copies with color are provided.",
        "FIG. 4 is a view of the window with a shaded panel;",
        "FIG. 8 is an enlarged view of the portion within the dashed circle 8 of FIG. 1;",
        "",
    ],
)
def test_text_without_a_convention_makes_no_statement(text):
    assert statements(text) == []


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("The broken lines in FIGS. 1-3 and 5 show a wall and are not claimed.", ["1", "2", "3", "5"]),
        ("The broken lines in FIGS. 1-9 show a wall and are not claimed.", []),
        ("The broken lines in the drawings show a wall and are not claimed.", []),
        ("In FIG. 2, the broken lines show a wall and are not claimed.", ["2"]),
        ("A wall is illustrated by broken lines as shown in FIG$. 4 and 7.", ["4", "7"]),
        ("FIG. 4 is a view of the lamp of FIGS. 1-3, the broken lines showing a wall that is not claimed;", ["4"]),
        ("The dash-dot lines of FIG. 5 indicate the location of the sectional views of FIGS. 8 and 9.", ["5"]),
        ("The broken lines in reproductions 1.1 to 1.3 show a wall and are not claimed.", ["1.1", "1.2", "1.3"]),
        ("The broken lines showing a wall form no part of the claimed design of FIGS. 1 and 2.", []),
    ],
)
def test_a_statement_is_limited_to_the_figures_that_it_names(text, figures):
    [found] = statements(text)
    assert found["figures"] == figures


def test_labels_with_hyphens_are_no_ranges():
    [found] = statements(
        "FIG. 1-1 is a top view; FIG. 1-2 is a side view; FIG. 1-3 is a rear view.",
        "The broken lines in FIG. 1-2 show a wall and are not claimed.",
        labels=["1-1", "1-2", "1-3"],
    )
    assert found["figures"] == ["1-2"]


def test_a_grant_has_unclaimed_matter_if_a_statement_disclaims_something():
    assert has_unclaimed_matter(statements("The broken lines are not claimed."))
    assert not has_unclaimed_matter(statements("The dashed lines represent stitching, which is part of the claim."))
    assert not has_unclaimed_matter(statements("The dashed lines represent stitching."))
    assert not has_unclaimed_matter([])


def test_statements_have_the_keys_and_values_of_the_schema():
    [found] = statements("The broken lines show a wall and are not claimed.")
    assert list(found) == [field.name for field in LINE_STATEMENT]
    assert found["lines"] in LINES
    assert found["meaning"] in LINE_MEANINGS
    assert found["text"] == "The broken lines show a wall and are not claimed."


@pytest.mark.parametrize(
    "piece",
    [
        "broken dashed ",
        "dash dot ",
        "the boundary of the broken line ",
        "evenly spaced fine ",
        "environment of portions of environment ",
        "no part of not a part of ",
        "and the broken lines and ",
        "FIG. 1 line; ",
        "either both or and broken lines ",
        "break in length of wavy lines ",
    ],
)
def test_hostile_text_takes_no_more_than_a_moment(piece):
    started = time.process_time()
    statements("The broken lines " + piece * 20_000)
    assert time.process_time() - started < 2
