"""Whether an archive has to be fetched, by the note of what is kept of its week."""

import dataclasses

import pytest

from patentdata.archives import kept
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.kept import is_kept, provenance_of, reason_to_fetch
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import kept_path, read_note
from tests.patentdata.archives.red_book import WEEK, design, tar_of

ARCHIVE = WeeklyArchive(
    week=WEEK, revision=0, file_name=f"{WEEK}.tar", url=f"https://host/{WEEK}.tar", num_bytes=5_000, etag="this"
)
CONFIG = ArchivesConfig()


def note_of(archive: WeeklyArchive, *, sha256: str | None = None, read_to: str = "end mark") -> dict:
    """A note as the stage writes it, as far as the rule reads it."""
    return {
        "made": provenance_of(CONFIG).to_dict(),
        "source": archive.stated() | {"sha256": sha256},
        "complete": {"read_to": read_to},
    }


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ({}, True),
        ({"file_name": f"{WEEK}.TAR"}, True),
        ({"num_bytes": None}, True),
        ({"etag": None}, True),
        ({"etag": "another"}, False),
        ({"num_bytes": 5_001}, False),
        ({"revision": 1, "file_name": f"{WEEK}_r1.tar"}, False),
        ({"modified": "2024-01-09T00:00:00"}, True),  # no time was stated before
    ],
)
def test_an_archive_on_a_server_is_kept_if_its_source_states_the_same_of_it(changed, is_same):
    assert is_kept(note_of(ARCHIVE), dataclasses.replace(ARCHIVE, **changed), CONFIG) is is_same


def test_an_older_issue_does_not_replace_a_newer_one_that_is_kept():
    newer = dataclasses.replace(ARCHIVE, revision=1, file_name=f"{WEEK}_r1.tar")
    assert is_kept(note_of(newer), ARCHIVE, CONFIG)


@pytest.mark.parametrize(("listed", "is_same"), [("1" * 64, True), ("2" * 64, False), (None, True)])
def test_another_listed_hash_is_another_archive(listed, is_same):
    archive = dataclasses.replace(ARCHIVE, listed_sha256=listed)
    assert is_kept(note_of(ARCHIVE, sha256="1" * 64), archive, CONFIG) is is_same
    assert is_kept(note_of(ARCHIVE, sha256=None), archive, CONFIG)  # not read whole, so there is nothing to compare


def test_an_archive_read_to_the_end_of_its_designs_is_not_kept_if_archives_are_read_whole():
    whole = ArchivesConfig(whole=True)
    assert is_kept(note_of(ARCHIVE, read_to="end of DESIGN"), ARCHIVE, CONFIG)
    assert not is_kept(note_of(ARCHIVE, read_to="end of DESIGN"), ARCHIVE, whole)
    assert is_kept(note_of(ARCHIVE, read_to="end mark"), ARCHIVE, whole)


def test_what_was_kept_with_other_bounds_is_not_kept_for_these():
    assert not is_kept(note_of(ARCHIVE), ARCHIVE, ArchivesConfig(max_entries=4_999))
    assert is_kept(note_of(ARCHIVE), ARCHIVE, ArchivesConfig(max_missing_share=0.5))  # which is not a bound on members


def test_what_was_kept_by_another_version_of_the_stage_is_not_kept(monkeypatch):
    note = note_of(ARCHIVE)
    monkeypatch.setattr(kept, "ARCHIVES_VERSION", kept.ARCHIVES_VERSION + 1)
    assert not is_kept(note, ARCHIVE, CONFIG)
    assert reason_to_fetch(note, ARCHIVE, CONFIG) == "it was kept by another version of the stage or with other bounds"


@pytest.mark.parametrize("note", [None, {}, note_of(ARCHIVE) | {"source": None}, note_of(ARCHIVE) | {"source": {}}])
def test_without_a_note_that_says_what_was_kept_an_archive_is_not_kept(note):
    assert not is_kept(note, ARCHIVE, CONFIG)


@pytest.fixture
def walked(tmp_path):
    """A source folder with one archive, and a data folder that keeps it."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / f"{WEEK}.tar").write_bytes(tar_of(dict([design(900001)])))
    folder = DataFolder(tmp_path / "data")
    keep_archive(folder, *list_weeks(str(tmp_path / "source")), CONFIG)
    return tmp_path / "source", folder


def test_an_archive_on_this_machine_is_known_by_its_bytes_whatever_its_time(walked):
    source, folder = walked
    path = source / f"{WEEK}.tar"
    path.touch()
    (archive,) = list_weeks(str(source))
    assert is_kept(read_note(folder, WEEK), archive, CONFIG)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    assert not is_kept(read_note(folder, WEEK), archive, CONFIG)
    path.write_bytes(data)
    assert is_kept(read_note(folder, WEEK), archive, CONFIG)
    path.unlink()
    assert not is_kept(read_note(folder, WEEK), archive, CONFIG)


def test_an_archive_on_this_machine_is_not_read_again_to_see_that_it_is_kept(walked, monkeypatch):
    source, folder = walked
    (archive,) = list_weeks(str(source))
    monkeypatch.setattr("patentdata.store.hashes.hashlib", None)  # hashing anything is an error
    assert is_kept(read_note(folder, WEEK), archive, CONFIG)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_the_note_of_a_tar_that_is_missing_or_cut_does_not_count(walked, damage):
    _, folder = walked
    assert read_note(folder, WEEK) is not None
    if damage == "missing":
        folder.remove(kept_path(folder, WEEK))
    else:
        with folder.writing(kept_path(folder, WEEK)) as file:
            file.write(b"cut")
    assert read_note(folder, WEEK) is None


def test_why_an_archive_is_read_and_that_one_is_skipped_is_logged(walked, caplog):
    source, folder = walked
    (archive,) = list_weeks(str(source))
    caplog.set_level("INFO", "patentdata")
    keep_archive(folder, archive, CONFIG)
    keep_archive(folder, archive, ArchivesConfig(max_entries=4_999))
    assert caplog.messages == [
        f"{WEEK} archives: skipped, it is kept already",
        f"{WEEK} archives: reading {WEEK}.tar, since it was kept by another version of the stage or with other bounds",
    ]
