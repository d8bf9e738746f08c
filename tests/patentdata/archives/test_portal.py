"""The Open Data Portal: its listings, its key, its limits, and what its refusals mean."""

import dataclasses
import datetime
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from patentdata.archives.portal import ApiKey, Portal, PortalConfig, parse_listing, read_key
from patentdata.archives.portal_limits import Limits, LimitsConfig
from patentdata.archives.sources import AccessConfig, list_weeks, open_archive, read_source, relisted
from patentdata.errors import SourceChangedError, SourceError
from tests.patentdata.archives.portal_server import (
    BRISK,
    KEY,
    SIGNATURE,
    UNHURRIED,
    Fault,
    PortalServer,
    access_to,
    listed,
    opened,
    portal_of,
)
from tests.patentdata.archives.red_book import WEEK, design, tar_of

pytestmark = pytest.mark.slow

TAR = tar_of(dict([design(900001), design(900002)]))
NAME = f"{WEEK}.tar"


@pytest.fixture(autouse=True)
def _own_record(monkeypatch, tmp_path):
    monkeypatch.setenv("ODP_API_KEY", KEY)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server():
    with PortalServer({NAME: TAR}) as server:
        yield server


# --- Listings ---------------------------------------------------------------------------------------------------------


def row(name: str, **fields: object) -> dict[str, object]:
    return {"fileName": name, "fileDownloadURI": f"https://host/{name}", "fileSize": 5, **fields}


@pytest.mark.parametrize(
    "answer",
    [
        {"bulkDataProductBag": [{"productFileBag": {"fileDataBag": [row("a.tar"), row("b.tar")]}}]},
        {"bulkDataProductBag": [[{"productFileBag": [{"fileDataBag": [[row("a.tar")], [row("b.tar")]]}]}]]},
        {"bulkDataProductBag": {"productFileBag": {"fileDataBag": [row("a.tar"), row("b.tar")]}}},
        {"bulkdataproductbag": [{"ProductFileBag": {"filedatabag": [row("a.tar"), row("b.tar")], "count": 99}}]},
        {"bulkDataProductBag": [{"productFileBag": {"fileDataBag": [row("a.tar"), {"fileName": "c"}, row("b.tar")]}}]},
    ],
)
def test_a_listing_is_read_however_its_bags_are_nested_and_spelled(answer):
    assert [(file.name, file.num_bytes) for file in parse_listing(answer)] == [("a.tar", 5), ("b.tar", 5)]


@pytest.mark.parametrize(
    ("size", "num_bytes"),
    [
        (3_712_345_678, 3_712_345_678),
        (3.7e9, 3_700_000_000),
        ("3712345678", 3_712_345_678),
        ("1,024", 1024),
        ("3.7E9", 3_700_000_000),
        (None, None),
        ("about a lot", None),
        (-1.5, None),
        (float("nan"), None),
    ],
)
def test_a_size_may_be_a_number_a_float_or_text(size, num_bytes):
    (file,) = parse_listing({"productFileBag": {"fileDataBag": [row("a.tar", fileSize=size)]}})
    assert file.num_bytes == num_bytes


def test_rows_of_other_products_are_not_listed():
    other = {"productIdentifier": "PTGRXML", "productFileBag": {"fileDataBag": [row("a.zip")]}}
    own = {"productIdentifier": "ptgrdt", "productFileBag": {"fileDataBag": [row("a.tar")]}}
    assert [file.name for file in parse_listing({"bulkDataProductBag": [other, own]})] == ["a.tar"]


def test_times_are_read_in_either_spelling():
    rows = [row("a.tar", fileReleaseDate=text) for text in ("2024-01-02 00:03:09", "2024-01-02T00:03:09")]
    assert len({file.released for file in parse_listing({"productFileBag": {"fileDataBag": rows}})}) == 1


@pytest.mark.parametrize(
    ("bag", "problem"),
    [
        (
            {"count": 3, "fileDataBag": [row("a.tar")]},
            "the portal counts 3 files of PTGRDT and lists 1 that can be read",
        ),
        ({"fileDataBag": [row("a.tar"), {"fileName": "b.tar"}]}, "the portal counts 2 files of PTGRDT and lists 1"),
        (
            {"count": 1, "fileDataBag": [row("a.tar"), {"fileSize": 7}]},
            "the portal counts 2 files of PTGRDT and lists 1",
        ),
        ({"count": 1, "fileDataBag": [row("a.tar")]}, ""),
    ],
)
def test_a_listing_that_is_shorter_than_its_count_or_has_unreadable_rows_is_a_problem_and_logged(caplog, bag, problem):
    listing = parse_listing({"productFileBag": bag})
    assert [file.name for file in listing] == ["a.tar"]
    assert listing.problem.startswith(problem) and bool(listing.problem) is bool(problem)
    assert problem in caplog.text and len(caplog.records) == bool(problem)


