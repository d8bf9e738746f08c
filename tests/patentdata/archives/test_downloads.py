"""Downloads from servers that fail: the same bytes are kept in the end, or a sentence says why not."""

import dataclasses
import hashlib
import io
import random
import re
import resource
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.downloads import DownloadsConfig, shown_url
from patentdata.archives.remote_file import in_progress
from patentdata.archives.sources import AccessConfig, list_weeks, open_archive
from patentdata.archives.stage import keep_archive
from patentdata.errors import ArchiveError, OutputError, SourceClosedError, SourceError
from patentdata.store.folder import DataFolder
from tests.patentdata.archives.portal_server import BRISK, KEY, Fault, PortalServer, access_to, listed, opened
from tests.patentdata.archives.red_book import WEEK, design, packed, tar_of, zip_of

pytestmark = pytest.mark.slow

DESIGNS = dict(design(number) for number in range(900_001, 900_007))
UTILITIES = {f"{WEEK}/UTIL0001/US{number}-20240102.ZIP": bytes([number % 251]) * 90_000 for number in range(100, 130)}
TAR, ZIP = tar_of(DESIGNS | UTILITIES), zip_of(DESIGNS | UTILITIES)
LARGE_ZIP = zip_of(
    DESIGNS | {name: data * 2 for name, data in UTILITIES.items()}
)  # longer than the megabyte that is fetched for the directory
END_OF_DESIGNS = TAR.index(next(iter(UTILITIES)).encode())


@pytest.fixture(autouse=True)
def _own_record(monkeypatch, tmp_path):
    monkeypatch.setenv("ODP_API_KEY", KEY)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def server_():
    with PortalServer({}) as server:
        yield server


@pytest.fixture
def server(server_):
    """The module's server, with a week in a tar and nothing wrong."""
    reset(server_, {f"{WEEK}.tar": TAR})
    return server_


def reset(server: PortalServer, files: dict[str, bytes]) -> None:
    server.files, server.rows, server.phantoms, server.count, server.key = dict(files), {}, [], None, KEY
    server.unlisted.clear()
    server.takes_ranges = server.states_etag = server.redirects = True
    for record in (server.portal_faults, server.store_faults, server.asked):
        record.clear()


def keep(server: PortalServer, data_dir: Path, config: ArchivesConfig = ArchivesConfig()) -> dict:  # noqa: B008
    """Keep the server's one week and return its note; an error leaves no tar."""
    folder = DataFolder(data_dir)
    try:
        keep_archive(folder, listed(server), config, access_to(server))
    except Exception:
        assert not list(data_dir.rglob("*.tar*"))
        raise
    return folder.read_json(folder.path("archives", f"{WEEK}.json"))


@pytest.fixture(scope="module")
def kept_bytes(tmp_path_factory) -> bytes:
    """The tar as it is kept from an archive on this machine."""
    source = tmp_path_factory.mktemp("source")
    (source / f"{WEEK}.tar").write_bytes(TAR)
    return kept_from(str(source), tmp_path_factory.mktemp("kept"))


def kept_from(source: str, data_dir: Path) -> bytes:
    (week,) = list_weeks(source)
    keep_archive(DataFolder(data_dir), week, ArchivesConfig())
    return (data_dir / "archives" / f"{WEEK}.tar").read_bytes()


def tar_in(data_dir: Path) -> bytes:
    return (data_dir / "archives" / f"{WEEK}.tar").read_bytes()


# --- Only what is needed ----------------------------------------------------------------------------------------------


def test_reading_stops_after_the_designs_and_the_note_says_how_completeness_was_judged(server, tmp_path, kept_bytes):
    note = keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes
    complete = note["complete"]
    assert complete["read_to"] == "end of DESIGN"
    assert complete["num_bytes_read"] <= END_OF_DESIGNS + 64 * 512
    assert complete["numbers"] == {"first": 900001, "last": 900006, "num": 6, "num_missing": 0, "missing": []}
    assert (complete["num_bytes"], complete["num_bytes_listed"], note["source"]["sha256"]) == (len(TAR), len(TAR), None)


