import pytest

from patentdata.classes import (
    LOCARNO_TITLES,
    USPC_TITLES,
    canonical_locarno,
    canonical_patent_number,
    canonical_uspc,
    locarno_index,
    uspc_design_class,
    uspc_index,
)


@pytest.mark.parametrize(
    ("printed", "symbol"),
    [
        ("D 2840", "D2/840"),
        ("D28 40", "D28/40"),
        ("D 1106", "D1/106"),
        ("D26  2", "D26/2"),
        ("D142091", "D14/209.1"),
        ("D14138AD", "D14/138AD"),
        ("D14138 AA", "D14/138AA"),
        ("428156", "428/156"),
        ("4285426", "428/542.6"),
        ("  2 69", "2/69"),
        (" 66172 R", "66/172R"),
        ("156DIG 14", "156/DIG14"),
        ("348 E513", "348/E5.13"),
        ("A43B 1314", "A43B 13/14"),
        ("D07511", "D7/511"),
        ("D061301", "D6/130.1"),
        ("D02 750", "D2/750"),
        ("455FOR 121", "455/FOR121"),
        ("D14FOR 10", "D14/FOR10"),
        ("D14/209.1", "D14/209.1"),
    ],
)
def test_a_printed_class_has_one_canonical_symbol(printed, symbol):
    assert canonical_uspc(printed) == symbol


@pytest.mark.parametrize(
    ("printed", "symbol"),
    [(" D5 20", "D5/20"), (" D74012", "D7/401.2"), ("D74012", "D7/401.2"), ("D2977", "D2/977"), ("66171", "66/171")],
)
def test_a_misplaced_or_lost_blank_does_not_change_the_class(printed, symbol):
    assert canonical_uspc(printed) == symbol


@pytest.mark.parametrize(
    ("printed", "symbol"),
    [
        ("D14485-495", "D14/485-D14/495"),
        ("D14485- 95", "D14/485-D14/495"),
        ("D28 46- 48", "D28/46-D28/48"),
        ("D 32031-2038", "D3/203.1-D3/203.8"),
        ("257 99-100", "257/99-257/100"),
        (" 36 25 R- 25 A", "36/25R-36/25A"),
    ],
)
def test_a_range_of_subclasses_has_both_ends_written_out(printed, symbol):
    assert canonical_uspc(printed) == symbol


@pytest.mark.parametrize("printed", [None, "", "   ", "None", "D", "D14", "%%%%%%", "0203-"])
def test_text_that_is_not_a_class_gives_none(printed):
    assert canonical_uspc(printed) is None


def test_a_class_outside_the_design_classification_is_not_a_design_class():
    assert uspc_design_class("D14/209.1") == "D14"
    assert uspc_design_class("428/156") is None
    assert uspc_design_class(None) is None


def test_the_class_tables_are_complete_and_indexed_in_order():
    assert list(USPC_TITLES) == [f"D{number}" for number in [*range(1, 31), 32, 34, 99]]
    assert list(LOCARNO_TITLES) == [f"{number:02d}" for number in range(1, 33)]
    assert [uspc_index(name) for name in ("D1", "D32", "D99")] == [0, 30, 32]
    assert locarno_index("06-01") == locarno_index("06") == 5
    with pytest.raises(KeyError):
        uspc_index("D31")


@pytest.mark.parametrize(("printed", "code"), [("0203", "02-03"), ("02-03", "02-03"), ("2-03", "02-03"), ("x", None)])
def test_a_locarno_class_is_written_with_a_hyphen(printed, code):
    assert canonical_locarno(printed) == code


@pytest.mark.parametrize(
    ("printed", "number"),
    [
        ("D0915935", "D915935"),
        ("D915935", "D915935"),
        ("D. 99999", "D99999"),
        ("Des. 99,999", "D99999"),
        ("USD0915935-20210413", "D915935"),
        ("D1054574", "D1054574"),
        ("RE012345", "RE12345"),
        ("07157420", "7157420"),
        ("4621424", "4621424"),
        ("2011/0232101", "2011/0232101"),
        ("DM/204232", "DM/204232"),
        ("", None),
        (None, None),
    ],
)
def test_a_patent_number_has_one_canonical_form(printed, number):
    assert canonical_patent_number(printed) == number
