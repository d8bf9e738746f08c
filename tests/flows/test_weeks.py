"""When the weeks of a walk are fetched: one rule says which are, and those take turns."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from flows.weeks import WeeksConfig, walk_weeks
from patentdata.archives import kept
from patentdata.archives.designs import ArchivesConfig
from tasks.running.runners import WorkersConfig
from tests.patentdata.archives.portal_server import BRISK, Fault, PortalServer
from tests.patentdata.archives.red_book import design, tar_of

WEEKS = [f"I202401{day:02}" for day in (2, 9, 16, 23, 30)] + [f"I202402{day:02}" for day in (6, 13)]
TAR = tar_of(dict([design(900_001)]))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror that lists its weeks with their hashes."""
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    with PortalServer({f"{week}.tar": TAR for week in WEEKS}) as server:
        list_hash(server, hashlib.sha256(TAR).hexdigest())
        yield server


def list_hash(server: PortalServer, sha256: str) -> None:
    server.files["SHA256SUMS"] = "".join(f"{sha256}  {week}.tar\n" for week in WEEKS).encode()


def archives_only(server: PortalServer, data_dir: Path) -> WeeksConfig:
    """Settings with which each archive is read whole, one at a time."""
    return WeeksConfig(
        data_dir=str(data_dir),
        source=f"{server.store_url}/bare/SHA256SUMS",
        only_stages=("archives",),
        archives=ArchivesConfig(whole=True),
        downloads=BRISK,
        workers=WorkersConfig(kind="threads", num_workers=1),
    )


def num_fetched(server: PortalServer) -> int:
    return sum(asked.method == "GET" and asked.path.endswith(".tar") for asked in server.asked)


def test_weeks_that_are_kept_are_not_fetched_again(server, tmp_path):
    config = archives_only(server, tmp_path / "data")
    for _ in range(2):
        assert [outcome.error for outcome in walk_weeks(config)] == [None] * len(WEEKS)
    assert num_fetched(server) == len(WEEKS)


@pytest.mark.parametrize("change", ["version", "bounds", "listed hash"])
def test_weeks_that_have_to_be_fetched_again_take_turns_and_five_failures_in_a_row_stop_them(
    server, tmp_path, monkeypatch, change
):
    config = archives_only(server, tmp_path / "data")
    walk_weeks(config)
    if change == "version":
        monkeypatch.setattr(kept, "ARCHIVES_VERSION", kept.ARCHIVES_VERSION + 1)
    elif change == "bounds":
        config = dataclasses.replace(config, archives=ArchivesConfig(whole=True, max_entries=4_999))
    else:
        list_hash(server, "0" * 64)
    num_answers_before_the_archives = 1 + len(WEEKS)  # the list, and the size of each archive
    server.store_faults.extend([None] * num_answers_before_the_archives + [Fault(status=503)] * 100)
    before = num_fetched(server)
    errors = [outcome.error or "" for outcome in walk_weeks(config)]
    assert all("is out of order (503)" in error for error in errors[:5])
    assert all(error.startswith("skipped: 5 consecutive weeks failed, the last one: ") for error in errors[5:])
    assert num_fetched(server) - before == BRISK.attempts + 4 * 2  # as patient as set, then with little patience
