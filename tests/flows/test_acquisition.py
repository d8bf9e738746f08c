"""Weeks from the portal, unattended: what is missing or changed is found and fetched, and nothing else is."""

import dataclasses
import datetime
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from flows.outcomes import WeeksFailedError
from flows.preflight.source_listing import list_source
from flows.refresh import RefreshConfig, refresh
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.errors import SourceDownError
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from tasks.running.runners import WorkersConfig
from tests.flows.command_line import run
from tests.flows.walks import hashes, times
from tests.patentdata.archives.portal_server import BRISK, KEY, SIGNATURE, Fault, PortalServer, portal_of
from tests.patentdata.archives.red_book import design, tar_of

pytestmark = pytest.mark.slow

WEEKS = ("I20240102", "I20240109", "I20240116")
THREADS = WorkersConfig(kind="threads", num_workers=2)


@pytest.fixture(scope="module")
def issues(tmp_path_factory) -> dict[str, bytes]:
    """Name → bytes of three small weeks whose numbers follow each other, and of a re-issue of the second."""
    folder = tmp_path_factory.mktemp("issues")
    files = {}
    for i, week in enumerate(WEEKS):
        config = SpecimenConfig(num_patents=2, first_number=900_001 + 2 * i, drawing_scale=0.3)
        path = write_week(folder, week, config, container="zip" if i == 2 else "tar")
        files[path.name] = path.read_bytes()
    anew = SpecimenConfig(num_patents=2, first_number=900_003, drawing_scale=0.3, seed=7)
    path = write_week(folder / "anew", WEEKS[1], anew)
    return files | {f"{WEEKS[1]}_r1.tar": path.read_bytes()}


@pytest.fixture
def server(issues, tmp_path, monkeypatch):
    monkeypatch.setenv("ODP_API_KEY", KEY)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    with PortalServer({name: data for name, data in issues.items() if "_r" not in name}) as server:
        yield server


def weeks_config(server: PortalServer, data_dir: Path, **more: object) -> WeeksConfig:
    portal = portal_of(server)
    values = {"source": "portal", "portal": portal, "downloads": BRISK, "workers": THREADS} | more
    return WeeksConfig(data_dir=str(data_dir), **values)  # type: ignore[arg-type]


def walk(server: PortalServer, data_dir: Path, **more: object) -> dict[str, str | None]:
    """Week → its error or None."""
    return {outcome.week: outcome.error for outcome in walk_weeks(weeks_config(server, data_dir, **more))}


