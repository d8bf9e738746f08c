"""Which weekly archives a source holds."""

import pytest

from patentdata.archives.sources import list_weeks, open_archive, read_source
from patentdata.errors import ConfigError, SourceError
from patentdata.store.weeks import parse_archive_name


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("I20210105.tar", ("I20210105", 0)),
        ("I20210209.ZIP", ("I20210209", 0)),
        ("i20210105_R2.Zip", ("I20210105", 2)),
        ("I20210105-SUPP.tar", None),
        ("I20211399.tar", None),
        ("ipg210105.zip", None),
        ("I20210105.tar.part", None),
    ],
)
def test_the_name_of_an_archive_says_week_and_revision(name, parsed):
    assert parse_archive_name(name) == parsed


def folder_of(tmp_path, *names):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    return str(tmp_path)


def test_the_newest_issue_of_each_week_is_listed_in_order_of_date(tmp_path):
    source = folder_of(tmp_path, "I20210209.ZIP", "I20210105.tar", "I20210105_r1.zip", "I20210105_r10.tar", "notes.txt")
    assert [week.file_name for week in list_weeks(source)] == ["I20210105_r10.tar", "I20210209.ZIP"]


def test_a_link_to_an_archive_is_an_archive_and_a_folder_of_that_name_is_not(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"xyz")
    (tmp_path / "source" / "I20210112.tar").mkdir(parents=True)
    (tmp_path / "source" / "I20210105.tar").symlink_to(tmp_path / "elsewhere")
    assert [(week.week, week.num_bytes) for week in list_weeks(str(tmp_path / "source"))] == [("I20210105", 3)]


def test_only_weeks_of_the_given_years_are_listed(tmp_path):
    source = folder_of(tmp_path, "I20210105.tar", "I20220104.tar")
    assert [week.week for week in list_weeks(source, years=[2022])] == ["I20220104"]


def test_a_folder_without_archives_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match="holds no weekly archive; their names look like"):
        list_weeks(str(tmp_path))


def test_a_folder_that_does_not_exist_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match=r"no folder .*nowhere"):
        list_weeks(str(tmp_path / "nowhere"))


# --- Folders of years, unpacked weeks, and names that fsspec reads otherwise ------------------------------------------


def test_weeks_in_folders_of_years_are_listed_and_those_in_other_folders_are_not(tmp_path):
    for folder in ("2021", "grants-2022", "old"):
        (tmp_path / folder).mkdir()
    folder_of(tmp_path / "2021", "I20210105.tar")
    folder_of(tmp_path / "grants-2022", "I20220104.tar")
    folder_of(tmp_path / "old", "I20200107.tar")
    source = folder_of(tmp_path, "I20230103.tar")
    assert [week.week for week in list_weeks(source)] == ["I20210105", "I20220104", "I20230103"]
    assert [week.week for week in list_weeks(source, years=[2022])] == ["I20220104"]


def test_an_unpacked_week_is_a_problem_unless_its_archive_is_there_too(tmp_path):
    source = folder_of(tmp_path, "I20210105.tar")
    for week in ("I20210105", "I20210112"):
        (tmp_path / week / "DESIGN").mkdir(parents=True)
    listing = read_source(source)
    assert [week.week for week in listing.weeks] == ["I20210105"]
    (problem,) = listing.problems
    folder = f"{tmp_path}/I20210112"
    assert (
        problem
        == f"I20210112 is unpacked in {folder}, which is not read; pack it with tar -cf I20210112.tar -C {folder} ."
    )
    assert read_source(source, years=[2022]).problems == ()


@pytest.mark.parametrize("source", [".", "I20210105"])
def test_a_source_of_unpacked_weeks_alone_is_an_error_that_says_how_to_pack_them(tmp_path, source):
    (tmp_path / "I20210105" / "DESIGN").mkdir(parents=True)
    with pytest.raises(
        SourceError, match=r"holds no weekly archive: I20210105 is unpacked in .*; pack it with tar -cf"
    ):
        list_weeks(str(tmp_path / source))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("I20210112.tar.gz", "unpack it to I20210112.tar"),
        ("i20210112_r1.TGZ", "unpack it to I20210112.tar"),
        ("I20210112.zip.part", "it is an unfinished download; fetch it again"),
        ("I20210112 (1).tar", "if it is the archive of the week, name it I20210112.tar"),
        ("I20210112", "if it is the archive of the week, name it I20210112.tar"),
    ],
)
def test_a_week_that_is_there_in_another_form_alone_is_a_problem(tmp_path, name, advice):
    source = folder_of(tmp_path, "I20210105.tar", "I20210105.tar.gz", "I20210119.txt", "I20210126-SUPP.tar", name)
    assert read_source(source).problems == (f"I20210112 is there only as {name}, which is not read; {advice}",)
    (tmp_path / "I20210105.tar").unlink()
    with pytest.raises(
        SourceError, match=r"holds no weekly archive: I2021.* is there only as .*; .* \(and 1 more weeks"
    ):
        read_source(source)


def test_an_address_that_no_file_system_has_is_named():
    with pytest.raises(ConfigError, match=r"cannot read the address nosuch://x: Protocol not known"):
        list_weeks("nosuch://x")


@pytest.mark.parametrize("name", ["x::o", "a%20b", "file::x", "#1?", "s3:x"])
def test_the_path_of_a_local_source_is_taken_literally(tmp_path, name):
    (tmp_path / name).mkdir()
    source = folder_of(tmp_path / name, "I20210105.tar")
    (archive,) = list_weeks(source)
    with open_archive(archive) as file:
        assert file.read() == b"x"
    assert archive.url == f"file://{tmp_path}/{name}/I20210105.tar" and len(archive.sha256()) == 64


def test_a_source_with_escapes_in_a_file_address_is_refused():
    with pytest.raises(
        ConfigError, match=r"file:///data/a%20b has escapes such as %20; write the path itself, /data/a b"
    ):
        list_weeks("file:///data/a%20b")


@pytest.mark.real
def test_the_folders_of_the_cases_are_read_or_named(real_data):
    cases = real_data.parent / "cases" / "26-years-and-unpacked-weeks"
    if not cases.is_dir():
        pytest.skip(f"no cases at {cases}")
    assert [week.week for week in list_weeks(str(cases / "years"))] == ["I20240102"]
    with pytest.raises(SourceError, match=r"I20240102 is unpacked in .*; pack it with tar -cf I20240102\.tar"):
        list_weeks(str(cases / "unpacked"))