def test_what_a_listing_lacks_is_returned_with_its_weeks(server):
    server.count = 5
    listing = read_source("portal", access=access_to(server))
    assert [week.week for week in listing.weeks] == [WEEK]
    assert listing.problems == (
        "the portal counts 5 files of PTGRDT and lists 1 that can be read, so weeks may be missing; run again later",
    )


@pytest.mark.real
def test_a_recorded_listing_is_read_with_every_file_and_every_re_issue(real_data):
    answer = json.loads((real_data / "odp" / "get_bulk_product" / "response.json").read_text())
    files = parse_listing(answer, "PTGRXML")
    assert len(files) == 1301 and all(file.num_bytes and file.released and file.modified for file in files)
    assert {file.name for file in files if "_r2" in file.name} == {"ipg260106_r2.zip", "ipg251230_r2.zip"}
    assert files[0].released == "2026-06-02T00:02:57"


@pytest.mark.real
def test_the_address_of_a_file_may_name_another_year_than_its_date(real_data):
    answer = json.loads((real_data / "odp" / "exact" / "get_bulk_product.json").read_text())
    by_name = {file.name: file.url for file in parse_listing(answer, "PTGRXML")}
    assert "/2015/" in by_name["us-patent-grant-v45-2014-04-03.dtd"]


def test_only_weekly_archives_that_the_portal_lists_are_weeks_and_the_newest_issue_of_each_counts(server):
    others = ["us-patent-grant-v47-2022-02-17.dtd", "I20240109-SUPP.tar", "ipg240102.zip"]
    for name in (*others, "I20240109.tar", "I20240109_r1.ZIP", "I20240109_r2.tar"):
        server.files[name] = TAR
    server.rows["I20240109_r2.tar"] = {"fileDataFromDate": "2024-01-12", "fileDataToDate": "2024-01-12"}
    weeks = list_weeks("portal", access=access_to(server))
    assert [week.file_name for week in weeks] == [NAME, "I20240109_r2.tar"]


def test_years_are_requested_by_date_and_a_year_without_files_has_no_weeks(server):
    access = access_to(server)
    assert [week.week for week in list_weeks("portal:PTGRDT", years=[2024], access=access)] == [WEEK]
    assert "fileDataFromDate=2023-12-25" in server.asked[-1].path and "includeFiles=true" in server.asked[-1].path
    assert list_weeks("portal:ptgrdt", years=[2019], access=access) == []


def test_a_listing_whose_connection_is_cut_is_requested_again(server):
    server.portal_faults.append(Fault(cut_after=100))
    assert listed(server).week == WEEK


# --- The key ----------------------------------------------------------------------------------------------------------


def test_the_key_is_read_from_the_environment_or_else_from_a_file(monkeypatch, tmp_path):
    path = tmp_path / "key"
    path.write_text("  from-the-file\n")
    config = PortalConfig(key_file=path)
    assert read_key(config).reveal() == KEY
    monkeypatch.delenv("ODP_API_KEY")
    assert read_key(config).reveal() == "from-the-file"
    path.write_text("two words\nof it")
    with pytest.raises(SourceError, match="is not a key: a key is one word"):
        read_key(config)
    path.unlink()
    with pytest.raises(SourceError, match=f"the portal needs a key: set ODP_API_KEY, or put the key into {path}"):
        read_key(config)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_key_file_may_be_written_by_an_editor_of_windows(monkeypatch, tmp_path, encoding):
    monkeypatch.delenv("ODP_API_KEY")
    (tmp_path / "key").write_bytes("abcdef0123456789\r\n".encode(encoding))
    assert read_key(PortalConfig(key_file=tmp_path / "key")).reveal() == "abcdef0123456789"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"abcdef"', "the key in ODP_API_KEY is in quotes; remove them"),
        ("'abcdef'", "is in quotes"),
        ("“abcdef”", "is in quotes"),
        ("KEY=abcdef", "ODP_API_KEY holds a name and a key; leave the key alone"),
        ("export ODP_API_KEY=abcdef", "holds a name and a key"),
        ("X-API-KEY: abcdef", "holds a name and a key"),
    ],
)
def test_a_key_with_quotes_or_a_name_is_refused(monkeypatch, text, sentence):
    monkeypatch.setenv("ODP_API_KEY", text)
    with pytest.raises(SourceError, match=sentence):
        read_key(PortalConfig())