def test_from_the_portal_a_folder_comes_to_the_bytes_of_the_same_archives_here(server, issues, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name, data in server.files.items():
        (source / name).write_bytes(data)
    assert set(walk(server, tmp_path / "portal").values()) == {None}
    assert set(walk(server, tmp_path / "folder", source=str(source)).values()) == {None}
    of_portal, of_folder = (hashes(tmp_path / place) for place in ("portal", "folder"))
    differing = {path for path in of_folder if of_portal[path] != of_folder[path]}
    assert of_portal.keys() == of_folder.keys() and differing == {f"archives/{week}.json" for week in WEEKS}


def test_a_second_refresh_lists_and_fetches_nothing(server, tmp_path):
    walk(server, tmp_path / "data", only_stages=("archives",))
    before, num_downloads = times(tmp_path / "data"), len(server.downloads())
    walk(server, tmp_path / "data", only_stages=("archives",))
    assert times(tmp_path / "data") == before and len(server.downloads()) == num_downloads == 3


def test_a_late_week_and_a_gap_are_filled_when_the_portal_has_them(server, tmp_path):
    server.unlisted |= {f"{WEEKS[0]}.tar", f"{WEEKS[1]}.tar"}
    assert list(walk(server, tmp_path / "data", only_stages=("archives",))) == [WEEKS[2]]
    server.unlisted.clear()
    assert list(walk(server, tmp_path / "data", only_stages=("archives",))) == list(WEEKS)
    assert len(server.downloads()) == 3


def test_a_re_issue_rebuilds_its_week_and_no_other(server, issues, tmp_path):
    walk(server, tmp_path / "data")
    before = times(tmp_path / "data")
    server.files[f"{WEEKS[1]}_r1.tar"] = issues[f"{WEEKS[1]}_r1.tar"]
    walk(server, tmp_path / "data")
    changed = {path for path, moment in times(tmp_path / "data").items() if before.get(path) != moment}
    assert changed == {
        f"archives/{WEEKS[1]}.json",
        f"archives/{WEEKS[1]}.tar",
        *(f"{stage}/{WEEKS[1]}.parquet" for stage in ("grants", "views", "captions")),
    }


def test_a_week_that_the_portal_no_longer_lists_stays(server, tmp_path):
    walk(server, tmp_path / "data", only_stages=("archives",))
    before = hashes(tmp_path / "data")
    server.unlisted.add(f"{WEEKS[0]}.tar")
    assert list(walk(server, tmp_path / "data", only_stages=("archives",))) == list(WEEKS)
    assert hashes(tmp_path / "data") == before


def test_a_week_whose_download_fails_stops_no_other_and_heals(server, tmp_path):
    server.rows[f"{WEEKS[0]}.tar"] = {"fileDownloadURI": f"{server.url}/files/PTGRDT/2024/gone.tar"}
    errors = walk(server, tmp_path / "data", only_stages=("archives",))
    assert "does not have I20240102.tar (404)" in (errors[WEEKS[0]] or "")
    assert (errors[WEEKS[1]], errors[WEEKS[2]]) == (None, None)
    server.rows.clear()
    assert set(walk(server, tmp_path / "data", only_stages=("archives",)).values()) == {None}


@pytest.mark.parametrize("source", ["portal", "mirror"])
def test_a_source_down_for_hours_is_left_in_peace_after_a_few_weeks_and_the_next_run_heals(server, tmp_path, source):
    server.files = {f"I{day}.tar": tar_of(dict([design(900_001)])) for day in _tuesdays(30)}
    url = f"{server.store_url}/mirror/" if source == "mirror" else "portal"
    more = {"source": url, "only_stages": ("archives",), "workers": WorkersConfig(kind="threads", num_workers=1)}
    num_asked_to_list = 31 if source == "mirror" else 0  # the index, and the size of each
    server.store_faults.extend([None] * num_asked_to_list + [Fault(status=503)] * 1000)
    errors = list(walk(server, tmp_path, **more).values())
    assert all("is out of order (503)" in (error or "") for error in errors[:5])
    (rest,) = set(errors[5:])
    assert re.fullmatch(r"skipped: 5 consecutive weeks failed, the last one: .*; given up after 2 tries.*", rest or "")
    assert 1000 - len(server.store_faults) == BRISK.attempts + 4 * 2
    server.store_faults.clear()
    assert set(walk(server, tmp_path, **more).values()) == {None}


def _tuesdays(num: int) -> list[str]:
    return [f"{datetime.date(2024, 1, 2) + datetime.timedelta(weeks=i):%Y%m%d}" for i in range(num)]


def test_a_portal_down_at_the_listing_ends_the_run_in_a_sentence_after_its_patience(server, tmp_path):
    server.portal_faults.extend([Fault(status=503)] * 100)
    with pytest.raises(SourceDownError, match=r"the listing of PTGRDT; given up after 5 tries, run again later"):
        walk(server, tmp_path)
    assert len(server.portal_faults) == 100 - BRISK.attempts


def test_a_week_whose_new_issue_cannot_be_fetched_stays_in_the_dataset_as_it_was(server, issues, tmp_path):
    config = RefreshConfig(weeks=weeks_config(server, tmp_path / "data"), training=None)
    refresh.fn(config)
    before = hashes(tmp_path / "data")
    server.files[f"{WEEKS[1]}_r1.tar"] = issues[f"{WEEKS[1]}_r1.tar"]
    server.store_faults.extend([Fault(status=503)] * BRISK.attempts)
    with pytest.raises(WeeksFailedError, match=r"1 of 3 weeks failed.*I20240109 archives: .* \(503\)"):
        refresh.fn(config)
    assert hashes(tmp_path / "data") == before
    assert refresh.fn(config).failures == []
    assert hashes(tmp_path / "data") != before


def test_worker_processes_side_by_side_ask_one_at_a_time(server, tmp_path):
    workers = WorkersConfig(kind="processes", num_workers=2)
    assert set(walk(server, tmp_path / "data", workers=workers, only_stages=("archives",)).values()) == {None}
    assert (server.most_at_once, len(server.downloads())) == (1, 3)


def test_an_object_store_is_a_source_that_is_read_as_far_as_needed_and_known_by_its_marks(server, bucket, tmp_path):
    archives = DataFolder(bucket)
    utility = tarfile.TarInfo("I20240102/UTIL0001/US11000001-20240102.ZIP")
    utility.size = 20 << 20
    week = server.files[f"{WEEKS[0]}.tar"].rstrip(b"\0")  # type: ignore[union-attr]
    week = week.ljust(-(-len(week) // 512) * 512, b"\0") + utility.tobuf() + bytes(utility.size + 10_240)
    archives.fs.pipe_file(archives.path(f"{WEEKS[0]}.tar"), week)
    config = weeks_config(server, tmp_path / "store", source=archives.url, only_stages=("archives",))
    for _ in range(2):
        assert [outcome.error for outcome in walk_weeks(config)] == [None]
        note = json.loads((tmp_path / "store" / "archives" / f"{WEEKS[0]}.json").read_text())
        assert note["complete"]["read_to"] == "end of DESIGN" and note["source"]["etag"]
    moment = times(tmp_path / "store")
    walk_weeks(config)
    assert times(tmp_path / "store") == moment
    walk(server, tmp_path / "portal", only_stages=("archives",))
    kept = f"archives/{WEEKS[0]}.tar"
    assert hashes(tmp_path / "store")[kept] == hashes(tmp_path / "portal")[kept]


# --- The command line -------------------------------------------------------------------------------------------------


def toml_of(server: PortalServer, path: Path) -> Path:
    lines = [f"{name} = {value}" for name, value in dataclasses.asdict(BRISK).items()]
    limits = ["files_window_s = 0.0", "call_interval_s = 0.0"]
    path.write_text(
        "\n".join(
            [
                "[weeks.portal]",
                f'url = "{server.url}"',
                "signed_for_s = 60.0",
                "[weeks.portal.limits]",
                *limits,
                "[weeks.downloads]",
                *lines,
            ]
        )
    )
    return path


_COMMANDS = """
import json, os, sys
from flows import cli

codes = []
for line in sys.argv[1:]:
    sys.argv, key = json.loads(line)
    os.environ["ODP_API_KEY"] = key
    try:
        cli.main()
    except SystemExit as end:
        codes.append(end.code)
    else:
        codes.append(0)
print(codes)
"""


def test_neither_output_nor_notes_nor_footers_hold_the_key_or_a_signature(server, tmp_path):
    server.store_faults.extend([Fault(cut_after=600), Fault(status=503)])
    config, data_dir = toml_of(server, tmp_path / "settings.toml"), tmp_path / "data"
    ours = ("-s", "portal", "-d", data_dir, "-c", config)
    refused_key = "a-key-that-the-portal-refuses"
    commands = [
        (("weeks", *ours, "--json"), KEY),
        (("refresh", *ours, "--no-training", "--runner", "threads", "--json"), KEY),
        (("weeks", *ours), refused_key),
    ]
    lines = [json.dumps([["designclip", *map(str, arguments)], key]) for arguments, key in commands]
    # A process of its own, since Prefect reads at its import how talkative it is to be.
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS, *lines],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PREFECT_LOGGING_LEVEL": "DEBUG", "DESIGNCLIP_DEBUG": "1"},
    )
    assert done.returncode == 0 and done.stdout.endswith("[0, 0, 1]\n"), done.stderr
    assert "refuses the key" in done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".parquet" for path in files)
    for secret in (KEY, refused_key, SIGNATURE):
        assert secret not in done.stdout + done.stderr
        assert not [path for path in files if secret.encode() in path.read_bytes() or secret in path.name]


