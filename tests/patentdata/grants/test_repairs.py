import pytest

from patentdata.grants.documents import DocumentError
from patentdata.grants.parsing import parse_grant, read_grants
from patentdata.store.report import Report
from tests.patentdata.grants.grant_xml import grant_xml


def with_title(title: bytes) -> bytes:
    return grant_xml(title="TITLE").replace(b"TITLE", title)


@pytest.mark.parametrize(
    ("title", "read", "counts"),
    [
        (b"Watch \x02 strap", "Watch \ufffd strap", {"repaired_character": 1}),
        (b"Watch &#2; strap", "Watch \ufffd strap", {"repaired_character": 1}),
        (b"Watch &#xFFFF; strap &#x110000;", "Watch \ufffd strap \ufffd", {"repaired_character": 2}),
        (b"Watch & strap", "Watch & strap", {"repaired_ampersand": 1}),
        (b"AT&T watch && strap", "AT&T watch && strap", {"repaired_ampersand": 3}),
        (b"Watch &amp strap", "Watch &amp strap", {"repaired_ampersand": 1}),
        (b"Caf\xe9 chair \x93A\x94", "Café chair “A”", {"repaired_byte": 3}),
        (b"Watch \x81", "Watch \ufffd", {"repaired_byte": 1}),
        (b"Watch < 5 mm", "Watch < 5 mm", {"repaired_less_than": 1}),
        (b"<![CDATA[A & \x02 &x;]]> & &x;", "A & \ufffd &x; & &x;",
         {"repaired_character": 1, "repaired_ampersand": 1, "unknown_entity": 1}),
        ("Café & bar".encode(), "Café & bar", {"repaired_ampersand": 1}),
    ],
)  # fmt: skip
def test_one_bad_character_costs_a_character_and_not_the_patent(title, read, counts):
    report = Report("grants")
    row = parse_grant(with_title(title), source_archive="a", source_member="b", report=report)
    assert row["title"] == read
    assert report.counts == counts


def test_a_document_in_another_encoding_is_repaired_in_that_encoding():
    xml = with_title("Café & bar".encode("latin-1")).replace(b'encoding="UTF-8"', b'encoding="ISO-8859-1"')
    assert parse_grant(xml, source_archive="a", source_member="b")["title"] == "Café & bar"


@pytest.mark.parametrize("declared", [b"US-ASCII", b"X-NONE"])
def test_a_document_that_is_not_in_the_encoding_it_declares_is_read_as_utf_8(declared):
    report, xml = (
        Report("grants"),
        with_title("Café".encode()).replace(b'encoding="UTF-8"', b'encoding="%b"' % declared),
    )
    assert parse_grant(xml, source_archive="a", source_member="b", report=report)["title"] == "Café"
    assert report.counts == {"repaired_encoding": 1}


@pytest.mark.parametrize(("end", "reason"), [(-40, "cut_off"), (None, "malformed")])
def test_a_document_that_repairs_do_not_help_is_dropped_as_what_it_is(end, reason):
    broken = with_title(b"A & <b>")[:end]
    with pytest.raises(DocumentError) as caught:
        parse_grant(broken, source_archive="a", source_member="b")
    assert caught.value.reason == reason


def test_the_repairs_of_a_file_are_added_up():
    report = Report("grants")
    rows = list(read_grants(with_title(b"A & B") + grant_xml() + with_title(b"C & D"), name="week", report=report))
    assert [row["title"] for row in rows] == ["A & B", "Chair", "C & D"]
    assert report.counts == {"repaired_ampersand": 2}


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (
            b'<!DOCTYPE PATDOC PUBLIC "-//USPTO//DTD ST.32 US PATENT GRANT V2.4 2000-09-20//EN" [\n]>\n'
            b'<PATDOC DTD="2.4"><SDOBI><B130><PDAT>S</PDAT></B130></SDOBI><EMI ID=EMI-1></PATDOC>\n',
            "sgml_of_2001",
            "SGML of 2001",
        ),
        (b"PATN\nWKU  D02390012\nSRC  5\nTTL  Chair\n", "aps_text", "APS text"),
        (b"HHHHHT        APS1        ISSUE - 760106\nPATN\nWKU  D02390012\n", "aps_text", "APS text"),
    ],
    ids=["SGML", "APS", "APS week"],
)  # fmt: skip
def test_a_format_older_than_xml_is_named(data, reason, says):
    report = Report("grants")
    assert list(read_grants(data, name="old", report=report)) == []
    (drop,) = report.tally("documents").drops
    assert drop.reason == reason
    assert says in drop.detail
