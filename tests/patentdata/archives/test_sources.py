"""Which weekly archives a source holds."""

import pytest

from patentdata.archives.sources import list_weeks
from patentdata.errors import SourceError
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