def test_a_week_read_whole_is_hashed_and_read_whole_only_once(server, tmp_path, kept_bytes):
    keep(server, tmp_path)
    note = keep(server, tmp_path, ArchivesConfig(whole=True))
    assert note["complete"]["read_to"] == "end mark" and note["source"]["sha256"] == hashlib.sha256(TAR).hexdigest()
    assert tar_in(tmp_path) == kept_bytes
    assert keep(server, tmp_path, ArchivesConfig(whole=True)) == keep(server, tmp_path) == note
    assert len(server.downloads()) == 2


@pytest.mark.parametrize(
    ("order", "read_to"),
    [
        ([*UTILITIES, *DESIGNS], "end mark"),
        ([*list(UTILITIES)[:5], *DESIGNS, *list(UTILITIES)[5:]], "end of DESIGN"),
        ([*list(DESIGNS)[:2], *list(DESIGNS)[4:], *UTILITIES, *list(DESIGNS)[2:4]], "end mark"),
    ],
)
def test_wherever_the_designs_are_in_the_archive_all_are_kept(server, tmp_path, order, read_to):
    members = DESIGNS | UTILITIES
    server.files[f"{WEEK}.tar"] = tar_of({name: members[name] for name in order})
    note = keep(server, tmp_path)
    assert note["complete"]["read_to"] == read_to and note["complete"]["numbers"]["num"] == 6


def test_designs_of_the_supplementary_tree_are_not_kept(server, tmp_path, kept_bytes):
    supplement = {f"{WEEK}-SUPP/DESIGN/USD0950000-20240102-SUPP.ZIP": b"x"}
    server.files[f"{WEEK}.tar"] = tar_of(DESIGNS | supplement | UTILITIES)
    assert keep(server, tmp_path)["complete"]["read_to"] == "end of DESIGN"
    assert tar_in(tmp_path) == kept_bytes


@pytest.mark.parametrize(("num_withdrawn", "read_to"), [(1, "end of DESIGN"), (3, "end mark")])
def test_a_withdrawn_number_is_noted_and_if_many_are_missing_the_archive_is_read_to_its_end(
    server, tmp_path, num_withdrawn, read_to
):
    left = {name: data for i, (name, data) in enumerate(DESIGNS.items()) if not 1 <= i <= num_withdrawn}
    server.files[f"{WEEK}.tar"] = tar_of(left | UTILITIES)
    complete = keep(server, tmp_path)["complete"]
    assert complete["read_to"] == read_to
    assert complete["numbers"]["missing"] == [900_002 + i for i in range(num_withdrawn)]


@pytest.mark.parametrize("archive", [ZIP, LARGE_ZIP])
@pytest.mark.parametrize("name", [f"{WEEK}.ZIP", f"{WEEK}.tar"])
@pytest.mark.parametrize("takes_ranges", [True, False])
def test_of_a_zip_the_directory_and_the_designs_are_fetched_or_all_if_the_server_ignores_range(
    server, tmp_path, kept_bytes, archive, name, takes_ranges
):
    reset(server, {name: archive})
    server.takes_ranges = takes_ranges
    note = keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes
    assert note["complete"]["read_to"] == "directory"
    assert len(server.downloads()) == 1  # one signed address serves all stretches


def test_a_zip_whose_designs_are_scattered_is_fetched_whole(server, tmp_path, kept_bytes):
    spaced = {}
    for i, name in enumerate(DESIGNS):
        spaced |= {name: DESIGNS[name], f"{WEEK}/UTIL0001/US{i}-20240102.ZIP": bytes([i]) * 1_500_000}
    reset(server, {f"{WEEK}.zip": zip_of(spaced)})
    access = dataclasses.replace(access_to(server), downloads=dataclasses.replace(BRISK, max_ranges=3))
    keep_archive(DataFolder(tmp_path), listed(server), ArchivesConfig(), access)
    assert tar_in(tmp_path) == kept_bytes
    assert len(server.stretches()) <= 5


