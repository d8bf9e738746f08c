import ast
import csv
import datetime
import io
import re
import tarfile
import zipfile

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patentdata.classes import canonical_patent_number
from patentdata.errors import GrantParseError
from patentdata.grants.documents import DocumentError, NotADesignError
from patentdata.grants.parsing import parse_grant, read_grants
from patentdata.store.report import Report
from patentdata.store.schemas import GRANTS
from tests.patentdata.grants.grant_xml import grant_xml, patdoc_xml


def parsed(xml: bytes) -> dict:
    return parse_grant(xml, source_archive="I20210105", source_member="a.xml")


def read(data: bytes) -> tuple[list[dict], Report]:
    report = Report("grants", "week")
    rows = list(read_grants(io.BytesIO(data), name="week", report=report))
    report.check()
    return rows, report


def test_a_grant_becomes_a_row_with_the_keys_of_the_schema_in_order():
    row = parsed(grant_xml())
    assert list(row) == GRANTS.names
    assert pa.Table.from_pylist([row], schema=GRANTS).num_rows == 1
    assert row["patent_number"] == "D900001"
    assert row["grant_date"] == datetime.date(2021, 1, 5)
    assert (row["uspc"], row["uspc_class"], row["locarno_class"]) == ("D6/334", "D6", "06-01")
    assert [figure["label"] for figure in row["figures"]] == ["1", "2"]
    assert row["images"][0] == {
        "file_name": "USD0900001-20210105-D00000.TIF",
        "width_mm": 50.0,
        "height_mm": 100.0,
        "orientation": None,
    }
    assert (row["dtd_version"], row["source_archive"], row["source_member"]) == ("v4.5", "I20210105", "a.xml")


def test_what_a_grant_says_about_its_lines_is_in_its_row():
    row = parsed(
        grant_xml(
            paragraphs=(
                "FIG. 1 is a front view of a chair, a person being shown in dotted lines;",
                "FIG. 2 is a rear view thereof.",
                "The broken lines in FIGS. 1 and 2 form no part of the claimed design.",
            )
        )
    )
    statements = [(found["meaning"], found["is_claimed"], found["figures"]) for found in row["claim_scope"]]
    assert statements == [("environment", False, ["1"]), ("unclaimed", False, [])]
    assert row["has_unclaimed_matter"] is True
    assert parsed(grant_xml())["claim_scope"] == []
    assert parsed(grant_xml())["has_unclaimed_matter"] is False


def test_the_words_inside_the_markup_of_a_title_are_kept():
    assert parsed(grant_xml(title="Chair for H<sub>2</sub>O <i>testers</i>"))["title"] == "Chair for H2O testers"


@pytest.mark.parametrize(
    ("missing", "element"),
    [("title", "<invention-title>"), ("number", "<doc-number>"), ("date", "<date>")],
)
def test_a_grant_without_a_required_field_is_named_in_the_error(missing, element):
    with pytest.raises(GrantParseError, match=rf"^I20210105!a\.xml: no .*{element} in the grant"):
        parsed(grant_xml(**{missing: ""}))


def test_a_missing_optional_field_is_null():
    row = parsed(grant_xml(uspc="None", locarno="", num_figures="many", num_sheets=""))
    assert [row[key] for key in ("uspc", "uspc_class", "locarno_class", "num_figures", "num_sheets")] == [None] * 5


CITATIONS = """<us-references-cited>
<us-citation><patcit num="1"><document-id><country>US</country><doc-number>D0428532</doc-number><kind>S</kind>
<name>Prochaska</name><date>20000700</date></document-id></patcit><category>cited by examiner</category>
<classification-national><country>US</country><main-classification>D28 47</main-classification>
</classification-national></us-citation>
<us-citation><patcit num="2"><document-id><country>JP</country><doc-number>D1234567</doc-number></document-id></patcit>
<category>cited by third party</category></us-citation>
<us-citation><nplcit num="3"><othercit>Catalog <i>Chairs</i>, p. 1.</othercit></nplcit>
<category>cited by applicant</category></us-citation></us-references-cited>"""


def test_citations_are_in_canonical_form_and_say_who_cited_them():
    design, foreign, literature = parsed(grant_xml(citations=CITATIONS))["citations"]
    assert (design["number"], design["date"], design["uspc"]) == ("D428532", "20000700", "D28/47")
    assert (foreign["number"], foreign["country"], foreign["kind"]) == ("D1234567", "JP", None)
    assert (literature["number"], literature["text"]) == (None, "Catalog Chairs, p. 1.")
    assert [item["category"] for item in (design, foreign, literature)] == ["examiner", "third party", "applicant"]


def test_a_cited_design_without_its_d_is_known_by_its_kind():
    citations = CITATIONS.replace("D0428532", "0447022")
    assert parsed(grant_xml(citations=citations))["citations"][0]["number"] == "D447022"


@pytest.mark.parametrize(
    "claim",
    [
        "We claim:</claim-text><claim-text>The ornamental design for a chair.",
        "What is claimed is:</claim-text><claim-text>The ornamental design for a chair.",
        "CLAIM</claim-text></claim><claim><claim-text>The ornamental design for a chair.",
        "The ornamental design</claim-text><claim-text>for a chair.",
    ],
)
def test_the_claim_is_read_without_a_lead_that_stands_by_itself(claim):
    assert parsed(grant_xml(claim=claim))["claim"] == "The ornamental design for a chair."


