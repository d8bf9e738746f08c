import logging

import pyarrow.parquet as pq
import pytest

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.errors import GrantParseError
from patentdata.grants import stage
from patentdata.grants.config import GrantsConfig
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import table_path
from tests.patentdata.archives.red_book import WEEK, packed, tar_of
from tests.patentdata.grants.grant_xml import grant_xml


def kept(tmp_path, documents: dict[str, bytes]) -> DataFolder:
    """A data folder with one kept week; `documents`: number of a member, seven digits → the XML in it."""
    members = {}
    for number, xml in documents.items():
        stem = f"USD{number}-20240102"
        members[f"{WEEK}/DESIGN/{stem}.ZIP"] = packed({f"{stem}.XML": xml}, stem=stem)
    source = tmp_path / "source"
    source.mkdir()
    (source / f"{WEEK}.tar").write_bytes(tar_of(members))
    folder = DataFolder(tmp_path / "data")
    keep_archive(folder, list_weeks(str(source))[0], ArchivesConfig())
    return folder


def numbers(folder: DataFolder) -> list[str]:
    return pq.read_table(table_path(folder, "grants", WEEK)).column("patent_number").to_pylist()


def test_rows_are_in_order_of_number_and_a_broken_document_is_dropped_with_its_reason(tmp_path):
    folder = kept(
        tmp_path,
        {
            "0999999": grant_xml(number="D1000000"),
            "0900002": grant_xml(number="D0900002", title=""),
            "0900001": grant_xml(number="D0900001"),
        },
    )
    tally = stage.parse_archive(folder, WEEK).tally("grants")
    assert numbers(folder) == ["D900001", "D1000000"]
    assert (tally.num_in, tally.num_out, tally.dropped) == (3, 2, {"no_title": 1})


def test_of_several_documents_with_one_number_the_first_is_kept(tmp_path):
    folder = kept(
        tmp_path, {"0900001": grant_xml(number="D0900001"), "0900002": grant_xml(number="D0900001", title="Table")}
    )
    tally = stage.parse_archive(folder, WEEK).tally("grants")
    assert pq.read_table(table_path(folder, "grants", WEEK)).column("title").to_pylist() == ["Chair"]
    assert [(drop.reason, drop.subject.partition("/")[0]) for drop in tally.drops] == [
        ("repeated_number", "USD0900002-20240102")
    ]


def test_the_log_says_whether_a_week_is_parsed_or_skipped_and_why(tmp_path, caplog, monkeypatch):
    folder = kept(tmp_path, {"0900001": grant_xml()})
    with caplog.at_level(logging.INFO, logger=stage.__name__):
        stage.parse_archive(folder, WEEK)
        stage.parse_archive(folder, WEEK)
        monkeypatch.setattr(stage, "GRANTS_VERSION", stage.GRANTS_VERSION + 1)
        stage.parse_archive(folder, WEEK)
    assert [record.getMessage() for record in caplog.records if record.name == stage.__name__] == [
        f"{WEEK} grants: parsing, since it has no table",
        f"{WEEK} grants: skipped, its table is done already",
        f"{WEEK} grants: parsing, since its table is damaged or of another archive or version",
    ]


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_table_is_written_again_with_the_same_bytes(tmp_path, damage):
    folder = kept(tmp_path, {"0900001": grant_xml()})
    stage.parse_archive(folder, WEEK)
    table = tmp_path / "data" / "grants" / f"{WEEK}.parquet"
    whole = table.read_bytes()
    if damage == "cut":
        table.write_bytes(whole[:-10])
    else:
        table.unlink()
    stage.parse_archive(folder, WEEK)
    assert table.read_bytes() == whole


def test_an_excluded_patent_is_counted_and_has_no_row(tmp_path):
    folder = kept(tmp_path, {f"090000{i}": grant_xml(number=f"D090000{i}") for i in (1, 2, 3)})
    stage.parse_archive(folder, WEEK)
    report = stage.parse_archive(folder, WEEK, GrantsConfig(exclude=("Des. 900,002",)))
    assert numbers(folder) == ["D900001", "D900003"]
    assert report.tally("grants").dropped == {"excluded": 1}
    stage.parse_archive(folder, WEEK)
    assert numbers(folder) == ["D900001", "D900002", "D900003"]


def test_excluding_patents_of_other_weeks_leaves_the_table_as_it_is(tmp_path):
    folder = kept(tmp_path, {"0900001": grant_xml(number="D0900001")})
    stage.parse_archive(folder, WEEK)
    table = tmp_path / "data" / "grants" / f"{WEEK}.parquet"
    before = table.read_bytes()
    stage.parse_archive(folder, WEEK, GrantsConfig(exclude=("D1", "D2")))
    assert table.read_bytes() == before


def test_a_patent_is_excluded_by_the_number_in_its_document_as_well(tmp_path):
    folder = kept(tmp_path, {"0900001": grant_xml(number="D0900009"), "0900002": grant_xml(number="D0900002")})
    stage.parse_archive(folder, WEEK, GrantsConfig(exclude=("D900009",)))
    assert numbers(folder) == ["D900002"]


def test_a_week_of_which_no_patent_can_be_read_is_an_error_and_leaves_no_table(tmp_path):
    folder = kept(tmp_path, {"0900001": grant_xml(title=""), "0900002": grant_xml(title="")})
    with pytest.raises(
        GrantParseError, match=rf"{WEEK}: none of 2 patents could be read \({{'no_title': 2}}\); the first"
    ):
        stage.parse_archive(folder, WEEK)
    assert not (tmp_path / "data" / "grants" / f"{WEEK}.parquet").exists()


def test_a_week_of_which_every_patent_is_excluded_is_an_empty_table(tmp_path):
    folder = kept(tmp_path, {"0900001": grant_xml(number="D0900001")})
    stage.parse_archive(folder, WEEK, GrantsConfig(exclude=("D900001",)))
    assert numbers(folder) == []


def test_repairs_are_counted_in_the_report_of_the_week(tmp_path):
    folder = kept(tmp_path, {"0900001": grant_xml(title="Watch & strap", uspc_further=("D07511", "odd"))})
    counts = stage.parse_archive(folder, WEEK).counts
    assert (counts["repaired_ampersand"], counts["unreadable_class"]) == (1, 1)