def test_weeks_shows_what_is_there_what_is_missing_and_what_it_would_cost(server, tmp_path, monkeypatch, capfd):
    config, data_dir = toml_of(server, tmp_path / "settings.toml"), tmp_path / "data"
    server.unlisted.add(f"{WEEKS[1]}.tar")
    walk(server, data_dir, only_stages=("archives",))
    server.rows[f"{WEEKS[0]}.tar"] = {"fileReleaseDate": "2024-02-02 00:00:00"}
    server.files["I20240206.tar"] = b"x" * 5_000
    arguments = ("weeks", "-s", "portal", "-d", data_dir, "-c", config, "--megabytes-a-second", "0.001")
    answer = json.loads(run(monkeypatch, capfd, *arguments, "--json")[1])
    assert {week["week"]: (week["state"], week["downloads_left"]) for week in answer["weeks"]} == {
        WEEKS[0]: ("changed", 19),
        WEEKS[2]: ("here", 19),
        "I20240206": ("missing", 20),
    }
    assert answer["without_archive"] == [WEEKS[1], "I20240123", "I20240130"]
    assert answer["num_to_fetch"] == 2 and answer["seconds_to_fetch"] == pytest.approx(
        answer["num_bytes_to_fetch"] / 1000, abs=0.1
    )
    shown = run(monkeypatch, capfd, *arguments)[1]
    assert "3 weeks, 1 of them here, 2 to fetch." in shown
    assert "3 Tuesdays in between have no archive, I20240109 to I20240130." in shown


def test_patent_numbers_missing_within_and_between_weeks_are_told(server, issues, tmp_path):
    walk(server, tmp_path, only_stages=("archives",))
    note_path = tmp_path / "archives" / f"{WEEKS[2]}.json"
    note = json.loads(note_path.read_text())
    note["complete"]["numbers"] |= {"first": 900_008, "num_missing": 1}
    note_path.write_text(json.dumps(note))
    weeks = {week.week: week for week in list_source(weeks_config(server, tmp_path)).weeks}
    missing = {name: (week.num_numbers_missing, week.num_numbers_before) for name, week in weeks.items()}
    assert missing == {WEEKS[0]: (0, None), WEEKS[1]: (0, 0), WEEKS[2]: (1, 3)}