def test_a_zip64_archive_is_read_by_its_longer_directory(server, tmp_path, kept_bytes, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1_000)  # as if the archive were larger
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    archive = zip_of(DESIGNS | UTILITIES)
    monkeypatch.undo()
    monkeypatch.setenv("ODP_API_KEY", KEY)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    assert b"PK\x06\x06" in archive
    reset(server, {f"{WEEK}.zip": archive})
    keep(server, tmp_path / "data")
    assert tar_in(tmp_path / "data") == kept_bytes


# --- Connections that end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset_", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize(
    "cuts", [[0], [1], [511], [512], [513], [5_000, 1, 0, 3_000], [END_OF_DESIGNS - 1], [200, 0, 0, 0]]
)
def test_a_connection_cut_anywhere_is_resumed_at_that_byte(server, tmp_path, kept_bytes, cuts, reset_):
    server.store_faults.extend(Fault(cut_after=cut, reset=reset_) for cut in cuts)
    note = keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes
    resumed = [int(re.findall(r"\d+", stretch)[0]) if stretch else 0 for stretch in server.stretches()]
    assert resumed == sorted(resumed) and len(resumed) == len(cuts) + 1
    if not reset_:
        assert resumed[-1] == sum(cuts)
    assert note["report"]["tallies"]["members"]["num_out"] == 6


def test_the_note_is_the_same_whether_or_not_a_connection_was_cut(server, tmp_path):
    undisturbed = keep(server, tmp_path / "undisturbed")
    server.store_faults.append(Fault(cut_after=700))
    assert keep(server, tmp_path / "cut") == undisturbed


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, END_OF_DESIGNS), max_size=4),
    archive=st.sampled_from([TAR, ZIP, LARGE_ZIP]),
    takes_ranges=st.booleans(),
    whole=st.booleans(),
)
@example(cuts=[100, 50], archive=TAR, takes_ranges=False, whole=True)
def test_connections_cut_at_any_bytes_of_any_archive_change_no_byte(
    server, tmp_path_factory, kept_bytes, cuts, archive, takes_ranges, whole
):
    reset(server, {f"{WEEK}.{'tar' if archive is TAR else 'zip'}": archive})
    server.takes_ranges = takes_ranges
    server.store_faults.extend(Fault(cut_after=cut) for cut in cuts)
    data_dir = tmp_path_factory.mktemp("data")
    keep(server, data_dir, ArchivesConfig(whole=whole))
    assert tar_in(data_dir) == kept_bytes


def test_if_range_is_ignored_what_was_read_before_is_skipped(server, tmp_path, kept_bytes):
    server.store_faults.extend([Fault(cut_after=1_000), Fault(ignores_range=True), Fault(ignores_range=True)])
    keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes


def test_parts_of_an_archive_that_changes_while_it_is_read_are_not_joined(server, tmp_path):
    other = dict([design(900001), design(910002)])
    with opened(server) as source:
        server.store_faults.append(Fault(cut_after=600))
        assert source.read(600) == TAR[:600]
        server.files[f"{WEEK}.tar"] = tar_of(other).ljust(len(TAR), b"\0")
        with pytest.raises(SourceError, match=r"I20240102\.tar became another file while it was read; run again"):
            source.read(600)


def test_if_a_week_is_re_issued_before_it_is_fetched_the_new_issue_is_kept(server, tmp_path):
    archive = listed(server)
    newer = tar_of(dict(design(number) for number in range(900_001, 900_009)) | UTILITIES)
    reset(server, {f"{WEEK}_r1.tar": newer})
    report = keep_archive(DataFolder(tmp_path), archive, ArchivesConfig(), access_to(server))
    assert report.tally("members").num_out == 8
    assert DataFolder(tmp_path).read_json(str(tmp_path / "archives" / f"{WEEK}.json"))["source"]["revision"] == 1