def test_classes_that_cannot_be_read_are_counted():
    report = Report("grants")
    xml = grant_xml(uspc_further=("D07511", "455FOR 121", "what", " "))
    row = parse_grant(xml, source_archive="a", source_member="b", report=report)
    assert row["uspc_further"] == ["D7/511", "455/FOR121"]
    assert report.counts == {"unreadable_class": 1}


def test_inventors_listed_as_applicants_are_found_as_inventors():
    parties = """<parties><applicants><applicant app-type="applicant-inventor"><addressbook><last-name>Hare</last-name>
    <first-name>Paula</first-name><address><country>US</country></address></addressbook></applicant></applicants></parties>"""
    row = parsed(grant_xml(parties=parties))
    assert (row["inventors"], row["inventor_countries"], row["applicants"]) == (["Paula Hare"], ["US"], ["Paula Hare"])


def test_the_fields_and_entities_of_a_v25_grant_are_read():
    row = parsed(patdoc_xml())
    assert (row["patent_number"], row["kind"], row["dtd_version"]) == ("D456589", "S1", "v2.5")
    assert row["inventors"] == ["Pia Müller"]
    assert row["figures"][0]["text"] == "FIG. 1 is a front view of a “sweater”."
    assert (row["uspc"], row["uspc_further"], row["field_of_search"]) == ("D2/750", ["D5/20"], ["428/17"])
    assert row["priority_claims"] == [{"number": "2000 0010", "country": "NO", "date": "20000106", "kind": None}]
    assert row["related"][0]["relation"] == "division"
    assert (row["related"][0]["application_number"], row["related"][0]["patent_number"]) == ("29100000", "D444444")
    assert (row["citations"][0]["number"], row["citations"][0]["category"]) == ("D145372", "examiner")
    assert row["images"][0]["file_name"] == "USD0456589-20020507-D00000.TIF"


def test_a_byte_order_mark_and_dos_line_ends_change_nothing():
    plain, marked = parsed(grant_xml()), parsed(b"\xef\xbb\xbf" + grant_xml().replace(b"\n", b"\r\n"))
    for row in (plain, marked):
        row.pop("xml_sha256")
    assert marked == plain


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"kind": "B2", "appl_type": "utility"}, "utility"), ({"kind": "P2", "appl_type": "plant"}, "plant")],
)
def test_a_grant_of_another_kind_is_refused_with_its_kind(changes, reason):
    with pytest.raises(NotADesignError) as caught:
        parsed(grant_xml(**changes))
    assert caught.value.reason == reason


def test_a_weekly_file_gives_every_design_and_counts_the_other_documents():
    utility = grant_xml(number="07157420", kind="B2", appl_type="utility")
    sequence = b'<?xml version="1.0"?>\n<sequence-cwu id="S"><number>1</number></sequence-cwu>\n'
    untitled = grant_xml(number="D0900002", title="")
    unknown = grant_xml(number="D0900003", claim="&nosuch;")
    rows, report = read(utility + sequence + grant_xml() + untitled + unknown + patdoc_xml())
    assert [row["patent_number"] for row in rows] == ["D900001", "D900003", "D456589"]
    assert rows[1]["claim"] == "&nosuch;"
    assert report.counts == {"unknown_entity": 1}
    tally = report.tally("documents")
    assert (tally.num_in, tally.num_out) == (6, 3)
    assert tally.dropped == {"no_title": 1, "sequence_cwu": 1, "utility": 1}
    offset = len(utility + sequence + grant_xml())
    assert [drop.subject for drop in tally.drops][2] == f"D900002 (byte {offset})"


def test_a_cut_off_last_document_is_dropped_and_named_by_its_byte_offset():
    whole = grant_xml()
    rows, report = read(whole + grant_xml(number="D0900002")[:1500])
    assert len(rows) == 1
    (drop,) = report.tally("documents").drops
    assert (drop.reason, drop.subject) == ("cut_off", f"D900002 (byte {len(whole)})")


def test_known_entities_are_read_even_if_a_v4_grant_does_not_declare_them():
    assert parsed(grant_xml(title="Caf&eacute; chair &amp; table"))["title"] == "Café chair & table"


BOMB = "<!DOCTYPE us-patent-grant [" + '<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    "xml",
    [
        grant_xml(doctype=BOMB, title="&a11;"),
        grant_xml(doctype='<!DOCTYPE us-patent-grant [<!ENTITY x SYSTEM "file:///etc/passwd">]>', title="&x;"),
        grant_xml(claim="<b>" * 20_000 + "</b>" * 20_000),
        grant_xml(claim="A" * 11_000_000),
        b"",
        b"\x00\xff" * 50,
        b"<html>Not found</html>",
    ],
    ids=["entity bomb", "external entity", "deep nesting", "huge text", "empty", "noise", "html"],
)
def test_a_hostile_document_is_named_in_the_error(xml):
    with pytest.raises(GrantParseError, match=r"^I20210105!a\.xml: "):
        parsed(xml)