def test_a_key_may_end_like_base64(monkeypatch):
    monkeypatch.setenv("ODP_API_KEY", "abcdef==")
    assert read_key(PortalConfig()).reveal() == "abcdef=="


@pytest.mark.real
def test_the_key_files_of_the_cases_are_read_or_refused(monkeypatch, real_data):
    folder = real_data.parent / "cases" / "21-key-file-with-bom"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder.parent}")
    monkeypatch.delenv("ODP_API_KEY")
    assert read_key(PortalConfig(key_file=folder / "bom")).reveal() == "abcdef0123456789"
    with pytest.raises(SourceError, match=r"the key in .*quoted is in quotes; remove them"):
        read_key(PortalConfig(key_file=folder / "quoted"))


def test_a_key_is_neither_printed_nor_pickled():
    assert KEY not in repr(ApiKey(KEY)) + str(ApiKey(KEY)) + f"{ApiKey(KEY)}"
    with pytest.raises(TypeError):
        pickle.dumps(ApiKey(KEY))


def test_a_key_is_sent_by_https_only():
    with pytest.raises(ValueError, match="the key is only sent by https"):
        PortalConfig(url="http://portal.example/products")


def test_the_key_goes_to_the_portal_and_never_to_its_store(server):
    opened(server).read()
    by_host = {
        host: ["x-api-key" in asked.headers for asked in server.asked if asked.host == host]
        for host in ("portal", "store")
    }
    assert all(by_host["portal"]) and by_host["store"] and not any(by_host["store"])


def test_the_key_does_not_go_to_a_host_that_the_listing_names(server):
    server.rows[NAME] = {"fileDownloadURI": f"{server.store_url}/mirror/{NAME}"}
    assert opened(server).read() == TAR
    assert not any("x-api-key" in asked.headers for asked in server.asked if asked.host == "store")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400, body=json.dumps({"errorDetails": f"the key {KEY} is odd"}).encode()),
        Fault(status=403, body=KEY.encode()),
        Fault(status=500),
        Fault(status=302, headers={"Location": "http://[bad"}),
        Fault(status=302, headers={"Location": f"http://127.0.0.1:9/?X-Amz-Signature={SIGNATURE}"}),
        Fault(status=302, headers={"Location": f"nowhere://host/?X-Amz-Signature={SIGNATURE}"}),
    ],
)
def test_no_error_and_no_log_shows_the_key_or_a_signature(server, caplog, fault):
    caplog.set_level(logging.DEBUG)
    archive = listed(server)
    server.portal_faults.extend([fault] * BRISK.attempts)
    with pytest.raises(SourceError) as raised:
        open_archive(archive, access_to(server)).read()
    shown = [caplog.text, repr(raised.value), repr(archive), repr(access_to(server))]
    error: BaseException | None = raised.value
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    assert not any(secret in text for text in shown for secret in (KEY, SIGNATURE))


def test_the_debug_log_of_a_download_shows_neither_key_nor_signature(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.store_faults.append(Fault(cut_after=700))
    assert opened(server).read() == TAR
    assert "GET" in caplog.text
    assert KEY not in caplog.text and SIGNATURE not in caplog.text


# --- What a refusal means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, b'{"message":"Unauthorized"}', r"one without a key \(401\); check ODP_API_KEY"),
        (
            403,
            b'{"code": 403, "error": "Forbidden"}',
            r"\(403\): it is invalid, has expired .* a new key takes a while",
        ),
        (404, b"{}", r"does not have .* \(404\): it was withdrawn or re-issued"),
        (400, b'{"errorDetails": "Invalid request"}', r"does not understand .* \(400: Invalid request\)"),
        (301, b"", r"has moved .* \(301\)"),
    ],
)
def test_a_refusal_is_one_sentence_that_says_what_to_do(server, status, body, sentence):
    archive = listed(server)
    for _ in range(2):
        server.portal_faults.append(Fault(status=status, body=body))
    with pytest.raises(SourceError, match=rf"127\.0\.0\.1:\d+ .*{sentence}"):
        open_archive(archive, access_to(server)).read()
    with pytest.raises(SourceError, match=sentence):
        listed(server)


