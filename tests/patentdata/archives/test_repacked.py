"""Weeks that were packed again by hand: read if they can be, and otherwise an error that says what is in them."""

import json
import zipfile

import pytest

from patentdata.archives.designs import ArchivesConfig, read_drawings, read_grant_document, read_kept, unpack_member
from patentdata.archives.kept import is_kept, provenance_of
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import ArchiveError
from patentdata.store.folder import DataFolder
from patentdata.store.report import Report
from patentdata.store.weeks import kept_path, kept_weeks, note_path, read_note
from tests.patentdata.archives.red_book import WEEK, design, packed, tar_of, with_method, zip_of

NAME, DATA = design(900001)
STEM = "USD0900001-20240102"
UTILITY = f"{WEEK}/UTIL0115/US11500001-20240102.ZIP"
WEEK_TAR = tar_of({NAME: DATA, UTILITY: b"utility"})


def keep_week(tmp_path, archive: bytes, *, name: str = f"{WEEK}.tar") -> tuple[DataFolder, Report]:
    """The data folder that keeps an archive, and the report."""
    source = tmp_path / "source"
    source.mkdir()
    (source / name).write_bytes(archive)
    folder = DataFolder(tmp_path / "data")
    return folder, keep_archive(folder, *list_weeks(str(source)), ArchivesConfig())


def members_of(folder: DataFolder) -> dict[str, bytes]:
    with folder.open(kept_path(folder, WEEK)) as archive:
        return {stem: read() for stem, read in read_kept(archive)}


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(zip_of({NAME.replace("/", "\\"): DATA, UTILITY.replace("/", "\\"): b"u"}), id="zip-backslashes"),
        pytest.param(tar_of({NAME.replace("/", "\\"): DATA, UTILITY.replace("/", "\\"): b"u"}), id="tar-backslashes"),
        pytest.param(zip_of({f".\\{WEEK}\\": b"", NAME.replace("/", "\\"): DATA, UTILITY: b"u"}), id="folder-entry"),
        pytest.param(tar_of({f"./{NAME}": DATA, f"./{UTILITY}": b"u"}), id="dot"),
        pytest.param(tar_of({f"{STEM}.ZIP": DATA, UTILITY: b"u"}), id="no-folders"),
        pytest.param(tar_of({f"{WEEK}/{STEM}.ZIP": DATA, UTILITY: b"u"}), id="no-DESIGN-folder"),
        pytest.param(zip_of({f"{WEEK}.tar": WEEK_TAR}), id="tar-in-zip"),
        pytest.param(zip_of({f"{WEEK}.tar": WEEK_TAR}, zipfile.ZIP_DEFLATED), id="deflated-tar-in-zip"),
        pytest.param(zip_of({f"down\\{WEEK}.TAR": WEEK_TAR}), id="tar-in-folder-of-zip"),
        pytest.param(tar_of({f"{WEEK}/{WEEK}.tar": WEEK_TAR}), id="tar-in-tar"),
    ],
)
def test_a_week_packed_in_another_way_is_kept_as_the_same_bytes(tmp_path, archive):
    folder, report = keep_week(tmp_path, archive)
    assert members_of(folder) == {STEM: DATA}
    assert (report.tally("members").num_in, report.tally("members").dropped) == (2, {"not_a_design_util": 1})


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (
            tar_of({UTILITY: b"u", f"{WEEK}/PLANT/USPP1-20240102.ZIP": b"p"}),
            rf"\(1 not_a_design_plant, 1 not_a_design_util\); it holds 2 members, 1 in {WEEK}/UTIL0115, 1 in "
            rf"{WEEK}/PLANT: {UTILITY}, {WEEK}/PLANT/USPP1-20240102\.ZIP; a week holds DESIGN/",
        ),
        (
            tar_of({f"{WEEK}/DESIGN/{STEM}/{STEM}{ending}": b"x" for ending in (".XML", "-D00001.TIF")}),
            rf"\(2 unpacked_member\).* 2 in {WEEK}/DESIGN: .*; pack the files of each patent into a ZIP, {STEM}\.ZIP",
        ),
        (
            tar_of({f"/data/{NAME}": DATA}),
            rf"\(1 unsafe_name\); it holds 1 member, 1 in /data: /data/{NAME}; .* relative names",
        ),
        (
            with_method(zip_of({NAME: DATA}), 9, of=NAME),
            r"\(1 unknown_compression\).*; compressed by Deflate64 \(method 9\); repack it with the method Deflate",
        ),
        (zip_of({f"{WEEK}.ZIP": zip_of({NAME: DATA})}), rf"it holds 1 member, 1 at the top: {WEEK}\.ZIP; "),
        (tar_of({f"__MACOSX/{WEEK}/DESIGN/._{STEM}.ZIP": b"x"}), r"\(1 companion_file\)"),
    ],
    ids=["no-designs", "unpacked", "absolute", "deflate64", "zip-in-zip", "companions"],
)
def test_a_week_of_which_nothing_was_kept_is_an_error_that_says_what_it_holds(tmp_path, archive, told):
    with pytest.raises(ArchiveError, match=rf"^{WEEK}\.tar: none of its members was kept .*{told}"):
        keep_week(tmp_path, archive)
    assert kept_weeks(DataFolder(tmp_path / "data")) == []


