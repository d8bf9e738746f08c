import pytest

from patentdata.grants.entities import CHARACTERS
from patentdata.grants.parsing import parse_grant
from patentdata.store.report import Report
from tests.patentdata.grants.grant_xml import patdoc_xml


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("OHgr", "Ω"), ("ohgr", "ω"), ("EEgr", "Η"), ("eegr", "η"), ("THgr", "Θ"), ("PHgr", "Φ"), ("KHgr", "Χ"),
        ("PSgr", "Ψ"), ("Agr", "Α"), ("sfgr", "ς"), ("aacgr", "ά"), ("OHacgr", "Ώ"), ("EEacgr", "Ή"), ("idiagr", "ΐ"),
        ("Udigr", "Ϋ"), ("b.alpha", "𝛂"), ("b.Omega", "𝛀"), ("thetas", "θ"), ("Omega", "Ω"), ("eacute", "é"),
        ("Ccaron", "Č"), ("IOcy", "Ё"), ("djcy", "ђ"), ("half", "½"), ("hellip", "…"), ("boxh", "─"), ("rarr2", "⇉"),
        ("plusb", "⊞"), ("ulcorn", "⌜"), ("nles", "\u2a7d\u0338"), ("ang90", "∟"), ("cuepr", "⋞"), ("uml", "¨"),
    ],
)  # fmt: skip
def test_a_name_of_iso_8879_stands_for_its_character(name, character):
    row = parse_grant(patdoc_xml(title=f"Meter &{name};"), source_archive="a", source_member="b")
    assert row["title"] == f"Meter {character}"


def test_capitals_have_no_names_but_those_of_the_standard():
    assert {"Ohgr", "Eegr", "Thgr", "SFgr", "SFGR"}.isdisjoint(CHARACTERS)


def test_an_unknown_name_stays_in_the_text_and_is_counted():
    report = Report("grants")
    xml = patdoc_xml(title="Watch &nosuch; &amp; &eacute;", surname="&Nosuch;")
    row = parse_grant(xml, source_archive="a", source_member="b", report=report)
    assert (row["title"], row["inventors"]) == ("Watch &nosuch; & é", ["Pia &Nosuch;"])
    assert report.counts == {"unknown_entity": 2}


def test_a_name_within_cdata_comments_and_instructions_is_text():
    report = Report("grants")
    title = "<![CDATA[A &nosuch; &eacute;]]> &other;<!-- &third; --><?pi &fourth;?>"
    row = parse_grant(patdoc_xml(title=title), source_archive="a", source_member="b", report=report)
    assert row["title"] == "A &nosuch; &eacute; &other;"
    assert report.counts == {"unknown_entity": 1}
