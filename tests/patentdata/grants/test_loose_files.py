import gzip
import zipfile

import pyarrow.parquet as pq
import pytest

from patentdata.errors import ArchiveError, ConfigError
from patentdata.grants.config import GrantsConfig
from patentdata.grants.loose_files import write_grants
from patentdata.store import schemas
from tests.patentdata.archives.red_book import WEEK, packed, tar_of, zip_of
from tests.patentdata.grants.grant_xml import grant_xml, patdoc_xml


def numbers(path) -> list[str]:
    table = pq.read_table(path)
    assert table.schema.remove_metadata().equals(schemas.GRANTS)
    return table.column("patent_number").to_pylist()


def document(number: int) -> bytes:
    return grant_xml(number=f"D{number:07}")


def member(number: int) -> tuple[str, bytes]:
    stem = f"USD{number:07}-20240102"
    return f"{WEEK}/DESIGN/{stem}.ZIP", packed({f"{stem}.XML": document(number)}, stem=stem)


def test_every_kind_of_file_gives_its_grants_in_the_order_of_the_arguments(tmp_path):
    contents = {
        "single.xml": document(900001),
        "concatenated.xml": document(900002) + b"\n" + document(900003),
        "member.ZIP": member(900004)[1],
        "ipg240102.zip": zip_of({"ipg240102.xml": document(900005) + b"\n" + document(900006)}),
        "I20240102.tar": tar_of(dict([member(900007)])),
        "I20240109.ZIP": zip_of(dict([member(900008)])),
        "old.xml": patdoc_xml(),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    report = write_grants([tmp_path / name for name in contents], tmp_path / "out.parquet")
    assert numbers(tmp_path / "out.parquet")[:8] == [f"D90000{i}" for i in range(1, 9)]
    assert report.tally("documents").num_out == 9


def test_files_compressed_with_gzip_are_read(tmp_path):
    contents = {
        "ipg240102.xml.gz": document(900001) + document(900002),
        "I20240102.tar.gz": tar_of(dict([member(900003)])),
        "ipg240109.zip.gz": zip_of({"ipg240109.xml": document(900004)}),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(gzip.compress(data))
    write_grants([tmp_path / name for name in contents], tmp_path / "out.parquet")
    assert numbers(tmp_path / "out.parquet") == [f"D90000{i}" for i in range(1, 5)]


def test_a_gzip_file_that_is_cut_short_is_named_in_the_error(tmp_path):
    path = tmp_path / "ipg240102.xml.gz"
    path.write_bytes(gzip.compress(document(900001))[:-20])
    with pytest.raises(ArchiveError, match=r"ipg240102\.xml\.gz is cut short or damaged"):
        write_grants([path], tmp_path / "out.parquet")


@pytest.mark.parametrize(("start", "kind"), [(b"BZh91AY", "bzip2"), (b"\xfd7zXZ\0\0", "xz"), (b"%PDF-1.7", "a PDF")])
def test_a_file_of_another_format_is_named_and_the_others_are_read(tmp_path, start, kind):
    (tmp_path / "other").write_bytes(start + b"x" * 400)
    (tmp_path / "single.xml").write_bytes(document(900001))
    report = write_grants([tmp_path / "other", tmp_path / "single.xml"], tmp_path / "out.parquet")
    (drop,) = report.tally("documents").drops
    assert (drop.reason, drop.subject) == ("other_format", "other")
    assert kind in drop.detail
    assert numbers(tmp_path / "out.parquet") == ["D900001"]


def test_excluded_patents_of_files_are_counted(tmp_path):
    (tmp_path / "two.xml").write_bytes(document(900001) + document(900002))
    config = GrantsConfig(exclude=("USD0900001S1",))
    report = write_grants([tmp_path / "two.xml"], tmp_path / "out.parquet", config)
    assert report.tally("documents").dropped == {"excluded": 1}
    assert numbers(tmp_path / "out.parquet") == ["D900002"]


def test_a_patent_of_two_files_is_one_row_and_the_other_is_counted(tmp_path):
    (tmp_path / "a.xml").write_bytes(document(900001) + document(900002))
    (tmp_path / "b.xml").write_bytes(document(900003) + document(900001))
    report = write_grants([tmp_path / "a.xml", tmp_path / "b.xml"], tmp_path / "out.parquet")
    assert numbers(tmp_path / "out.parquet") == ["D900001", "D900002", "D900003"]
    (drop,) = report.tally("documents").drops
    assert (drop.reason, drop.subject) == ("repeated_number", f"b.xml!byte {len(document(900003))}")


def test_companions_in_a_zip_of_grants_are_no_documents(tmp_path):
    data = {"__MACOSX/._ipg240102.xml": b"\0\5\x16\7", "ipg240102.xml": document(900001)}
    (tmp_path / "ipg240102.zip").write_bytes(zip_of(data))
    report = write_grants([tmp_path / "ipg240102.zip"], tmp_path / "out.parquet")
    assert report.tally("documents").num_in == 1
    assert numbers(tmp_path / "out.parquet") == ["D900001"]


def test_an_archive_without_designs_is_counted_with_what_it_holds(tmp_path):
    (tmp_path / "ipg240102.tar").write_bytes(tar_of({"ipg240102.xml": document(900001)}))
    report = write_grants([tmp_path / "ipg240102.tar"], tmp_path / "out.parquet")
    (drop,) = report.tally("documents").drops
    assert drop.reason == "no_design"
    assert drop.detail.endswith("it holds 1 member, 1 at the top: ipg240102.xml")


def test_a_member_without_a_document_is_counted(tmp_path):
    name, _ = member(900001)
    (tmp_path / "I20240102.tar").write_bytes(tar_of({name: packed({"a.TIF": b"x"})}))
    report = write_grants([tmp_path / "I20240102.tar"], tmp_path / "out.parquet")
    assert report.tally("documents").dropped == {"broken_member": 1}
    assert numbers(tmp_path / "out.parquet") == []


@pytest.mark.parametrize("damage", ["bytes overwritten", "bytes cut out"])
def test_a_damaged_zip_of_grants_is_named_in_the_error(tmp_path, damage):
    path = tmp_path / "ipg240102.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ipg240102.xml", document(900001))
    data = bytearray(path.read_bytes())
    data[80:120] = b"\xff" * 40 if damage == "bytes overwritten" else b""
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"ipg240102\.zip!ipg240102\.xml is cut short or damaged"):
        write_grants([path], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_missing_file_is_named_in_the_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no file .*nowhere\.xml; name grant XML"):
        write_grants([tmp_path / "nowhere.xml"], tmp_path / "out.parquet")