def test_an_issue_of_which_nothing_was_kept_does_not_replace_the_one_before(tmp_path):
    folder, _ = keep_week(tmp_path, WEEK_TAR)
    (tmp_path / "source" / f"{WEEK}_r1.tar").write_bytes(tar_of({UTILITY: b"u"}))
    with pytest.raises(ArchiveError, match="none of its members was kept"):
        keep_archive(folder, *list_weeks(str(tmp_path / "source")), ArchivesConfig())
    assert members_of(folder) == {STEM: DATA}


def test_a_tar_cut_short_within_a_zip_is_an_error_that_names_it(tmp_path):
    archive = zip_of({f"{WEEK}.tar": tar_of(dict([design(900001), design(900002)]))[:2000]})
    with pytest.raises(ArchiveError, match=rf"^{WEEK}\.zip!{WEEK}\.tar is cut short"):
        keep_week(tmp_path, archive, name=f"{WEEK}.zip")


def test_a_tar_within_a_zip_that_unpacks_beyond_all_bounds_is_not_read_through(tmp_path):
    bomb = tar_of({NAME: DATA, UTILITY: bytes(80 << 20)})
    with pytest.raises(ArchiveError, match=r"none of its members was kept \(1 not_a_design_other\)"):
        keep_week(tmp_path, zip_of({f"{WEEK}.tar": bomb}, zipfile.ZIP_DEFLATED))


def test_a_tar_within_a_tar_within_a_tar_is_not_looked_into(tmp_path):
    nested = tar_of({"b.tar": tar_of({"a.tar": WEEK_TAR})})
    with pytest.raises(ArchiveError, match="none of its members was kept"):
        keep_week(tmp_path, nested)


# --- Files that the packing system added ------------------------------------------------------------------------------


def test_companion_files_of_an_archive_are_left_out_and_those_within_its_members_are_counted(tmp_path):
    member = packed({f"{STEM}.XML": b"<us-patent-grant/>", f"._{STEM}.XML": b"\0\5\x16\7", ".DS_Store": b"x"})
    companions = {f"{WEEK}/DESIGN/._{STEM}.ZIP": b"\0\5\x16\7", f"__MACOSX/{NAME}": DATA, f"{WEEK}/Thumbs.db": b"x"}
    folder, report = keep_week(tmp_path, tar_of({**companions, NAME: member}))
    assert members_of(folder) == {STEM: member}
    assert report.tally("members").dropped == {"companion_file": 3}
    assert report.counts == {"companions_in_members": 2}


def test_companion_files_are_not_drawings_and_not_documents():
    member = zip_of(
        {
            f"__MACOSX/{STEM}/._{STEM}-D00001.TIF": b"\0\5\x16\7",
            f"{STEM}/._{STEM}.XML": b"\0\5\x16\7",
            f"{STEM}/{STEM}-D00001.TIF": b"II*\0",
            f"{STEM}/{STEM}.XML": b"<us-patent-grant/>",
        }
    )
    assert read_drawings(member) == {f"{STEM}-D00001.TIF": b"II*\0"}
    assert read_grant_document(member) == (f"{STEM}.XML", b"<us-patent-grant/>")