@pytest.mark.real
@pytest.mark.parametrize(
    ("recorded", "status", "sentence"),
    [("product-403", 400, "Invalid request, review patent data request"), ("product-500", 404, "does not have")],
)
def test_documented_errors_are_explained(server, real_data, recorded, status, sentence):
    page = (real_data / "odp" / "errors" / f"data.uspto.gov-apis-bulk-data-{recorded}.json").read_text()
    body = page[page.rindex('{\n  "code"') :].encode()
    server.portal_faults.append(Fault(status=status, body=body))
    with pytest.raises(SourceError, match=sentence):
        listed(server)


def test_a_file_that_is_gone_raises_an_error_of_its_own_so_that_it_can_be_listed_again(server):
    archive = listed(server)
    server.files = {f"{WEEK}_r1.tar": TAR}
    with pytest.raises(SourceChangedError):
        open_archive(archive, access_to(server)).read()
    newer = relisted(archive, access_to(server))
    assert newer is not None and newer.file_name == f"{WEEK}_r1.tar"


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_downloads_of_a_file_are_counted_across_restarts_and_refused_beyond_the_limit_of_a_year(server):
    for _ in range(2):
        assert opened(server, downloads_a_year=2).read() == TAR
    archive = listed(server)
    asked = len(server.asked)
    with pytest.raises(SourceError, match=r"I20240102\.tar was fetched 2 times within a year .* wait until 20\d\d-"):
        open_archive(archive, access_to(server, downloads_a_year=2)).read()
    assert len(server.asked) == asked
    code = (
        "from patentdata.archives.portal import *; from patentdata.archives.downloads import DownloadsConfig as D; "
        "print(Portal(PortalConfig(), D()).downloads_left(['I20240102.tar', 'I20240109.tar']))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True
    )
    assert shown.stdout.strip() == "{'I20240102.tar': 18, 'I20240109.tar': 20}"


def test_a_download_that_was_not_granted_is_not_counted(server):
    archive = listed(server)
    server.portal_faults.extend([Fault(status=403), Fault(status=503), Fault(status=503)])
    with pytest.raises(SourceError, match="403"):
        open_archive(archive, access_to(server)).read()
    open_archive(archive, access_to(server)).read()
    portal = Portal(portal_of(server, LimitsConfig()), BRISK)
    assert portal.downloads_left([NAME]) == {NAME: 19}


def test_downloads_are_counted_for_each_key():
    Limits("one", UNHURRIED).before_download(NAME)
    assert Limits("other", LimitsConfig()).downloads_left([NAME]) == {NAME: 20}


def test_the_record_holds_no_key(server, tmp_path):
    opened(server).read()
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files and not any(KEY.encode() in path.read_bytes() or KEY in path.name for path in files)


def test_a_record_that_cannot_be_written_is_an_error(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "file"))
    with pytest.raises(SourceError, match=r"cannot keep the record of downloads .* set DESIGNCLIP_CACHE"):
        listed(server)


def test_no_two_calls_run_in_parallel_and_the_portal_never_answers_too_many_requests(server):
    """Threads and processes together ask for seven files while the portal grants three in half a second."""
    server.files |= {f"I202402{day:02}.tar": TAR * 20 for day in (6, 13, 20, 27)}
    server.window = 3, 0.5
    limits = LimitsConfig(files_at_once=3, files_window_s=0.51, call_interval_s=0.0)
    access = AccessConfig(portal=portal_of(server, limits), downloads=BRISK)
    weeks = list_weeks("portal", access=access)
    threads = [threading.Thread(target=lambda week=week: open_archive(week, access).read()) for week in weeks]
    code = (
        "import pickle, sys; from patentdata.archives.sources import open_archive\n"
        "archive, access = pickle.loads(bytes.fromhex(sys.stdin.read()))\n"
        "assert len(open_archive(archive, access).read()) == archive.num_bytes"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=Path(__file__).parents[3], env=dict(os.environ)
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for child, week in zip(children, weeks, strict=False):
        child.communicate(pickle.dumps((week, access)).hex().encode())
    for thread in threads:
        thread.join()
    assert [child.returncode for child in children] == [0, 0]
    assert (server.num_refused, server.most_at_once) == (0, 1)
    assert len(server.downloads()) == len(weeks) + 2


@pytest.mark.parametrize("name", ["downloads_a_year", "files_at_once"])
def test_limits_of_zero_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
        LimitsConfig(**{name: 0})


def test_an_archive_is_sent_to_a_worker_without_the_key(server):
    archive = listed(server)
    assert KEY.encode() not in pickle.dumps((archive, access_to(server)))
    assert KEY not in json.dumps(archive.stated()) + str(dataclasses.asdict(archive))
    assert archive.date == datetime.date(2024, 1, 2)