@settings(max_examples=300, deadline=None)
@given(
    base=st.sampled_from([grant_xml(citations=CITATIONS), patdoc_xml()]),
    cuts=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 60), st.binary(max_size=12)), max_size=5),
)
def test_a_damaged_document_raises_nothing_but_a_grant_parse_error(base, cuts):
    damaged = base
    for start, length, insert in cuts:
        damaged = damaged[:start] + insert + damaged[start + length :]
    try:
        row = parsed(damaged)
    except GrantParseError as error:
        assert isinstance(error, DocumentError)
    else:
        pa.Table.from_pylist([row], schema=GRANTS)


_VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="<>&{}"), max_size=40)
_FIELDS = ("number", "date", "title", "uspc", "locarno", "num_figures")


@settings(max_examples=300, deadline=None)
@given(
    values=st.fixed_dictionaries(dict.fromkeys(_FIELDS, _VALUES)),
    paragraphs=st.lists(_VALUES.map(lambda text: f"FIGS. {text}"), max_size=4),
)
def test_odd_values_become_nulls_or_raise_a_grant_parse_error(values, paragraphs):
    try:
        row = parsed(grant_xml(**values, paragraphs=tuple(paragraphs)))
    except GrantParseError:
        return
    pa.Table.from_pylist([row], schema=GRANTS)


# --- Real patents -----------------------------------------------------------------------------------------------------


def red_book_documents(folder):
    """Name and bytes of every design document of the real weekly archives."""
    for path in sorted((folder / "redbook").iterdir()):
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                members = [(entry.name, archive.extractfile(entry).read()) for entry in archive if entry.isfile()]
        else:
            with zipfile.ZipFile(path) as archive:
                members = [(name, archive.read(name)) for name in archive.namelist()]
        for name, data in members:
            if "/DESIGN/" in name and "-SUPP" not in name:
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    yield from ((entry, inner.read(entry)) for entry in inner.namelist() if entry.endswith(".XML"))


@pytest.mark.real
def test_every_real_design_becomes_a_row_with_as_many_figures_as_it_states(real_data):
    rows = [parse_grant(xml, source_archive="real", source_member=name) for name, xml in red_book_documents(real_data)]
    for path in sorted((real_data / "xml").glob("*/*.xml")):
        report = Report("grants", path.stem)
        with path.open("rb") as stream:
            rows += read_grants(stream, name=path.stem, report=report)
        report.check()
        assert set(report.tally("documents").dropped) <= {"utility", "plant", "sequence_cwu"}
    assert pa.Table.from_pylist(rows, schema=GRANTS).num_rows == 29 + 14 + 38
    assert [row["patent_number"] for row in rows if len(row["figures"]) != row["num_figures"]] == []


def _printed_classes(xml: bytes) -> str:
    """IMPACT's `class`: the national class as printed and only the first further class, joined by a comma."""
    own = re.search(
        rb"</classification-locarno>\s*<classification-national>(.*?)</classification-national>", xml, re.DOTALL
    )
    assert own is not None
    main = re.search(rb"<main-classification>(.*?)<", own[1])
    further = re.search(rb"<further-classification>(.*?)<", own[1])
    assert main is not None
    return ",".join(match[1].decode() for match in (main, further) if match)


@pytest.mark.real
def test_rows_agree_with_impact_but_for_figures_that_impact_shifted(real_data):
    documents = {
        canonical_patent_number(name.split("/")[-1].split("-")[0]): xml for name, xml in red_book_documents(real_data)
    }
    with (real_data / "impact_2021.csv").open(encoding="utf-8", newline="") as stream:
        impact = list(csv.DictReader(stream))
    shifted = []
    for theirs in impact:
        number = canonical_patent_number(theirs["id"])
        row = parse_grant(documents[number], source_archive="real", source_member=number)
        assert row["title"] == theirs["title"]
        assert row["patent_number"] == number
        assert row["claim"] == theirs["claim"]
        assert row["grant_date"].strftime("%Y%m%d") == theirs["date"]
        assert _printed_classes(documents[number]) == theirs["class"]
        assert (str(row["num_figures"]), str(row["num_sheets"])) == (theirs["no_figs"], theirs["sheets"])
        assert [image["file_name"] for image in row["images"]] == ast.literal_eval(theirs["file_names"])
        assert ",".join(row["inventor_countries"]) == theirs["inv_country"]
        # IMPACT takes the first `no_figs` paragraphs of the document and puts blanks between their pieces.
        ours = dict.fromkeys(figure["text"].replace(" ", "") for figure in row["figures"])
        first = ["".join(text.split()) for text in ast.literal_eval(theirs["fig_desc"])]
        others = {text.replace(" ", "") for text in row["other_paragraphs"]}
        if others.intersection(first):  # shifted: one of IMPACT's paragraphs describes no figure
            shifted.append(number)
            assert set(first) <= others.union(ours)
        else:
            assert first == list(ours)
    assert len(impact) == 29
    assert shifted == ["D915081", "D913174", "D939223", "D910058"]