# --- Servers that refuse, or ask to wait ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["portal", "store"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Fault(status=500),
        Fault(status=502),
        Fault(status=503, headers={"Retry-After": "0"}),
        Fault(status=408),
    ],
    ids=lambda fault: f"{fault.status}-{fault.headers.get('Retry-After', 'bare')[:3]}",
)
def test_a_week_is_fetched_in_spite_of_a_transient_failure(server, tmp_path, kept_bytes, at, fault):
    archive = listed(server)
    (server.portal_faults if at == "portal" else server.store_faults).extend([fault] * 3)
    keep_archive(DataFolder(tmp_path), archive, ArchivesConfig(), access_to(server))
    assert tar_in(tmp_path) == kept_bytes


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(status=503), r"is out of order \(503\) for I20240102\.tar; given up after 5 tries, run again later"),
        (Fault(status=429), r"received too many requests \(429\), the last for I20240102\.tar; given up after 5 tries"),
        (Fault(status=429, headers={"Retry-After": "5000"}), r"\(429\).*; it asks to wait 5000 s, run again later"),
        (Fault(status=429, headers={"Retry-After": "172800"}), r"\(429\).*; it asks to wait 2 days, run again later"),
        (Fault(cut_after=0), r"the connection was cut within I20240102\.tar.*; given up after 5 tries"),
        (
            Fault(expired=True),
            r"address of I20240102\.tar was refused \(403\): it had expired.*; given up after 5 tries",
        ),
    ],
)
def test_a_failure_that_lasts_is_one_sentence_and_the_next_run_fetches_the_week(
    server, tmp_path, kept_bytes, fault, sentence
):
    archive = listed(server)
    faults = server.store_faults if fault.cut_after is not None else server.portal_faults
    faults.extend([fault] * BRISK.attempts)
    with pytest.raises(SourceError, match=sentence):
        keep_archive(DataFolder(tmp_path), archive, ArchivesConfig(), access_to(server))
    assert not list(tmp_path.rglob("*.tar*"))
    faults.clear()
    keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes


