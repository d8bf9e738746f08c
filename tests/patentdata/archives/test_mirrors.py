"""Mirrors on the web: with an index, with a file that lists their archives, and with neither."""

import hashlib
import json
from pathlib import Path

import pytest

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import AccessConfig, list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.errors import ArchiveError, SourceError
from patentdata.store.folder import DataFolder
from tests.patentdata.archives.portal_server import BRISK, Fault, PortalServer
from tests.patentdata.archives.red_book import WEEK, design, tar_of, zip_of

MEMBERS = dict([design(900001), design(900002)])
UTILITIES = {f"{WEEK}/UTIL0001/US{number}-20240102.ZIP": b"u" * 90_000 for number in range(100, 130)}
ACCESS = AccessConfig(downloads=BRISK)
TAR, ZIP = tar_of(MEMBERS | UTILITIES), zip_of(MEMBERS | UTILITIES)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ODP_API_KEY", raising=False)
    with PortalServer({f"{WEEK}.tar": TAR, "I20240109.ZIP": ZIP}) as server:
        yield server


def weeks_of(source: str) -> list[tuple[str, int | None]]:
    return [(week.file_name, week.num_bytes) for week in list_weeks(source, access=ACCESS)]


WEEKS = [(f"{WEEK}.tar", len(TAR)), ("I20240109.ZIP", len(ZIP))]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_links_of_an_index_are_the_weeks_with_the_sizes_that_the_server_states(server, slash):
    """Whether or not the address of the folder ends in a slash."""
    server.files["../I20249999.tar"] = b"x"
    server.files["notes.html"] = b"x"
    assert weeks_of(f"{server.store_url}/mirror{slash}") == WEEKS


LISTINGS = {
    "SHA256SUMS": f"{'0' * 64}  {WEEK}.tar\n{'1' * 64} *I20240109.ZIP\n{'2' * 64}  readme\n",
    "weeks.txt": f"# weeks\n{WEEK}.tar\n\nsub/../I20240109.ZIP\n",
    "index.json": json.dumps([{"name": f"{WEEK}.tar", "size": 5}, {"name": "I20240109.ZIP", "type": "file"}]),
}


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("is_named", [True, False])
def test_without_an_index_a_file_that_lists_the_weeks_is_read(server, name, is_named):
    server.files[name] = LISTINGS[name].encode()
    assert weeks_of(f"{server.store_url}/bare/{name if is_named else ''}") == WEEKS
    asked = {request.path for request in server.asked if request.method == "GET"}
    assert not any(path.endswith((".tar", ".ZIP")) for path in asked)  # names are not guessed


def test_if_nothing_lists_weeks_the_error_says_which_file_to_put_there(server):
    with pytest.raises(SourceError, match=r"lists weekly archives such as .*; put one of SHA256SUMS, index\.json"):
        list_weeks(f"{server.store_url}/bare/", access=ACCESS)


def test_a_mirror_that_cannot_be_reached_is_named_without_its_password():
    with pytest.raises(SourceError, match=r"no connection to 127\.0\.0\.1:9 for the listing http://127\.0\.0\.1:9/x/"):
        list_weeks("http://me:secret@127.0.0.1:9/x/", access=ACCESS)


def keep(server: PortalServer, data_dir: Path, config: ArchivesConfig = ArchivesConfig()) -> dict:  # noqa: B008
    folder = DataFolder(data_dir)
    for week in list_weeks(f"{server.store_url}/mirror/", access=ACCESS):
        keep_archive(folder, week, config, ACCESS)
    return folder.read_json(folder.path("archives", f"{WEEK}.json"))


def test_from_a_mirror_the_same_bytes_are_kept_as_from_a_folder_though_it_is_cut_and_read_only_as_far_as_needed(
    server, tmp_path
):
    source = tmp_path / "source"
    source.mkdir()
    for name, data in server.files.items():
        (source / name).write_bytes(data)
        (week,) = (week for week in list_weeks(str(source)) if week.file_name == name)
        keep_archive(DataFolder(tmp_path / "local"), week, ArchivesConfig())
    server.store_faults.extend([None, None, None, Fault(cut_after=600), Fault(status=503), Fault(status=429)])
    assert keep(server, tmp_path / "data")["complete"]["read_to"] == "end of DESIGN"
    for name in (f"{WEEK}.tar", "I20240109.tar"):
        kept, local = (tmp_path / folder / "archives" / name for folder in ("data", "local"))
        assert kept.read_bytes() == local.read_bytes()


def test_the_entity_tag_of_a_mirror_shows_whether_a_week_changed(server, tmp_path):
    keep(server, tmp_path)
    asked = len(server.stretches())
    keep(server, tmp_path)
    assert len(server.stretches()) == asked + 1  # the index
    server.files[f"{WEEK}.tar"] = tar_of(dict([design(900001), design(900003)]) | UTILITIES)
    assert keep(server, tmp_path)["complete"]["numbers"]["last"] == 900003


def test_a_listed_hash_is_checked_when_a_week_is_read_whole(server, tmp_path):
    server.files["SHA256SUMS"] = f"{hashlib.sha256(TAR).hexdigest()}  {WEEK}.tar\n".encode()
    (week,) = list_weeks(f"{server.store_url}/bare/", access=ACCESS)
    keep_archive(DataFolder(tmp_path), week, ArchivesConfig(whole=True), ACCESS)
    server.files[f"{WEEK}.tar"] = TAR[:-1] + b"x"
    server.files["SHA256SUMS"] = f"{'0' * 64}  {WEEK}.tar\n".encode()
    (week,) = list_weeks(f"{server.store_url}/bare/", access=ACCESS)
    with pytest.raises(ArchiveError, match=r"another hash than its source lists|is damaged"):
        keep_archive(DataFolder(tmp_path), week, ArchivesConfig(whole=True), ACCESS)


def test_the_note_of_a_mirrored_week_holds_no_password(server, tmp_path):
    source = f"{server.store_url}/mirror/".replace("http://", "http://me:secret@")
    for week in list_weeks(source, access=ACCESS):
        keep_archive(DataFolder(tmp_path), week, ArchivesConfig(), ACCESS)
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert all("authorization" in asked.headers for asked in server.asked)


def test_the_weeks_of_a_mirror_with_folders_of_years_are_those_of_all_of_them(server):
    server.files["I20230103.tar"], server.has_years = TAR, True
    assert weeks_of(f"{server.store_url}/mirror/") == [("I20230103.tar", len(TAR)), *WEEKS]
    assert not any(asked.path.endswith("/old/") for asked in server.asked)


def test_a_listing_that_is_too_long_to_be_read_whole_is_refused(server, monkeypatch):
    monkeypatch.setattr("patentdata.archives.mirrors._MOST_LISTING_BYTES", 100)
    server.files["weeks.txt"] = b"I20240102.tar\n" * 20
    with pytest.raises(SourceError, match=r"the listing .*weeks\.txt is larger than .*; name a shorter one as source"):
        list_weeks(f"{server.store_url}/bare/weeks.txt", access=ACCESS)