def test_names_with_backslashes_within_a_member_lose_their_folders_too():
    member = zip_of({f"{STEM}\\": b"", f"{STEM}\\a.XML": b"<a/>", f"{STEM}\\sub\\a.XML": b"<b/>"})
    assert unpack_member(member, ArchivesConfig()) == {"a.XML": b"<a/>", f"{STEM}/sub/a.XML": b"<b/>"}


def test_of_several_documents_the_one_named_as_the_member_is_read():
    member = packed({"a-list.XML": b"<list/>", f"{STEM.lower()}.xml": b"<us-patent-grant/>"})
    assert read_grant_document(member, STEM) == (f"{STEM.lower()}.xml", b"<us-patent-grant/>")
    with pytest.raises(ArchiveError, match="2 XML documents in the member, expected 1 or one named as the member"):
        read_grant_document(member, "USD0900002-20240102")


# --- Weeks that an earlier version kept -------------------------------------------------------------------------------


def test_a_kept_week_without_members_does_not_count_as_kept(tmp_path):
    folder, _ = keep_week(tmp_path, WEEK_TAR)
    note = read_note(folder, WEEK)
    note["report"]["tallies"]["members"] |= {"num_in": 1, "num_out": 0, "left_out": {"not_a_design_util": 1}}
    folder.write_json(note_path(folder, WEEK), note)
    assert read_note(folder, WEEK) is None


@pytest.mark.parametrize(
    ("drops", "left_out", "is_alike"),
    [
        ([], {"not_a_design_util": 1}, True),
        ([["broken_member", "x"]], {}, True),
        ([["unexpected_name", f"{WEEK}\\DESIGN\\x.ZIP"]], {}, False),
        ([], {"not_a_design_other": 1}, False),
    ],
)
def test_a_week_of_the_version_before_is_kept_unless_it_held_names_that_are_read_now(drops, left_out, is_alike):
    archive = WeeklyArchive(week=WEEK, revision=0, file_name=f"{WEEK}.tar", url=f"https://host/{WEEK}.tar")
    tally = {"num_in": 2, "num_out": 1, "drops": drops, "left_out": left_out}
    note = {
        "made": provenance_of(ArchivesConfig()).to_dict() | {"version": 1},
        "source": archive.stated() | {"sha256": None},
        "report": {"stage": "archives", "name": WEEK, "tallies": {"members": tally}, "counts": {}},
    }
    assert is_kept(json.loads(json.dumps(note)), archive, ArchivesConfig()) is is_alike


# --- The cases met in the field ---------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("case", ["03-backslash-names", "04-appledouble-sheets", "05-macosx-folder-in-members"])
def test_every_design_of_a_case_is_kept_with_its_document_and_its_drawings(real_data, tmp_path, case):
    source = real_data.parent / "cases" / case
    if not source.is_dir():
        pytest.skip(f"no cases at {source.parent}")
    (archive,) = list_weeks(str(source))
    folder = DataFolder(tmp_path / "data")
    report = keep_archive(folder, archive, ArchivesConfig())
    assert (report.tally("members").num_out, report.tally("members").dropped) == (2, {"not_a_design_util": 1})
    members = members_of(folder)
    assert [read_grant_document(data, stem)[0] for stem, data in members.items()] == [f"{stem}.XML" for stem in members]
    assert [len(read_drawings(data)) for data in members.values()] == [6, 3]
    assert all(data.startswith((b"II*", b"MM\0")) for read in members.values() for data in read_drawings(read).values())


@pytest.mark.real
def test_the_weeks_of_the_cases_that_cannot_be_read_fail_by_their_contents(real_data, tmp_path):
    cases = real_data.parent / "cases"
    if not cases.is_dir():
        pytest.skip(f"no cases at {cases}")
    folder = DataFolder(tmp_path / "data")

    def outcome_of(archive: WeeklyArchive) -> str:
        try:
            return f"{keep_archive(folder, archive, ArchivesConfig()).tally('members').num_out} kept"
        except ArchiveError as error:
            return str(error)

    in_zip, no_folder, absolute, unpacked = map(outcome_of, list_weeks(str(cases / "07-week-without-designs")))
    assert (in_zip, no_folder) == ("1 kept", "1 kept")
    assert "1 unsafe_name" in absolute and "4 unpacked_member" in unpacked
    (deflate64,) = map(outcome_of, list_weeks(str(cases / "06-deflate64-week")))
    assert "Deflate64 (method 9); repack it" in deflate64