def test_retry_after_is_waited_for(server, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    archive = listed(server)
    server.portal_faults.extend([Fault(status=429, headers={"Retry-After": "7"}), Fault(status=429), Fault(status=500)])
    assert open_archive(archive, access_to(server)).read() == TAR
    first, second, third = (wait for wait in waits if wait)
    assert first == 7.0 and BRISK.wait_429_s <= second < 1 and third < 1


def test_after_each_refusal_the_wait_is_longer_and_after_a_few_the_source_is_left_alone(server, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    archive, patience = listed(server), dataclasses.replace(BRISK, attempts=20, wait_429_s=0.1, max_429=4)
    server.portal_faults.extend([Fault(status=429)] * 20)
    access = dataclasses.replace(access_to(server), downloads=patience)
    with pytest.raises(SourceClosedError, match=r"received too many requests \(429\).*; given up after 4 tries"):
        open_archive(archive, access).read()
    assert [round(wait, 3) for wait in waits if wait] == [0.1, 0.2, 0.4]
    assert len(server.portal_faults) == 20 - 4


@pytest.mark.parametrize("at", ["portal", "store"])
def test_by_default_a_server_that_fails_for_a_minute_is_waited_for(server, monkeypatch, at):
    faults = server.portal_faults if at == "portal" else server.store_faults
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if sum(waits) >= 60:
            faults.clear()

    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)
    archive = listed(server)
    faults.extend([Fault(status=503)] * 1_000)
    access = dataclasses.replace(access_to(server), downloads=DownloadsConfig())
    assert open_archive(archive, access).read() == TAR
    waits = [wait for wait in waits if wait]
    assert 5 <= len(waits) <= 8 and all(wait <= DownloadsConfig().wait_max_s + 1 for wait in waits)
    assert len(set(waits)) == len(waits)  # with jitter


def test_an_expired_address_is_asked_for_again(server, tmp_path, kept_bytes):
    server.portal_faults.extend([None, Fault(expired=True), Fault(expired=True)])
    keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes and len(server.downloads()) == 3


def test_a_key_refused_half_way_is_an_error_and_the_week_is_fetched_with_a_new_one(
    server, tmp_path, kept_bytes, monkeypatch
):
    archive = listed(server)
    access = AccessConfig(portal=dataclasses.replace(access_to(server).portal, signed_for_s=0.0), downloads=BRISK)
    server.store_faults.append(Fault(cut_after=700))
    server.portal_faults.extend([None, Fault(status=403)])
    with pytest.raises(SourceError, match=r"refuses the key for I20240102\.tar \(403\)"):
        keep_archive(DataFolder(tmp_path), archive, ArchivesConfig(), access)
    assert not list(tmp_path.rglob("*.tar*"))
    server.key = "another"
    monkeypatch.setenv("ODP_API_KEY", "another")
    keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes


@pytest.mark.parametrize("at", ["portal", "store"])
@pytest.mark.parametrize("kind", ["text/html; charset=UTF-8", "application/octet-stream"])
def test_a_web_page_with_status_200_is_recognised(server, tmp_path, at, kind):
    archive = listed(server)
    page = Fault(status=200, headers={"Content-Type": kind}, body=b"<!DOCTYPE html><html>" + b" " * 20_000)
    (server.portal_faults if at == "portal" else server.store_faults).append(page)
    with pytest.raises((SourceError, ArchiveError), match=r"a web page(, not an archive| instead of I20240102\.tar)"):
        keep_archive(DataFolder(tmp_path), archive, ArchivesConfig(), access_to(server))
    assert not list(tmp_path.rglob("*.tar*"))


def test_a_portal_that_sends_the_file_itself_without_a_redirect_is_read(server, tmp_path, kept_bytes):
    server.redirects = False
    keep(server, tmp_path)
    assert tar_in(tmp_path) == kept_bytes


# --- What is stated, and what is true ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [len(TAR) + 1_000, 10 * len(TAR)])
def test_an_answer_shorter_than_its_stated_length_is_an_error(server, tmp_path, length):
    archive = listed(server)
    server.store_faults.extend([Fault(length=length)] * 30)
    with pytest.raises(SourceError, match=r"I20240102\.tar"):
        keep_archive(DataFolder(tmp_path), archive, ArchivesConfig(whole=True), access_to(server))
    assert not list(tmp_path.rglob("*.tar*"))


def test_if_the_listed_size_is_wrong_the_week_is_read_to_its_end(server, tmp_path, kept_bytes):
    server.rows[f"{WEEK}.tar"] = {"fileSize": len(TAR) * 2}
    complete = keep(server, tmp_path)["complete"]
    assert (complete["read_to"], complete["num_bytes"]) == ("end mark", len(TAR))
    assert complete["num_bytes_listed"] == 2 * len(TAR)
    assert tar_in(tmp_path) == kept_bytes
    keep(server, tmp_path)
    assert len(server.downloads()) == 1


def test_a_listed_size_rounded_as_a_float_is_not_wrong(server, tmp_path):
    server.rows[f"{WEEK}.tar"] = {"fileSize": float(f"{len(TAR):.6e}")}
    assert keep(server, tmp_path)["complete"]["read_to"] == "end of DESIGN"


@pytest.mark.parametrize("num_bytes", [700, END_OF_DESIGNS - 300, END_OF_DESIGNS + 5_000, len(TAR) - 11_000])
def test_an_archive_that_is_cut_short_on_the_server_is_refused_if_the_listed_size_differs(server, tmp_path, num_bytes):
    server.files[f"{WEEK}.tar"] = TAR[:num_bytes]
    server.rows[f"{WEEK}.tar"] = {"fileSize": len(TAR)}
    with pytest.raises(ArchiveError, match=r"I20240102\.tar is (cut short|damaged).*fetch it again"):
        keep(server, tmp_path)


def test_a_file_that_is_listed_and_does_not_exist_is_an_error_that_names_it(server, tmp_path):
    name = "I20240109.tar"
    url = f"{server.url}/files/PTGRDT/2024/{name}"
    reset(server, {})
    server.phantoms, server.count = [{"fileName": name, "fileDownloadURI": url, "fileSize": 5}], 1301
    with pytest.raises(SourceError, match=r"does not have I20240109\.tar \(404\)"):
        keep_archive(DataFolder(tmp_path), listed(server), ArchivesConfig(), access_to(server))


@pytest.mark.parametrize(
    "change",
    [
        {"fileSize": len(TAR) + 99_999},
        {"fileReleaseDate": "2024-01-20 10:00:00"},
        {"fileLastModifiedDateTime": "2024-01-20 10:00:00"},
    ],
)
def test_whether_a_week_has_changed_is_known_from_the_listing_without_fetching_it(server, tmp_path, change):
    keep(server, tmp_path)
    keep(server, tmp_path)
    assert len(server.downloads()) == 1
    server.rows[f"{WEEK}.tar"] = change
    keep(server, tmp_path)
    keep(server, tmp_path)
    assert len(server.downloads()) == 2


def test_an_older_issue_listed_later_does_not_replace_a_newer_one(server, tmp_path):
    server.files[f"{WEEK}_r1.tar"] = TAR
    note = keep(server, tmp_path)
    reset(server, {f"{WEEK}.tar": TAR})
    assert keep(server, tmp_path) == note and server.downloads() == []


def test_a_full_disk_for_the_temporary_copy_is_an_error_that_says_what_to_set(server, tmp_path, monkeypatch):
    class FullDisk(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    reset(server, {f"{WEEK}.zip": ZIP})
    server.takes_ranges = False
    monkeypatch.setattr("patentdata.archives.remote_file.tempfile.TemporaryFile", FullDisk)
    with pytest.raises(OutputError, match=r"temporary copy of I20240102\.zip: No space left on device; set TMPDIR"):
        keep(server, tmp_path)


def test_a_disk_that_is_full_while_a_week_is_written_leaves_no_file_and_the_next_run_writes_it(server, tmp_path):
    drawing = random.Random(0).randbytes(2_000_000)
    stem = "USD0900001-20240102"
    large = packed({f"{stem}.XML": b"<us-patent-grant/>", f"{stem}-D00001.TIF": drawing}, stem=stem)
    server.files[f"{WEEK}.tar"] = tar_of({f"{WEEK}/DESIGN/{stem}.ZIP": large} | UTILITIES)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # room for all but the tar
    try:
        with pytest.raises(OutputError, match=r"cannot write .*I20240102\.tar: File too large"):
            keep(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert keep(server, tmp_path)["complete"]["numbers"]["num"] == 1


# --- Small things -----------------------------------------------------------------------------------------------------


def test_the_progress_of_a_download_is_seen_by_other_processes_until_it_is_over(server, monkeypatch):
    monkeypatch.setattr("patentdata.archives.remote_file._SECONDS_A_NOTICE", 0.0)
    with opened(server) as source:
        source.read(100_000)
        ((name, num_bytes, total),) = in_progress()
        assert (name, total) == (f"{WEEK}.tar", len(TAR)) and 0 < num_bytes <= 100_000
    assert list(in_progress()) == []


def test_addresses_are_shown_without_their_secrets():
    assert shown_url("https://user:secret@host:8/a/b.tar?key=x#y") == "https://host:8/a/b.tar"


@pytest.mark.parametrize("name", ["attempts", "patience_s", "max_ranges"])
def test_a_patience_of_zero_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be above 0"):
        DownloadsConfig(**{name: 0})
